"""Word vectors: the statistics they learn from, and what they know afterwards of a small made-up language."""

import keras
import numpy as np
import pytest

from keras_dl import create_model
from keras_dl.text.count_embedding import pair_weights
from keras_dl.text.windows import cbow_contexts, cooccurrences, draw_negatives, skipgram_pairs, subsample
from keras_dl.text.word2vec import examples, nearest, unit


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def random_sentences(rng, count=30, vocabulary=8):
    return [rng.integers(1, vocabulary, rng.integers(1, 9)) for _ in range(count)]


def pairs_by_hand(sentences, window):
    return [
        (s[i], s[j], abs(i - j))
        for s in sentences
        for i in range(len(s))
        for j in range(max(0, i - window), min(len(s), i + window + 1))
        if i != j
    ]


def test_pairs_are_the_words_within_the_window(rng):
    sentences = random_sentences(rng)
    expected = sorted((a, b) for a, b, _ in pairs_by_hand(sentences, 3))
    assert sorted(zip(*skipgram_pairs(sentences, 3), strict=True)) == expected


def test_contexts_are_the_words_around(rng):
    sentences = random_sentences(rng)
    contexts, words = cbow_contexts(sentences, 2)
    expected = [
        ([s[i + d] if 0 <= i + d < len(s) else 0 for d in (-2, -1, 1, 2)], s[i])
        for s in sentences
        if len(s) > 1
        for i in range(len(s))
    ]
    np.testing.assert_array_equal(contexts, [context for context, _ in expected])
    np.testing.assert_array_equal(words, [word for _, word in expected])


def test_near_words_are_seen_more_often(rng):
    """A word sees to a distance drawn evenly from 1 to the window: distance d is seen with 1 - (d - 1) / window."""
    seen, centres = skipgram_pairs([np.arange(1, 20_001)], 4, rng)
    distance = np.abs(seen - centres)
    for d in range(1, 5):
        assert (distance == d).sum() / 40_000 == pytest.approx(1 - (d - 1) / 4, abs=0.02)


def test_counts_fall_with_the_distance(rng):
    sentences = random_sentences(rng)
    table = np.zeros((8, 8))
    for a, b, distance in pairs_by_hand(sentences, 3):
        table[a, b] += 1 / distance
    first, second, counts = cooccurrences(sentences, 8, 3)
    found = np.zeros((8, 8))
    found[first, second] = counts
    np.testing.assert_allclose(found, table, rtol=1e-5)
    assert len(first) == (table > 0).sum()


def test_frequent_words_are_left_out(rng):
    words = rng.choice(3, 50_000, p=[0.9, 0.0999, 0.0001])
    counts = np.bincount(words, minlength=3)
    (kept,) = subsample([words], counts, 0.01, rng)
    expected = np.minimum(1, np.sqrt(0.01 / (counts / 50_000)))
    np.testing.assert_allclose(np.bincount(kept, minlength=3) / counts, expected, atol=0.02)


def test_negatives_follow_the_power_of_the_counts(rng):
    counts = np.array([0, 0, 1, 16, 81])
    drawn = draw_negatives(counts, (200, 500), rng)
    np.testing.assert_allclose(
        np.bincount(drawn.ravel(), minlength=5) / 100_000, [0, 0, 1 / 36, 8 / 36, 27 / 36], atol=5e-3
    )


SEXES, ROLES = 2, 4
SIZE = 1 + SEXES * ROLES + 3 * SEXES + 3 * ROLES


def person(sex, role):
    return 1 + sex * ROLES + role


def tiny_language(rng, count):
    """Sentences `about-the-sex person about-the-role`, three words for each sex and each role."""
    sex, role = rng.integers(0, SEXES, count), rng.integers(0, ROLES, count)
    about_sex = 1 + SEXES * ROLES + 3 * sex + rng.integers(0, 3, count)
    about_role = 1 + SEXES * ROLES + 3 * SEXES + 3 * role + rng.integers(0, 3, count)
    return list(np.stack([about_sex, person(sex, role), about_role], axis=1))


def analogies_right(vectors):
    """Man is to woman as king is to ...: how many of all such questions are answered rightly?"""
    v, right = unit(vectors), []
    for a in range(ROLES):
        for b in set(range(ROLES)) - {a}:
            man, woman, king, queen = (person(s, r) for r in (a, b) for s in (0, 1))
            right.append(nearest(v, v[woman] - v[man] + v[king], 1, without=[0, man, woman, king])[0] == queen)
    return np.mean(right)


def similar_words_are_near(vectors):
    """Of the three words about one role, are the two nearest to one the other two?"""
    start, right = SIZE - 3 * ROLES, []
    for role in range(ROLES):
        trio = {start + 3 * role + i for i in range(3)}
        right += [set(nearest(vectors, vectors[word], 2, without=[0, word])) == trio - {word} for word in trio]
    return np.mean(right)


@pytest.mark.parametrize("name", ["word2vec_skipgram", "word2vec_cbow"])
@pytest.mark.parametrize("output", ["negative_sampling", "softmax"])
def test_vectors_know_similar_words_and_analogies(rng, name, output):
    keras.utils.set_random_seed(0)
    model = create_model(name, vocabulary_size=SIZE, embedding_dim=16, output=output)
    loss = "sparse_categorical_crossentropy"
    if output == "negative_sampling":
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss)
    sentences = tiny_language(rng, 1000)
    counts = np.bincount(np.concatenate(sentences), minlength=SIZE)
    for _ in range(15):
        for x, y in examples(model, sentences, counts, rng, window=2, threshold=1.0, batch_size=200):
            model.train_on_batch(x, y)
    vectors = np.array(model.get_layer("embedding").embeddings)
    assert similar_words_are_near(vectors) > 0.9
    if name == "word2vec_skipgram":
        assert analogies_right(vectors) > 0.9


def test_examples_say_which_candidates_were_seen(rng):
    model = create_model("word2vec_skipgram", vocabulary_size=8, embedding_dim=4)
    sentences = random_sentences(rng)
    counts = np.bincount(np.concatenate(sentences), minlength=8)
    pairs = set(zip(*skipgram_pairs(sentences, 2), strict=True))
    for (words, candidates), labels in examples(model, sentences, counts, rng, window=2, threshold=1.0, batch_size=50):
        assert candidates.shape == labels.shape == (len(words), 6)
        assert (labels[:, 0] == 1).all()
        np.testing.assert_array_equal(labels, candidates == candidates[:, :1])
        assert set(zip(words, candidates[:, 0], strict=True)) <= pairs


def test_inner_products_follow_the_log_counts(rng):
    """Texts of two topics: what a pair counts beyond its words' own frequencies is for the inner product to tell."""
    shares = 1 / np.arange(1, SIZE) * np.where(np.indices((2, SIZE - 1)).sum(axis=0) % 2, 4, 1)
    texts = [1 + rng.choice(SIZE - 1, 8, p=share / share.sum()) for share in shares[rng.integers(0, 2, 6000)]]
    first, second, counts = cooccurrences(texts, SIZE, 3)
    keras.utils.set_random_seed(0)
    model = create_model("count_embedding", vocabulary_size=SIZE, embedding_dim=4)
    model.compile(keras.optimizers.Adam(0.02), "mean_squared_error")
    weights, truth, order = pair_weights(counts), np.log(counts), rng.permutation(len(first))
    seen, unseen = order[:-100], order[-100:]
    for _ in range(300):
        model.train_on_batch([first[seen], second[seen]], truth[seen], weights[seen])
    w, v, b, c = (
        np.array(model.get_layer(name).embeddings)
        for name in ("embedding", "context_embedding", "bias", "context_bias")
    )
    products, biases = (w[first] * v[second]).sum(axis=1), (b[first] + c[second])[:, 0]
    assert np.corrcoef((products + biases)[unseen], truth[unseen])[0, 1] > 0.95
    assert np.corrcoef(products[unseen], (truth - biases)[unseen])[0, 1] > 0.9


def test_pair_weights_are_the_papers():
    np.testing.assert_allclose(pair_weights(np.array([1, 16, 100, 1000.0])), [0.0316228, 0.2529822, 1, 1], atol=1e-6)


@pytest.mark.parametrize("name", ["word2vec_skipgram", "word2vec_cbow"])
def test_word2vec_refuses_another_output(name):
    with pytest.raises(ValueError, match="softmax, negative_sampling; got 'hierarchical'"):
        create_model(name, output="hierarchical")
