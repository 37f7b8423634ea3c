"""Embedding trained by triplets: Schroff et al. 2015 (FaceNet), arXiv:1503.03832."""

from typing import Any

import keras
from keras import layers, ops

from keras_dl.registry import register
from keras_dl.vision.backbones import vector_backbone


def squared_distances(embeddings: Any) -> Any:
    """`(batch, n)` to `(batch, batch)`. Not by a matrix product, whose rounding drowns small distances."""
    return ops.sum(ops.square(embeddings[:, None] - embeddings[None]), axis=-1)


def semi_hard_negatives(distances: Any, same: Any) -> Any:
    """How far each pair's semi-hard negative is (Schroff et al. 2015, section 3.2, equation 4).

    For the pair (a, p) it is the nearest one of another class that is farther from a than p; where none is,
    the farthest one of another class, the least hard of those that are left.

    Args:
        distances: `(batch, batch)`, from row to column.
        same: booleans `(batch, batch)`, True where row and column are of one class.

    Returns:
        `(batch, batch)`: the distance from a (row) to the negative of (a, p); infinite where a has none.
    """
    negatives = ops.where(same, float("inf"), distances)[:, None]
    nearest_beyond = ops.min(ops.where(negatives > distances[..., None], negatives, float("inf")), axis=-1)
    farthest = ops.max(ops.where(same, -float("inf"), distances), axis=-1, keepdims=True)
    beyond = nearest_beyond < float("inf")
    return ops.where(beyond, nearest_beyond, ops.where(farthest >= 0, farthest, float("inf")))


@keras.saving.register_keras_serializable(package="keras_dl")
class TripletSemiHardLoss(keras.losses.Loss):
    """`max(d(A, P) - d(A, N) + margin, 0)`, d the squared Euclidean distance (Schroff et al. 2015, equation 3).

    A and P are each ordered pair of one class in the batch, N its semi-hard negative (`semi_hard_negatives`). The
    loss is the mean over these pairs, 0 for a batch without pairs or with one class only. Batches need several
    images of each of several classes. Memory grows with the cube of the batch.

    Args:
        margin: how much nearer the same class must be (the paper: 0.2, on embeddings of length 1).

    Call:
        y_true: class ids below 2^24 (Keras makes them float32), `(batch,)` or `(batch, 1)`.
        y_pred: embeddings `(batch, n)`.
    """

    def __init__(self, margin: float = 0.2, name: str = "triplet_semi_hard_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.margin = margin

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels = ops.reshape(y_true, (-1,))
        same = labels[:, None] == labels[None]
        distances = squared_distances(y_pred)
        negatives = semi_hard_negatives(distances, same)
        places = ops.arange(ops.shape(y_pred)[0])
        pairs = same & (places[:, None] != places[None]) & (negatives < float("inf"))
        # An infinite distance must not enter the difference: its gradient is not a number even where it is masked.
        negatives = ops.where(pairs, negatives, 0.0)
        losses = ops.where(pairs, ops.maximum(distances - negatives + self.margin, 0.0), 0.0)
        pairs = ops.cast(pairs, y_pred.dtype)
        # One value per anchor, scaled so that the mean over the batch is the mean over the pairs.
        return ops.sum(losses, axis=-1) / ops.maximum(ops.mean(ops.sum(pairs, axis=-1)), 1e-7)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin}


@register(
    paper="Schroff et al. 2015, arXiv:1503.03832",
    task="image embedding",
    parameters=11_256_576,
    small={"input_shape": (16, 16, 3), "backbone": "resnet20_cifar", "embedding_size": 8},
)
def triplet_embedding(
    backbone: str | keras.Model = "resnet18",
    input_shape: tuple[int, int, int] | None = None,
    embedding_size: int = 128,
    pooling: str | None = "avg",
    include_preprocessing: bool = True,
    name: str | None = None,
) -> keras.Model:
    """A deep network, a dense layer and an L2 normalisation: near means of one class (figure 2).

    Trained by `TripletSemiHardLoss` on class ids; classes it has never seen are told apart by distance. The paper
    takes the network as a black box; here it is any image classifier of the package without its top.

    Args:
        backbone: the name of an image classifier, or a functional model of one's own (for instance one with
            pretrained weights); then `input_shape` and `include_preprocessing` are its own.
        input_shape: `(height, width, channels)`, by default (160, 160, 3).
        embedding_size: length of the embedding.
        pooling: `"avg"` or `"max"` per channel of the last map, or None to flatten it.
        include_preprocessing: take [0, 255] RGB.
        name: the model's name.

    Returns:
        Images `(batch, height, width, channels)` to vectors of length 1, `(batch, embedding_size)`, float32.
        Reference count: 11,256,576.

    Raises:
        ValueError: for an unknown backbone or one that does not fit, a wrong input shape or an unknown pooling.
    """
    above = ("embedding", "unit_embedding")
    features = vector_backbone(backbone, input_shape or (160, 160, 3), pooling, include_preprocessing, above)
    x = layers.Dense(embedding_size, dtype="float32", name=above[0])(features.output)
    x = layers.UnitNormalization(dtype="float32", name=above[1])(x)
    return keras.Model(features.input, x, name=name or "triplet_embedding")
