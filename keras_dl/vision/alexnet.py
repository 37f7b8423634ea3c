"""AlexNet: Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks"."""

from typing import Any

import keras
from keras import layers

from keras_dl.layers import LocalResponseNormalization
from keras_dl.registry import register
from keras_dl.vision.common import (
    check_pooling,
    dense_dropout,
    flatten,
    image_input,
    pool_features,
    predictions,
    preprocess,
)


def conv(x: Any, filters: int, kernel: int, groups: int, name: str) -> Any:
    """A convolution in groups (the paper's two GPUs): each sees its own part of the channels.

    Split by hand, since Keras compiles `Conv2D(groups=...)` with XLA, which a server may lack.
    """
    if groups == 1:
        return layers.Conv2D(filters, kernel, padding="same", activation="relu", name=name)(x)
    towers = [
        layers.Conv2D(filters // groups, kernel, padding="same", activation="relu", name=f"{name}_{i}")(part)
        for i, part in enumerate(keras.ops.split(x, groups, axis=-1), 1)
    ]
    return layers.Concatenate(name=name)(towers)


@register(
    paper="Krizhevsky et al. 2012, NIPS 25",
    task="image classification",
    parameters=60_965_224,
    small={"input_shape": (67, 67, 3), "num_classes": 5, "dense_units": 32},
    stages=("conv1", "conv2", "conv5"),
)
def alexnet(
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 1000,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    groups: int = 2,
    dense_units: int = 4096,
    dropout: float = 0.5,
    name: str | None = None,
) -> keras.Model:
    """AlexNet (Krizhevsky et al. 2012, section 3.5 and figure 2), by default in the two groups of the paper.

    Second, fourth and fifth convolution are in groups, the third sees all channels. Local response
    normalisation runs over the channels of both groups. Weights start from Keras's defaults in place of the paper's
    normal distribution of deviation 0.01 and biases of 1 (section 5), from which it learns nothing in a hundred steps.

    Args:
        include_top: with the three dense layers, which fix the input size.
        input_shape: `(height, width, channels)`, by default (227, 227, 3), at least 67 pixels: the
            paper's 224 do not fit its own 55x55 map.
        num_classes: width of the classifier.
        pooling: without the top: None for the feature map, `"avg"` or `"max"`.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255] RGB; otherwise BGR less the ImageNet mean.
        groups: 2, or 1 for the single tower.
        dense_units: width of the two hidden dense layers.
        dropout: rate after each of them.
        name: the model's name.

    Returns:
        Images `(batch, height, width, 3)` to probabilities `(batch, num_classes)`, or without top to a
        map `(batch, 6, 6, 256)` for the default size. Reference count: 60,965,224; 62,378,344 with one group.

    Raises:
        ValueError: for an input shape below 67 pixels, an unknown pooling, or another number of groups.
    """
    if groups not in (1, 2):
        raise ValueError(f"groups is 1 or 2; got {groups}")
    check_pooling(pooling)
    inputs = image_input(input_shape, (227, 227, 3), minimum=67)
    x = preprocess(inputs, "caffe") if include_preprocessing else inputs
    x = layers.Conv2D(96, 11, strides=4, activation="relu", name="conv1")(x)
    x = LocalResponseNormalization(name="norm1")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    x = conv(x, 256, 5, groups, "conv2")
    x = LocalResponseNormalization(name="norm2")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool2")(x)
    x = conv(x, 384, 3, 1, "conv3")
    x = conv(x, 384, 3, groups, "conv4")
    x = conv(x, 256, 3, groups, "conv5")
    x = layers.MaxPooling2D(3, strides=2, name="pool5")(x)
    if include_top:
        x = flatten(x)
        x = dense_dropout(x, dense_units, dropout, 6)
        x = dense_dropout(x, dense_units, dropout, 7)
        x = predictions(x, num_classes, classifier_activation)
    else:
        x = pool_features(x, pooling)
    return keras.Model(inputs, x, name=name or "alexnet")
