"""What every image classifier shares: its input, its preprocessing and its head."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_dl.errors import UserError

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
CIFAR_MEAN = (125.31, 122.95, 113.87)
CIFAR_STD = (62.99, 62.09, 66.70)


def image_input(
    input_shape: tuple[int | None, int | None, int] | None,
    default: tuple[int | None, int | None, int],
    minimum: int = 1,
) -> Any:
    """The input tensor: float images `(batch, height, width, channels)` in [0, 255].

    Raises:
        UserError: if the shape is not `(height, width, channels)`, or a side is below `minimum`.
    """
    shape = default if input_shape is None else input_shape
    if not isinstance(shape, Sequence) or len(shape) != 3 or not shape[-1]:
        raise UserError(f"input_shape is (height, width, channels), e.g. {default}; got {shape}")
    if any(side is not None and side < minimum for side in shape[:2]):
        raise UserError(f"input_shape {shape} is too small: this architecture needs {minimum} pixels a side")
    return keras.Input(tuple(shape), name="images")


def preprocess(x: Any, mode: str | None) -> Any:
    """Weightless layers that turn [0, 255] RGB into what a family was trained on.

    Args:
        x: images in [0, 255].
        mode: `"caffe"` (BGR less the ImageNet mean), `"tf"` (scaled to [-1, 1]), `"torch"`
            (ImageNet mean and deviation per channel), `"unit"` (scaled to [0, 1]), or None (as it is).
    """
    colour = x.shape[-1] == 3
    if mode is None:
        return x
    if mode == "unit":
        return layers.Rescaling(1 / 255, name="preprocessing")(x)
    if mode == "tf":
        return layers.Rescaling(1 / 127.5, -1.0, name="preprocessing")(x)
    if mode == "caffe":
        if not colour:
            return layers.Rescaling(1.0, -117.0, name="preprocessing")(x)
        return layers.Rescaling([1.0] * 3, [-103.939, -116.779, -123.68], name="preprocessing")(
            keras.ops.flip(x, axis=-1)
        )
    if mode == "torch":
        return normalize(x, IMAGENET_MEAN, IMAGENET_STD)
    raise UserError(f"unknown preprocessing {mode!r}")


def normalize(x: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
    """(x - mean) / std per channel of [0, 255] RGB; for other than three channels their averages."""
    if x.shape[-1] != 3:
        mean, std = (sum(mean) / 3,), (sum(std) / 3,)
    return layers.Rescaling(
        [1 / s for s in std], [-m / s for m, s in zip(mean, std, strict=True)], name="preprocessing"
    )(x)


def check_pooling(pooling: str | None) -> None:
    """That there is such a pooling; a builder asks before it builds, as with its top it pools otherwise.

    Raises:
        UserError: if there is not.
    """
    if pooling not in (None, "avg", "max"):
        raise UserError(f"pooling is None, 'avg' or 'max'; got {pooling!r}")


def pool_features(x: Any, pooling: str | None, dtype: str | None = None) -> Any:
    """What a classifier returns without its top: the map (None), or its `"avg"` or `"max"` per channel.

    Class scores are pooled with dtype `"float32"`, else mixed precision rounds them on their way to the softmax.
    """
    check_pooling(pooling)
    if pooling is None:
        return x
    if pooling == "avg":
        return layers.GlobalAveragePooling2D(dtype=dtype, name="avg_pool")(x)
    return layers.GlobalMaxPooling2D(dtype=dtype, name="max_pool")(x)


def flatten(x: Any) -> Any:
    """The map as the vector that dense layers take.

    Raises:
        UserError: if the size of the map, and so of the vector, is unknown.
    """
    if None in x.shape[1:]:
        raise UserError("dense layers need a map of known size: give input_shape a height and a width")
    return layers.Flatten(name="flatten")(x)


def dense_dropout(x: Any, units: int, rate: float, number: int) -> Any:
    """A hidden dense layer of a classifier, `fc<number>`, and the dropout behind it."""
    x = layers.Dense(units, activation="relu", name=f"fc{number}")(x)
    return layers.Dropout(rate, name=f"dropout{number}")(x)


def predictions(x: Any, num_classes: int, activation: str | None, name: str = "predictions") -> Any:
    """The last dense layer. Float32 under mixed precision: a softmax in float16 loses small probabilities."""
    return layers.Dense(num_classes, activation=activation, dtype="float32", name=name)(x)
