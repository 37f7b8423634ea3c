"""The transform network: any size, its losses, learning, and the same on one replica and on two."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_dl.generative.style import create_extractor, style_transfer, weighted_losses
from keras_dl.generative.style_transform import SaturationPenalty, StyleTraining, restyle, style_transform

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
WEIGHTS = {"content": 1.0, "style": 10.0, "variation": 0.5}


def smooth(count, size, seed):
    coarse = np.random.default_rng(seed).uniform(0, 255, (count, 4, 4, 3)).astype("float32")
    return np.array(keras.ops.image.resize(coarse, (size, size), interpolation="bicubic")).clip(0, 255)


def trainer(optimizer, seed=0):
    keras.utils.set_random_seed(seed)
    describe = style_transfer(create_extractor("vgg13_cifar"))
    model = StyleTraining(style_transform(4), describe, WEIGHTS)
    model.set_style(describe(np.random.default_rng(seed).uniform(0, 255, (1, 32, 32, 3)).astype("float32"))["style"])
    model.compile(optimizer, keras.losses.MeanAbsoluteError())
    return model


def test_the_papers_width_has_the_counted_parameters():
    """pytorch/examples' fast_neural_style has 1,679,235, with the 1,600 biases that the normalisation takes away."""
    with keras.StatelessScope(initialize_variables=False):
        assert style_transform(32).count_params() == 1_679_235 - 1_600
    keras.utils.clear_session()


@pytest.mark.parametrize("size", [(8, 8), (9, 31), (30, 17)])
def test_any_size_comes_out_as_it_went_in(size):
    network = style_transform(4)
    styled = np.array(restyle(network, RNG.uniform(0, 255, (2, *size, 3)).astype("float32")))
    assert styled.shape == (2, *size, 3)
    assert styled.min() >= 0
    assert styled.max() <= 255


def test_multiples_of_four_pass_as_they_are():
    network = style_transform(4)
    images = RNG.uniform(0, 255, (1, 16, 24, 3)).astype("float32")
    np.testing.assert_allclose(restyle(network, images), network(images), atol=1e-3)


def test_each_picture_is_normalised_by_itself():
    network = style_transform(4)
    images = RNG.uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    np.testing.assert_allclose(network(images)[:1], network(images[:1]), atol=1e-2)


def test_the_loss_is_the_mean_of_the_weighted_losses():
    model = trainer("sgd")
    images = smooth(3, 32, 1)
    styled = model(images)
    own = float(sum(model.losses))
    targets = {"content": model.describe(images)["content"], "style": model.targets}
    by_hand = weighted_losses(model.describe(styled), targets, styled, WEIGHTS)
    logs = model.test_on_batch(images, return_dict=True)
    assert logs["loss"] == pytest.approx(np.mean(by_hand["total"]) + own, rel=1e-4)
    for name in WEIGHTS:
        assert logs[name] == pytest.approx(np.mean(by_hand[name]), rel=1e-4)


def test_what_tanh_saturates_adds_to_the_loss():
    penalty = keras.regularizers.deserialize(keras.regularizers.serialize(SaturationPenalty(0.5, 2.0)))
    assert float(penalty(np.float32([[0, 2], [-4, 5]]))) == pytest.approx(0.5 * (2**2 + 3**2) / 2)

    model = trainer("sgd")
    end = model.network.get_layer("end_conv")
    end.kernel.assign(10 * end.kernel)
    images = smooth(2, 32, 1)
    before_tanh = keras.Model(model.network.inputs, end.output)(images)
    excess = np.maximum(np.abs(before_tanh) - 2, 0)
    assert excess.max() > 1
    logs = model.test_on_batch(images, return_dict=True)
    weighted = logs["content"] + logs["style"] + logs["variation"]
    assert logs["loss"] - weighted == pytest.approx(0.1 * np.mean(excess**2), rel=1e-2)


def test_pictures_of_any_size_are_trained_on():
    model = trainer("sgd")
    images = smooth(1, 34, 1)
    styled = model(images)
    assert styled.shape == images.shape
    assert np.isfinite(model.losses_of(images, styled)["total"])


@pytest.mark.slow
def test_training_helps_on_unseen_pictures_and_leaves_the_extractor_alone(tmp_path):
    model = trainer(keras.optimizers.Adam(5e-3))
    before = [np.array(weight) for weight in model.describe.weights]
    unseen = smooth(4, 32, 99)
    first = model.test_on_batch(unseen, return_dict=True)["loss"]
    for step in range(40):
        model.train_on_batch(smooth(4, 32, step))
    last = model.test_on_batch(unseen, return_dict=True)["loss"]
    assert last < 0.5 * first
    for weight, value in zip(model.describe.weights, before, strict=True):
        np.testing.assert_array_equal(np.array(weight), value)
    model.save(tmp_path / "model.keras")
    stored = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(stored(unseen), model(unseen), atol=1e-3)
    assert stored.test_on_batch(unseen, return_dict=True)["loss"] == pytest.approx(last, rel=1e-4)


REPLICAS = """
import sys
sys.path.insert(0, sys.argv[1])
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
import keras
import pathlib
from test_style_transform import smooth, trainer
from keras_dl.training import fit, make_strategy

def stream(start):
    images = tf.constant(smooth(4, 32, 5))
    return tf.data.Dataset.from_tensors((images, tf.ones((4, 1)))).repeat()

for name in ("single", "mirrored"):
    run = pathlib.Path(sys.argv[2]) / name
    run.mkdir()
    build = lambda: trainer(keras.optimizers.SGD(1e-2))
    model = fit(build, stream, run=run, steps_per_epoch=2, epochs=2, strategy=make_strategy(name))
"""


@pytest.mark.slow
def test_one_replica_and_two_have_equal_losses(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", REPLICAS, Path(__file__).parent, tmp_path],
        env=os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (
        np.genfromtxt(tmp_path / name / "history.csv", delimiter=",", names=True) for name in ("single", "mirrored")
    )
    for loss in ("loss", "content", "style"):
        np.testing.assert_allclose(two[loss], one[loss], rtol=1e-3)
    assert one["loss"][0] != one["loss"][1]
