"""Positions: the paper's formula, its property, and steps that start anywhere."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dl.layers import LearnedPositions, SinusoidalPositions
from keras_dl.layers.positions import sinusoids


@pytest.mark.parametrize("width", [8, 7])
def test_sinusoids_are_the_papers(width):
    found = ops.convert_to_numpy(sinusoids(np.arange(50), width))
    for position in (0, 1, 17, 49):
        for feature in range(width):
            angle = position / 10000 ** (2 * (feature // 2) / width)
            expected = np.sin(angle) if feature % 2 == 0 else np.cos(angle)
            assert found[position, feature] == pytest.approx(expected, abs=1e-5)


def test_a_shift_is_one_linear_map_for_all_positions():
    """Vaswani et al. 2017, section 3.5: PE(pos + k) is a linear function of PE(pos)."""
    found = ops.convert_to_numpy(sinusoids(np.arange(60), 8)).astype("float64")
    shift, *_ = np.linalg.lstsq(found[:40], found[5:45], rcond=None)
    np.testing.assert_allclose(found[40:55] @ shift, found[45:60], atol=1e-4)


@pytest.mark.parametrize("layer", [SinusoidalPositions(), LearnedPositions(10)], ids=["sinusoidal", "learned"])
def test_steps_one_by_one_get_what_the_sequence_gets(layer):
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    whole = ops.convert_to_numpy(layer(x))
    assert np.abs(whole - x).max() > 1e-3
    for t in range(6):
        np.testing.assert_allclose(ops.convert_to_numpy(layer(x[:, t : t + 1], start=t))[:, 0], whole[:, t], atol=1e-6)


def test_the_file_keeps_them_and_the_mask_goes_through(tmp_path):
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(5, 4, mask_zero=True)(tokens)
    x = LearnedPositions(6)(SinusoidalPositions()(x))
    model = keras.Model(tokens, keras.layers.LSTM(3)(x))
    model.save(tmp_path / "positions.keras")
    again = keras.models.load_model(tmp_path / "positions.keras")
    a, b = (ops.convert_to_numpy(again(np.array([ids]))) for ids in ([1, 2], [1, 2, 0, 0]))
    np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_array_equal(a, ops.convert_to_numpy(model(np.array([[1, 2]]))))


def test_more_steps_than_were_learned():
    with pytest.raises(ValueError, match="7 steps are more than the 6"):
        LearnedPositions(6)(keras.Input((7, 4)))


def test_steps_that_start_too_late_to_be_learned():
    layer = LearnedPositions(6)
    layer(np.zeros((1, 2, 4), "float32"), start=4)
    with pytest.raises(ValueError, match="7 steps are more than the 6 positions learned: raise max_length"):
        layer(np.zeros((1, 2, 4), "float32"), start=5)
