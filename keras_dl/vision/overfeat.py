"""OverFeat: Sermanet et al. 2013, arXiv:1312.6229."""

from typing import Any

import keras
from keras import layers

from keras_dl.registry import register
from keras_dl.vision.common import image_input, pool_features, preprocess

STRIDE = 32  # pixels between neighbouring windows
WINDOWS = {"valid": 327, "same": 231}  # side in pixels of what one place of the score map sees


def conv(x: Any, filters: int, kernel: int, strides: int, padding: str, name: str) -> Any:
    return layers.Conv2D(filters, kernel, strides, padding, activation="relu", name=name)(x)


@register(
    paper="Sermanet et al. 2013, arXiv:1312.6229",
    task="image classification",
    parameters=145_920_872,
    small={
        "input_shape": (231, 231, 3),
        "num_classes": 5,
        "filters": (8, 16, 16, 32, 32),
        "dense_units": (32, 32),
        "padding": "same",
        "pooling": "max",
    },
    stages=("conv1", "conv2", "conv5"),
)
def overfeat(
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 1000,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    filters: tuple[int, int, int, int, int] = (96, 256, 512, 1024, 1024),
    dense_units: tuple[int, int] = (3072, 4096),
    dropout: float = 0.5,
    padding: str = "valid",
    name: str | None = None,
) -> keras.Model:
    """OverFeat's fast model (Sermanet et al. 2013, table 1): a classifier that slides over larger images.

    Its dense layers are convolutions, so an image larger than one window gives a map of class scores
    at the cost of one pass: place (i, j) is the answer for the window whose corner is at pixel
    (32 i, 32 j) (section 3.5). `fc6` has the 6x6 kernel of a dense layer on a 6x6 map, `fc7` and
    `predictions` are 1x1.

    The paper pads layers 3 to 5 with zeros. A window inside a larger image has neighbours there
    instead, so that its scores are not those of the window cropped. By default, therefore, these layers do
    not pad: a window is the paper's 231 pixels and 48 more on each side, 327, and the map equals
    cropping and classifying exactly. `padding="same"` gives the paper's layers, and the same weights fit.

    Args:
        include_top: with the classifier (layers 6 to 8).
        input_shape: `(height, width, channels)`, by default (None, None, 3): any size from one window.
        num_classes: width of the classifier.
        pooling: None for the map; `"max"` for the largest score of each class over the windows
            (section 3.3) or `"avg"` for their mean, before the activation. Without the top, as in
            other architectures.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255] RGB; otherwise zero mean and unit deviation per channel.
        filters: width of each of the five convolutions.
        dense_units: width of layers 6 and 7.
        dropout: rate after each of these two.
        padding: `"valid"`, or `"same"` as in the paper, of layers 3 to 5.
        name: the model's name.

    Returns:
        Images `(batch, height, width, 3)` to probabilities `(batch, rows, columns, num_classes)` with
        `rows = (height - window) // 32 + 1`, or `(batch, num_classes)` with pooling; without the top to
        features. Reference count: 145,920,872.

    Raises:
        ValueError: for an image smaller than a window, an unknown pooling or padding, or too few or many widths.
    """
    if padding not in WINDOWS:
        raise ValueError(f"padding is 'valid' or 'same'; got {padding!r}")
    if len(filters) != 5 or len(dense_units) != 2:
        raise ValueError(f"filters are five widths and dense_units two; got {filters} and {dense_units}")
    # Without the top a 1x1 map is enough, five places of stride 32 less than the 6x6 that layer 6 takes.
    inputs = image_input(input_shape, (None, None, 3), minimum=WINDOWS[padding] - (0 if include_top else 5 * STRIDE))
    x = preprocess(inputs, "torch") if include_preprocessing else inputs
    x = conv(x, filters[0], 11, 4, "valid", "conv1")
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = conv(x, filters[1], 5, 1, "valid", "conv2")
    x = layers.MaxPooling2D(2, name="pool2")(x)
    for i, width in enumerate(filters[2:], 3):
        x = conv(x, width, 3, 1, padding, f"conv{i}")
    x = layers.MaxPooling2D(2, name="pool5")(x)
    if include_top:
        for i, kernel, units in ((6, 6, dense_units[0]), (7, 1, dense_units[1])):
            x = conv(x, units, kernel, 1, "valid", f"fc{i}")
            x = layers.Dropout(dropout, name=f"dropout{i}")(x)
        x = layers.Conv2D(num_classes, 1, dtype="float32", name="predictions")(x)
        x = layers.Activation(classifier_activation, dtype="float32", name="scores")(
            pool_features(x, pooling, "float32")
        )
    else:
        x = pool_features(x, pooling)
    return keras.Model(inputs, x, name=name or "overfeat")
