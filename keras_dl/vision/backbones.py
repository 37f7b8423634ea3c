"""One vector per image from any classifier without its top."""

import keras
from keras import layers

from keras_dl.errors import UserError
from keras_dl.registry import create_model
from keras_dl.vision.common import pool_features


def vector_backbone(
    backbone: str | keras.Model,
    input_shape: tuple[int, int, int],
    pooling: str | None,
    include_preprocessing: bool,
) -> keras.Model:
    """A model that turns images into vectors.

    Args:
        backbone: the name of an image classifier (built without its top), or a functional model of one's own that
            takes images and returns maps or vectors; then `input_shape` and `include_preprocessing` are its own.
        input_shape: `(height, width, channels)`.
        pooling: `"avg"` or `"max"` per channel, or None to flatten the map, which keeps where things are.
        include_preprocessing: take [0, 255] RGB.

    Returns:
        Images `(batch, height, width, channels)` to features `(batch, n)`, named `backbone`.

    Raises:
        ValueError: for an unknown name or pooling, several outputs, or a map of unknown size without pooling.
    """
    if isinstance(backbone, str):
        backbone = create_model(
            backbone, include_top=False, input_shape=input_shape, include_preprocessing=include_preprocessing
        )
    x = backbone.output
    if keras.tree.is_nested(x):
        raise UserError(f"{backbone.name!r} has several outputs: build it with include_top=False")
    if len(x.shape) == 4:
        if pooling is None and None in x.shape[1:]:
            raise UserError(f"{backbone.name!r} gives a map of unknown size: fix input_shape, or use pooling='avg'")
        x = layers.Flatten(name="flatten")(x) if pooling is None else pool_features(x, pooling)
    return keras.Model(backbone.input, x, name="backbone")
