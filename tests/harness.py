"""What the tests over all architectures share."""

from typing import Any

import keras
import numpy as np

from keras_dl import list_models, model_info

NAMES = list_models()
FAMILIES = sorted(
    min(names, key=lambda name: model_info(name).parameters)
    for family in {model_info(name).family for name in NAMES}
    for names in [[name for name in NAMES if model_info(name).family == family]]
)
"""The smallest architecture of each family."""

BATCH = 4  # batch statistics of fewer than three numbers have no gradient


def arguments_of(name: str) -> dict[str, Any]:
    return dict(model_info(name).small)


def random_inputs(model: keras.Model, seed: int = 0) -> Any:
    """A batch that fits `model.input`: pictures in [0, 255], small whole numbers, or a normal distribution."""
    random = np.random.default_rng(seed)

    def draw(symbol: Any) -> np.ndarray:
        images = len(symbol.shape) >= 4
        shape = (BATCH, *(side or (32 if images else 6) for side in symbol.shape[1:]))
        if symbol.dtype == "bool":
            return np.ones(shape, "bool")
        if "int" in symbol.dtype:
            return random.integers(0, 3, shape).astype(symbol.dtype)
        values = random.uniform(0, 255, shape) if images else random.normal(0, 1, shape)
        return values.astype(symbol.dtype)

    return keras.tree.map_structure(draw, model.input)


def networks_of(model: keras.Model) -> list[keras.Model]:
    """The networks that learn, of a model whose call runs one of several only; otherwise the model itself."""
    return list(getattr(model, "networks", {"": model}).values())


def every_float(outputs: Any) -> bool:
    """Whether all numbers are finite, and there are some."""
    arrays = [np.asarray(keras.ops.convert_to_numpy(output), "float32") for output in keras.tree.flatten(outputs)]
    return all(array.size and np.isfinite(array).all() for array in arrays)
