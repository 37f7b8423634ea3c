"""Neural style transfer: Gatys, Ecker & Bethge 2015, arXiv:1508.06576."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_dl.errors import UserError
from keras_dl.layers import GramMatrix, ReflectionPadding2D
from keras_dl.registry import create_model, list_models, model_info, register

VGG_CONTENT = ("block4_relu2",)  # section "Methods": conv4_2, and the first convolution of each block
OF_ONE_SIZE = ("spatial_transformer",)  # dense layers look at the whole picture before its first stage
VGG_STYLE = tuple(f"block{block}_relu1" for block in range(1, 6))

MARGIN = 8  # pixels by which pictures are continued: what the extractor pads with zeros would be painted as a rim


@register(
    paper="Gatys et al. 2015, arXiv:1508.06576",
    task="style transfer",
    parameters=12_944_960,
    small={"extractor": "vgg13_cifar"},
)
def style_transfer(
    extractor: str | keras.Model = "vgg19",
    content_layers: Sequence[str] | None = None,
    style_layers: Sequence[str] | None = None,
    pooling: str = "avg",
    regions: bool = False,
    name: str | None = None,
) -> keras.Model:
    """What a picture shows and how it is painted, as a classifier sees it (Gatys et al. 2015, equations 1 to 5).

    Another picture with the same content maps shows the same things; one with the same Gram matrices has the same
    texture. `content_loss` and `style_loss` measure how far two pictures are apart. The extractor sees the pictures
    continued by their mirror images, of which nothing is in the maps.

    Args:
        extractor: an architecture with stages, or a functional model of images, such as a pretrained one.
        content_layers: names of the extractor's layers whose maps are the content. By default the second
            activation of block 4 of a VGG, otherwise the last stage but one.
        style_layers: names of those whose Gram matrices are the style. By default the first activation of
            each block of a VGG, otherwise the end of each stage.
        pooling: `"avg"` replaces the extractor's max pooling, as the paper advises; `"max"` keeps it.
        regions: take a second input, the share of each region in each pixel.
        name: the model's name.

    Returns:
        Images `(batch, height, width, 3)` in [0, 255], or a list of these and regions `(batch, height, width, r)` in
        [0, 1], to `{"content": {layer: map}, "style": {layer: Gram matrices (batch, r or 1, channels, channels)}}`.
        Reference count: 12,944,960 for VGG-19 up to `block5_conv1`.

    Raises:
        ValueError: for an extractor without stages, an unknown layer or pooling.
    """
    if isinstance(extractor, str):
        extractor = create_extractor(extractor)
    if pooling not in ("avg", "max"):
        raise UserError(f"pooling is 'avg' or 'max'; got {pooling!r}")
    if not (content_layers and style_layers):
        default_content, default_style = default_layers(extractor)
        content_layers, style_layers = content_layers or default_content, style_layers or default_style
    if pooling == "avg":
        extractor = _average_pooled(extractor)
    known = {layer.name for layer in extractor.layers}
    for layer in (*content_layers, *style_layers):
        if layer not in known:
            raise UserError(f"{extractor.name} has no layer {layer!r}; it has {', '.join(sorted(known))}")
    images = keras.Input(extractor.input.shape[1:], name="images")
    areas = [keras.Input((None, None, None), name="regions")] if regions else []
    maps = _maps_inside(extractor, (*content_layers, *style_layers), images)
    # Gram matrices are sums over all pixels: too large for float16.
    precision = keras.config.floatx()
    content = {
        layer: layers.Activation("linear", dtype=precision, name=f"content_{layer}")(maps[layer])
        for layer in content_layers
    }
    style = {
        layer: GramMatrix(dtype=precision, name=f"style_{layer}")([maps[layer], *areas] if regions else maps[layer])
        for layer in style_layers
    }
    inputs = [images, *areas] if regions else images
    return keras.Model(inputs, {"content": content, "style": style}, name=name or "style_transfer")


def _maps_inside(extractor: keras.Model, names: Sequence[str], images: Any) -> dict[str, Any]:
    """The maps of these layers, of pictures that the extractor sees continued by `MARGIN` pixels."""
    net = keras.Model(extractor.input, {name: extractor.get_layer(name).output for name in names}, name=extractor.name)
    maps = net(ReflectionPadding2D(MARGIN, name="continued")(images))
    inside = {}
    for name, (_, height, *_) in net.compute_output_shape((1, 256, 256, 3)).items():
        margin = MARGIN // round(256 / height)
        inside[name] = layers.Cropping2D(margin, name=f"inside_{name}")(maps[name]) if margin else maps[name]
    return inside


def create_extractor(name: str, weights: str | None = None) -> keras.Model:
    """An architecture with stages, for pictures of any size.

    Raises:
        UserError: if it has no stages or takes pictures of one size only, naming those that will do; if its weights
            can't be had.
    """
    if name not in extractors():
        lacks = "takes pictures of one size only" if name in OF_ONE_SIZE else "has no stages"
        raise UserError(f"{name} {lacks} to compare pictures by; choose from {', '.join(extractors())}")
    return create_model(name, include_top=False, input_shape=(None, None, 3), weights=weights)


def extractors() -> list[str]:
    """The names of the architectures that `create_extractor` takes: those with stages, for pictures of any size."""
    names = [name for name in list_models("image classification") if model_info(name).stages]
    return [name for name in names if name not in OF_ONE_SIZE]


def default_layers(extractor: keras.Model) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The content layers and the style layers of an extractor that `create_extractor` built.

    Raises:
        UserError: if its name is none of an architecture with stages.
    """
    names = {layer.name for layer in extractor.layers}
    if names.issuperset((*VGG_CONTENT, *VGG_STYLE)):
        return VGG_CONTENT, VGG_STYLE
    if extractor.name not in extractors():
        raise UserError(f"{extractor.name!r} has no stages to compare pictures by; name layers of it")
    stages = model_info(extractor.name).stages
    return stages[-2:-1], stages


def _average_pooled(model: keras.Model) -> keras.Model:
    def clone(layer: Any) -> Any:
        kind = layers.AveragePooling2D if isinstance(layer, layers.MaxPooling2D) else layer.__class__
        return kind.from_config(layer.get_config())

    pooled = keras.models.clone_model(model, clone_function=clone)
    pooled.set_weights(model.get_weights())
    return pooled


# Squared errors, each relative to the target's own mean square: that puts all layers, and all extractors, on one
# scale, as the paper does by rescaling the weights of VGG to unit mean activation.


def content_loss(maps: Mapping[str, Any], targets: Mapping[str, Any]) -> Any:
    """Squared error of the content maps (Gatys et al. 2015, equation 1), the mean over layers: `(batch,)`."""
    errors = [_relative_error(maps[layer], target) for layer, target in targets.items()]
    return sum(errors) / len(errors)


def style_loss(
    grams: Mapping[str, Any], targets: Mapping[str, Any], layer_weights: Mapping[str, float] | None = None
) -> Any:
    """Squared error of the Gram matrices (Gatys et al. 2015, equations 4 and 5): `(batch,)`.

    Args:
        grams: of a picture, by layer.
        targets: of the style.
        layer_weights: what share each layer has; by default all the same.
    """
    shares = layer_weights or dict.fromkeys(targets, 1.0)
    total = sum(shares.values())
    return sum(shares[layer] / total * _relative_error(grams[layer], target) for layer, target in targets.items())


def total_variation(images: Any) -> Any:
    """Mean squared difference of neighbouring pixels, their range taken as 1: `(batch,)`."""
    unit = images / 255.0
    down, right = unit[:, 1:] - unit[:, :-1], unit[:, :, 1:] - unit[:, :, :-1]
    return ops.mean(ops.square(down), axis=(1, 2, 3)) + ops.mean(ops.square(right), axis=(1, 2, 3))


def _relative_error(values: Any, target: Any) -> Any:
    axes = tuple(range(1, len(target.shape)))
    scale = ops.mean(ops.square(target), axis=axes) + keras.config.epsilon()
    return ops.mean(ops.square(values - target), axis=axes) / scale


def weighted_losses(
    described: Mapping[str, Mapping[str, Any]],
    targets: Mapping[str, Mapping[str, Any]],
    images: Any,
    weights: Mapping[str, float],
    layer_weights: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The weighted losses of pictures and their sum.

    Args:
        described: what `style_transfer` says of the pictures.
        targets: the same of what they should become: `content` of one picture, `style` of another.
        images: the pictures `(batch, height, width, 3)`.
        weights: of `content`, `style` and `variation`.
        layer_weights: of the style's layers.

    Returns:
        `total`, `content`, `style` and `variation`, each `(batch,)`.
    """
    losses = {
        "content": weights["content"] * content_loss(described["content"], targets["content"]),
        "style": weights["style"] * style_loss(described["style"], targets["style"], layer_weights),
        "variation": weights["variation"] * total_variation(images),
    }
    return {"total": sum(losses.values()), **losses}
