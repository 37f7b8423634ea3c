"""The self-attention block against NumPy, from the layer's weights."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dl.layers import SelfAttention2D


def kernels(layer):
    return {
        name: ops.convert_to_numpy(conv.kernel)[0, 0].astype("float64") for name, conv in layer.convolutions.items()
    }


def expected_block(x, layer):
    """Zhang et al. 2018, equations 1 to 3 with a plain residual, one image and one place at a time."""
    w = kernels(layer)
    y, maps = np.array(x, "float64"), []
    for b, image in enumerate(np.array(x, "float64")):
        places = image.reshape(-1, image.shape[-1])
        rows = []
        for place in places:
            scores = np.array([(place @ w["query"]) @ (other @ w["key"]) for other in places])
            weights = np.exp(scores - scores.max())
            rows.append(weights / weights.sum())
        maps.append(rows)
        seen = np.array(rows) @ (places @ w["value"])
        y[b] += (seen @ w["output"]).reshape(image.shape)
    return y, np.array(maps)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("reduction", [2, 8, 100])
def test_block_equals_numpy(rng, reduction):
    x = rng.normal(size=(2, 3, 4, 16)).astype("float32")
    layer = SelfAttention2D(reduction)
    y, maps = layer(x, return_attention_scores=True)
    assert kernels(layer)["query"].shape == (16, max(1, 16 // reduction))
    expected, expected_maps = expected_block(x, layer)
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(maps), expected_maps, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, atol=1e-5)
    assert np.abs(expected - x).max() > 0.1


def test_moving_the_places_moves_the_answers(rng):
    x = rng.normal(size=(1, 4, 5, 8)).astype("float32")
    layer = SelfAttention2D(2)
    order = rng.permutation(20)
    moved = x.reshape(1, 20, 8)[:, order].reshape(x.shape)
    y = ops.convert_to_numpy(layer(x)).reshape(1, 20, 8)[:, order]
    np.testing.assert_allclose(ops.convert_to_numpy(layer(moved)).reshape(1, 20, 8), y, atol=1e-5)


def test_scores_beyond_float16_stay_finite():
    layer = SelfAttention2D(1, dtype="mixed_float16")
    layer.build((None, 2, 2, 4))
    for name in ("query", "key"):
        layer.convolutions[name].kernel.assign(np.eye(4, dtype="float32")[None, None])
    # Scores reach 4 * 200^2 = 160,000; the largest float16 is 65,504.
    x = np.full((1, 2, 2, 4), 200, "float16")
    x[0, 0, 0] = 10
    y, attention = layer(x, return_attention_scores=True)
    assert keras.backend.standardize_dtype(attention.dtype) == "float32"
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    np.testing.assert_allclose(ops.convert_to_numpy(attention)[0, 3], [0, 1 / 3, 1 / 3, 1 / 3], atol=1e-6)
    assert np.isfinite(ops.convert_to_numpy(y)).all()


def test_no_reduction_below_one():
    with pytest.raises(ValueError, match="reduction is a positive integer; got 0"):
        SelfAttention2D(0)


def test_sides_may_be_unknown_and_the_file_keeps_all(rng, tmp_path):
    inputs = keras.Input((None, None, 8))
    outputs = SelfAttention2D(4)(inputs)
    assert outputs.shape == (None, None, None, 8)
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "attention.keras")
    loaded = keras.models.load_model(tmp_path / "attention.keras")
    for height, width in ((3, 5), (4, 2)):
        x = rng.normal(size=(2, height, width, 8)).astype("float32")
        expected, _ = expected_block(x, model.layers[-1])
        np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, atol=1e-5)
