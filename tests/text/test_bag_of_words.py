"""The linear half of the default model and its baselines, against scikit-learn and by hand."""

import weakref

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

from keras_dl.errors import UserError
from keras_dl.text import bag_of_words
from keras_dl.text.bag_of_words import (
    STRENGTHS,
    NaiveBayesRegression,
    blend,
    fit_naive_bayes_regression,
    holds,
    most_ngrams,
    refit,
    tf_idf_predictions,
)
from keras_dl.text.vectors import initial_embedding, read_vectors


@pytest.fixture(scope="module")
def data():
    """Texts of 20 features whose odds differ by class."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 600)
    odds = random.uniform(0.05, 0.6, (3, 20))
    rows = [np.flatnonzero(random.random(20) < odds[label]) + 1 for label in labels]
    return holds(rows, 21), labels


def test_holds_counts_once_and_leaves_out_padding():
    matrix = holds([np.array([2, 2, 0, 1]), np.array([], int)], 3)
    assert matrix.toarray().tolist() == [[0, 1, 1], [0, 0, 0]]


def test_two_classes_are_one_regression(data):
    texts, labels = data
    texts, labels = texts[labels < 2], labels[labels < 2]
    model = NaiveBayesRegression(texts, labels, 2, 1.0)
    found = texts.toarray()
    p, q = found[labels == 1].sum(0)[1:] + 1, found[labels == 0].sum(0)[1:] + 1
    ratios = np.log((p / p.sum()) / (q / q.sum()))
    peer = LogisticRegression(C=1.0, solver="liblinear", dual=True, tol=1e-6, max_iter=5000).fit(
        found[:, 1:] * ratios, labels
    )
    logits = model.logits(texts)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], peer.decision_function(found[:, 1:] * ratios), atol=0.02)
    np.testing.assert_allclose(logits.sum(axis=1), 0, atol=1e-6)


def test_three_classes_are_learned(data):
    texts, labels = data
    model = fit_naive_bayes_regression(texts[:400], labels[:400], texts[400:500], labels[400:500], 3)
    assert np.mean(model.logits(texts[500:]).argmax(-1) == labels[500:]) > 0.6
    assert np.mean(tf_idf_predictions(texts[:400], labels[:400], texts[500:]) == labels[500:]) > 0.6


def test_many_classes_fit_into_memory(data, monkeypatch):
    """Few n-grams for each, one regression beside the best so far, none of them over all classes at once."""
    assert [most_ngrams(classes) for classes in (2, 4, 20)] == [1_000_000, 1_000_000, 200_000]
    alive, most, told = weakref.WeakSet(), [], []

    class Counted(NaiveBayesRegression):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            alive.add(self)
            most.append(len(alive))

    monkeypatch.setattr(bag_of_words, "NaiveBayesRegression", Counted)
    texts, labels = data
    best = fit_naive_bayes_regression(texts[:300], labels[:300], texts[300:], labels[300:], 3, advance=told.append)
    assert max(most) <= 2 and sum(told) == len(most) == len(STRENGTHS)
    assert best.kernel.dtype == "float32"
    weighting = TfidfTransformer(sublinear_tf=True).fit(texts[:300])
    seen, test = weighting.transform(texts[:300]), weighting.transform(texts[300:])
    rest = LogisticRegression(C=10.0, solver="liblinear", random_state=0)
    sure = [rest.fit(seen, labels[:300] == c).decision_function(test) for c in range(3)]
    np.testing.assert_array_equal(tf_idf_predictions(texts[:300], labels[:300], texts[300:]), np.argmax(sure, axis=0))


def test_the_chosen_penalty_is_used_on_all_texts(data):
    texts, labels = data
    chosen = fit_naive_bayes_regression(texts[:300], labels[:300], texts[300:500], labels[300:500], 3)
    weights = np.random.default_rng(0).random(500)
    again = refit(chosen, (texts[:300], texts[300:500]), (labels[:300], labels[300:500]), np.split(weights, [300]))
    whole = NaiveBayesRegression(texts[:500], labels[:500], 3, chosen.strength, weights)
    np.testing.assert_array_equal(again.ratios, whole.ratios)
    np.testing.assert_array_equal(again.kernel, whole.kernel)


def test_blend_finds_the_informative_half():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 4000)
    good = random.normal(0, 1, (4000, 2))
    chance = 1 / (1 + np.exp(good[:, 0] - good[:, 1]))
    labels = (random.random(4000) < chance).astype(int)
    factors = blend(random.normal(0, 1, (4000, 2)), good / 2, labels)
    assert abs(factors[0]) < 0.15 and abs(factors[1] - 2) < 0.25
    assert blend(good[:0], good[:0], labels[:0]) == pytest.approx((1, 1))


def test_vectors(tmp_path):
    (tmp_path / "v.txt").write_text("2 3\ngood 1 2 3\nbad 4 5 6\n. . . 7 8 9\n\n")
    vectors, known = read_vectors(tmp_path / "v.txt", ["bad", "new", ". . ."])
    assert vectors.tolist() == [[4, 5, 6], [0, 0, 0], [7, 8, 9]] and known.tolist() == [True, False, True]
    table = initial_embedding(vectors, known, seed=0)
    assert table.shape == (5, 3) and not table[:2].any()
    np.testing.assert_array_equal(table[[2, 4]], vectors[[0, 2]])
    assert table[3].any() and np.array_equal(table, initial_embedding(vectors, known, seed=0))


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfgood 1 2\nbad 3 4\n",
        b"good  1   2 \nbad 3  4\n",
        b"good\t1\t2\nbad\t3\t4\r\n",
        b"good 1 2\nnai\xefve 5 6\nbad 3 4",
        "bad 3 4\ngood 1 2\nde\u0301c\u0327u 5 6\n".encode(),
    ],
    ids=["byte order mark", "two spaces", "tabs", "damaged word", "decomposed word"],
)
def test_vectors_as_other_programs_write_them(tmp_path, content):
    (tmp_path / "v.txt").write_bytes(content)
    vectors, known = read_vectors(tmp_path / "v.txt", ["good", "bad", "d\u00e9\u00e7u"])
    assert vectors[:2].tolist() == [[1, 2], [3, 4]] and known[2] == (b"\xcc\x81" in content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"good 1 2 3\nbad 1 2\n", "line 2 has 2 numbers, the first has 3"),
        (b"good 1 2 3\nbad 1 2 x\n", "line 2 has something else than numbers"),
        (b"\xff\xfe\x00", "is no text file"),
        (b"other 1 2 3\nbad 1 nan 2\n", "line 2 has a number that is not finite"),
        (b"good 1 2 -inf\n", "line 1 has a number that is not finite"),
        (b"good 1 2 1e60\n", "line 1 has a number that is not finite"),
        (b"other 1 2 3\n", "none of the 2 words"),
    ],
)
def test_bad_vectors_are_named(tmp_path, content, message):
    (tmp_path / "v.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_vectors(tmp_path / "v.txt", ["good", "bad"])
