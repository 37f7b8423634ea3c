"""One harness over `list_models()`: a new architecture is covered the day it is registered.

What runs here runs on every backend of Keras; training and storage are in `test_models_training.py`.
"""

import inspect
import math
import os

import keras
import numpy as np
import pytest
from harness import FAMILIES, NAMES, arguments_of, every_float, random_inputs

from keras_dl import create_model, feature_extractor, model_info


def own_arguments(layer):
    """Names of what the constructor takes, if it is a layer of the package, no model, and has one of its own."""
    kind = type(layer)
    ours = kind.__module__.startswith("keras_dl") and "__init__" in vars(kind)
    if not ours or isinstance(layer, keras.Model):
        return set()
    parameters = inspect.signature(kind).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD}


@pytest.fixture
def symbolic():
    """Builds without allocating weights."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session(free_memory=False)


@pytest.fixture
def numpy_initialisation(monkeypatch):
    """Draws kernels with NumPy: JAX compiles a generator for every shape, which takes most of a test's time."""

    def draw(self, shape, dtype=None):
        fan_in = math.prod(shape[:-1]) if len(shape) > 1 else 1
        return np.random.default_rng(0).normal(0, fan_in**-0.5, shape).astype(dtype)

    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", draw)


@pytest.mark.parametrize("name", NAMES)
def test_declared_count_is_the_default_models(name, symbolic):
    info = model_info(name)
    model = create_model(name)
    weights = model.weights if info.builder.__module__.startswith("keras_dl.vision") else model.trainable_weights
    assert sum(math.prod(weight.shape) for weight in weights) == info.parameters


@pytest.mark.parametrize("name", NAMES)
def test_builds_small_with_all_its_stages(name, symbolic):
    info = model_info(name)
    model = create_model(name, **info.small)
    assert model.name == name
    paths = [weight.path for weight in model.weights]
    assert len(set(paths)) == len(paths), "two weights share a path, so files keyed by path can't tell them apart"
    for layer in model._flatten_layers():
        assert own_arguments(layer) <= set(layer.get_config()), f"the file of {layer.name} loses some of its arguments"
    if info.stages:
        features = feature_extractor(model).output
        assert tuple(features) == info.stages
        sizes = [math.prod(side or 1 for side in feature.shape[1:-1]) for feature in features.values()]
        assert sizes == sorted(sizes, reverse=True), "stages go from shallow to deep"
    elif name not in ("image_captioning", "triplet_embedding"):  # built on a backbone, whose stages they give
        with pytest.raises(ValueError, match="no stages"):
            feature_extractor(model)


@pytest.mark.parametrize(
    "name", [name for name in FAMILIES if "include_top" in inspect.signature(model_info(name).builder).parameters]
)
def test_builds_without_its_top(name, symbolic):
    small = {key: value for key, value in model_info(name).small.items() if key != "pooling"}
    body = create_model(name, include_top=False, **small)
    assert "predictions" not in [layer.name for layer in body.layers]
    whole = {weight.path for weight in create_model(name, **small).weights}
    assert {weight.path for weight in body.weights} < whole
    pooled = create_model(name, include_top=False, pooling="max", **small)
    assert pooled.output.shape == (None, body.output.shape[-1])


@pytest.mark.parametrize("name", FAMILIES)
def test_runs(name, numpy_initialisation):
    """The smallest of each family, compiled, gives finite numbers of its declared shapes and types."""
    assert keras.backend.backend() == os.environ.get("KERAS_BACKEND", "tensorflow")
    keras.utils.set_random_seed(0)
    model = create_model(name, **arguments_of(name))
    outputs = model.predict_on_batch(random_inputs(model))
    declared = keras.tree.flatten(model.output)
    for output, symbol in zip(keras.tree.flatten(outputs), declared, strict=True):
        assert len(output.shape) == len(symbol.shape)
        assert all(b in (a, None) for a, b in zip(output.shape, symbol.shape, strict=True))
        assert str(output.dtype) == symbol.dtype
    assert every_float(outputs)
    keras.utils.clear_session()
