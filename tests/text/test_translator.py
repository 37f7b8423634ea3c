"""The translator apart from its search: how long a translation may be, and what it says of its progress."""

import numpy as np
import pytest
import tensorflow as tf

import keras_dl
from keras_dl.text.decoding import DEAD, Hypotheses
from keras_dl.text.subwords import END, learn_pieces
from keras_dl.text.translator import MARGIN, Search, Translator

TEXTS = tf.TensorSpec([None], tf.string)


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


def test_n_best_has_no_translation_twice(translator, monkeypatch):
    """Two token sequences may spell one text; what is missing then is missing at the end."""
    table = tf.constant([[[5, 2], [4, 2], [5, 2], [6, 2]], [[2, 0], [4, 2], [4, 2], [0, 0]]])
    scores = tf.constant([[-1.0, -2.0, -3.0, -4.0], [-1.0, -2.0, -3.0, DEAD]])
    monkeypatch.setattr(translator, "search", lambda source, search: Hypotheses(table, scores, None))
    found = translator.graph(tf.constant(["a", "b"]), Search(4, n_best=4))
    texts = [[text.decode() for text in row] for row in found["n_best"].numpy()]
    a, b, c = (translator.target.pieces[i] for i in (4, 5, 6))
    assert texts == [[b, a, c, ""], ["", a, "", ""]]
    missing = np.float32(DEAD)
    assert found["n_best_scores"].numpy().tolist() == [[-1, -2, -4, missing], [-1, -2, missing, missing]]
    assert found["translations"].numpy()[0].decode() == b and found["scores"].numpy().tolist() == [-1, -1]


def test_no_text_has_no_translation(translator):
    graph = tf.function(lambda texts: translator.graph(texts, Search(2)), input_signature=[TEXTS])
    shapes = {key: value.shape.as_list() for key, value in graph(tf.constant([], tf.string)).items()}
    assert shapes.pop("n_best") == shapes.pop("n_best_scores") == [0, 1]
    assert set(map(tuple, shapes.values())) == {(0,)}


def test_progress_is_told_batch_by_batch(translator, monkeypatch):
    ended = lambda source, search: Hypotheses(  # noqa: E731
        tf.fill([tf.shape(source)[0], 1, 1], END), tf.zeros([tf.shape(source)[0], 1]), None
    )
    monkeypatch.setattr(translator, "search", ended)
    counts = []
    assert len(translator.translate(["a"] * 5, Search(1), batch_size=2, advance=counts.append)) == 5
    assert counts == [2, 2, 1]
