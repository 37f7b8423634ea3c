"""Inception v3: Szegedy et al. 2015, arXiv:1512.00567, with the widths of the published model."""

from typing import Any

import keras
from keras import layers

from keras_dl.registry import register
from keras_dl.vision.common import check_pooling, image_input, pool_features, predictions, preprocess


def conv_bn_relu(
    x: Any, filters: int, kernel: int | tuple[int, int], name: str, strides: int = 1, padding: str = "same"
) -> Any:
    x = layers.Conv2D(filters, kernel, strides, padding=padding, use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(scale=False, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def average_pool(x: Any, filters: int, name: str) -> Any:
    x = layers.AveragePooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
    return conv_bn_relu(x, filters, 1, f"{name}_pool_proj")


def module_35x35(x: Any, pool_proj: int, name: str) -> Any:
    """Figure 5: one 5x5 convolution becomes two of 3x3; the published model keeps another of 5x5 beside them."""
    x1 = conv_bn_relu(x, 64, 1, f"{name}_1x1")
    x5 = conv_bn_relu(x, 48, 1, f"{name}_5x5_reduce")
    x5 = conv_bn_relu(x5, 64, 5, f"{name}_5x5")
    x3 = conv_bn_relu(x, 64, 1, f"{name}_double3x3_reduce")
    x3 = conv_bn_relu(x3, 96, 3, f"{name}_double3x3_1")
    x3 = conv_bn_relu(x3, 96, 3, f"{name}_double3x3_2")
    return layers.Concatenate(name=name)([x1, x5, x3, average_pool(x, pool_proj, name)])


def module_17x17(x: Any, width: int, name: str) -> Any:
    """Figure 6: 7x7 convolutions factorised into 1x7 and 7x1."""
    x1 = conv_bn_relu(x, 192, 1, f"{name}_1x1")
    x7 = conv_bn_relu(x, width, 1, f"{name}_7x7_reduce")
    x7 = conv_bn_relu(x7, width, (1, 7), f"{name}_7x7_1")
    x7 = conv_bn_relu(x7, 192, (7, 1), f"{name}_7x7_2")
    xd = conv_bn_relu(x, width, 1, f"{name}_double7x7_reduce")
    xd = conv_bn_relu(xd, width, (7, 1), f"{name}_double7x7_1")
    xd = conv_bn_relu(xd, width, (1, 7), f"{name}_double7x7_2")
    xd = conv_bn_relu(xd, width, (7, 1), f"{name}_double7x7_3")
    xd = conv_bn_relu(xd, 192, (1, 7), f"{name}_double7x7_4")
    return layers.Concatenate(name=name)([x1, x7, xd, average_pool(x, 192, name)])


def module_8x8(x: Any, name: str) -> Any:
    """Figure 7: 3x3 convolutions spread into 1x3 and 3x1 side by side."""
    x1 = conv_bn_relu(x, 320, 1, f"{name}_1x1")
    x3 = spread(conv_bn_relu(x, 384, 1, f"{name}_3x3_reduce"), f"{name}_3x3")
    xd = conv_bn_relu(x, 448, 1, f"{name}_double3x3_reduce")
    xd = spread(conv_bn_relu(xd, 384, 3, f"{name}_double3x3_1"), f"{name}_double3x3_2")
    return layers.Concatenate(name=name)([x1, x3, xd, average_pool(x, 192, name)])


def spread(x: Any, name: str) -> Any:
    wide = conv_bn_relu(x, 384, (1, 3), f"{name}_1x3")
    tall = conv_bn_relu(x, 384, (3, 1), f"{name}_3x1")
    return layers.Concatenate(name=name)([wide, tall])


def reduction_to_17x17(x: Any, name: str) -> Any:
    """Figure 10: convolutions and a pooling of stride 2 side by side, so that no bottleneck arises."""
    x3 = conv_bn_relu(x, 384, 3, f"{name}_3x3", 2, "valid")
    xd = conv_bn_relu(x, 64, 1, f"{name}_double3x3_reduce")
    xd = conv_bn_relu(xd, 96, 3, f"{name}_double3x3_1")
    xd = conv_bn_relu(xd, 96, 3, f"{name}_double3x3_2", 2, "valid")
    pool = layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x)
    return layers.Concatenate(name=name)([x3, xd, pool])


def reduction_to_8x8(x: Any, name: str) -> Any:
    x3 = conv_bn_relu(x, 192, 1, f"{name}_3x3_reduce")
    x3 = conv_bn_relu(x3, 320, 3, f"{name}_3x3", 2, "valid")
    x7 = conv_bn_relu(x, 192, 1, f"{name}_7x7_reduce")
    x7 = conv_bn_relu(x7, 192, (1, 7), f"{name}_7x7_1")
    x7 = conv_bn_relu(x7, 192, (7, 1), f"{name}_7x7_2")
    x7 = conv_bn_relu(x7, 192, 3, f"{name}_7x7_3x3", 2, "valid")
    pool = layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x)
    return layers.Concatenate(name=name)([x3, x7, pool])


def auxiliary_head(x: Any, num_classes: int, activation: str | None, name: str) -> Any:
    """Figure 8, on the last 17x17 map, with batch normalisation of the dense layer too (section 4)."""
    x = layers.AveragePooling2D(5, 3, name=f"{name}_pool")(x)
    x = conv_bn_relu(x, 128, 1, name)
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = layers.Dense(1024, use_bias=False, name=f"{name}_fc")(x)
    x = layers.BatchNormalization(scale=False, name=f"{name}_fc_bn")(x)
    x = layers.ReLU(name=f"{name}_fc_relu")(x)
    return predictions(x, num_classes, activation, name=f"{name}_predictions")


@register(
    paper="Szegedy et al. 2015, arXiv:1512.00567",
    task="image classification",
    parameters=23_851_784,
    small={"input_shape": (75, 75, 3), "num_classes": 5},
    stages=("conv3_relu", "conv5_relu", "mixed2", "mixed7", "mixed10"),
    imagenet="InceptionV3",
)
def inception_v3(
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 1000,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    auxiliary_heads: bool = False,
    name: str | None = None,
) -> keras.Model:
    """Inception v3 (Szegedy et al. 2015, table 1). Module outputs are named as in keras.applications.

    Args:
        include_top: with the global average pooling and the classifier.
        input_shape: `(height, width, channels)`, by default (299, 299, 3), at least 75 pixels,
            with auxiliary heads 107.
        num_classes: width of the classifier.
        pooling: without the top: None for the feature map, `"avg"` or `"max"`.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255] RGB; otherwise scaled to [-1, 1].
        auxiliary_heads: for training: classify the last 17x17 map as well, see
            `keras_dl.vision.auxiliary`.
        name: the model's name.

    Returns:
        Images `(batch, height, width, 3)` to probabilities `(batch, num_classes)`; with the auxiliary
        head to a dictionary of two; without top to features of about 1/32 of the height and width.
        Reference count: 23,851,784.

    Raises:
        ValueError: for an unknown input shape or pooling, or an auxiliary head without a top or
            without a fixed input size.
    """
    check_pooling(pooling)
    inputs = image_input(input_shape, (299, 299, 3), minimum=107 if auxiliary_heads else 75)
    if auxiliary_heads and (not include_top or None in inputs.shape[1:]):
        raise ValueError("auxiliary heads need include_top=True and a fixed input_shape")

    heads = {}
    x = preprocess(inputs, "tf") if include_preprocessing else inputs
    x = conv_bn_relu(x, 32, 3, "conv1", 2, "valid")
    x = conv_bn_relu(x, 32, 3, "conv2", 1, "valid")
    x = conv_bn_relu(x, 64, 3, "conv3")
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    x = conv_bn_relu(x, 80, 1, "conv4", 1, "valid")
    x = conv_bn_relu(x, 192, 3, "conv5", 1, "valid")
    x = layers.MaxPooling2D(3, 2, name="pool2")(x)
    for i, pool_proj in enumerate((32, 64, 64)):
        x = module_35x35(x, pool_proj, f"mixed{i}")
    x = reduction_to_17x17(x, "mixed3")
    for i, width in enumerate((128, 160, 160, 192), 4):
        x = module_17x17(x, width, f"mixed{i}")
    if auxiliary_heads:
        heads["auxiliary"] = auxiliary_head(x, num_classes, classifier_activation, "auxiliary")
    x = reduction_to_8x8(x, "mixed8")
    for i in (9, 10):
        x = module_8x8(x, f"mixed{i}")
    if include_top:
        x = predictions(pool_features(x, "avg"), num_classes, classifier_activation)
    else:
        x = pool_features(x, pooling)
    return keras.Model(inputs, {"predictions": x, **heads} if heads else x, name=name or "inception_v3")
