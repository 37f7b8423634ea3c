"""VGG: Simonyan & Zisserman 2014, arXiv:1409.1556."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_dl.registry import register
from keras_dl.vision.common import (
    CIFAR_MEAN,
    CIFAR_STD,
    check_pooling,
    dense_dropout,
    flatten,
    image_input,
    normalize,
    pool_features,
    predictions,
    preprocess,
)

VARIANTS = {  # table 1, columns A, B, D and E: 3x3 convolutions in each of the five blocks
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
WIDTHS = (64, 128, 256, 512, 512)
CIFAR_WIDTHS = (32, 64, 128, 256, 256)


def conv_block(x: Any, filters: int, convolutions: int, name: str, batch_norm: bool = False) -> Any:
    for i in range(1, convolutions + 1):
        x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv{i}")(x)
        if batch_norm:
            x = layers.BatchNormalization(name=f"{name}_bn{i}")(x)
        x = layers.ReLU(name=f"{name}_relu{i}")(x)
    return layers.MaxPooling2D(2, name=f"{name}_pool")(x)


@register(
    paper="Simonyan & Zisserman 2014, arXiv:1409.1556",
    task="image classification",
    parameters={
        "vgg11": 132_863_336,
        "vgg13": 133_047_848,
        "vgg16": 138_357_544,
        "vgg19": 143_667_240,
    },
    small={"input_shape": (32, 32, 3), "num_classes": 5, "dense_units": 32},
    stages={
        name: tuple(f"block{block}_relu{n}" for block, n in enumerate(convolutions, 1))
        for name, convolutions in VARIANTS.items()
    },
    imagenet={"vgg16": "VGG16", "vgg19": "VGG19"},
)
def vgg(
    variant: str = "vgg16",
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 1000,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    dense_units: int = 4096,
    dropout: float = 0.5,
    name: str | None = None,
) -> keras.Model:
    """VGG-11 to 19 (Simonyan & Zisserman 2014, table 1, columns A, B, D and E).

    Layers are named as in keras.applications.

    Args:
        variant: a key of `VARIANTS`.
        include_top: with the three dense layers, which fix the input size.
        input_shape: `(height, width, channels)`, by default (224, 224, 3), at least 32 pixels.
        num_classes: width of the classifier.
        pooling: without the top: None for the feature map, `"avg"` or `"max"`.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255] RGB; otherwise BGR less the ImageNet mean.
        dense_units: width of the two hidden dense layers.
        dropout: rate after each of them (section 3.1).
        name: the model's name, by default the variant's.

    Returns:
        Images `(batch, height, width, 3)` to probabilities `(batch, num_classes)`, or without top to
        features of 1/32 of the height and width. Reference count: 138,357,544 for VGG-16.

    Raises:
        ValueError: for an unknown variant, input shape or pooling.
    """
    check_pooling(pooling)
    inputs = image_input(input_shape, (224, 224, 3), minimum=32)
    x = preprocess(inputs, "caffe") if include_preprocessing else inputs
    for block, (filters, convolutions) in enumerate(zip(WIDTHS, VARIANTS[variant], strict=True), 1):
        x = conv_block(x, filters, convolutions, f"block{block}")
    if include_top:
        x = flatten(x)
        for i in (1, 2):
            x = dense_dropout(x, dense_units, dropout, i)
        x = predictions(x, num_classes, classifier_activation)
    else:
        x = pool_features(x, pooling)
    return keras.Model(inputs, x, name=name or variant)


NET_A_LAYERS = (  # section 3.1: net A's first four convolutions and its dense layers start the deeper nets
    "block1_conv1",
    "block2_conv1",
    "block3_conv1",
    "block3_conv2",
    "fc1",
    "fc2",
    "predictions",
)


def growth(model: keras.Model, variant: str, keep: Sequence[str] | None = NET_A_LAYERS) -> keras.Model:
    """A deeper VGG that starts from a trained shallower one (Simonyan & Zisserman 2014, section 3.1).

    Train `vgg("vgg11")`, then `growth(model, "vgg16")`, and train on. The layers in between start at random.

    Args:
        model: what `vgg` built, trained; it stays as it is.
        variant: a key of `VARIANTS` with at least as many convolutions in each block, and more in one.
        keep: names of the layers whose weights go over, by default the paper's (without its dense
            layers if `model` has no top). None stands for all of `model`.

    Returns:
        The new model, with the input, top and width of `model`.

    Raises:
        ValueError: if `model` is no VGG, `variant` is unknown or not deeper, or `model` lacks a layer of
            `keep`.
    """
    old = {layer.name: layer for layer in model.layers}
    depths = tuple(sum(name.startswith(f"block{block}_conv") for name in old) for block in range(1, 6))
    if depths not in VARIANTS.values() or old["block1_conv1"].filters != 64:
        raise ValueError(f"{model.name!r} is not what `vgg` builds: its blocks have other depths or widths")
    if "predictions" in old and "dropout1" not in old:
        raise ValueError(f"{model.name!r} is not what `vgg` builds: its dense layers have no dropout")
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; choose from {', '.join(VARIANTS)}")
    if depths == VARIANTS[variant] or any(a > b for a, b in zip(depths, VARIANTS[variant], strict=True)):
        raise ValueError(f"{variant} is not deeper than {model.name!r}, whose blocks have {depths} convolutions")
    arguments = {"pooling": next((name[:3] for name in old if name in ("avg_pool", "max_pool")), None)}
    if "predictions" in old:
        arguments = {
            "num_classes": old["predictions"].units,
            "classifier_activation": keras.activations.serialize(old["predictions"].activation),
            "dense_units": old["fc1"].units,
            "dropout": old["dropout1"].rate,
        }
    deeper = vgg(
        variant,
        include_top="predictions" in old,
        input_shape=model.input_shape[1:],
        include_preprocessing="preprocessing" in old,
        **arguments,
    )
    for name in old if keep is None else keep:
        if name in old:
            deeper.get_layer(name).set_weights(old[name].get_weights())
        elif keep is not NET_A_LAYERS:
            raise ValueError(f"{model.name!r} has no layer {name!r} to keep")
    return deeper


@register(
    paper="Simonyan & Zisserman 2014, arXiv:1409.1556, scaled to 32x32 images",
    task="image classification",
    parameters=2_354_986,
    small={"num_classes": 5},
    stages=tuple(f"block{block}_relu2" for block in range(1, 6)),
    builtin=("vgg13_cifar",),
)
def vgg13_cifar(
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 10,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    batch_norm: bool = False,
    name: str | None = None,
) -> keras.Model:
    """VGG-13's five blocks at half width or less and one dense layer: small enough for the package to carry.

    It is trained with batch normalisation, which is then folded into the convolutions, so that what
    style transfer looks through is convolutions and ReLUs alone.

    Args:
        include_top: with global average pooling and the classifier.
        input_shape: `(height, width, channels)`, by default (32, 32, 3), at least 32 pixels.
        num_classes: width of the classifier.
        pooling: without the top: None for the feature map, `"avg"` or `"max"`.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255] RGB; otherwise zero mean and unit deviation per channel.
        batch_norm: normalise after each convolution, as the training does.
        name: the model's name.

    Returns:
        Images `(batch, height, width, 3)` to probabilities `(batch, num_classes)`, or without top to
        features of 1/32 of the height and width. Reference count: 2,354,986.

    Raises:
        ValueError: for an input shape below 32 pixels or an unknown pooling.
    """
    check_pooling(pooling)
    inputs = image_input(input_shape, (32, 32, 3), minimum=32)
    x = normalize(inputs, CIFAR_MEAN, CIFAR_STD) if include_preprocessing else inputs
    for block, filters in enumerate(CIFAR_WIDTHS, 1):
        x = conv_block(x, filters, 2, f"block{block}", batch_norm)
    if include_top:
        x = predictions(pool_features(x, "avg"), num_classes, classifier_activation)
    else:
        x = pool_features(x, pooling)
    return keras.Model(inputs, x, name=name or "vgg13_cifar")
