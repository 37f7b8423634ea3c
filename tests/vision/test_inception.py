"""The three Inception nets against their papers' tables, and training with auxiliary heads."""

import math

import keras
import numpy as np
import pytest

from keras_dl import create_model
from keras_dl.vision.auxiliary import inference_model, loss_per_head, loss_weights, targets_per_head
from keras_dl.vision.googlenet import naive_module, reduced_module


@pytest.fixture
def symbolic():
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session()


def count(model, prefix):
    return sum(layer.count_params() for layer in model.layers if layer.name.startswith(prefix))


def shape(model, layer):
    return tuple(model.get_layer(layer).output.shape[1:])


def test_googlenet_is_table_1(symbolic):
    model = create_model("googlenet")
    table = {  # output size, and weights in units of 1024 as printed: near those of its own widths
        "3a": ((28, 28, 256), 159), "3b": ((28, 28, 480), 380), "4a": ((14, 14, 512), 364), "4b": ((14, 14, 512), 437),
        "4c": ((14, 14, 512), None), "4d": ((14, 14, 528), 580), "4e": ((14, 14, 832), 840), "5a": ((7, 7, 832), 1072),
        "5b": ((7, 7, 1024), 1388),
    }  # fmt: skip
    for block, (size, units) in table.items():
        assert shape(model, f"inception_{block}") == size
        kernels = [w.shape for w in model.weights if w.path.startswith(f"inception_{block}_") and w.name == "kernel"]
        assert units is None or sum(map(math.prod, kernels)) / 1024 == pytest.approx(units, rel=0.06)
    assert shape(model, "conv1") == (112, 112, 64)
    assert shape(model, "conv2") == (56, 56, 192)


def test_modules_of_figure_2(symbolic):
    """The naive module's output is as wide as its input and its convolutions; the reduced one's is not."""
    x = keras.Input((8, 8, 100))
    widths = (10, 4, 20, 3, 30, 5)
    naive = keras.Model(x, naive_module(x, widths, "m"))
    reduced = keras.Model(x, reduced_module(x, widths, "m"))
    assert naive.output.shape == (None, 8, 8, 10 + 20 + 30 + 100)
    assert reduced.output.shape == (None, 8, 8, 10 + 20 + 30 + 5)
    assert naive.count_params() == 1010 + (900 * 20 + 20) + (2500 * 30 + 30)
    assert reduced.count_params() == 1010 + (404 + 36 * 20 + 20) + (303 + 75 * 30 + 30) + 505


def test_unknown_module():
    with pytest.raises(ValueError, match="'naive' or 'reduced'; got 'dense'"):
        create_model("googlenet", module="dense")


def test_inception_bn_is_figure_5(symbolic):
    model = create_model("inception_bn")
    for block, size in {
        "3a": (28, 28, 256), "3b": (28, 28, 320), "3c": (14, 14, 576), "4a": (14, 14, 576), "4b": (14, 14, 576),
        "4c": (14, 14, 576), "4d": (14, 14, 576), "4e": (7, 7, 1024), "5a": (7, 7, 1024), "5b": (7, 7, 1024),
    }.items():  # fmt: skip
        assert shape(model, f"inception_{block}") == size
        pool = model.get_layer(f"inception_{block}_pool")
        assert isinstance(pool, keras.layers.MaxPooling2D) == (block in ("3c", "4e", "5b"))
    # Module 3a by hand: kernels without biases, and four numbers per normalised channel.
    kernels = 192 * 64 + (192 * 64 + 9 * 64 * 64) + (192 * 64 + 9 * 64 * 96 + 9 * 96 * 96) + 192 * 32
    assert count(model, "inception_3a") == kernels + 4 * (64 + 64 + 64 + 64 + 96 + 96 + 32)
    # Section 4.2: a separable first convolution with depth multiplier 8.
    assert count(model, "conv1") == 49 * 3 * 8 + 3 * 8 * 64 + 4 * 64


def test_inception_v3_is_table_1(symbolic):
    model = create_model("inception_v3")
    sizes = {
        "conv1_relu": (149, 149, 32), "conv2_relu": (147, 147, 32), "conv3_relu": (147, 147, 64), "pool1": (73, 73, 64),
        "pool2": (35, 35, 192), "mixed2": (35, 35, 288), "mixed7": (17, 17, 768), "mixed10": (8, 8, 2048),
    }  # fmt: skip
    assert {layer: shape(model, layer) for layer in sizes} == sizes


def test_auxiliary_head_of_googlenet_is_section_5(symbolic):
    """4x4x512 after 4a and 4x4x528 after 4d; 128 convolutions, 1024 units, a classifier."""
    model = create_model("googlenet", auxiliary_heads=True)
    assert shape(model, "auxiliary1_pool") == (4, 4, 512)
    assert shape(model, "auxiliary2_pool") == (4, 4, 528)
    assert count(model, "auxiliary1") == (512 * 128 + 128) + (4 * 4 * 128 * 1024 + 1024) + (1024 * 1000 + 1000)


@pytest.mark.parametrize(("name", "least"), [("googlenet", 65), ("inception_v3", 107)])
def test_auxiliary_heads_need_room(name, least, symbolic):
    create_model(name, input_shape=(least, least, 3), auxiliary_heads=True)
    with pytest.raises(ValueError, match=f"needs {least} pixels"):
        create_model(name, input_shape=(least - 1, least, 3), auxiliary_heads=True)
    with pytest.raises(ValueError, match="fixed input_shape"):
        create_model(name, input_shape=(None, None, 3), auxiliary_heads=True)
    with pytest.raises(ValueError, match="include_top"):
        create_model(name, include_top=False, auxiliary_heads=True)


@pytest.fixture(scope="module")
def heads():
    keras.utils.set_random_seed(0)
    yield create_model("googlenet", input_shape=(65, 65, 3), num_classes=3, auxiliary_heads=True)
    keras.utils.clear_session()


def test_total_loss_counts_the_heads_at_three_tenths(heads):
    random = np.random.default_rng(0)
    x, y = random.uniform(0, 255, (2, 65, 65, 3)).astype("float32"), np.array([0, 2])
    heads.compile("sgd", loss_per_head(heads, "sparse_categorical_crossentropy"), loss_weights=loss_weights(heads))
    total = heads.evaluate(*targets_per_head(heads)(x, y), verbose=0, return_dict=True)["loss"]

    surprise = {head: -np.log(p[range(2), y]) for head, p in heads.predict(x, verbose=0).items()}
    assert set(surprise) == {"predictions", "auxiliary1", "auxiliary2"}
    each = surprise["predictions"] + 0.3 * surprise["auxiliary1"] + 0.3 * surprise["auxiliary2"]
    assert total == pytest.approx(each.mean(), rel=1e-5)

    weight = np.array([1.0, 3.0])
    x, y, per_head = targets_per_head(heads)(x, y, weight)
    weighted = heads.evaluate(x, y, sample_weight=per_head, verbose=0, return_dict=True)["loss"]
    assert weighted == pytest.approx((weight * each).mean(), rel=1e-5)


def test_inference_drops_the_heads_and_shares_the_weights(heads):
    x = np.random.default_rng(1).uniform(0, 255, (2, 65, 65, 3)).astype("float32")
    classifier = inference_model(heads)
    plain = create_model("googlenet", input_shape=(65, 65, 3), num_classes=3)
    assert classifier.count_params() == plain.count_params()
    np.testing.assert_array_equal(classifier.predict(x, verbose=0), heads.predict(x, verbose=0)["predictions"])

    before = classifier.predict(x, verbose=0)
    kernel = heads.get_layer("predictions").kernel
    kernel.assign(kernel + 0.1 * np.random.default_rng(2).normal(size=kernel.shape))
    assert np.abs(classifier.predict(x, verbose=0) - before).max() > 1e-3


def test_a_model_without_heads_has_none_to_drop(symbolic):
    with pytest.raises(ValueError, match="no auxiliary heads"):
        inference_model(create_model("googlenet"))
