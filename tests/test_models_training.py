"""The smallest architecture of each family trains, is stored, and runs in half precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from harness import FAMILIES, arguments_of, every_float, networks_of, random_inputs

from keras_dl import create_model, model_info
from keras_dl.weights import load_weights


@pytest.fixture(scope="module", params=FAMILIES)
def built(request):
    keras.utils.set_random_seed(0)
    model = create_model(request.param, **arguments_of(request.param))
    yield request.param, model, random_inputs(model)
    keras.utils.clear_session()


@pytest.fixture(scope="module")
def stored(built, tmp_path_factory):
    """A file of the model."""
    _, model, _ = built
    path = tmp_path_factory.mktemp("stored") / "model.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def half(built):
    """The architecture built once more, in half precision: its weights are float32 all the same."""
    name, _, _ = built
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return create_model(name, **arguments_of(name))
    finally:
        keras.config.set_dtype_policy("float32")


def cancelled_biases(model):
    """Biases of convolutions and dense layers that feed nothing but a normalisation, which subtracts them."""
    subtracting = (keras.layers.BatchNormalization, keras.layers.GroupNormalization)
    paths = set()
    for layer in model._flatten_layers(include_self=False):
        followers = [node.operation for node in getattr(layer, "_outbound_nodes", ())]
        if followers and all(isinstance(f, subtracting) for f in followers):
            paths |= {weight.path for weight in layer.weights if weight.name == "bias"}
    return paths


def leave_the_start(model):
    """Moves weights that start constant (zero kernels, unit scales) off the point where others have no gradient."""
    random = np.random.default_rng(1)
    for weight in model.trainable_weights:
        value = np.array(weight)
        if value.size == 1 or np.ptp(value) == 0:
            weight.assign(value + random.normal(0, 0.02, value.shape))


def test_every_weight_has_a_gradient(built):
    _, whole, _ = built
    leave_the_start(whole)
    random = np.random.default_rng(2)
    for model in networks_of(whole):
        inputs = random_inputs(model)
        with tf.GradientTape() as tape:
            outputs = [y for y in keras.tree.flatten(model(inputs, training=True)) if y.dtype.is_floating]
            loss = sum(tf.reduce_sum(y * random.normal(size=y.shape).astype("float32")) for y in outputs)
        gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])

        found = zip(model.trainable_weights, gradients, strict=True)
        largest = {weight.path: 0.0 if g is None else float(tf.reduce_max(tf.abs(g))) for weight, g in found}
        assert all(np.isfinite(g) for g in largest.values())
        dead = {path for path, g in largest.items() if g == 0}
        assert dead <= cancelled_biases(model)


def test_stored_model_gives_equal_outputs(built, stored):
    _, model, inputs = built
    other = keras.models.load_model(stored)
    for a, b in zip(*(keras.tree.flatten(m(inputs, training=False)) for m in (model, other)), strict=True):
        np.testing.assert_array_equal(np.array(a), np.array(b))


def test_stored_weights_fit_another_build(built, stored, half, tmp_path):
    name, model, _ = built
    model.save_weights(tmp_path / "model.weights.h5")
    np.savez(tmp_path / "model.npz", **{weight.path: np.array(weight) for weight in model.weights})
    for file in (stored, tmp_path / "model.weights.h5", tmp_path / "model.npz"):
        for weight in half.weights:
            weight.assign(np.zeros(weight.shape))
        load_weights(half, model_info(name), file)
        for a, b in zip(model.weights, half.weights, strict=True):
            np.testing.assert_array_equal(np.array(a), np.array(b))


def test_half_precision(built, half):
    _, _, inputs = built
    outputs = half(inputs, training=False)
    assert every_float(outputs)
    for output in keras.tree.flatten(outputs):
        assert output.dtype != "float16", "heads compute in float32"
