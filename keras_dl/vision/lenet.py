"""LeNet-5: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition"."""

import keras
from keras import layers

from keras_dl.registry import register
from keras_dl.vision.common import check_pooling, flatten, image_input, pool_features, predictions, preprocess


@register(
    paper="LeCun et al. 1998, Proc. IEEE 86(11)",
    task="image classification",
    parameters=61_706,
    small={"input_shape": (16, 16, 1), "num_classes": 5},
    stages=("c1", "c3"),
)
def lenet5(
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    num_classes: int = 10,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    name: str | None = None,
) -> keras.Model:
    """LeNet-5 (LeCun et al. 1998, figure 2), in the form of today: C3 sees all maps of S2, pooling has no weights.

    The tanh is not scaled, and a softmax takes the place of the radial basis functions. Layers are named as in the
    paper. C1 pads, so that a 28x28 digit gives what the paper's 32x32 gives.

    Args:
        include_top: with the dense layers, which fix the input size.
        input_shape: `(height, width, channels)`, by default (28, 28, 1), at least 12 pixels.
        num_classes: width of the classifier.
        pooling: without the top: None for the feature map, `"avg"` or `"max"`.
        classifier_activation: `"softmax"`, or None for logits.
        include_preprocessing: take [0, 255]; otherwise [0, 1].
        name: the model's name.

    Returns:
        Images `(batch, height, width, channels)` to probabilities `(batch, num_classes)`, or without
        top to features of 1/4 of the height and width less 2. Reference count: 61,706.

    Raises:
        ValueError: for an input shape below 12 pixels or an unknown pooling.
    """
    check_pooling(pooling)
    inputs = image_input(input_shape, (28, 28, 1), minimum=12)
    x = preprocess(inputs, "unit") if include_preprocessing else inputs
    x = layers.Conv2D(6, 5, padding="same", activation="tanh", name="c1")(x)
    x = layers.AveragePooling2D(2, name="s2")(x)
    x = layers.Conv2D(16, 5, activation="tanh", name="c3")(x)
    x = layers.AveragePooling2D(2, name="s4")(x)
    if include_top:
        x = flatten(x)
        x = layers.Dense(120, activation="tanh", name="c5")(x)
        x = layers.Dense(84, activation="tanh", name="f6")(x)
        x = predictions(x, num_classes, classifier_activation)
    else:
        x = pool_features(x, pooling)
    return keras.Model(inputs, x, name=name or "lenet5")
