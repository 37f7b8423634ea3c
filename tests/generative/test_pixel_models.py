"""Pixel models see only what precedes a pixel; their likelihood sums to one; they learn."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dl.generative.pixel_cnn import PixelModel, pixel_cnn, pixel_mask
from keras_dl.generative.pixel_rnn import RowLSTM, pixel_rnn

SMALL = {"image_shape": (4, 4, 3), "filters": 6, "units": 6, "levels": 3}
BUILDERS = {"pixel_cnn": lambda: pixel_cnn(blocks=2, **SMALL), "pixel_rnn": lambda: pixel_rnn(depth=2, **SMALL)}


def test_mask_of_three_colours():
    """Red sees no colour of its own pixel, green sees red, blue red and green; mask B adds each one's own."""
    first, later = (pixel_mask(3, 3, 3, 3, 3, kind)[1, 1] for kind in "AB")
    np.testing.assert_array_equal(first, [[0, 1, 1], [0, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(later, [[1, 1, 1], [0, 1, 1], [0, 0, 1]])
    mask = pixel_mask(3, 3, 1, 1, 1, "A")[..., 0, 0]
    np.testing.assert_array_equal(mask, [[1, 1, 1], [1, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("name", BUILDERS)
def test_each_number_depends_on_the_ones_before_it_alone(name):
    keras.utils.set_random_seed(1)
    model = BUILDERS[name]()
    images = tf.random.uniform((16, 4, 4, 3), 0, 255)  # of one alone all rectifiers may be shut
    order = {place: i for i, place in enumerate(np.ndindex(4, 4, 3))}
    for place in [(0, 0, 0), (0, 0, 2), (1, 2, 1), (3, 3, 2)]:
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = tf.reduce_sum(tf.square(model.network(images)[(slice(None), *place)]))
        gradient = np.abs(tape.gradient(value, images)).sum(axis=0)
        seen = {spot for spot in order if gradient[spot] != 0}
        assert all(order[spot] < order[place] for spot in seen)
        if place == (3, 3, 2):
            assert {(3, 3, 0), (3, 3, 1), (3, 2, 2), (2, 3, 0)} <= seen


@pytest.mark.parametrize("name", BUILDERS)
def test_probabilities_of_all_pictures_sum_to_one(name):
    keras.utils.set_random_seed(0)
    model = (pixel_cnn if name == "pixel_cnn" else pixel_rnn)((2, 2, 1), 4, 1, 4, levels=2)
    pictures = np.array(list(itertools.product((0, 255), repeat=4)), "float32").reshape(16, 2, 2, 1)
    nats = np.asarray(model.negative_log_likelihood(pictures, model(pictures)))
    assert np.exp(-nats).sum() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(model.bits_per_dimension(pictures), nats / np.log(2) / 4, rtol=1e-5)


@pytest.mark.parametrize("name", BUILDERS)
def test_pixels_of_the_same_levels_are_the_same_picture(name):
    """What a pixel knows of those before it must be what is predicted of them, and what `sample` shows it."""
    model = BUILDERS[name]()
    pictures = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3)).astype("float32")
    coarse = np.asarray(model.picture_of(model.level_of(pictures)))
    assert set(np.unique(coarse)) == {42, 128, 213}
    np.testing.assert_array_equal(np.asarray(model(coarse)), np.asarray(model(pictures)))
    every = np.arange(256, dtype="float32").reshape(1, 16, 16, 1)
    fine = pixel_cnn((16, 16, 1), 2, 1, 2)
    np.testing.assert_array_equal(np.asarray(fine.picture_of(fine.level_of(every))), every)


def stripes(count, random):
    """Black and white rows, each one colour: one bit a row."""
    return np.repeat(random.integers(0, 2, (count, 6, 1, 1)) * 255, 6, axis=2).astype("float32")


@pytest.mark.parametrize("builder", [pixel_cnn, pixel_rnn])
def test_learns_stripes_and_draws_them(builder):
    random = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    model = builder((6, 6, 1), 8, 1, 16, levels=2)
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(stripes(512, random), batch_size=32, epochs=5, verbose=0)
    bits = float(np.mean(model.bits_per_dimension(stripes(200, random))))
    assert 1 / 6 - 1e-3 < bits < 0.25  # one bit for a row of six
    drawn = model.sample(20)
    assert set(np.unique(drawn)) <= {64, 192}
    assert (np.ptp(drawn, axis=2) == 0).mean() > 0.85
    assert 0.3 < (drawn[:, :, 0] > 128).mean() < 0.7


def test_row_lstm_is_its_equation():
    """Two rows by hand, with a 1x1 kernel, so that each column is an LSTM of its own."""
    keras.utils.set_random_seed(0)
    layer = RowLSTM(2, kernel_size=1)
    inputs = np.random.default_rng(0).normal(size=(1, 2, 3, 2)).astype("float32")
    outputs = np.asarray(layer(inputs))
    recurrent = np.asarray(layer.recurrent_kernel)[0]
    hidden = cell = np.zeros((3, 2))

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    for row in range(2):
        gates = [inputs[0, row] @ np.asarray(g.kernel)[0, 0] + np.asarray(g.bias) for g in layer.gates]
        out, forget, take, content = (g + hidden @ recurrent[:, 2 * i : 2 * i + 2] for i, g in enumerate(gates))
        cell = sigmoid(forget) * cell + sigmoid(take) * np.tanh(content)
        hidden = sigmoid(out) * np.tanh(cell)
        np.testing.assert_allclose(outputs[0, row], hidden, rtol=1e-5)


def test_levels_divide_the_range():
    model = pixel_cnn((2, 2, 1), 2, 1, 2, levels=4)
    assert isinstance(model, PixelModel)
    levels = np.asarray(model.level_of(np.array([0, 63, 64, 127, 128, 255.0])))
    assert levels.tolist() == [0, 0, 1, 1, 2, 3]
