"""ResNet and the plain nets beside it: He et al. 2015, arXiv:1512.03385."""

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


def batch_norm(x: Any, name: str) -> Any:
    # Statistics that forget within some fifty steps: who fine-tunes on few pictures has no more (Keras' 0.99: 500).
    return layers.BatchNormalization(momentum=0.9, epsilon=1.001e-5, name=name)(x)


def conv_bn(
    x: Any, filters: int, kernel: int, strides: int, name: str, use_bias: bool = True, padding: str = "same"
) -> Any:
    x = layers.Conv2D(filters, kernel, strides, padding, use_bias=use_bias, name=f"{name}_conv")(x)
    return batch_norm(x, f"{name}_bn")


def conv_bn_relu(x: Any, filters: int, kernel: int, strides: int, name: str, use_bias: bool = True) -> Any:
    return layers.ReLU(name=f"{name}_relu")(conv_bn(x, filters, kernel, strides, name, use_bias))


def first_conv(x: Any, filters: int, strides: int, name: str) -> Any:
    """The 3x3 convolution that may halve the map. Its windows then lie around the places that a shortcut takes: with a
    stride, Keras's own "same" pads an even map at the end alone, which moves them by a pixel."""
    if strides == 1:
        return conv_bn_relu(x, filters, 3, 1, f"{name}_1")
    x = layers.ZeroPadding2D(1, name=f"{name}_1_pad")(x)
    x = conv_bn(x, filters, 3, strides, f"{name}_1", padding="valid")
    return layers.ReLU(name=f"{name}_1_relu")(x)


def plain_block(x: Any, filters: int, strides: int, name: str) -> Any:
    """Figure 3, middle: a basic block without its shortcut."""
    x = first_conv(x, filters, strides, name)
    return layers.ReLU(name=f"{name}_out")(conv_bn(x, filters, 3, 1, f"{name}_2"))


def basic_block(x: Any, filters: int, strides: int, name: str) -> Any:
    """Figure 5, left: two 3x3 convolutions; a 1x1 projection where the shape changes (option B)."""
    same = strides == 1 and x.shape[-1] == filters
    shortcut = x if same else conv_bn(x, filters, 1, strides, f"{name}_0")
    x = first_conv(x, filters, strides, name)
    x = conv_bn(x, filters, 3, 1, f"{name}_2")
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))


def bottleneck_block(x: Any, filters: int, strides: int, name: str) -> Any:
    """Figure 5, right: 1x1 reduces, 3x3 works, 1x1 restores four times the width."""
    same = strides == 1 and x.shape[-1] == 4 * filters
    shortcut = x if same else conv_bn(x, 4 * filters, 1, strides, f"{name}_0")
    x = conv_bn_relu(x, filters, 1, strides, f"{name}_1")
    x = conv_bn_relu(x, filters, 3, 1, f"{name}_2")
    x = conv_bn(x, 4 * filters, 1, 1, f"{name}_3")
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))


def identity_block(x: Any, filters: int, strides: int, name: str) -> Any:
    """Section 4.2: a basic block whose shortcut has no weights; new channels are zero (option A)."""
    shortcut = x
    if strides != 1:
        widen = (filters - x.shape[-1]) // 2
        shortcut = keras.ops.pad(x[:, ::strides, ::strides], ((0, 0), (0, 0), (0, 0), (widen, widen)))
    # Keras's "same", unlike `first_conv`: the weights that the package carries were learned with it.
    x = conv_bn_relu(x, filters, 3, strides, f"{name}_1", use_bias=False)
    x = conv_bn(x, filters, 3, 1, f"{name}_2", use_bias=False)
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))


VARIANTS = {  # table 1: the block, and how often each stage repeats it
    "resnet18": (basic_block, (2, 2, 2, 2)),
    "resnet34": (basic_block, (3, 4, 6, 3)),
    "resnet50": (bottleneck_block, (3, 4, 6, 3)),
    "resnet101": (bottleneck_block, (3, 4, 23, 3)),
    "resnet152": (bottleneck_block, (3, 8, 36, 3)),
    "plain18": (plain_block, (2, 2, 2, 2)),
    "plain34": (plain_block, (3, 4, 6, 3)),
}

CIFAR_VARIANTS = {  # section 4.2: depth 6n + 2, three stages of n blocks
    "resnet20_cifar": 3,
    "resnet32_cifar": 5,
    "resnet56_cifar": 9,
    "resnet110_cifar": 18,
}


@register(
    paper="He et al. 2015, arXiv:1512.03385",
    task="image classification",
    parameters={
        "resnet18": 11_703_912,
        "resnet34": 21_823_208,
        "resnet50": 25_636_712,
        "resnet101": 44_707_176,
        "resnet152": 60_419_944,
        "plain18": 11_527_400,
        "plain34": 21_646_696,
    },
    small={"input_shape": (64, 64, 3), "num_classes": 5},
    stages={
        name: ("conv1_relu", *(f"conv{stage}_block{n}_out" for stage, n in enumerate(repeats, 2)))
        for name, (_, repeats) in VARIANTS.items()
    },
    imagenet={"resnet50": "ResNet50", "resnet101": "ResNet101", "resnet152": "ResNet152"},
)
def resnet(
    variant: str = "resnet50",
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 1000,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    name: str | None = None,
) -> keras.Model:
    """ResNet-18 to 152, and the plain nets of the same depth (He et al. 2015, table 1).

    Layers are named as in keras.applications. Kernels start from Keras's Glorot distribution, as there, in place of
    the paper's (He et al. 2015, arXiv:1502.01852).

    Args:
        variant: a key of `VARIANTS`.
        include_top: with the global average pooling and the classifier.
        input_shape: `(height, width, channels)`, by default (224, 224, 3).
        num_classes: width of the classifier.
        pooling: without the top: None for the feature map, `"avg"` or `"max"`.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255] RGB; otherwise BGR less the ImageNet mean.
        name: the model's name, by default the variant's.

    Returns:
        Images `(batch, height, width, 3)` to probabilities `(batch, num_classes)`, or without top to
        features of 1/32 of the height and width. Reference counts: 25,636,712 for ResNet-50.

    Raises:
        ValueError: for an unknown variant, input shape or pooling.
    """
    block, repeats = VARIANTS[variant]
    check_pooling(pooling)
    inputs = image_input(input_shape, (224, 224, 3))
    x = preprocess(inputs, "caffe") if include_preprocessing else inputs
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = layers.Conv2D(64, 7, strides=2, name="conv1_conv")(x)
    x = batch_norm(x, "conv1_bn")
    x = layers.ReLU(name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, blocks in enumerate(repeats):
        for i in range(blocks):
            strides = 2 if stage > 0 and i == 0 else 1
            x = block(x, 64 * 2**stage, strides, f"conv{stage + 2}_block{i + 1}")
    if include_top:
        x = predictions(pool_features(x, "avg"), num_classes, classifier_activation)
    else:
        x = pool_features(x, pooling)
    return keras.Model(inputs, x, name=name or variant)


@register(
    paper="He et al. 2015, arXiv:1512.03385, section 4.2",
    task="image classification",
    parameters={
        "resnet20_cifar": 271_098,
        "resnet32_cifar": 466_426,
        "resnet56_cifar": 857_082,
        "resnet110_cifar": 1_736_058,
    },
    small={"input_shape": (16, 16, 3), "num_classes": 5},
    stages={
        name: ("conv1_relu", *(f"conv{stage}_block{blocks}_out" for stage in (2, 3, 4)))
        for name, blocks in CIFAR_VARIANTS.items()
    },
    builtin=("resnet20_cifar",),
)
def resnet_cifar(
    variant: str = "resnet20_cifar",
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 10,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    name: str | None = None,
) -> keras.Model:
    """The small ResNets for CIFAR-10 (He et al. 2015, section 4.2), with option A shortcuts.

    Kernels start from Keras's Glorot distribution in place of the paper's (He et al. 2015, arXiv:1502.01852): what the
    README says of training on them was measured so.

    Args:
        variant: a key of `CIFAR_VARIANTS`.
        include_top: with the global average pooling and the classifier.
        input_shape: `(height, width, channels)`, by default (32, 32, 3).
        num_classes: width of the classifier.
        pooling: without the top: None for the feature map, `"avg"` or `"max"`.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255] RGB; otherwise zero mean and unit deviation per channel.
        name: the model's name, by default the variant's.

    Returns:
        Images `(batch, height, width, 3)` to probabilities `(batch, num_classes)`, or without top to
        features of 1/4 of the height and width. Reference counts: 0.27M for 20 layers, 1.7M for 110.

    Raises:
        ValueError: for an unknown variant, input shape or pooling.
    """
    check_pooling(pooling)
    inputs = image_input(input_shape, (32, 32, 3), minimum=4)
    x = normalize(inputs, CIFAR_MEAN, CIFAR_STD) if include_preprocessing else inputs
    x = conv_bn_relu(x, 16, 3, 1, "conv1", use_bias=False)
    for stage, filters in enumerate((16, 32, 64), 2):
        for i in range(CIFAR_VARIANTS[variant]):
            strides = 2 if stage > 2 and i == 0 else 1
            x = identity_block(x, filters, strides, f"conv{stage}_block{i + 1}")
    if include_top:
        x = predictions(pool_features(x, "avg"), num_classes, classifier_activation)
    else:
        x = pool_features(x, pooling)
    return keras.Model(inputs, x, name=name or variant)
