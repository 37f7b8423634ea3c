"""Gatys' losses: finite differences, closed forms, and which nets can compare pictures."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_dl
from keras_dl.errors import UserError
from keras_dl.generative.colour import RGB_TO_YCC, keep_colours, match_colours, match_luminance
from keras_dl.generative.style import (
    content_loss,
    create_extractor,
    default_layers,
    style_loss,
    style_transfer,
    total_variation,
    weighted_losses,
)

RNG = np.random.default_rng(0)
WEIGHTS = {"content": 1.0, "style": 10.0, "variation": 0.5}


@pytest.fixture
def float64():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def describe():
    keras.utils.set_random_seed(0)
    return style_transfer(create_extractor("vgg13_cifar"))


def pictures(count=1, height=32, width=48):
    return RNG.uniform(0, 255, (count, height, width, 3))


@pytest.mark.parametrize("loss", ["content", "style", "variation", "total"])
def test_gradients_equal_finite_differences(float64, loss):
    """Along random directions, in float64, through the net and its Gram matrices."""
    keras.utils.set_random_seed(1)
    net = style_transfer(create_extractor("vgg13_cifar"))
    content, style, picture = (tf.constant(pictures(1, 16, 24)) for _ in range(3))
    targets = {"content": net(content)["content"], "style": net(style)["style"]}

    def value(pixels):
        return weighted_losses(net(pixels), targets, pixels, WEIGHTS)[loss][0]

    with tf.GradientTape() as tape:
        tape.watch(picture)
        losses = value(picture)
    gradient = tape.gradient(losses, picture)
    assert gradient.dtype == tf.float64
    for _ in range(3):
        direction = RNG.normal(size=picture.shape)
        step = 1e-5
        change = (value(picture + step * direction) - value(picture - step * direction)) / (2 * step)
        np.testing.assert_allclose(tf.reduce_sum(gradient * direction), change, rtol=1e-5)


def test_a_picture_has_no_loss_against_itself(describe):
    picture = pictures().astype("float32")
    told = describe(picture)
    losses = weighted_losses(told, told, picture, WEIGHTS)
    assert float(losses["content"][0]) == float(losses["style"][0]) == 0
    assert float(losses["total"][0]) == pytest.approx(0.5 * float(total_variation(picture)[0]))


def test_losses_are_relative_squared_errors():
    target = {"a": np.array([[[[1.0, 2.0]]]]), "b": np.array([[[[2.0, 2.0]]]])}
    values = {"a": np.array([[[[2.0, 2.0]]]]), "b": np.array([[[[2.0, 0.0]]]])}
    errors = np.array([1 / 5, 4 / 8])
    assert float(content_loss(values, target)[0]) == pytest.approx(errors.mean(), rel=1e-6)
    assert float(style_loss(values, target)[0]) == pytest.approx(errors.mean(), rel=1e-6)
    weighted = style_loss(values, target, {"a": 3.0, "b": 1.0})
    assert float(weighted[0]) == pytest.approx((3 * errors[0] + errors[1]) / 4, rel=1e-6)


def test_total_variation_of_a_ramp_and_a_flat_picture():
    ramp = np.tile(np.arange(5)[None, None, :, None] * 25.5, (1, 4, 1, 3))
    assert float(total_variation(ramp)[0]) == pytest.approx(0.01)
    assert float(total_variation(np.full((1, 4, 5, 3), 9.0))[0]) == 0


def test_default_layers_are_the_papers():
    net = create_extractor("vgg19")
    content, style = default_layers(net)
    assert content == ("block4_relu2",)
    assert style == ("block1_relu1", "block2_relu1", "block3_relu1", "block4_relu1", "block5_relu1")


def test_other_nets_give_their_stages():
    model = style_transfer("resnet20_cifar")
    assert tuple(model.output["style"]) == keras_dl.model_info("resnet20_cifar").stages
    assert tuple(model.output["content"]) == ("conv3_block3_out",)


def test_average_pooling_keeps_the_weights(describe):
    kinds = {type(layer) for layer in describe._flatten_layers()}
    assert keras.layers.AveragePooling2D in kinds
    assert keras.layers.MaxPooling2D not in kinds
    keras.utils.set_random_seed(0)
    kept = style_transfer(create_extractor("vgg13_cifar"), pooling="max")
    for one, other in zip(describe.weights, kept.weights, strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(other))
    flat = np.full((1, 32, 32, 3), 90.0, "float32")  # in the first block nothing is pooled yet
    first = [np.array(model(flat)["style"]["block1_relu1"]) for model in (describe, kept)]
    np.testing.assert_allclose(*first, rtol=1e-6)


def test_nets_without_stages_are_refused_by_name():
    with pytest.raises(UserError, match=r"mlp has no stages.*choose from.*vgg19"):
        create_extractor("mlp")


def test_unknown_layers_and_pooling_are_refused():
    with pytest.raises(UserError, match="no layer 'block9_relu1'; it has"):
        style_transfer("vgg13_cifar", style_layers=("block9_relu1",))
    with pytest.raises(UserError, match="'avg' or 'max'"):
        style_transfer("vgg13_cifar", pooling="median")


def test_matched_colours_have_the_others_mean_and_covariance():
    # Small deviations around the middle: nothing is cut off at black or white.
    one = 128 + RNG.normal(0, 1, (30, 40, 3)) @ np.diag((9, 4, 6))
    other = 120 + RNG.normal(0, 1, (20, 50, 3)) @ RNG.normal(0, 5, (3, 3))
    moved = match_colours(one, other).reshape(-1, 3)
    np.testing.assert_allclose(moved.mean(0), other.reshape(-1, 3).mean(0), atol=1e-2)
    np.testing.assert_allclose(np.cov(moved.T), np.cov(other.reshape(-1, 3).T), rtol=2e-2, atol=0.3)


def test_kept_colours_are_the_contents_and_the_luminance_is_the_pictures():
    content = RNG.uniform(100, 150, (8, 9, 3))
    picture = np.repeat(RNG.uniform(100, 150, (8, 9, 1)), 3, -1)
    mixed = keep_colours(picture, content) @ RGB_TO_YCC.T
    np.testing.assert_allclose(mixed[..., 0], picture[..., 0], atol=0.01)
    np.testing.assert_allclose(mixed[..., 1:], (content @ RGB_TO_YCC.T)[..., 1:], atol=0.01)


def test_matched_luminance_is_grey_with_the_others_mean():
    grey = match_luminance(RNG.uniform(0, 255, (30, 30, 3)), RNG.uniform(100, 160, (30, 30, 3)))
    assert np.ptp(grey, axis=-1).max() == 0
    assert grey.mean() == pytest.approx(130, abs=2)
