"""Spatial transformer network: Jaderberg et al. 2015, arXiv:1506.02025."""

from typing import Any

import keras
from keras import layers

from keras_dl.errors import UserError
from keras_dl.layers.spatial_transformer import AffineGrid, BilinearSampler
from keras_dl.registry import register
from keras_dl.vision.common import check_pooling, image_input, pool_features, predictions, preprocess

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def localisation_net(x: Any, filters: int, units: int) -> Any:
    """Section 3.1: any network that ends in a regression of theta; here two convolutions and a dense layer.

    The transform starts as the identity plus a thousandth: with a kernel of zeros instead, no gradient would reach
    the layers before it.
    """
    for i in (1, 2):
        x = layers.MaxPooling2D(2, padding="same", name=f"localisation_pool{i}")(x)
        x = layers.Conv2D(filters, 5, padding="same", activation="relu", name=f"localisation_conv{i}")(x)
    x = layers.Flatten(name="localisation_flatten")(x)
    x = layers.Dense(units, activation="relu", name="localisation_fc")(x)
    near_zero = keras.initializers.RandomNormal(stddev=1e-3)
    x = layers.Dense(6, kernel_initializer=near_zero, dtype="float32", name="localisation_offsets")(x)
    return layers.Rescaling([1.0] * 6, IDENTITY, dtype="float32", name="theta")(x)


def convolutional_features(x: Any) -> Any:
    """What looks at the transformed image: two convolutions, each followed by a max pooling."""
    for i, filters in enumerate((32, 64), 1):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{i}")(x)
        x = layers.MaxPooling2D(2, padding="same", name=f"pool{i}")(x)
    return x


@register(
    paper="Jaderberg et al. 2015, arXiv:1506.02025",
    task="image classification",
    parameters=3_943_938,
    small={"input_shape": (16, 16, 1), "num_classes": 5, "dense_units": 16},
    stages=("transformed", "pool1", "pool2"),
)
def spatial_transformer(
    include_top: bool = True,
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int = 10,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    output_size: tuple[int, int] | None = None,
    padding: str = "zeros",
    localisation_filters: int = 20,
    localisation_units: int = 50,
    dense_units: int = 256,
    name: str | None = None,
) -> keras.Model:
    """A convolutional classifier that first moves, turns and scales its input as it likes (figure 2).

    The layer `theta` gives the transform `(batch, 6)` of each image, `transformed` the image that the classifier
    sees: the identity at first, and trained by nothing but the classifier's loss.

    Args:
        include_top: with the dense layers and the classifier.
        input_shape: `(height, width, channels)`, by default (60, 60, 1), the cluttered digits of section 4.1.
        num_classes: width of the classifier.
        pooling: without the top: None for the feature map, `"avg"` or `"max"`.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255]; otherwise [0, 1].
        output_size: `(height, width)` of the transformed image, by default the input's; a smaller one makes the
            transformer attend to a part, or see the whole more coarsely (section 3.2).
        padding: what lies outside the image, `"zeros"` or `"border"`.
        localisation_filters: width of the two convolutions of the localisation net.
        localisation_units: width of its dense layer.
        dense_units: width of the classifier's hidden layer.
        name: the model's name.

    Returns:
        Images `(batch, height, width, channels)` to probabilities `(batch, num_classes)`, or without top to
        features of 1/4 of the transformed image's sides. Reference count: 3,943,938.

    Raises:
        ValueError: for an input shape whose height or width is unknown or below 4, an unknown padding or pooling.
    """
    check_pooling(pooling)
    inputs = image_input(input_shape, (60, 60, 1), minimum=4)
    if None in inputs.shape[1:]:
        raise UserError(f"spatial_transformer needs a fixed height and width; got {inputs.shape[1:]}")
    x = preprocess(inputs, "unit") if include_preprocessing else inputs
    theta = localisation_net(x, localisation_filters, localisation_units)
    grid = AffineGrid(*(output_size or inputs.shape[1:3]), name="grid")(theta)
    x = BilinearSampler(padding, name="transformed")(x, grid)
    x = convolutional_features(x)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(dense_units, activation="relu", name="fc")(x)
        x = predictions(x, num_classes, classifier_activation)
    else:
        x = pool_features(x, pooling)
    return keras.Model(inputs, x, name=name or "spatial_transformer")
