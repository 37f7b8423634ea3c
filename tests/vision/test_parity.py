"""Our graphs with keras.applications' weights give what keras.applications gives."""

import keras
import numpy as np
import pytest

from keras_dl import create_model, list_models, model_info
from keras_dl.vision.resnet import basic_block, plain_block
from keras_dl.weights import copy_weights

PREPROCESSING = {"resnet": "resnet", "vgg": "vgg16", "inception_v3": "inception_v3", "densenet": "densenet"}
SIZES = {"inception_v3": (107, 91)}  # the others take 64 by 64, or what a test gives

NAMES = [name for name in list_models() if model_info(name).imagenet]


def randomise(model, seed):
    """Random weights, with batch statistics that are neither zero nor one."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight in layer.weights:
                low, high = (0.5, 1.5) if weight.name in ("gamma", "moving_variance") else (-0.5, 0.5)
                weight.assign(random.uniform(low, high, weight.shape))


def build_pair(name, shape, **arguments):
    peer = getattr(keras.applications, model_info(name).imagenet)(weights=None, input_shape=shape, **arguments)
    randomise(peer, seed=1)
    ours = create_model(name, input_shape=shape, **arguments)
    copy_weights(peer, ours)
    return peer, ours


def difference(name, peer, ours):
    """Largest difference relative to the peer's largest output, on one random picture."""
    images = np.random.default_rng(2).uniform(0, 255, (1, *ours.input.shape[1:])).astype("float32")
    module = getattr(keras.applications, PREPROCESSING[model_info(name).family])
    expected = keras.ops.convert_to_numpy(peer(module.preprocess_input(images.copy()), training=False))
    actual = keras.ops.convert_to_numpy(ours(images, training=False))
    return np.abs(actual - expected).max() / np.abs(expected).max()


def test_all_published_families_are_compared():
    assert NAMES == [
        "densenet121", "densenet169", "densenet201", "inception_v3",
        "resnet101", "resnet152", "resnet50", "vgg16", "vgg19",
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_keras_applications(name):
    size = SIZES.get(name, (64, 64))
    if name.startswith("vgg"):
        size = (32, 32)  # its first dense layer grows with the picture: 0.4 GB at 224
    peer, ours = build_pair(name, (*size, 3), classifier_activation=None)

    assert ours.count_params() == peer.count_params()
    assert difference(name, peer, ours) < 1e-4

    kernels = [weight for weight in ours.weights if weight.name == "kernel"]
    middle = kernels[len(kernels) // 2]
    middle.assign(keras.ops.flip(middle, axis=-1))
    assert difference(name, peer, ours) > 1e-3


@pytest.mark.parametrize(
    ("name", "size"), [("vgg16", (224, 224)), ("vgg19", (48, 80)), ("resnet50", (33, 47)), ("densenet121", (32, 50))]
)
def test_feature_maps_equal_keras_applications(name, size):
    peer, ours = build_pair(name, (*size, 3), include_top=False)
    assert ours.output.shape == peer.output.shape
    assert difference(name, peer, ours) < 1e-4


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_pooled_features_and_probabilities(pooling):
    peer, ours = build_pair("inception_v3", (75, 75, 3), include_top=False, pooling=pooling)
    assert ours.output.shape == (None, 2048)
    assert difference("inception_v3", peer, ours) < 1e-4


@pytest.mark.parametrize("block", [basic_block, plain_block])
@pytest.mark.parametrize("side", [6, 7])
def test_a_convolution_that_halves_the_map_looks_where_a_shortcut_looks(block, side):
    images = keras.Input((side, side, 2))
    model = keras.Model(images, block(images, 2, 2, "b"))
    kernel = np.zeros((3, 3, 2, 2), "float32")
    kernel[1, 1] = np.eye(2)
    model.get_layer("b_1_conv").set_weights([kernel, np.zeros(2)])
    x = np.random.default_rng(0).uniform(0, 1, (1, side, side, 2)).astype("float32")
    centres = keras.Model(images, model.get_layer("b_1_conv").output)(x)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(centres), x[:, ::2, ::2], atol=1e-6)


def test_preprocessing_is_the_peers():
    """`include_preprocessing=False` takes what the peer's `preprocess_input` gives."""
    peer, _ = build_pair("densenet121", (32, 32, 3), classifier_activation=None)
    bare = create_model("densenet121", input_shape=(32, 32, 3), classifier_activation=None, include_preprocessing=False)
    copy_weights(peer, bare)
    images = np.random.default_rng(3).normal(0, 1, (2, 32, 32, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(peer(images, training=False))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(bare(images, training=False)), expected, atol=1e-4 * np.abs(expected).max()
    )
