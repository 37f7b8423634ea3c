"""One vector per image from any classifier without its top."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_dl.errors import UserError
from keras_dl.registry import create_model
from keras_dl.vision.common import check_pooling, pool_features


def only_output(model: keras.Model) -> Any:
    """The output tensor of a functional model, of one's own perhaps, from images alone to one thing.

    Raises:
        UserError: if the model is none of this.
    """
    if not isinstance(model, keras.Model):
        example = "create_model(NAME, include_top=False, pooling='avg')"
        raise UserError(f"expected a model of images, e.g. {example}; got {model!r}")
    if not getattr(model, "outputs", None):
        raise UserError(f"{model.name!r} is not functional: begin it with keras.Input")
    if len(model.inputs) > 1:
        raise UserError(f"{model.name!r} has several inputs: give a model of images alone")
    if len(model.outputs) > 1:
        raise UserError(f"{model.name!r} has several outputs: build it with include_top=False")
    return model.outputs[0]


def vector_backbone(
    backbone: str | keras.Model,
    input_shape: tuple[int, int, int],
    pooling: str | None,
    include_preprocessing: bool,
    above: Sequence[str] = (),
) -> keras.Model:
    """A model that turns images into vectors.

    Args:
        backbone: the name of an image classifier (built without its top), or a functional model of one's own that
            takes images and returns maps or vectors; then `input_shape` and `include_preprocessing` are its own.
        input_shape: `(height, width, channels)`.
        pooling: `"avg"` or `"max"` per channel, or None to flatten the map, which keeps where things are.
        include_preprocessing: take [0, 255] RGB.
        above: names of the layers that the caller puts on it within one model.

    Returns:
        Images `(batch, height, width, channels)` to features `(batch, n)`, named `backbone`.

    Raises:
        ValueError: for an unknown name or pooling, a model that is not functional or has several inputs or outputs or
            a layer that is called like one put on it, or a map of unknown size without pooling.
    """
    check_pooling(pooling)
    if isinstance(backbone, str):
        backbone = create_model(
            backbone, include_top=False, input_shape=input_shape, include_preprocessing=include_preprocessing
        )
    x = only_output(backbone)
    if len(x.shape) == 4:
        above = ("flatten" if pooling is None else f"{pooling}_pool", *above)
    taken = [layer.name for layer in backbone.layers if layer.name in above]
    if taken:
        raise UserError(f"{backbone.name!r} has a layer {taken[0]!r}, as has what is put on it: give it another name")
    if len(x.shape) == 4:
        if pooling is None and None in x.shape[1:]:
            raise UserError(f"{backbone.name!r} gives a map of unknown size: fix input_shape, or use pooling='avg'")
        x = layers.Flatten(name="flatten")(x) if pooling is None else pool_features(x, pooling)
    return keras.Model(backbone.inputs[0], x, name="backbone")
