"""BN-Inception: Ioffe & Szegedy 2015, arXiv:1502.03167."""

from typing import Any

import keras
from keras import layers

from keras_dl.registry import register
from keras_dl.vision.common import IMAGENET_MEAN, check_pooling, image_input, normalize, pool_features, predictions

# Figure 5: 1x1, 3x3 reduce, 3x3, double 3x3 reduce, double 3x3, pooling, its projection. Where the last
# is 0, the module halves the map and passes the pooling through. In 4c and 4d 96 channels of pooling make the 576 that
# the figure gives as their output; its 128 would make 608.
MODULES = {
    "3a": (64, 64, 64, 64, 96, "avg", 32),
    "3b": (64, 64, 96, 64, 96, "avg", 64),
    "3c": (0, 128, 160, 64, 96, "max", 0),
    "4a": (224, 64, 96, 96, 128, "avg", 128),
    "4b": (192, 96, 128, 96, 128, "avg", 128),
    "4c": (160, 128, 160, 128, 160, "avg", 96),
    "4d": (96, 128, 192, 160, 192, "avg", 96),
    "4e": (0, 128, 192, 192, 256, "max", 0),
    "5a": (352, 192, 320, 160, 224, "avg", 128),
    "5b": (352, 192, 320, 192, 224, "max", 128),
}


def conv_bn_relu(x: Any, filters: int, kernel: int, name: str, strides: int = 1) -> Any:
    x = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return bn_relu(x, name)


def bn_relu(x: Any, name: str) -> Any:
    return layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(name=f"{name}_bn")(x))


def inception_module(x: Any, widths: tuple, name: str) -> Any:
    """Section 4.2: the 5x5 convolution is two of 3x3; stride 2 in the last of each branch where the map halves."""
    n1x1, n3x3_reduce, n3x3, double_reduce, double, pooling, pool_proj = widths
    strides = 1 if pool_proj else 2
    x3 = conv_bn_relu(x, n3x3_reduce, 1, f"{name}_3x3_reduce")
    x3 = conv_bn_relu(x3, n3x3, 3, f"{name}_3x3", strides)
    xd = conv_bn_relu(x, double_reduce, 1, f"{name}_double3x3_reduce")
    xd = conv_bn_relu(xd, double, 3, f"{name}_double3x3_1")
    xd = conv_bn_relu(xd, double, 3, f"{name}_double3x3_2", strides)
    pool_layer = layers.AveragePooling2D if pooling == "avg" else layers.MaxPooling2D
    pool = pool_layer(3, strides, padding="same", name=f"{name}_pool")(x)
    branches = [x3, xd, conv_bn_relu(pool, pool_proj, 1, f"{name}_pool_proj") if pool_proj else pool]
    if n1x1:
        branches.insert(0, conv_bn_relu(x, n1x1, 1, f"{name}_1x1"))
    return layers.Concatenate(name=name)(branches)


@register(
    paper="Ioffe & Szegedy 2015, arXiv:1502.03167",
    task="image classification",
    parameters=11_208_192,
    small={"input_shape": (64, 64, 3), "num_classes": 5},
    stages=("conv1_relu", "conv2_relu", "inception_3b", "inception_4d", "inception_5b"),
)
def inception_bn(
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 1000,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    name: str | None = None,
) -> keras.Model:
    """BN-Inception (Ioffe & Szegedy 2015, figure 5), with the separable first convolution of section 4.2.

    Modules 4c and 4d end in 96 channels of pooling, as the figure's sums ask for; its table has 128.

    Args:
        include_top: with the global average pooling and the classifier.
        input_shape: `(height, width, channels)`, by default (224, 224, 3), at least 32 pixels.
        num_classes: width of the classifier.
        pooling: without the top: None for the feature map, `"avg"` or `"max"`.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255] RGB; otherwise RGB less the ImageNet mean.
        name: the model's name.

    Returns:
        Images `(batch, height, width, 3)` to probabilities `(batch, num_classes)`, or without top to
        features of 1/32 of the height and width. Reference count: 11,208,192.

    Raises:
        ValueError: for an unknown input shape or pooling.
    """
    check_pooling(pooling)
    inputs = image_input(input_shape, (224, 224, 3), minimum=32)
    x = normalize(inputs, IMAGENET_MEAN, (1.0, 1.0, 1.0)) if include_preprocessing else inputs
    x = layers.SeparableConv2D(64, 7, 2, padding="same", depth_multiplier=8, use_bias=False, name="conv1_conv")(x)
    x = bn_relu(x, "conv1")
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool1")(x)
    x = conv_bn_relu(x, 64, 1, "conv2_reduce")
    x = conv_bn_relu(x, 192, 3, "conv2")
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool2")(x)
    for block, widths in MODULES.items():
        x = inception_module(x, widths, f"inception_{block}")
    if include_top:
        x = predictions(pool_features(x, "avg"), num_classes, classifier_activation)
    else:
        x = pool_features(x, pooling)
    return keras.Model(inputs, x, name=name or "inception_bn")
