"""Named feature maps of a model, for detectors, style transfer and plots."""

from collections.abc import Sequence

import keras

from keras_dl.errors import UserError
from keras_dl.registry import list_models, model_info


def feature_extractor(model: keras.Model, layers: Sequence[str] | None = None) -> keras.Model:
    """A model with the same input that returns a dictionary of named feature maps.

    Args:
        model: a functional model; one that `create_model` built, under any name, if `layers` is None.
        layers: names of layers; by default those that end the stages of the model's architecture, or of the backbone
            that it is built on if it has none of its own.

    Returns:
        A `keras.Model` that shares the weights of `model`: images to `{layer: feature map}`.

    Raises:
        ValueError: if neither has stages, or a layer does not exist.
    """
    if layers is None:
        layers = _stages(model)
        if not layers:
            raise UserError(f"{model.name!r} has no stages to take features from; name its layers with `layers=`")
    names = {layer.name for layer in model.layers}
    missing = [name for name in layers if name not in names]
    if missing:
        raise UserError(f"{model.name!r} has no layer {missing[0]!r}; it has {', '.join(sorted(names))}")
    return keras.Model(model.input, {name: model.get_layer(name).output for name in layers}, name="features")


def _stages(model: keras.Model) -> tuple[str, ...]:
    """The stages of the architecture that the model is of, or () if it is of none that has any.

    Its name tells, unless the model was given one of its own: then its layers do, which a stored model keeps.
    An architecture without stages of its own has those of the backbone that it is built on, if any.
    """
    position = {layer.name: i for i, layer in enumerate(model.layers)}
    known = {name: model_info(name).stages for name in list_models()}
    fitting = {name: stages for name, stages in known.items() if position.keys() >= set(stages)}
    if fitting.get(model.name):
        return fitting[model.name]
    # A deep variant has the layers that end a shallower one's stages too; its own lie deeper.
    return max(fitting.values(), key=lambda stages: sorted(position[name] for name in stages)[::-1])
