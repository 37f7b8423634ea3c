"""The four ways of transfer: which weights move, how fast, and what stays as it was."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dl.errors import UserError
from keras_dl.registry import create_model, model_info
from keras_dl.training import fit, make_optimizer, prepare_transfer
from keras_dl.training.transfer import layer_stages

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(8, 8, 8, 3)).astype("float32")
LABELS = np.arange(8) % 3
STAGES = ("stage0_out", "stage1_out", "stage2_out")


def small_model():
    """Three stages of convolution and batch normalisation, and a head."""
    inputs = x = keras.Input((8, 8, 3))
    for stage in range(3):
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"stage{stage}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"stage{stage}_bn")(x)
        x = keras.layers.Activation("tanh", name=f"stage{stage}_out")(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(3, "softmax", name="predictions")(x))


def stream(start):
    return tf.data.Dataset.from_tensors((IMAGES, LABELS)).repeat()


def train(run, way, steps, optimizer="sgd", rate=0.1, resume=False, weight_decay=0.1, **options):
    """Trains for so many epochs of one step; returns how far each layer's weights moved, and the model."""
    start = {}

    def build():
        keras.utils.set_random_seed(0)
        model = small_model()
        model.compile(make_optimizer(optimizer, rate, weight_decay=weight_decay), "sparse_categorical_crossentropy")
        prepare_transfer(model, way, STAGES, **options)
        start.update({layer.name: layer.get_weights() for layer in model.layers})
        return model

    model = fit(build, stream, run=run, steps_per_epoch=1, epochs=steps, resume=resume)
    moved = {
        layer.name: max(np.abs(a - b).max() for a, b in zip(layer.get_weights(), start[layer.name], strict=True))
        for layer in model.layers
        if layer.weights
    }
    return moved, model


def test_layers_belong_to_the_stage_whose_end_they_lead_to():
    stage_of = layer_stages(create_model("resnet20_cifar"), model_info("resnet20_cifar").stages)
    assert stage_of["conv1_conv"] == stage_of["conv1_relu"] == 0
    assert stage_of["conv2_block1_1_conv"] == stage_of["conv2_block3_out"] == 1
    assert stage_of["conv4_block1_1_conv"] == 3 and stage_of["predictions"] == 4


def moving(moved, bn):
    """The stages of which convolutions (or batch normalisations) moved."""
    stage_of = layer_stages(small_model(), STAGES)
    return sorted({stage_of[name] for name, far in moved.items() if far > 0 and name.endswith("_bn") == bn})


@pytest.mark.parametrize(
    ("way", "options", "weights", "norms"),
    [
        ("head", {}, [3], []),
        ("last", {}, [2, 3], [2]),
        ("last", {"last": 2, "freeze_batch_norm": True}, [1, 2, 3], []),
        ("architecture", {}, [0, 1, 2, 3], [0, 1, 2]),
    ],
)
def test_what_moves(tmp_path, way, options, weights, norms):
    moved, _ = train(tmp_path, way, 2, **options)
    assert moving(moved, bn=False) == weights
    assert moving(moved, bn=True) == norms


@pytest.mark.parametrize(("optimizer", "freeze"), [("adamw", False), ("momentum", True)])
def test_all_thaws_from_the_top_and_goes_on_after_a_resume(tmp_path, optimizer, freeze):
    # Two steps for the head alone, two more for each stage below.
    options = {"steps_per_stage": 2, "freeze_batch_norm": freeze}
    seen = {}
    for steps in (2, 3, 5, 7):
        moved, model = train(tmp_path / "parts", "all", steps, optimizer, 1e-3, resume=True, **options)
        seen[steps] = moving(moved, bn=False)
        # Statistics follow the pictures from the first step on, where they are not frozen.
        assert moving(moved, bn=True) == ([] if freeze else [0, 1, 2])
    assert seen == {2: [3], 3: [2, 3], 5: [1, 2, 3], 7: [0, 1, 2, 3]}
    _, unbroken = train(tmp_path / "whole", "all", 7, optimizer, 1e-3, **options)
    for a, b in zip(model.get_weights(), unbroken.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_lower_stages_learn_more_slowly(tmp_path):
    # Adam's first step is the learning rate for every weight with a gradient.
    rates = {"steps_per_stage": 0, "rate_decay": 2.0, "head_rate": 5.0}
    moved, _ = train(tmp_path, "all", 1, "adam", 1e-3, weight_decay=0.0, **rates)
    for name, factor in (("predictions", 5), ("stage2_conv", 5 / 2), ("stage1_conv", 5 / 4), ("stage0_conv", 5 / 8)):
        assert moved[name] == pytest.approx(1e-3 * factor, rel=1e-3), name


def test_a_new_head_learns_faster_than_the_stage_below(tmp_path):
    moved, _ = train(tmp_path, "last", 1, "adam", 1e-3, weight_decay=0.0)
    assert moved["predictions"] == pytest.approx(1e-2, rel=1e-3)
    assert moved["stage2_conv"] == pytest.approx(1e-2 / 2.6, rel=1e-3)


def test_bad_arguments():
    model = small_model()
    with pytest.raises(UserError, match="--transfer heads: choose from head"):
        prepare_transfer(model, "heads", STAGES)
    with pytest.raises(ValueError, match="no stages to thaw: no layer 'nowhere'"):
        prepare_transfer(model, "head", ("nowhere",))
    with pytest.raises(ValueError, match="last is between 1 and 3"):
        prepare_transfer(model, "last", STAGES, last=4)
    with pytest.raises(ValueError, match="steps_per_stage"):
        prepare_transfer(model, "all", STAGES)
