"""Pieces: text to ids and back, for each unit, also of characters never seen."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dl.errors import UserError
from keras_dl.text.subwords import END, MARKS, PAD, UNITS, UNKNOWN, learn_pieces, load_pieces

TEXTS = [
    "A man, 23, rides (slowly) past the town's hall.",
    "Ein Mann fährt langsam an der Straße vorbei!",
    "我们在2026年11月21日吃苹果，天气很好。",
] * 20


@pytest.mark.parametrize("unit", UNITS)
def test_text_comes_back_as_it_was(unit, tmp_path):
    pieces = learn_pieces(TEXTS, unit, 120)
    assert len(pieces) <= 120 and pieces.pieces[: len(MARKS)] == MARKS
    pieces.save(tmp_path / "pieces.json")
    stored = load_pieces(tmp_path / "pieces.json")
    ids = stored.encode(tf.constant(["  A man \t rides\n", *TEXTS[:3], ""]))
    np.testing.assert_array_equal(
        ids.flat_values, pieces.encode(tf.constant(["A man rides", *TEXTS[:3], ""])).flat_values
    )
    assert min(ids.flat_values.numpy()) > UNKNOWN
    ended = tf.concat([ids, tf.fill([5, 1], END), tf.fill([5, 2], 7)], axis=1).to_tensor(PAD)
    assert [text.decode() for text in stored.decode(ended).numpy()] == ["A man rides", *TEXTS[:3], ""]


@pytest.mark.parametrize("unit", UNITS)
def test_what_was_never_seen_is_unknown(unit):
    pieces = learn_pieces(TEXTS, unit, 120)
    ids = pieces.encode(tf.constant(["A 🦊", b"A \xff"])).to_list()
    assert all(row[-1] == UNKNOWN and UNKNOWN not in row[:-2] for row in ids)


def test_words_start_with_their_space_or_a_chinese_character():
    pieces = learn_pieces(TEXTS, "words", 120)
    ids = pieces.encode(tf.constant(["Mann, the town's 我们"])).to_list()[0]
    assert [pieces.pieces[i] for i in ids] == ["<unk>", ",", " the", " town", "'", "s", "<unk>", "们"]
    starts = {piece for piece, start in zip(pieces.pieces, pieces.starts_word, strict=True) if start}
    assert " town" in starts and "们" in starts and "'" not in starts


def test_impossible_vocabularies_are_refused():
    with pytest.raises(UserError, match="--unit"):
        learn_pieces(TEXTS, "bytes", 100)
    with pytest.raises(UserError, match="subwords"):
        learn_pieces(TEXTS, "subwords", 20)
