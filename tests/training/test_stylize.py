"""The optimisation of a picture: known minima, Keras' own Adam, the pyramid, blending, regions, and when it stops."""

import dataclasses
import itertools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dl.errors import UserError
from keras_dl.generative.style import create_extractor, style_transfer
from keras_dl.training import bfloat16_inside
from keras_dl.training.records import Interrupted
from keras_dl.training.stylize import (
    Adam,
    Settings,
    Style,
    TooSmall,
    by_adam,
    by_lbfgs,
    fitted,
    in_graph,
    make_losses,
    make_targets,
    pyramid,
    resize,
    split_steps,
    stylize,
)
from keras_dl.training.watch import NotFinite, PictureWatch

RNG = np.random.default_rng(0)
WEIGHTS = {"content": 1.0, "style": 10.0, "variation": 1.0}
GOAL = tf.constant(RNG.uniform(20, 235, (1, 6, 5, 3)), tf.float32)
START = tf.constant(RNG.uniform(20, 235, (1, 6, 5, 3)), tf.float32)


def bowl(picture):
    """Least at GOAL, and steeper in some pixels than in others."""
    scale = tf.reshape(tf.linspace(0.5, 2.0, tf.size(GOAL)), GOAL.shape) / 255**2
    return {"total": tf.reduce_mean(scale * (picture - GOAL) ** 2)}


@pytest.fixture(scope="module")
def describe():
    keras.utils.set_random_seed(0)
    return style_transfer(create_extractor("vgg13_cifar"))


def picture(height, width, seed=0):
    coarse = np.random.default_rng(seed).uniform(0, 255, (1, 5, 6, 3))
    return tf.clip_by_value(tf.image.resize(coarse, (height, width), "bicubic"), 0, 255)[0].numpy()


@pytest.mark.parametrize(("minimise", "steps"), [(by_lbfgs, 25), (by_adam, 150)])
def test_minimisers_find_a_known_minimum(minimise, steps):
    seen = []
    found = minimise(bowl, START, steps, 10.0, lambda step, *_: seen.append(step))
    np.testing.assert_allclose(found, GOAL, atol=1.5)
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) <= steps


def test_lbfgs_shows_the_losses_of_the_picture_that_it_shows():
    def check(step, pixels, values):
        assert float(values["total"]) == pytest.approx(float(bowl(pixels)["total"]), rel=1e-4, abs=1e-9)
        totals.append(float(values["total"]))

    totals = []
    by_lbfgs(bowl, START, 12, 10.0, check)
    assert totals == sorted(totals, reverse=True)


def test_lbfgs_shows_losses_that_are_not_finite():
    seen = []
    kept = by_lbfgs(lambda p: {"total": tf.reduce_sum(p) * np.nan}, START, 3, 10.0, lambda *args: seen.append(args))
    assert np.isnan(seen[0][2]["total"])
    np.testing.assert_array_equal(kept, START)


def test_adam_is_kerass():
    state = Adam.start(START)
    variable = tf.Variable(START)
    peer = keras.optimizers.Adam(3.0, beta_2=0.99, epsilon=1e-12)
    for _ in range(5):
        state, values = state.next(bowl, 3.0)
        with tf.GradientTape() as tape:
            loss = bowl(variable)["total"]
        np.testing.assert_allclose(values["total"], loss, rtol=1e-5)
        peer.apply([tape.gradient(loss, variable)], [variable])
    np.testing.assert_allclose(state.picture, variable, atol=0.02)


def test_pyramid_doubles_up_to_the_size():
    assert pyramid((427, 640), 384) == [192, 384]
    assert pyramid((427, 640), 1024) == [256, 512, 1024]
    assert pyramid((100, 1000), 500) == [500]


def test_sizes_at_which_the_net_finds_nothing_are_left_out(describe, monkeypatch):
    def large_only(describe, content, *rest):
        if max(content.shape[1:3]) < 200:
            raise TooSmall("a picture is too small")
        return make_targets(describe, content, *rest)

    monkeypatch.setattr("keras_dl.training.stylize.make_targets", large_only)
    content, seen = picture(200, 200), []
    settings = Settings(400, 8, "adam", 1.0, WEIGHTS, xla=False)

    def watch(step, pixels, losses):
        seen.append((step, pixels.shape[1]))

    assert stylize(describe, content, [Style(content)], settings, watch=watch)[0].shape == (400, 400, 3)
    assert seen == [(step, 200 if step <= 6 else 400) for step in range(1, 9)]
    with pytest.raises(TooSmall):
        stylize(describe, content, [Style(content)], dataclasses.replace(settings, size=190))


def test_steps_are_all_spent():
    for steps, levels in itertools.product((1, 7, 300), (1, 2, 3)):
        shares = split_steps(steps, levels)
        assert sum(shares) == steps
        assert len(shares) == levels
    assert fitted((427, 640), 384) == (256, 384)


def test_blended_styles_are_the_mean_of_their_grams(describe):
    pixels = [picture(32, 40, seed) for seed in (1, 2)]
    content = tf.constant(pixels[0])[None]
    single = [make_targets(describe, content, [Style(p)], 40)["style"] for p in pixels]
    both = make_targets(describe, content, [Style(pixels[0], 3.0), Style(pixels[1], 1.0)], 40)["style"]
    for layer, gram in both.items():
        np.testing.assert_allclose(gram, 0.75 * single[0][layer] + 0.25 * single[1][layer], rtol=1e-4, atol=1e-6)


def test_each_region_is_compared_with_its_own_style():
    keras.utils.set_random_seed(0)
    describe = style_transfer(create_extractor("vgg13_cifar"), style_layers=("block1_relu1",), regions=True)
    left = np.zeros((32, 64), "float32")
    left[:, :32] = 1
    flat = [np.full((32, 64, 3), tone, "float32") for tone in (40.0, 200.0)]
    styles = [Style(flat[0], region=left), Style(flat[1], region=1 - left)]
    targets = make_targets(describe, tf.constant(flat[0])[None], styles, 64)
    regions = tf.stack([left, 1 - left], -1)[None]
    losses = make_losses(describe, targets, WEIGHTS, regions=regions)
    halves = np.where(left[..., None] == 1, flat[0], flat[1])[None]
    right_way, wrong_way = (float(losses(tf.constant(p))["style"]) for p in (halves, halves[:, :, ::-1]))
    assert right_way < 0.05 * wrong_way


def test_a_small_white_spot_of_a_mask_is_seen_by_every_layer():
    """It lies between the places that the deep layers' cells have in their middle."""
    keras.utils.set_random_seed(0)
    describe = style_transfer(create_extractor("vgg13_cifar"), regions=True)
    pixels, mask = picture(64, 64), np.zeros((128, 128), "float32")
    mask[3:5, 60:63] = 1
    style = make_targets(describe, tf.constant(pixels)[None], [Style(pixels, mask=mask)], 64)["style"]
    whole = make_targets(describe, tf.constant(pixels)[None], [Style(pixels)], 64)["style"]
    for layer, gram in style.items():
        assert float(tf.linalg.trace(gram[0, 0])) > 0.05 * float(tf.linalg.trace(whole[layer][0, 0]))


@pytest.mark.parametrize("size", [24, 32])
def test_a_picture_that_the_net_can_make_nothing_of_is_refused(size):
    """Layers without padding: at 32 pixels, and 8 on each side, the second one's 7 find no place among 6."""
    inputs = keras.Input((None, None, 3))
    first = keras.layers.Conv2D(2, 5, 8, name="first")(inputs)
    extractor = keras.Model(inputs, keras.layers.Conv2D(2, 7, name="last")(first))
    net = style_transfer(extractor, content_layers=("last",), style_layers=("first",))
    with pytest.raises(UserError, match="too small for this net: raise --size or --style-scale, or choose another"):
        make_targets(net, tf.constant(picture(size, size))[None], [Style(picture(96, 96))], 96)


@pytest.mark.slow
def test_the_style_comes_nearer_and_the_size_is_as_asked(describe):
    settings = Settings(48, 20, "lbfgs", 10.0, WEIGHTS)
    rows = []

    def watch(step, pixels, values):
        rows.append(float(values["total"]))

    content, style = picture(40, 60, 3), Style(picture(200, 300, 4))
    result, told = stylize(describe, content, [style], settings, watch=watch)
    assert result.shape == (32, 48, 3)
    losses = make_losses(describe, make_targets(describe, resize(content, (32, 48)), [style], 48), WEIGHTS)
    assert told["total"] == pytest.approx(float(losses(tf.constant(result)[None])["total"]), rel=1e-4)
    assert result.min() >= 0
    assert result.max() <= 255
    assert len(rows) <= 20
    assert min(rows) < 0.5 * rows[0]


@pytest.mark.slow
def test_half_precision_paints_as_well(describe):
    """By the losses of the net in single precision, which both pictures are measured by."""
    with bfloat16_inside(True):
        half = style_transfer(create_extractor("vgg13_cifar"))
    half.set_weights(describe.get_weights())
    settings = Settings(48, 20, "lbfgs", 10.0, WEIGHTS)
    content, style = picture(40, 60, 3), Style(picture(200, 300, 4))
    losses = make_losses(describe, make_targets(describe, resize(content, (32, 48)), [style], 48), WEIGHTS)
    painted = [
        stylize(net, content, [style], dataclasses.replace(settings, xla=net is describe))[0]
        for net in (describe, half)
    ]
    before, single, halved = (float(losses(resize(each, (32, 48)))["total"]) for each in (content, *painted))
    assert halved < single + 0.05 * (before - single)


@pytest.mark.slow
def test_a_loop_in_a_graph_lowers_the_loss(describe):
    content, style = (tf.constant(picture(64, 64, seed))[None] for seed in (5, 6))
    painted = tf.function(lambda steps: in_graph(describe, content, style, steps, WEIGHTS, 10.0), autograph=False)
    losses = make_losses(describe, make_targets(describe, content, [Style(style[0].numpy())], 64), WEIGHTS)
    before, none, after = (float(losses(p)["total"]) for p in (content, painted(0), painted(12)))
    assert none == pytest.approx(before, rel=0.3)  # but for being halved and doubled
    assert after < 0.6 * before


def signals(received=False):
    return SimpleNamespace(received=received)


def losses(total):
    return {"total": tf.constant(total), "style": tf.constant(total)}


def test_watch_keeps_the_last_good_picture(capfd):
    watch = PictureWatch(30, signals())
    good = tf.fill((1, 4, 4, 3), 7.0)
    watch(10, good, losses(1.0))
    with pytest.raises(NotFinite, match="step 20"):
        watch(20, good * np.nan, losses(1.0))
    with pytest.raises(NotFinite, match="step 20"):
        watch(20, good, losses(np.inf))
    assert watch.step == 10
    np.testing.assert_array_equal(watch.picture, good[0])
    assert [row["step"] for row in watch.history] == [10]


def test_watch_stops_at_a_signal_between_looks():
    watch = PictureWatch(30, signals(received=True))
    with pytest.raises(Interrupted, match="step 3 of 30"):
        watch(3, tf.zeros((1, 4, 4, 3)), losses(1.0))
    assert watch.picture is not None


def test_watch_hands_on_pictures_on_the_way():
    kept = []
    watch = PictureWatch(12, signals(), 4, lambda step, pixels: kept.append((step, pixels.shape)))
    for step in range(1, 13):
        watch(step, tf.zeros((1, 4, 4, 3)), losses(1.0))
    assert kept == [(4, (4, 4, 3)), (8, (4, 4, 3)), (12, (4, 4, 3))]
