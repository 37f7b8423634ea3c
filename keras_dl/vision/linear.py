"""One neuron, softmax regression and the multilayer perceptron, over feature vectors."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_dl.registry import register
from keras_dl.vision.common import predictions

ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "linear")


def vector_input(input_shape: tuple[int] | None, default: tuple[int]) -> Any:
    shape = default if input_shape is None else input_shape
    if not isinstance(shape, Sequence) or len(shape) != 1 or not shape[0]:
        raise ValueError(f"input_shape is (features,), e.g. {default}; got {shape}")
    return keras.Input(tuple(shape), name="features")


@register(
    paper="Legendre 1805, least squares",
    task="regression",
    parameters=2,
    small={"input_shape": (4,)},
)
def linear_regression(input_shape: tuple[int] | None = None, name: str | None = None) -> keras.Model:
    """One neuron without activation: the weighted sum of the features plus a bias.

    Args:
        input_shape: `(features,)`, by default (1,).
        name: the model's name.

    Returns:
        Features `(batch, features)` to numbers `(batch, 1)`. Reference count: features + 1.

    Raises:
        ValueError: if `input_shape` is not a vector's.
    """
    inputs = vector_input(input_shape, (1,))
    return keras.Model(inputs, predictions(inputs, 1, None), name=name or "linear_regression")


@register(
    paper="Cox 1958, J. R. Stat. Soc. B 20(2)",
    task="classification",
    parameters=7_850,
    small={"input_shape": (4,), "num_classes": 3},
)
def logistic_regression(
    input_shape: tuple[int] | None = None,
    num_classes: int = 10,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
) -> keras.Model:
    """Softmax regression: one linear score per class. With one class and `"sigmoid"`, a single neuron.

    Args:
        input_shape: `(features,)`, by default (784,): the pixels of a 28x28 digit.
        num_classes: width of the classifier.
        classifier_activation: `"softmax"`, `"sigmoid"` for independent labels, or None for logits.
        name: the model's name.

    Returns:
        Features `(batch, features)` to probabilities `(batch, num_classes)`. Reference count: 7,850.

    Raises:
        ValueError: if `input_shape` is not a vector's.
    """
    inputs = vector_input(input_shape, (784,))
    outputs = predictions(inputs, num_classes, classifier_activation)
    return keras.Model(inputs, outputs, name=name or "logistic_regression")


@register(
    paper="Rumelhart, Hinton & Williams 1986, Nature 323",
    task="classification",
    parameters=235_146,
    small={"input_shape": (8,), "hidden_units": (16, 16), "num_classes": 3},
)
def mlp(
    input_shape: tuple[int] | None = None,
    hidden_units: Sequence[int] = (256, 128),
    activation: str = "relu",
    num_classes: int = 10,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
) -> keras.Model:
    """The multilayer perceptron: dense hidden layers, then softmax regression on the last.

    Args:
        input_shape: `(features,)`, by default (784,): the pixels of a 28x28 digit.
        hidden_units: width of each hidden layer.
        activation: of the hidden layers, one of `ACTIVATIONS`. With `"linear"` the whole is no more than
            a linear map, however deep.
        num_classes: width of the classifier.
        classifier_activation: `"softmax"`, `"sigmoid"` for independent labels, or None for logits.
        name: the model's name.

    Returns:
        Features `(batch, features)` to probabilities `(batch, num_classes)`. Reference count: 235,146.

    Raises:
        ValueError: for an unknown activation, or if `input_shape` is not a vector's.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is one of {', '.join(ACTIVATIONS)}; got {activation!r}")
    inputs = x = vector_input(input_shape, (784,))
    for i, units in enumerate(hidden_units, 1):
        x = layers.Dense(units, activation=activation, name=f"hidden{i}")(x)
    return keras.Model(inputs, predictions(x, num_classes, classifier_activation), name=name or "mlp")
