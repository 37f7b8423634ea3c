"""A sequence model with its pieces and its search: strings in, translations out, in one graph."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_dl.registry import model_info
from keras_dl.text import seq2seq, transformer
from keras_dl.text.decoding import DEAD, Hypotheses, Limits, beam_search, greedy_search, wu_penalty
from keras_dl.text.subwords import END, PAD, START, UNKNOWN, Pieces

DECODERS = {"transformer": transformer, "seq2seq": seq2seq, "seq2seq_attention": seq2seq}
MARGIN = 20  # tokens that a translation may have beyond its share: short sentences differ in length by chance


class Translation(NamedTuple):
    """What `Translator.translate` says of one text."""

    text: str
    score: float
    n_best: list[str]
    truncated: bool


@dataclasses.dataclass(frozen=True)
class Search:
    """How translations are searched for.

    Attributes:
        width: hypotheses per sentence; 1 is greedy.
        alpha: of the length penalty, see `wu_penalty`.
        n_best: translations per sentence.
    """

    width: int = 5
    alpha: float = 0.6
    n_best: int = 1


class Translator:
    """Translates with a model of `seq2seq.py` or `transformer.py`.

    Args:
        model: its name is that of its architecture.
        source: pieces of the source language.
        target: pieces of the target language.
        max_length: tokens of a source, the mark of the end included; more are cut off at the start of a word.
        expansion: tokens that a translation may have for each of its source, `MARGIN` aside. Words of one language are
            several times as many characters of another.
    """

    def __init__(
        self, model: keras.Model, source: Pieces, target: Pieces, max_length: int, expansion: float = 2.0
    ) -> None:
        self.model, self.source, self.target, self.max_length = model, source, target, max_length
        self.expansion = expansion
        self.architecture = DECODERS[model_info(model.name).family]
        self._compiled: dict[Search, Any] = {}

    def encode(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The model's source int32 `(n, m)`, and which texts were too long, bool `(n,)`."""
        ids = self.source.encode(texts)
        room = self.max_length - 1
        truncated = ids.row_lengths() > room
        window = ids[:, : room + 1].to_tensor(PAD)
        # The last start of a word within the window is where a text that is too long is cut; without one, its end.
        places = tf.range(tf.shape(window)[1])
        starts = tf.gather(tf.constant(self.source.starts_word), window) & (places > 0) & (window != PAD)
        last_start = tf.reduce_max(tf.where(starts, places, 0), axis=1)
        cut = tf.where(last_start > 0, last_start, room)
        lengths = tf.where(truncated, cut, tf.cast(ids.row_lengths(), tf.int32))
        kept = tf.RaggedTensor.from_tensor(window, lengths)
        ends = tf.fill([tf.shape(window)[0], 1], END)
        source = tf.concat([kept, ends], axis=1).to_tensor(PAD)
        # A recurrent layer needs a place even where there is no text.
        return tf.pad(source, [[0, 0], [0, tf.cast(tf.shape(source)[1] == 0, tf.int32)]]), truncated

    def longest(self, source: tf.Tensor) -> tf.Tensor:
        """Tokens that translations of encoded sources may have, the mark of the end included: int32 `(n,)`."""
        lengths = tf.reduce_sum(tf.cast(source != PAD, tf.float32), axis=1)
        return tf.cast(tf.math.ceil(self.expansion * lengths), tf.int32) + MARGIN

    def search(self, source: tf.Tensor, search: Search) -> Hypotheses:
        """Token ids of the best translations of encoded sources."""
        longest = self.longest(source)
        # Without a text there is no longest one.
        limits = Limits(END, tf.maximum(tf.reduce_max(longest), 1), longest, forbidden=(PAD, START, UNKNOWN))
        step, state = self.architecture.decoder(self.model, source, limits.max_length)
        start = tf.fill(tf.shape(source)[:1], START)
        penalty = wu_penalty(search.alpha)
        if search.width == 1:
            return greedy_search(step, state, start, limits, penalty=penalty)
        return beam_search(step, state, start, limits, width=search.width, n_best=search.n_best, penalty=penalty)

    def graph(self, texts: tf.Tensor, search: Search) -> dict[str, tf.Tensor]:
        """Strings `(n,)` to `translations` and `scores` `(n,)`, `n_best` and `n_best_scores` `(n, k)`, `truncated`
        `(n,)`. An empty text has an empty translation, of score 0. Where there are fewer than k different translations,
        the last places are empty, of score `DEAD`."""
        source, truncated = self.encode(texts)
        found = self.search(source, search)
        k = found.scores.shape[1]
        strings = tf.reshape(self.target.decode(tf.reshape(found.tokens, [-1, tf.shape(found.tokens)[2]])), [-1, k])
        empty = (source[:, 0] == END)[:, None]
        strings, scores = distinct(tf.where(empty, "", strings), tf.where(empty, 0.0, found.scores))
        return {
            "translations": strings[:, 0],
            "scores": scores[:, 0],
            "n_best": strings,
            "n_best_scores": scores,
            "truncated": truncated,
        }

    def translate(
        self,
        texts: Sequence[str],
        search: Search,
        batch_size: int = 64,
        advance: Callable[[int], None] = lambda count: None,
    ) -> list[Translation]:
        """Translations in the order of the texts; those of like length share a batch.

        Args:
            texts: one line each, NFC as in training.
            search: how to search.
            batch_size: texts that are translated together.
            advance: is told after each batch how many texts it had.
        """
        if search not in self._compiled:
            signature = [tf.TensorSpec([None], tf.string)]
            self._compiled[search] = tf.function(lambda texts: self.graph(texts, search), input_signature=signature)
        order = np.argsort([-len(text) for text in texts], kind="stable")
        results: list[Translation | None] = [None] * len(texts)
        for start in range(0, len(texts), batch_size):
            rows = order[start : start + batch_size]
            found = self._compiled[search](tf.constant([texts[i] for i in rows], tf.string))
            found = {key: value.numpy() for key, value in found.items()}
            for i, row in enumerate(rows):
                n_best = [text.decode("utf-8") for text in found["n_best"][i]]
                results[row] = Translation(n_best[0], float(found["scores"][i]), n_best, bool(found["truncated"][i]))
            advance(len(rows))
        return results

    def attention(self, text: str, translation: str) -> tuple[np.ndarray, list[str], list[str]]:
        """Where each piece of a translation looks in the text `(m, n)`, and the pieces of both, marks included.

        Raises:
            ValueError: if the model has no attention.
        """
        source = self.encode(tf.constant([text]))[0]
        target = tf.concat([[[START]], self.target.encode(tf.constant([translation])).to_tensor()], axis=1)
        weights = self.architecture.attention_maps(self.model)({"source": source, "target": target}, training=False)
        rows = [*(self.target.pieces[i] for i in target.numpy()[0, 1:]), "⏎"]
        columns = [*(self.source.pieces[i] for i in source.numpy()[0, :-1]), "⏎"]
        return np.array(weights[0]), columns, rows


def distinct(strings: tf.Tensor, scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The first of each text's equal strings `(n, k)`, in their order, with its score; then `""` and `DEAD`.

    Several token sequences may spell one text, such as `ab` `c` and `a` `bc`.
    """
    places = tf.range(tf.shape(strings)[1])
    equal = strings[:, :, None] == strings[:, None, :]
    again = tf.reduce_any(equal & (places[None, :] < places[:, None]), axis=2)
    order = tf.argsort(tf.cast(again, tf.int32), axis=1, stable=True)
    strings, scores = tf.where(again, "", strings), tf.where(again, DEAD, scores)
    return tf.gather(strings, order, batch_dims=1), tf.gather(scores, order, batch_dims=1)
