"""Network in network: Lin, Chen & Yan 2013, arXiv:1312.4400."""

from typing import Any

import keras
from keras import layers

from keras_dl.registry import register
from keras_dl.vision.common import CIFAR_MEAN, CIFAR_STD, check_pooling, image_input, normalize, pool_features


def mlpconv(x: Any, filters: int, kernel: int, hidden: tuple[int, ...], name: str) -> Any:
    """Equation 2: a convolution, then a perceptron over channels at each place, as 1x1 convolutions."""
    x = layers.Conv2D(filters, kernel, padding="same", activation="relu", name=f"{name}_conv")(x)
    for i, width in enumerate(hidden, 1):
        x = layers.Conv2D(width, 1, activation="relu", name=f"{name}_cccp{i}")(x)
    return x


@register(
    paper="Lin et al. 2013, arXiv:1312.4400",
    task="image classification",
    parameters=966_986,
    small={"input_shape": (16, 16, 3), "num_classes": 5},
    stages=("mlpconv1_cccp2", "mlpconv2_cccp2", "mlpconv3_cccp1"),
)
def nin(
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 10,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    dropout: float = 0.5,
    name: str | None = None,
) -> keras.Model:
    """Network in network for CIFAR-10 (Lin et al. 2013, figure 2 and section 4.1; widths and poolings of the authors).

    Three mlpconv layers; the last has one map per class, whose averages are the logits: no dense layer. Weights start
    from Keras's defaults in place of the authors' normal distribution: from either, the map of a class may start as
    zero everywhere, which leaves it without a gradient.

    Args:
        include_top: with the maps per class and their global average.
        input_shape: `(height, width, channels)`, by default (32, 32, 3); any size works.
        num_classes: number of maps of the last layer.
        pooling: without the top: None for the feature map, `"avg"` or `"max"`.
        classifier_activation: `"softmax"`, `"sigmoid"`, for which the last maps have no ReLU, or None for logits, which
            are never negative: the ReLU comes before the average.
        include_preprocessing: take [0, 255] RGB; otherwise zero mean and unit deviation per channel.
        dropout: rate after the first two mlpconv layers.
        name: the model's name.

    Returns:
        Images `(batch, height, width, 3)` to probabilities `(batch, num_classes)`, or without top to
        features of 1/4 of the height and width. Reference count: 966,986.

    Raises:
        ValueError: for a wrong input shape or an unknown pooling.
    """
    check_pooling(pooling)
    inputs = image_input(input_shape, (32, 32, 3))
    x = normalize(inputs, CIFAR_MEAN, CIFAR_STD) if include_preprocessing else inputs
    x = mlpconv(x, 192, 5, (160, 96), "mlpconv1")
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)
    x = layers.Dropout(dropout, name="dropout1")(x)
    x = mlpconv(x, 192, 5, (192, 192), "mlpconv2")
    x = layers.AveragePooling2D(3, strides=2, padding="same", name="pool2")(x)
    x = layers.Dropout(dropout, name="dropout2")(x)
    x = mlpconv(x, 192, 3, (192,), "mlpconv3")
    if include_top:
        # A sigmoid of what a ReLU leaves is never below 0.5: every class would always be predicted.
        sigmoid = keras.activations.get(classifier_activation) is keras.activations.sigmoid
        maps = layers.Conv2D(
            num_classes, 1, activation=None if sigmoid else "relu", dtype="float32", name="predictions"
        )
        x = maps(x)
        x = layers.Activation(classifier_activation, dtype="float32", name="scores")(pool_features(x, "avg", "float32"))
    else:
        x = pool_features(x, pooling)
    return keras.Model(inputs, x, name=name or "nin")
