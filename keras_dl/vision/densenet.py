"""DenseNet: Huang et al. 2016, arXiv:1608.06993."""

from typing import Any

import keras
from keras import layers

from keras_dl.registry import register
from keras_dl.vision.common import (
    CIFAR_MEAN,
    CIFAR_STD,
    check_pooling,
    image_input,
    normalize,
    pool_features,
    predictions,
    preprocess,
)


def conv(x: Any, filters: int, kernel: int, name: str, strides: int = 1, padding: str = "valid") -> Any:
    """Without bias, and initialised as section 4.2 says: He et al. 2015, arXiv:1502.01852."""
    return layers.Conv2D(
        filters, kernel, strides, padding, use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)


def bn_relu(x: Any, name: str) -> Any:
    x = layers.BatchNormalization(epsilon=1.001e-5, name=f"{name}bn")(x)
    return layers.ReLU(name=f"{name}relu")(x)


def conv_block(x: Any, growth_rate: int, name: str) -> Any:
    """H_l with bottleneck (section 3): BN, ReLU, 1x1 to four times the growth rate; BN, ReLU, 3x3."""
    new = bn_relu(x, f"{name}_0_")
    new = conv(new, 4 * growth_rate, 1, f"{name}_1")
    new = bn_relu(new, f"{name}_1_")
    new = conv(new, growth_rate, 3, f"{name}_2", padding="same")
    return layers.Concatenate(name=f"{name}_concat")([x, new])


def dense_block(x: Any, blocks: int, growth_rate: int, name: str) -> Any:
    for i in range(1, blocks + 1):
        x = conv_block(x, growth_rate, f"{name}_block{i}")
    return x


def transition(x: Any, name: str) -> Any:
    """Halves the map, and its channels (compression 0.5)."""
    x = bn_relu(x, f"{name}_")
    x = conv(x, x.shape[-1] // 2, 1, name)
    return layers.AveragePooling2D(2, 2, name=f"{name}_pool")(x)


def dense_blocks(x: Any, blocks: tuple[int, ...], growth_rate: int) -> Any:
    for stage, n in enumerate(blocks, 2):
        if stage > 2:
            x = transition(x, f"pool{stage - 1}")
        x = dense_block(x, n, growth_rate, f"conv{stage}")
    return bn_relu(x, "")


VARIANTS = {  # table 1: blocks per stage at growth rate 32
    "densenet121": (6, 12, 24, 16),
    "densenet169": (6, 12, 32, 32),
    "densenet201": (6, 12, 48, 32),
}


@register(
    paper="Huang et al. 2016, arXiv:1608.06993",
    task="image classification",
    parameters={
        "densenet121": 8_062_504,
        "densenet169": 14_307_880,
        "densenet201": 20_242_984,
    },
    small={"input_shape": (32, 32, 3), "num_classes": 5},
    stages={
        name: ("conv1_relu", *(f"conv{stage}_block{n}_concat" for stage, n in enumerate(blocks[:-1], 2)), "relu")
        for name, blocks in VARIANTS.items()
    },
    imagenet={"densenet121": "DenseNet121", "densenet169": "DenseNet169", "densenet201": "DenseNet201"},
)
def densenet(
    variant: str = "densenet121",
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 1000,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    name: str | None = None,
) -> keras.Model:
    """DenseNet-121 to 201 (Huang et al. 2016, table 1). Layers are named as in keras.applications.

    Args:
        variant: a key of `VARIANTS`.
        include_top: with the global average pooling and the classifier.
        input_shape: `(height, width, channels)`, by default (224, 224, 3), at least 32 pixels.
        num_classes: width of the classifier.
        pooling: without the top: None for the feature map, `"avg"` or `"max"`.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255] RGB; otherwise ImageNet's zero mean and unit deviation.
        name: the model's name, by default the variant's.

    Returns:
        Images `(batch, height, width, 3)` to probabilities `(batch, num_classes)`, or without top to
        features of 1/32 of the height and width. Reference count: 8,062,504 for DenseNet-121.

    Raises:
        ValueError: for an unknown variant, input shape or pooling.
    """
    check_pooling(pooling)
    inputs = image_input(input_shape, (224, 224, 3), minimum=32)
    x = preprocess(inputs, "torch") if include_preprocessing else inputs
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = conv(x, 64, 7, "conv1", strides=2)
    x = bn_relu(x, "conv1_")
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    x = dense_blocks(x, VARIANTS[variant], growth_rate=32)
    if include_top:
        x = predictions(pool_features(x, "avg"), num_classes, classifier_activation)
    else:
        x = pool_features(x, pooling)
    return keras.Model(inputs, x, name=name or variant)


@register(
    paper="Huang et al. 2016, arXiv:1608.06993, section 4.2",
    task="image classification",
    parameters=793_150,
    small={"input_shape": (16, 16, 3), "num_classes": 5},
    stages=("conv2_block16_concat", "conv3_block16_concat", "relu"),
)
def densenet_bc_100_12(
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 10,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    name: str | None = None,
) -> keras.Model:
    """DenseNet-BC for CIFAR-10 with 100 layers and growth rate 12 (Huang et al. 2016, table 2).

    Args:
        include_top: with the global average pooling and the classifier.
        input_shape: `(height, width, channels)`, by default (32, 32, 3), at least 4 pixels.
        num_classes: width of the classifier.
        pooling: without the top: None for the feature map, `"avg"` or `"max"`.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255] RGB; otherwise zero mean and unit deviation per channel.
        name: the model's name.

    Returns:
        Images `(batch, height, width, 3)` to probabilities `(batch, num_classes)`, or without top to
        features of 1/4 of the height and width. Reference count: 793,150, of which
        769,162 are trainable.

    Raises:
        ValueError: for an unknown input shape or pooling.
    """
    check_pooling(pooling)
    inputs = image_input(input_shape, (32, 32, 3), minimum=4)
    x = normalize(inputs, CIFAR_MEAN, CIFAR_STD) if include_preprocessing else inputs
    x = conv(x, 24, 3, "conv1", padding="same")
    x = dense_blocks(x, (16, 16, 16), growth_rate=12)
    if include_top:
        x = predictions(pool_features(x, "avg"), num_classes, classifier_activation)
    else:
        x = pool_features(x, pooling)
    return keras.Model(inputs, x, name=name or "densenet_bc_100_12")
