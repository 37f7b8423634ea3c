"""A convolutional classifier with self-attention: the block of Zhang et al. 2018, arXiv:1805.08318."""

import keras

from keras_dl.layers.self_attention import SelfAttention2D
from keras_dl.registry import register
from keras_dl.vision.common import (
    CIFAR_MEAN,
    CIFAR_STD,
    check_pooling,
    image_input,
    normalize,
    pool_features,
    predictions,
)
from keras_dl.vision.resnet import conv_bn_relu

WIDTHS = (64, 128, 256)


@register(
    paper="Zhang et al. 2018, arXiv:1805.08318",
    task="image classification",
    parameters=1_158_858,
    small={"input_shape": (16, 16, 3), "num_classes": 5},
    stages=("stage1_conv2_relu", "attention", "stage3_conv2_relu"),
)
def attention_cnn(
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 10,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    reduction: int = 8,
    name: str | None = None,
) -> keras.Model:
    """Three stages of two 3x3 convolutions; after the second, each place attends to the whole map.

    Convolutions alone see what is near; the block (layer `attention`) relates places however far apart they are.

    Args:
        include_top: with the global average pooling and the classifier.
        input_shape: `(height, width, channels)`, by default (32, 32, 3).
        num_classes: width of the classifier.
        pooling: without the top: None for the feature map, `"avg"` or `"max"`.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255] RGB; otherwise zero mean and unit deviation per channel.
        reduction: by how much queries, keys and values are narrower than the map.
        name: the model's name.

    Returns:
        Images `(batch, height, width, channels)` to probabilities `(batch, num_classes)`, or without top to
        features of 1/4 of the height and width. Reference count: 1,158,858.

    Raises:
        ValueError: for an input shape below 4 pixels, an unknown pooling or a reduction below 1.
    """
    check_pooling(pooling)
    inputs = image_input(input_shape, (32, 32, 3), minimum=4)
    x = normalize(inputs, CIFAR_MEAN, CIFAR_STD) if include_preprocessing else inputs
    for stage, filters in enumerate(WIDTHS, 1):
        x = conv_bn_relu(x, filters, 3, 1 if stage == 1 else 2, f"stage{stage}_conv1", use_bias=False)
        x = conv_bn_relu(x, filters, 3, 1, f"stage{stage}_conv2", use_bias=False)
        if stage == 2:
            x = SelfAttention2D(reduction, name="attention")(x)
    if include_top:
        x = predictions(pool_features(x, "avg"), num_classes, classifier_activation)
    else:
        x = pool_features(x, pooling)
    return keras.Model(inputs, x, name=name or "attention_cnn")
