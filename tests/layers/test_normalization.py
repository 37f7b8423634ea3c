import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dl.layers import LocalResponseNormalization


def images(*shape):
    return np.random.default_rng(0).normal(0, 30, shape).astype("float32")


def by_loop(x, n, k, alpha, beta):
    y = np.empty_like(x, dtype="float64")
    channels = x.shape[-1]
    for c in range(channels):
        energy = 0.0
        for j in range(max(0, c - n // 2), min(channels - 1, c + n // 2) + 1):
            energy = energy + x[..., j].astype("float64") ** 2
        y[..., c] = x[..., c] / (k + alpha * energy) ** beta
    return y


@pytest.mark.parametrize(("n", "channels"), [(5, 8), (3, 2), (1, 4), (9, 4)])
def test_equals_the_papers_formula(n, channels):
    x = images(2, 3, 4, channels)
    y = LocalResponseNormalization(n, k=1.5, alpha=0.01, beta=0.6)(x)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(y), by_loop(x, n, 1.5, 0.01, 0.6), rtol=1e-5)


def test_defaults_equal_tensorflows_own_with_the_papers_constants():
    x = images(2, 5, 5, 16)
    reference = tf.nn.local_response_normalization(x, depth_radius=2, bias=2.0, alpha=1e-4, beta=0.75)
    y = LocalResponseNormalization()(x)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(y), reference.numpy(), rtol=1e-5)


def test_half_precision_does_not_overflow_in_the_squares():
    x = np.full((1, 2, 2, 4), 1000.0, "float32")
    y = LocalResponseNormalization(dtype="mixed_float16")(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    np.testing.assert_allclose(keras.ops.convert_to_numpy(y), by_loop(x, 5, 2.0, 1e-4, 0.75), rtol=2e-3)


def test_an_even_number_of_channels_is_refused():
    with pytest.raises(ValueError, match="odd number of channels; got 4"):
        LocalResponseNormalization(4)


def test_reload_gives_the_same_layer(tmp_path):
    inputs = keras.Input((None, None, 6))
    model = keras.Model(inputs, LocalResponseNormalization(3, k=1.0, alpha=0.02, beta=0.5)(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    x = images(1, 4, 5, 6)
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    np.testing.assert_allclose(model.predict(x, verbose=0), by_loop(x, 3, 1.0, 0.02, 0.5), rtol=1e-5)
