"""GoogLeNet, the first Inception: Szegedy et al. 2014, arXiv:1409.4842."""

from typing import Any

import keras
from keras import layers

from keras_dl.layers.normalization import LocalResponseNormalization
from keras_dl.registry import register
from keras_dl.vision.common import IMAGENET_MEAN, check_pooling, image_input, normalize, pool_features, predictions

MODULES = {  # table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
POOL_AFTER = ("3b", "4e")
AUXILIARY_AFTER = {"4a": "auxiliary1", "4d": "auxiliary2"}


def conv_relu(x: Any, filters: int, kernel: int, name: str, strides: int = 1) -> Any:
    return layers.Conv2D(filters, kernel, strides, padding="same", activation="relu", name=name)(x)


def naive_module(x: Any, widths: tuple[int, ...], name: str) -> Any:
    """Figure 2a: 1x1, 3x3 and 5x5 convolutions and a pooling side by side; the width only ever grows."""
    n1x1, _, n3x3, _, n5x5, _ = widths
    branches = [
        conv_relu(x, n1x1, 1, f"inception_{name}_1x1"),
        conv_relu(x, n3x3, 3, f"inception_{name}_3x3"),
        conv_relu(x, n5x5, 5, f"inception_{name}_5x5"),
        layers.MaxPooling2D(3, 1, padding="same", name=f"inception_{name}_pool")(x),
    ]
    return layers.Concatenate(name=f"inception_{name}")(branches)


def reduced_module(x: Any, widths: tuple[int, ...], name: str) -> Any:
    """Figure 2b: 1x1 convolutions reduce the width before the costly ones, and after the pooling."""
    n1x1, n3x3_reduce, n3x3, n5x5_reduce, n5x5, pool_proj = widths
    x3 = conv_relu(x, n3x3_reduce, 1, f"inception_{name}_3x3_reduce")
    x5 = conv_relu(x, n5x5_reduce, 1, f"inception_{name}_5x5_reduce")
    pool = layers.MaxPooling2D(3, 1, padding="same", name=f"inception_{name}_pool")(x)
    branches = [
        conv_relu(x, n1x1, 1, f"inception_{name}_1x1"),
        conv_relu(x3, n3x3, 3, f"inception_{name}_3x3"),
        conv_relu(x5, n5x5, 5, f"inception_{name}_5x5"),
        conv_relu(pool, pool_proj, 1, f"inception_{name}_pool_proj"),
    ]
    return layers.Concatenate(name=f"inception_{name}")(branches)


def auxiliary_head(x: Any, num_classes: int, activation: str | None, name: str) -> Any:
    """Section 5: 5x5 average pooling, 128 1x1 convolutions, 1024 units, 70% dropout, classifier."""
    x = layers.AveragePooling2D(5, 3, name=f"{name}_pool")(x)
    x = conv_relu(x, 128, 1, f"{name}_conv")
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = layers.Dense(1024, activation="relu", name=f"{name}_fc")(x)
    x = layers.Dropout(0.7, name=f"{name}_dropout")(x)
    return predictions(x, num_classes, activation, name=f"{name}_predictions")


@register(
    paper="Szegedy et al. 2014, arXiv:1409.4842",
    task="image classification",
    parameters=6_998_552,
    small={"input_shape": (64, 64, 3), "num_classes": 5},
    stages=("conv1", "conv2", "inception_3b", "inception_4e", "inception_5b"),
)
def googlenet(
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 1000,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    module: str = "reduced",
    auxiliary_heads: bool = False,
    name: str | None = None,
) -> keras.Model:
    """GoogLeNet (Szegedy et al. 2014, table 1), without batch normalisation.

    The constants of local response normalisation, which the paper leaves open, are those of Krizhevsky et al. 2012.

    Args:
        include_top: with the global average pooling, the dropout and the classifier.
        input_shape: `(height, width, channels)`, by default (224, 224, 3), at least 32 pixels,
            with auxiliary heads 65.
        num_classes: width of the classifier.
        pooling: without the top: None for the feature map, `"avg"` or `"max"`.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255] RGB; otherwise RGB less the ImageNet mean.
        module: `"reduced"` (figure 2b) or `"naive"` (figure 2a: no reductions or projections).
        auxiliary_heads: for training: classify after 4a and 4d as well, see `keras_dl.vision.auxiliary`.
        name: the model's name.

    Returns:
        Images `(batch, height, width, 3)` to probabilities `(batch, num_classes)`; with auxiliary
        heads to a dictionary of such; without top to features of 1/32 of the height and width.
        Reference count: 6,998,552.

    Raises:
        ValueError: for an unknown module, input shape or pooling, or auxiliary heads without a top
            or without a fixed input size.
    """
    modules = {"naive": naive_module, "reduced": reduced_module}
    if module not in modules:
        raise ValueError(f"module is {' or '.join(map(repr, modules))}; got {module!r}")
    check_pooling(pooling)
    inputs = image_input(input_shape, (224, 224, 3), minimum=65 if auxiliary_heads else 32)
    if auxiliary_heads and (not include_top or None in inputs.shape[1:]):
        raise ValueError("auxiliary heads need include_top=True and a fixed input_shape")

    heads = {}
    x = normalize(inputs, IMAGENET_MEAN, (1.0, 1.0, 1.0)) if include_preprocessing else inputs
    x = conv_relu(x, 64, 7, "conv1", strides=2)
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool1")(x)
    x = LocalResponseNormalization(name="norm1")(x)
    x = conv_relu(x, 64, 1, "conv2_reduce")
    x = conv_relu(x, 192, 3, "conv2")
    x = LocalResponseNormalization(name="norm2")(x)
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool2")(x)
    for block, widths in MODULES.items():
        x = modules[module](x, widths, block)
        if auxiliary_heads and block in AUXILIARY_AFTER:
            head = AUXILIARY_AFTER[block]
            heads[head] = auxiliary_head(x, num_classes, classifier_activation, head)
        if block in POOL_AFTER:
            x = layers.MaxPooling2D(3, 2, padding="same", name=f"pool{block[0]}")(x)
    if include_top:
        x = layers.Dropout(0.4, name="dropout")(pool_features(x, "avg"))
        x = predictions(x, num_classes, classifier_activation)
    else:
        x = pool_features(x, pooling)
    return keras.Model(inputs, {"predictions": x, **heads} if heads else x, name=name or "googlenet")
