"""Raw strings to ids: split, folded, counted, cut, the same in Python and in a graph."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dl.errors import UserError
from keras_dl.text.vocabulary import (
    PADDING,
    Vocabulary,
    learn_vocabulary,
    load_vocabulary,
    normalise,
    padded,
    split_ngrams,
)
from keras_dl.text.wide_recurrent import NgramScores


def split(text, **options):
    return [token.decode() for token in Vocabulary((), **options).split(tf.constant([text])).to_list()[0]]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (
            "Ｎot  bad—it’s a 'well-made' film!!",
            ["not", "bad", "—", "it's", "a", "'", "well-made", "'", "film", "!", "!"],
        ),
        ("这部电影Very好看，3.5分", ["这", "部", "电", "影", "very", "好", "看", ",", "3", ".", "5", "分"]),
        ("don't -- can't\r\n\tx　y", ["don't", "--", "can't", "x", "y"]),
        ("Ärger ÉTÉ Ωμέγα", ["ärger", "été", "ωμέγα"]),
        ("😀😀", ["😀", "😀"]),
        ("Love❤️this ❤️", ["love", "❤", "this", "❤"]),
        ("ひらがなカタカナ", list("ひらがなカタカナ")),
        ("ດີ ល្អ", ["ດ", "\u0eb5", "ល", "\u17d2", "អ"]),
        ("\u2003so\u2003good\u2028\ufeffreally\x85", ["so", "good", "really"]),
        (" \n", []),
        ("", []),
    ],
)
def test_words(text, tokens):
    assert split(text) == tokens


def test_characters_and_case():
    assert split("A b，c", unit="characters") == ["a", "b", ",", "c"]
    assert split("Very Good", lower=False) == ["Very", "Good"]


def test_subwords_outlive_a_new_seed():
    vocabulary = learn_vocabulary(["a small room", "a large room"], unit="subwords", size=20, min_count=1)
    before = vocabulary(["a room"])["tokens"].numpy().tolist()
    keras.utils.set_random_seed(1)
    assert vocabulary(["a room"])["tokens"].numpy().tolist() == before


def test_subwords_join_to_the_text():
    texts = ["the acting was charming", "the plot was dull and the acting was dull", "charming plot"] * 20
    vocabulary = learn_vocabulary(texts, unit="subwords", size=40, min_count=1)
    pieces = [piece.decode() for piece in vocabulary.split(tf.constant(["the dull plot"])).to_list()[0]]
    assert "".join(pieces).replace("▁", " ").strip() == "the dull plot"
    assert len(pieces) > 1 and len(vocabulary) <= 42


@pytest.mark.parametrize("text", ["word " * 1000, "房间非常好" * 400], ids=["words", "chinese"])
def test_subwords_are_learned_from_texts_of_any_length(text):
    """SentencePiece itself leaves out lines of more than 4,192 bytes."""
    vocabulary = learn_vocabulary(["dull plot 差", text], unit="subwords", size=60, min_count=1)
    ids = vocabulary(tf.constant([text[:10]]))["tokens"].numpy()[0]
    assert len(ids) <= 2 and all(ids > 1)


@pytest.mark.parametrize("unit", ["words", "segmented", "characters", "subwords"])
def test_spaces_around_a_text_change_nothing(unit):
    """Predict strips them in Python, an export in its graph."""
    vocabulary = learn_vocabulary(["so good a film"] * 3, unit=unit, size=20, ngram_width=2)
    text = "\u2003\u2003so\u00a0\u2009good a film\u2028"
    for name, ids in vocabulary(tf.constant([text])).items():
        np.testing.assert_array_equal(ids, vocabulary(tf.constant([text.strip()]))[name])
        np.testing.assert_array_equal(ids, vocabulary(tf.constant(["so good a film"]))[name])


def test_full_width_forms_are_those_of_unicode():
    import unicodedata

    wide = "".join(map(chr, range(0xFF01, 0xFF5F)))
    found = normalise(tf.constant([wide]), lower=False).numpy()[0].decode()
    assert found == unicodedata.normalize("NFKC", wide)


def test_bytes_that_are_no_text_become_unknown():
    vocabulary = Vocabulary(["good"])
    assert vocabulary(tf.constant([b"\xff\xfe good"]))["tokens"].numpy().tolist()[0][-1] == 2


def test_ids_by_frequency_with_a_cut():
    vocabulary = learn_vocabulary(["b a b", "a b c", "a b c d"], min_count=2)
    assert vocabulary.tokens == ["b", "a", "c"] and len(vocabulary) == 5
    assert vocabulary(tf.constant(["a d b", "c"]))["tokens"].numpy().tolist() == [[3, 1, 2], [4, 0, 0]]
    assert learn_vocabulary(["b a b", "a b c"], size=3, min_count=1).tokens == ["b"]
    with pytest.raises(UserError, match="no word occurs 2 times in the 2 training texts"):
        learn_vocabulary(["one", "two"], min_count=2)


@pytest.mark.parametrize("size", [1, 2])
def test_a_size_without_room_for_a_token_is_refused(size):
    with pytest.raises(UserError, match=f"a vocabulary of {size} has no room"):
        learn_vocabulary(["one two one two"], size=size)


def test_no_ngrams_are_asked_for():
    assert learn_vocabulary(["one two one two"], ngram_width=2, ngram_size=0).ngram_list == []


def test_what_has_been_counted_is_told():
    told = []
    learn_vocabulary(["one two"] * 1500, advance=told.append)
    assert len(told) > 1 and sum(told) == 1500


def test_ngrams_are_numbered_from_one_and_unknown_ones_left_out():
    vocabulary = learn_vocabulary(["not bad", "not bad at all"], ngram_width=2, min_count=2)
    assert vocabulary.ngram_list == ["bad", "not", "not bad"]
    inputs = vocabulary(tf.constant(["bad not", "not bad !", "", "new"]))
    assert [set(row) - {0} for row in inputs["ngrams"].numpy().tolist()] == [{1, 2}, {1, 2, 3}, set(), set()]


def test_each_ngram_is_listed_once_and_the_branch_says_the_same():
    """As with n-grams listed as often as they occur, the branch counting them once."""
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(["room", "rooms", "bad", "not", "好"], length)) for length in (40, 0, 7, 1)]
    vocabulary = learn_vocabulary(texts, ngram_width=2, beginnings=(3,), min_count=2)
    groups = split_ngrams(vocabulary.split(tf.constant(texts)), 2, (3,))
    repeated = tf.ragged.map_flat_values(vocabulary._ngram_ids.lookup, groups)
    repeated = tf.ragged.boolean_mask(repeated, repeated != PADDING)
    ids = vocabulary.ragged(tf.constant(texts))["ngrams"]
    for row, expected in zip(ids.to_list(), repeated.to_list(), strict=True):
        assert row == list(dict.fromkeys(expected))
    assert len(ids[0]) < len(repeated[0])
    layer = NgramScores(1 + len(vocabulary.ngram_list), 3)
    layer.build((None, None))
    for weight in (layer.ratios, layer.kernel):
        weight.assign(random.normal(size=weight.shape))
    np.testing.assert_allclose(layer(padded(ids)), layer(padded(repeated)), atol=1e-5)


def test_words_are_known_by_their_beginnings():
    vocabulary = learn_vocabulary(["walked", "walks", "über 很好"], ngram_width=1, beginnings=(3, 4), min_count=1)
    assert vocabulary.ngram_list == ["~wal", "~walk", "walked", "walks", "~übe", "über", "好", "很"]
    inputs = vocabulary(tf.constant(["walking", "übersee", "walk ~ wal"]))
    assert [set(row) - {0} for row in inputs["ngrams"].numpy().tolist()] == [{1, 2}, {5}, {1}]


def test_long_texts_lose_their_middle():
    vocabulary = Vocabulary(list("abcdefgh"), max_tokens=5, ngrams=["d", "e f"], ngram_width=2)
    inputs = vocabulary(tf.constant(["a b c d e f g h", "a b c d e", "a b c d e f", "a"]))
    assert inputs["tokens"].numpy().tolist() == [
        [2, 3, 7, 8, 9],
        [2, 3, 4, 5, 6],
        [2, 3, 5, 6, 7],
        [2, 0, 0, 0, 0],
    ]
    assert set(inputs["ngrams"].numpy()[0]) == {1, 2}


@pytest.mark.parametrize("max_tokens", [None, 4])
def test_no_text_is_nothing_but_padding(max_tokens):
    vocabulary = Vocabulary(["good"], ngrams=["good"], ngram_width=1, max_tokens=max_tokens)

    def rows(*texts):
        return {name: ids.numpy().tolist() for name, ids in vocabulary(tf.constant(texts)).items()}

    assert rows("", "  ") == {"tokens": [[1], [1]], "ngrams": [[0], [0]]}
    assert rows("\x01", "good new") == {"tokens": [[1, 0], [2, 1]], "ngrams": [[0], [1]]}


def test_chinese_with_spaces_between_its_words():
    assert split("房间 很好,very good!", unit="segmented") == ["房间", "很好", ",", "very", "good", "!"]


@pytest.mark.parametrize("unit", ["words", "segmented", "subwords"])
def test_saved_and_loaded_and_in_a_graph(tmp_path, unit):
    texts = ["not bad at all", "bad , bad , bad film", "很好 很好 , not bad film at all"] * 10
    vocabulary = learn_vocabulary(texts, unit=unit, size=60, ngram_width=2, beginnings=(3,), max_tokens=4)
    vocabulary.save(tmp_path)
    loaded = load_vocabulary(tmp_path)
    graph = tf.function(loaded.__call__, input_signature=[tf.TensorSpec([None], tf.string)])
    for name, ids in vocabulary(tf.constant(texts[:3])).items():
        np.testing.assert_array_equal(ids, graph(tf.constant(texts[:3]))[name])
    (tmp_path / "vocabulary.json").unlink()
    with pytest.raises(UserError, match="can't read the vocabulary"):
        load_vocabulary(tmp_path)
