"""Convolutions over words: Kim 2014, arXiv:1408.5882."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_dl.registry import register
from keras_dl.text.common import embed, predictions, real_words, token_input


def max_over_time(x: Any, mask: Any, filters: int, width: int) -> Any:
    """The strongest response of each filter to any window that holds a word of the text.

    Zeros stand around the text, so that a text may be shorter than the window. Windows of nothing but padding don't
    count: the answer is the same however much a batch is padded.
    """
    x = layers.ZeroPadding1D(width - 1, name=f"pad{width}")(x)
    x = layers.Conv1D(filters, width, activation="relu", name=f"conv{width}")(x)
    holds_words = ops.pad(mask, ((0, 0), (width - 1, 0)), constant_values=True)
    x = x * ops.cast(ops.expand_dims(holds_words, -1), x.dtype)
    return layers.GlobalMaxPooling1D(name=f"pool{width}")(x)


@register(
    paper="Kim 2014, arXiv:1408.5882",
    task="text classification",
    parameters=3_360_902,
    small={"vocabulary_size": 20, "num_classes": 3, "embedding_dim": 8, "filters": 6},
)
def text_cnn(
    vocabulary_size: int = 10_000,
    num_classes: int = 2,
    sequence_length: int | None = None,
    embedding_dim: int = 300,
    filters: int = 100,
    widths: Sequence[int] = (3, 4, 5),
    dropout: float = 0.5,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
) -> keras.Model:
    """Filters look at three, four and five words at a time; of each the strongest response stays (figure 1).

    With vectors of one's own in the layer `embedding` this is the paper's CNN-non-static, with
    `get_layer("embedding").trainable = False` CNN-static.

    Args:
        vocabulary_size: ids that there are, padding (0) and out-of-vocabulary (1) included.
        num_classes: labels.
        sequence_length: fixed number of words, or None for any.
        embedding_dim: width of the word vectors.
        filters: filters of each width.
        widths: words that a filter sees.
        dropout: rate before the classifier.
        classifier_activation: `"softmax"`, or None for logits.
        name: the model's name.

    Returns:
        Ids `(batch, time)`, int32, to probabilities `(batch, num_classes)`. Reference count: 3,360,902.
    """
    tokens = token_input(sequence_length)
    mask = real_words(tokens)
    x = embed(tokens, vocabulary_size, embedding_dim)
    x = x * ops.cast(ops.expand_dims(mask, -1), x.dtype)
    x = layers.Concatenate(name="features")([max_over_time(x, mask, filters, width) for width in widths])
    x = predictions(x, num_classes, classifier_activation, dropout)
    return keras.Model(tokens, x, name=name or "text_cnn")
