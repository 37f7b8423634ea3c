"""The translator apart from its search: how long a translation may be, and what it says of its progress."""

import pytest
import tensorflow as tf

import keras_dl
from keras_dl.text.decoding import Hypotheses
from keras_dl.text.subwords import END, learn_pieces
from keras_dl.text.translator import MARGIN, Search, Translator


@pytest.fixture
def translator():
    pieces = learn_pieces(["abc"], "characters", 10)
    model = keras_dl.create_model("seq2seq", vocabulary=len(pieces), embedding=8, units=8, num_layers=1)
    return Translator(model, pieces, pieces, max_length=16, expansion=4.5)


def test_translation_may_grow_as_the_training_pairs_did(translator):
    source, _ = translator.encode(tf.constant(["a", "abcab", ""]))
    assert translator.longest(source).numpy().tolist() == [9 + MARGIN, 27 + MARGIN, 5 + MARGIN]
    translator.expansion = 2.0
    assert translator.longest(source).numpy().tolist() == [4 + MARGIN, 12 + MARGIN, 2 + MARGIN]


def test_progress_is_told_batch_by_batch(translator, monkeypatch):
    ended = lambda source, search: Hypotheses(  # noqa: E731
        tf.fill([tf.shape(source)[0], 1, 1], END), tf.zeros([tf.shape(source)[0], 1]), None
    )
    monkeypatch.setattr(translator, "search", ended)
    counts = []
    assert len(translator.translate(["a"] * 5, Search(1), batch_size=2, advance=counts.append)) == 5
    assert counts == [2, 2, 1]
