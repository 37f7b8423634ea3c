"""A recurrent net with a wide linear branch of n-grams beside it.

The branches are summed as in Cheng et al. 2016 (Wide & Deep), arXiv:1606.07792; the n-grams are weighted by
naive-Bayes log-count ratios as in Wang & Manning 2012, "Baselines and bigrams".
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_dl.errors import UserError
from keras_dl.registry import register
from keras_dl.text.common import embed, real_words, token_input, variational_dropout
from keras_dl.text.recurrent import VARIANTS, recurrent_stack


def log_count_ratios(
    ngrams: Sequence[np.ndarray], labels: Sequence[int], num_classes: int, num_features: int, smoothing: float = 1.0
) -> np.ndarray:
    """How much more often texts of a class hold an n-gram than other texts do (Wang & Manning 2012, section 2.1).

    Args:
        ngrams: for each text its ids; 0 and repeats don't count.
        labels: for each text its class.
        num_classes: classes.
        num_features: ids that there are.
        smoothing: texts added to each count.

    Returns:
        `(num_features, num_classes)`, float32: log (p / |p|) - log (q / |q|), where p counts the texts of the class
        that hold the n-gram and q the others. For two classes one column is the other's negative.
    """
    counts = np.zeros((num_classes, num_features))
    for ids, label in zip(ngrams, labels, strict=True):
        counts[label, np.unique(ids)] += 1
    texts = counts[:, 1:]
    p, q = texts + smoothing, texts.sum(axis=0) - texts + smoothing
    ratios = np.log(p / p.sum(axis=1, keepdims=True)) - np.log(q / q.sum(axis=1, keepdims=True))
    return np.pad(ratios.T, ((1, 0), (0, 0))).astype("float32")


@keras.saving.register_keras_serializable(package="keras_dl")
class NgramScores(keras.layers.Layer):
    """A linear model of the n-grams that a text holds: the sum over them of ratio times weight, for each class.

    The ratios are fixed: ones, which makes it a plain linear model, until `layer.ratios.assign(log_count_ratios(...))`.

    Args:
        num_features: ids that there are, 0 for padding included.
        num_classes: classes.
        dropout: rate at which n-grams are left out in training.

    Call:
        ids: `(batch, n)`, int32, in any order; repeats count once, 0 not at all.

    Returns:
        `(batch, num_classes)`.
    """

    def __init__(self, num_features: int, num_classes: int, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_features, self.num_classes, self.dropout = num_features, num_classes, dropout
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (self.num_features, self.num_classes)
        self.ratios = self.add_weight(shape, "ones", trainable=False, name="ratios")
        self.kernel = self.add_weight(shape, "zeros", name="kernel")

    def call(self, ids: Any, training: bool = False) -> Any:
        ids = ops.sort(ids, axis=-1)
        before = ops.pad(ids[:, :-1], ((0, 0), (1, 0)))
        counted = ops.cast(ops.not_equal(ids, before), "float32")
        if training and self.dropout:
            counted = keras.random.dropout(counted, self.dropout, seed=self.seed_generator)
        weights = ops.take(self.ratios * self.kernel, ids, axis=0)
        return ops.sum(weights * ops.cast(counted, weights.dtype)[..., None], axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_features": self.num_features,
            "num_classes": self.num_classes,
            "dropout": self.dropout,
        }


def max_over_words(x: Any, mask: Any) -> Any:
    """The largest over the true steps, `(batch, time, n)` to `(batch, n)`; where there is none -1, as no output of a
    recurrent net is less."""
    return ops.max(ops.where(ops.expand_dims(mask, -1), x, -1.0), axis=1)


@register(
    paper="Cheng et al. 2016, arXiv:1606.07792; Wang & Manning 2012, ACL",
    task="text classification",
    parameters=1_678_658,
    small={
        "vocabulary_size": 20,
        "num_classes": 3,
        "ngram_features": 30,
        "embedding_dim": 8,
        "units": 8,
    },
)
def wide_recurrent(
    vocabulary_size: int = 10_000,
    num_classes: int = 2,
    sequence_length: int | None = None,
    ngram_features: int = 100_000,
    embedding_dim: int = 128,
    units: int = 128,
    num_layers: int = 1,
    bidirectional: bool = True,
    recurrent: str = "gru",
    dropout: float = 0.5,
    ngram_dropout: float = 0.2,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
) -> keras.Model:
    """What the recurrent net makes of a text in order, and what its single words and pairs say, added up.

    Of the net's outputs the largest over time counts, feature by feature (Lai et al. 2015, AAAI): of a long text its
    last state remembers too little.

    On some thousand texts the n-grams alone beat a recurrent net from scratch, which in turn understands what they
    can't. The input `ngrams` is made outside: number the words and pairs (of Chinese: the characters and pairs) of
    the training texts from 1 and list for each text the numbers of those it holds, padded with 0; what was not in
    the training texts is left out. Then set the ratios of the layer `ngram_scores`, as `NgramScores` says.

    Args:
        vocabulary_size: ids of words that there are, padding (0) and out-of-vocabulary (1) included.
        num_classes: labels.
        sequence_length: fixed number of words, or None for any.
        ngram_features: ids of n-grams that there are, 0 included.
        embedding_dim: width of the word vectors.
        units: width of the state, in each direction.
        num_layers: recurrent layers, one upon the other.
        bidirectional: read backwards too.
        recurrent: a variant of `keras_dl.text.recurrent`.
        dropout: variational on the recurrent input, and plain on its largest outputs.
        ngram_dropout: rate at which n-grams are left out in training.
        classifier_activation: `"softmax"`, or None for logits.
        name: the model's name.

    Returns:
        Two inputs, `tokens` `(batch, time)` and `ngrams` `(batch, n)`, int32, to probabilities
        `(batch, num_classes)`. Reference count: 1,678,658.

    Raises:
        ValueError: for an unknown recurrent net.
    """
    if recurrent not in VARIANTS:
        raise UserError(f"recurrent is one of {', '.join(VARIANTS)}; got {recurrent!r}")
    tokens = token_input(sequence_length)
    ngrams = keras.Input((None,), dtype="int32", name="ngrams")
    x = variational_dropout(embed(tokens, vocabulary_size, embedding_dim), dropout)
    x = recurrent_stack(x, recurrent, units, num_layers, bidirectional, return_sequences=True)
    x = max_over_words(x, real_words(tokens))
    x = layers.Dropout(dropout, name="dropout")(x)
    deep = layers.Dense(num_classes, dtype="float32", name="deep")(x)
    wide = NgramScores(ngram_features, num_classes, ngram_dropout, dtype="float32", name="ngram_scores")(ngrams)
    x = layers.Add(dtype="float32", name="logits")([deep, wide])
    x = layers.Activation(classifier_activation, dtype="float32", name="predictions")(x)
    return keras.Model({"tokens": tokens, "ngrams": ngrams}, x, name=name or "wide_recurrent")
