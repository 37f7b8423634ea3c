"""SPP-net: He, Zhang, Ren & Sun 2014, arXiv:1406.4729."""

from collections.abc import Sequence

import keras
from keras import layers

from keras_dl.layers import LocalResponseNormalization, SpatialPyramidPooling
from keras_dl.registry import register
from keras_dl.vision.common import check_pooling, dense_dropout, image_input, pool_features, predictions, preprocess


@register(
    paper="He et al. 2014, arXiv:1406.4729",
    task="image classification",
    parameters=77_037_672,
    small={"input_shape": (64, 64, 3), "num_classes": 5, "dense_units": 32},
    stages=("conv1", "conv2", "conv5"),
)
def sppnet(
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 1000,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    levels: Sequence[int] = (6, 3, 2, 1),
    dense_units: int = 4096,
    dropout: float = 0.5,
    name: str | None = None,
) -> keras.Model:
    """SPP-net on the base net ZF-5 (He et al. 2014, table 1), for images of any size.

    A pyramid of 50 bins takes the place of the last pooling, so that the dense layers see the same
    12,800 features whatever the size of the image. The constants of local response normalisation, which the paper
    leaves open, are those of Krizhevsky et al. 2012.

    Args:
        include_top: with the pyramid and the three dense layers.
        input_shape: `(height, width, channels)`, by default (None, None, 3): any size from 21 pixels.
        num_classes: width of the classifier.
        pooling: without the top: None for the feature map, `"avg"` or `"max"`.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255] RGB; otherwise BGR less the ImageNet mean.
        levels: bins a side of each grid of the pyramid.
        dense_units: width of the two hidden dense layers.
        dropout: rate after each of them.
        name: the model's name.

    Returns:
        Images `(batch, height, width, 3)` to probabilities `(batch, num_classes)`, or without top to a
        map of 256 channels: 13x13 for 224x224. Reference count: 77,037,672.

    Raises:
        ValueError: for an input shape below 21 pixels, an unknown pooling or wrong levels.
    """
    check_pooling(pooling)
    inputs = image_input(input_shape, (None, None, 3), minimum=21)
    x = preprocess(inputs, "caffe") if include_preprocessing else inputs
    x = layers.ZeroPadding2D(1, name="conv1_pad")(x)
    x = layers.Conv2D(96, 7, strides=2, activation="relu", name="conv1")(x)
    x = LocalResponseNormalization(name="norm1")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)
    x = layers.Conv2D(256, 5, strides=2, activation="relu", name="conv2")(x)
    x = LocalResponseNormalization(name="norm2")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool2")(x)
    for i, filters in enumerate((384, 384, 256), 3):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{i}")(x)
    if include_top:
        x = SpatialPyramidPooling(levels, name="pyramid")(x)
        x = dense_dropout(x, dense_units, dropout, 6)
        x = dense_dropout(x, dense_units, dropout, 7)
        x = predictions(x, num_classes, classifier_activation)
    else:
        x = pool_features(x, pooling)
    return keras.Model(inputs, x, name=name or "sppnet")
