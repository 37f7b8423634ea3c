"""Pieces: text to ids and back, for each unit, also of characters never seen."""

import json
import tracemalloc
import unicodedata

import numpy as np
import pytest
import tensorflow as tf

from keras_dl.errors import UserError
from keras_dl.text import sentencepieces, subwords
from keras_dl.text.subwords import END, MARKS, PAD, UNITS, UNKNOWN, learn_pieces, load_pieces, plain, split, usual_size

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
def test_damaged_or_missing_pieces_are_named(unit, tmp_path):
    path = tmp_path / "pieces.json"
    learn_pieces(TEXTS, unit, 120).save(path)
    whole = path.read_text(encoding="utf-8")
    model = json.loads(whole)["sentencepiece"]
    damaged = [whole[: len(whole) // 2], "[]", '{"unit": "words"}', *([whole.replace(model, "AAAA")] if model else [])]
    for content in (*damaged, None):
        path.write_text(content or "", encoding="utf-8")
        if content is None:
            path.unlink()
        with pytest.raises(UserError) as caught:
            load_pieces(path)
        message = str(caught.value)
        assert message.startswith(f"can't read the vocabulary {path} (") and "\n" not in message
        assert message.endswith("): restore it, or train again")


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


def test_chinese_character_is_a_word_wherever_it_stands():
    texts = ["2026年11月21日吃苹果", "用iPhone 15拍的, é二〇二六3.5 x", "Straße"]
    words = [[word.decode() for word in row] for row in split(tf.constant(texts), "words").to_list()]
    assert words == [
        ["2026", "年", "11", "月", "21", "日", "吃", "苹", "果"],
        ["用", "iPhone", " 15", "拍", "的", ",", " é", "二", "〇", "二", "六", "3", ".", "5", " x"],
        ["Straße"],
    ]
    pieces = learn_pieces(["2026年11月21日", "吃苹果", "15天用iPhone"], "words", 60)
    unseen = ["2026日吃15苹果", "用iPhone年21天11果"]
    ids = pieces.encode(tf.constant(unseen))
    assert UNKNOWN not in ids.flat_values.numpy()
    assert [text.decode() for text in pieces.decode(ids.to_tensor(PAD)).numpy()] == unseen


def test_all_that_is_a_space_counts_as_one():
    """As Python's `str.split` has it, by which training texts are cleaned."""
    texts = ["a\u00a0 b", "a\u3000b\u2009", "\u2028a\x85\x0bb", "a\x1c\x00\x01b", "a\u200bb"]
    assert [text.decode() for text in plain(tf.constant(texts)).numpy()] == ["a b"] * 4 + ["a\u200bb"]


def test_subwords_take_text_in_any_form_of_unicode():
    pieces = learn_pieces(TEXTS, "subwords", 120)
    texts = [*TEXTS[:3], "e\u0301t\u00e9 \u1112\u1161\u11ab"]
    apart = [unicodedata.normalize("NFD", text) for text in texts]
    whole = [unicodedata.normalize("NFC", text) for text in texts]
    assert apart[1] != whole[1]
    assert pieces.encode(tf.constant(apart)).to_list() == pieces.encode(tf.constant(whole)).to_list()


def test_many_sentences_are_thinned_evenly(monkeypatch):
    """A joint vocabulary has all sources before all targets: the first sentences are of one language."""
    monkeypatch.setattr(sentencepieces, "_SENTENCES", 200)
    pieces = learn_pieces(["one house and two horses"] * 300 + ["ένα σπίτι και δύο άλογα"] * 300, "subwords", 60)
    ids = pieces.encode(tf.constant(["two houses", "δύο σπίτι"]))
    assert UNKNOWN not in ids.flat_values.numpy()


def test_characters_are_counted_without_a_copy_of_the_texts(monkeypatch):
    def stop(*_, **__):
        raise UserError("enough")

    monkeypatch.setattr(subwords, "train_subwords", stop)
    tracemalloc.start()
    with pytest.raises(UserError, match="enough"):
        learn_pieces([TEXTS[0]] * 20_000, "subwords", 60)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6


def test_less_text_has_fewer_subwords():
    assert usual_size(["abc"] * 10, "subwords") == 1000
    assert usual_size(["abc"] * 10, "words") == 6000
    assert usual_size(["ab " * 1000] * 200, "subwords") == 3 + len(MARKS) + 3 * 1000 * 200 // 300
    assert usual_size(["abc" * 1000] * 2000, "subwords") == 6000
    assert len(learn_pieces(TEXTS, "subwords")) == len(learn_pieces(TEXTS, "subwords", 1000))


def test_rare_characters_have_room():
    """Of a language of thousands of characters, most of which are too rare for more."""
    texts = [chr(0x4E00 + i) + chr(0x4E00 + i % 7) for i in range(2000)]
    pieces = learn_pieces(texts, "subwords")
    assert len(pieces) <= usual_size(texts, "subwords") == 2001 + len(MARKS) + 4000 // 300


def test_impossible_vocabularies_are_refused():
    with pytest.raises(UserError, match="--unit"):
        learn_pieces(TEXTS, "bytes", 100)
    with pytest.raises(
        UserError, match=r"^--vocabulary 20 is too small .*: give --vocabulary (\d+) or more$"
    ) as refused:
        learn_pieces(TEXTS, "subwords", 20)
    least = int(str(refused.value).split()[-3])
    assert len(learn_pieces(TEXTS, "subwords", least)) == least
    with pytest.raises(
        UserError, match=r"^no subwords can be found in these texts: give more of them, or --unit words$"
    ):
        learn_pieces([" "] * 9, "subwords", 20)
