"""Word vectors from counts, whose inner products follow the log counts: Pennington et al. 2014 (GloVe), EMNLP."""

import keras
import numpy as np
from keras import layers, ops

from keras_dl.registry import register


@register(
    paper="Pennington et al. 2014, EMNLP (GloVe)",
    task="word embedding",
    parameters=6_020_000,
    small={"vocabulary_size": 20, "embedding_dim": 8},
)
def count_embedding(
    vocabulary_size: int = 10_000,
    embedding_dim: int = 300,
    name: str | None = None,
) -> keras.Model:
    """`w_i . v_j + b_i + c_j` becomes the log of how often words i and j stand near each other (equation 7).

    The pairs and their counts come from `keras_dl.text.windows.cooccurrences`; the target is the log of the count,
    by squared error, weighted by `pair_weights`. The vectors are the weights of the layers `embedding` (w) and
    `context_embedding` (v); the paper uses their sum.

    Args:
        vocabulary_size: ids that there are, padding (0) and out-of-vocabulary (1) included.
        embedding_dim: width of the vectors.
        name: the model's name.

    Returns:
        Ids `words` `(batch,)` and `contexts` `(batch,)`, int32, to log counts `(batch,)`. Reference count: 6,020,000.
    """
    words, contexts = (keras.Input((), dtype="int32", name=side) for side in ("words", "contexts"))
    start = keras.initializers.RandomUniform(-0.5 / embedding_dim**0.5, 0.5 / embedding_dim**0.5)
    sides = ((words, "embedding", "bias"), (contexts, "context_embedding", "context_bias"))
    w, v = (layers.Embedding(vocabulary_size, embedding_dim, start.clone(), name=name)(ids) for ids, name, _ in sides)
    b, c = (layers.Embedding(vocabulary_size, 1, "zeros", dtype="float32", name=name)(ids) for ids, _, name in sides)
    product = ops.sum(ops.cast(w, "float32") * ops.cast(v, "float32"), axis=-1)
    return keras.Model([words, contexts], product + b[:, 0] + c[:, 0], name=name or "count_embedding")


def pair_weights(counts: np.ndarray, enough: float = 100.0, power: float = 0.75) -> np.ndarray:
    """How much a pair matters: `min(1, (count / enough)^power)` (equation 9)."""
    return np.minimum(1.0, (counts / enough) ** power)
