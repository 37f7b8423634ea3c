"""Darknet-19 and Darknet-53: Redmon & Farhadi 2016, arXiv:1612.08242, and 2018, arXiv:1804.02767."""

from typing import Any

import keras
from keras import layers

from keras_dl.registry import register
from keras_dl.vision.common import check_pooling, image_input, pool_features, preprocess

# Blocks between poolings: filters of convolutions that alternate between 3x3 and 1x1 (2016, table 6).
DARKNET19 = ((32,), (64,), (128, 64, 128), (256, 128, 256), (512, 256, 512, 256, 512), (1024, 512, 1024, 512, 1024))
DARKNET53 = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))  # 2018, table 1: filters and residual blocks


def activation_layer(activation: str, name: str) -> layers.Layer:
    """`"leaky"` (slope 0.1), or what Keras knows."""
    if activation == "leaky":
        return layers.LeakyReLU(0.1, name=name)
    return layers.Activation(activation, name=name)


def conv_bn(
    x: Any,
    filters: int,
    kernel: int,
    strides: int = 1,
    activation: str = "leaky",
    epsilon: float = 1e-5,
    *,
    name: str,
) -> Any:
    """Convolution without bias, batch normalisation, activation. With strides it pads alike on both sides."""
    if strides > 1:
        x = layers.ZeroPadding2D((kernel - 1) // 2, name=f"{name}_pad")(x)
    padding = "valid" if strides > 1 else "same"
    x = layers.Conv2D(filters, kernel, strides, padding, use_bias=False, name=f"{name}_conv")(x)
    # Statistics that forget within some hundred and fifty steps: detectors are often fine-tuned on few pictures.
    x = layers.BatchNormalization(momentum=0.97, epsilon=epsilon, name=f"{name}_bn")(x)
    return activation_layer(activation, name)(x)


def darknet19_body(x: Any, width: float = 1.0) -> list[Any]:
    """The 18 convolutions before the classifier: the maps that end each block, from 1/1 to 1/32 of the sides."""
    maps = []
    for block, widths in enumerate(DARKNET19, 1):
        if block > 1:
            x = layers.MaxPooling2D(2, name=f"pool{block - 1}")(x)
        for i, filters in enumerate(widths, 1):
            x = conv_bn(x, int(filters * width), 3 if i % 2 else 1, name=f"block{block}_{i}")
        maps.append(x)
    return maps


def residual_block(x: Any, filters: int, name: str) -> Any:
    y = conv_bn(x, filters // 2, 1, name=f"{name}_1")
    y = conv_bn(y, filters, 3, name=f"{name}_2")
    return layers.Add(name=f"{name}_out")([x, y])


def darknet53_body(x: Any, width: float = 1.0) -> list[Any]:
    """The 52 convolutions before the classifier: the maps that end each stage, from 1/2 to 1/32 of the sides."""
    maps = []
    x = conv_bn(x, int(32 * width), 3, name="stem")
    for stage, (filters, blocks) in enumerate(DARKNET53, 1):
        x = conv_bn(x, int(filters * width), 3, 2, name=f"stage{stage}_down")
        for i in range(1, blocks + 1):
            x = residual_block(x, int(filters * width), f"stage{stage}_block{i}")
        maps.append(x)
    return maps


DARKNET19_STAGES = tuple(f"block{block}_{len(widths)}" for block, widths in enumerate(DARKNET19, 1))
DARKNET53_STAGES = tuple(f"stage{stage}_block{blocks}_out" for stage, (_, blocks) in enumerate(DARKNET53, 1))
BODIES = {"darknet19": darknet19_body, "darknet53": darknet53_body}


@register(
    paper="Redmon & Farhadi 2016, arXiv:1612.08242, and 2018, arXiv:1804.02767",
    task="image classification",
    parameters={"darknet19": 20_856_776, "darknet53": 41_645_640},
    small={"input_shape": (64, 64, 3), "num_classes": 5, "width": 0.125},
    stages={"darknet19": DARKNET19_STAGES, "darknet53": DARKNET53_STAGES},
)
def darknet(
    variant: str = "darknet53",
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 1000,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    width: float = 1.0,
    name: str | None = None,
) -> keras.Model:
    """The classifiers below YOLOv2 (Darknet-19: 2016, table 6) and YOLOv3 (Darknet-53: 2018, table 1).

    Darknet-19 averages a map of class scores, which its last 1x1 convolution gives; Darknet-53 averages features,
    then classifies. That is one linear map in either order, and both are written as the paper's table has them.

    Args:
        variant: `"darknet19"` or `"darknet53"`.
        include_top: with the classifier.
        input_shape: `(height, width, channels)`, by default (224, 224, 3) or (256, 256, 3), at least 32 pixels.
        num_classes: width of the classifier.
        pooling: without the top: None for the feature map, `"avg"` or `"max"`.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255]; otherwise [0, 1].
        width: factor of all channel counts below the top.
        name: the model's name, by default the variant's.

    Returns:
        Images `(batch, height, width, 3)` to probabilities `(batch, num_classes)`, or without top to features of
        1/32 of the height and width. Reference counts: 20,856,776 and 41,645,640, of which 20,842,376 and
        41,609,928 are trained.

    Raises:
        ValueError: for an unknown variant, input shape or pooling.
    """
    side = {"darknet19": 224, "darknet53": 256}[variant]
    check_pooling(pooling)
    inputs = image_input(input_shape, (side, side, 3), minimum=32)
    x = preprocess(inputs, "unit") if include_preprocessing else inputs
    x = BODIES[variant](x, width)[-1]
    if not include_top:
        x = pool_features(x, pooling)
    elif variant == "darknet19":
        x = layers.Conv2D(num_classes, 1, dtype="float32", name="predictions")(x)
        x = layers.Activation(classifier_activation, dtype="float32", name="scores")(pool_features(x, "avg", "float32"))
    else:
        x = layers.Dense(num_classes, activation=classifier_activation, dtype="float32", name="predictions")(
            pool_features(x, "avg")
        )
    return keras.Model(inputs, x, name=name or variant)
