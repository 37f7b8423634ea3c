"""Which words decided: gradient times embedding, the n-grams of a wide branch, and what attention looked at."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_dl.layers.attention import MultiHeadAttention
from keras_dl.text.self_attention import attention_maps
from keras_dl.text.vocabulary import BEGINNING, Vocabulary, as_taken
from keras_dl.text.wide_recurrent import NgramScores


@dataclasses.dataclass(frozen=True)
class Explanation:
    """One text and what its words contributed.

    Attributes:
        words: its tokens, those that the model sees.
        contributions: of each to the log-odds of the predicted class, positive for it.
        attention: how much the words look at each, in all heads and layers on average; None without attention.
        scores: probabilities `(classes,)`.
    """

    words: tuple[str, ...]
    contributions: np.ndarray
    attention: np.ndarray | None
    scores: np.ndarray


def explain(
    model: keras.Model,
    vocabulary: Vocabulary,
    texts: Sequence[str],
    advance: Callable[[], object] = lambda: None,
) -> list[Explanation]:
    """Explains what the model predicts for each text; `advance` is told of each that is done.

    A word's contribution is the inner product of its vector with the gradient of the predicted class's log-odds with
    respect to it (Li et al. 2016, arXiv:1506.01066; times the input: Denil et al. 2014, arXiv:1412.6815). So is that of
    an n-gram of a wide branch, divided evenly among its words, those of a long text that the net does not read
    included. The branch is linear: with two classes its shares are exact, with more the odds are against the others by
    their probabilities, as the gradient takes them.
    """
    gradient_times_input = _gradient_times_input(model)
    attends = any(isinstance(layer, MultiHeadAttention) for layer in model.layers)
    maps = attention_maps(model) if attends else None
    wide = next((layer for layer in model.layers if isinstance(layer, NgramScores)), None)
    weights = None if wide is None else np.asarray(wide.ratios * wide.kernel, "float64")

    def explanation(text: str) -> Explanation:
        ids = vocabulary(tf.constant([text]))
        tokens = vocabulary.split(tf.constant([text]))
        read = vocabulary.cut(tf.ragged.range(tokens.row_lengths())).flat_values.numpy()
        whole = [token.decode("utf-8") for token in tokens.flat_values.numpy()]
        words = [whole[i] for i in read]
        chosen, scores, contributions = (np.array(found) for found in gradient_times_input(as_taken(ids)))
        contributions = contributions[: len(words)].astype("float64")
        if weights is not None:
            # Where the others round to 0, they are alike.
            others = np.delete(scores.astype("float64"), chosen) + np.finfo("float32").tiny
            against = np.delete(weights, chosen, axis=1) @ (others / others.sum())
            contributions += ngram_shares(vocabulary, whole, weights[:, chosen] - against)[read]
        attention = None if maps is None else _looks(maps(ids["tokens"], training=False), len(words))
        return Explanation(tuple(words), contributions, attention, scores)

    explanations = []
    for text in texts:
        explanations.append(explanation(text))
        advance()
    return explanations


def _gradient_times_input(model: keras.Model) -> Callable[[Any], tuple[tf.Tensor, ...]]:
    """From the inputs of one text to its predicted class, the scores, and each step's contribution to its log-odds.

    Compiled: a recurrent net would be run step by step in Python.
    """
    inner = keras.Model(model.input, [model.get_layer("embedding").output, model.output])

    @tf.function(reduce_retracing=True)
    def found(inputs: Any) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            vectors, scores = inner(inputs, training=False)
            chosen = tf.argmax(scores[0], output_type=tf.int32)
            share = scores[0, chosen]
            # Summed, since 1 - share is 0 where the model is sure.
            others = tf.reduce_sum(tf.where(tf.range(scores.shape[1]) == chosen, 0.0, scores[0]))
            log_odds = tf.math.log(share) - tf.math.log(tf.maximum(others, np.finfo("float32").tiny))
        gradient = tape.gradient(log_odds, vectors)
        return chosen, scores[0], tf.reduce_sum(gradient * vectors, -1)[0]

    return found


def _looks(maps: dict[str, tf.Tensor], words: int) -> np.ndarray:
    """How much the words look at each, on average."""
    return np.mean([np.asarray(found)[0, :, :words, :words].mean(axis=(0, 1)) for found in maps.values()], axis=0)


def ngram_shares(vocabulary: Vocabulary, tokens: Sequence[str], weights: np.ndarray) -> np.ndarray:
    """What each token gets of the weights of the n-grams that it is part of; a repeated n-gram counts once."""
    number = {ngram: i for i, ngram in enumerate(vocabulary.ngram_list, 1)}
    shares, seen = np.zeros(len(tokens)), set()
    for width in range(1, vocabulary.ngram_width + 1):
        for start in range(len(tokens) - width + 1):
            ngram = " ".join(tokens[start : start + width])
            if ngram in number and ngram not in seen:
                seen.add(ngram)
                shares[start : start + width] += weights[number[ngram]] / width
    for i, token in enumerate(tokens):
        for beginning in (BEGINNING + token[:size] for size in vocabulary.beginnings if len(token) > size):
            if beginning in number and beginning not in seen:
                seen.add(beginning)
                shares[i] += weights[number[beginning]]
    return shares
