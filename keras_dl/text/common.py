"""What text classifiers share: token ids, 0 for the padding behind the text, 1 for words out of the vocabulary."""

from typing import Any

import keras
from keras import layers, ops


def token_input(sequence_length: int | None) -> Any:
    """The input tensor: int32 ids `(batch, time)`."""
    return keras.Input((sequence_length,), dtype="int32", name="tokens")


def embed(tokens: Any, vocabulary_size: int, embedding_dim: int) -> Any:
    """Word vectors, with the mask of the padding."""
    return layers.Embedding(vocabulary_size, embedding_dim, mask_zero=True, name="embedding")(tokens)


def variational_dropout(x: Any, rate: float) -> Any:
    """A feature is dropped at all steps of a text or at none (Gal & Ghahramani 2015, arXiv:1512.05287)."""
    return layers.SpatialDropout1D(rate, name="embedding_dropout")(x)


def real_words(tokens: Any) -> Any:
    """`(batch, time)`, true where there is no padding."""
    return ops.not_equal(tokens, 0)


def masked_mean(x: Any, mask: Any) -> Any:
    """The mean over the true steps, `(batch, time, n)` to `(batch, n)`; zero where there is none."""
    mask = ops.cast(ops.expand_dims(mask, -1), "float32")
    total = ops.sum(ops.cast(x, "float32") * mask, axis=1)
    return total / ops.maximum(ops.sum(mask, axis=1), 1.0)


def predictions(x: Any, num_classes: int, activation: str | None, dropout: float = 0.0) -> Any:
    """Dropout and the last dense layer. Float32 under mixed precision: a softmax in float16 loses small
    probabilities."""
    x = layers.Dropout(dropout, name="dropout")(x)
    return layers.Dense(num_classes, activation=activation, dtype="float32", name="predictions")(x)
