"""Siamese networks: Koch et al. 2015 (one-shot verification) and Hadsell et al. 2006 (contrastive loss)."""

from typing import Any

import keras
from keras import layers, ops

from keras_dl.errors import UserError
from keras_dl.registry import register
from keras_dl.vision.backbones import only_output
from keras_dl.vision.common import flatten, image_input, predictions, preprocess

OUTPUTS = ("probability", "distance")


@keras.saving.register_keras_serializable(package="keras_dl")
class ContrastiveLoss(keras.losses.Loss):
    """Alike at distance zero, unlike at the margin or beyond (Hadsell et al. 2006, equation 4).

    `1/2 D^2` for a pair of one class, `1/2 max(margin - D, 0)^2` for a pair of two.

    Args:
        margin: distance from which two classes count as apart.

    Call:
        y_true: 1 for a pair of one class, 0 for a pair of two (the paper's Y is the contrary), `(batch,)` or
            `(batch, 1)`.
        y_pred: distances, of the same shape.
    """

    def __init__(self, margin: float = 1.0, name: str = "contrastive_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.margin = margin

    def call(self, y_true: Any, y_pred: Any) -> Any:
        same, distance = ops.reshape(y_true, (-1,)), ops.reshape(y_pred, (-1,))
        too_near = ops.maximum(self.margin - distance, 0.0)
        return 0.5 * (same * ops.square(distance) + (1 - same) * ops.square(too_near))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin}


def koch_embedding(input_shape: tuple[int, int, int] | None, units: int, include_preprocessing: bool) -> keras.Model:
    """Figure 4 of Koch et al. 2015: four convolutions, then a dense layer of sigmoids."""
    inputs = image_input(input_shape, (105, 105, 1), minimum=65)
    x = preprocess(inputs, "unit") if include_preprocessing else inputs
    for i, (filters, kernel) in enumerate(((64, 10), (128, 7), (128, 4)), 1):
        x = layers.Conv2D(filters, kernel, activation="relu", name=f"conv{i}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
    x = layers.Conv2D(256, 4, activation="relu", name="conv4")(x)
    x = flatten(x)
    x = layers.Dense(units, activation="sigmoid", name="fc")(x)
    return keras.Model(inputs, x, name="embedding")


def euclidean_distance(a: Any, b: Any) -> Any:
    """`(batch, n)` twice to `(batch, 1)`, float32; its gradient stays finite where the two are equal."""
    difference = ops.cast(a, "float32") - ops.cast(b, "float32")
    return ops.sqrt(ops.sum(ops.square(difference), axis=-1, keepdims=True) + 1e-12)


@register(
    paper="Koch et al. 2015, ICML Deep Learning Workshop",
    task="image verification",
    parameters=38_951_745,
    small={"input_shape": (65, 65, 1), "units": 16},
)
def siamese(
    embedding: keras.Model | None = None,
    output: str = "probability",
    input_shape: tuple[int, int, int] | None = None,
    units: int = 4096,
    classifier_activation: str | None = "sigmoid",
    include_preprocessing: bool = True,
    name: str | None = None,
) -> keras.Model:
    """Two images through one network: do they show the same class, be it one never seen before?

    With `output="probability"` as in Koch et al. 2015, section 3.1: a weighted L1 distance and a sigmoid, trained
    by binary cross-entropy. With `output="distance"` the Euclidean distance, trained by `ContrastiveLoss`.
    The layer `embedding` (one of one's own keeps its name) is the network that the two share. Weights start from
    Keras's defaults in place of the paper's normal distributions, under which the 4,096 sigmoids begin saturated.

    Args:
        embedding: a model of one's own, images to `(batch, n)`, in place of the paper's network; then
            `input_shape`, `units` and `include_preprocessing` are its own.
        output: `"probability"` that the class is the same, or `"distance"`.
        input_shape: `(height, width, channels)`, by default (105, 105, 1), at least 65 pixels.
        units: width of the embedding.
        classifier_activation: `"sigmoid"`, or None for the logit of the probability.
        include_preprocessing: take [0, 255]; otherwise [0, 1].
        name: the model's name.

    Returns:
        Two inputs `first` and `second`, images `(batch, height, width, channels)`, to `(batch, 1)`, float32.
        Reference count: 38,951,745.

    Raises:
        ValueError: for another output, an input shape that is too small, or an embedding that is no functional model
            of one input and one output or returns no vectors.
    """
    if output not in OUTPUTS:
        raise UserError(f"output is {' or '.join(map(repr, OUTPUTS))}; got {output!r}")
    twin = embedding or koch_embedding(input_shape, units, include_preprocessing)
    shape = only_output(twin).shape
    if len(shape) != 2:
        raise UserError(f"embedding returns (batch, n); got {shape}: build it with pooling='avg'")
    pair = [keras.Input(twin.inputs[0].shape[1:], name=side) for side in ("first", "second")]
    (a,), (b,) = (keras.tree.flatten(twin(images)) for images in pair)
    x = euclidean_distance(a, b) if output == "distance" else predictions(ops.abs(a - b), 1, classifier_activation)
    return keras.Model(pair, x, name=name or "siamese")
