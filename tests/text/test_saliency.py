"""What decided, against models whose answer can be taken apart by hand."""

import keras
import numpy as np

import keras_dl
from keras_dl.text.saliency import explain, ngram_shares
from keras_dl.text.vocabulary import Vocabulary


def test_a_linear_model_is_taken_apart_exactly():
    keras.utils.set_random_seed(0)
    vocabulary = Vocabulary(["good", "bad", "film"])
    model = keras_dl.create_model("embedding_average", vocabulary_size=5, num_classes=2, embedding_dim=4)
    (found,) = explain(model, vocabulary, ["good film new"])
    assert found.words == ("good", "film", "new")
    vectors = np.asarray(model.get_layer("embedding").embeddings)[[2, 4, 1]]
    kernel, bias = (np.asarray(w) for w in model.get_layer("predictions").weights)
    said = found.scores.argmax()
    direction = kernel[:, said] - kernel[:, 1 - said]
    np.testing.assert_allclose(found.contributions, vectors @ direction / 3, rtol=1e-4, atol=1e-6)
    log_odds = np.log(found.scores[said] / found.scores[1 - said])
    np.testing.assert_allclose(found.contributions.sum() + bias[said] - bias[1 - said], log_odds, rtol=1e-3, atol=1e-5)


def test_a_sure_prediction_has_its_words_too():
    """A thousand times the weights, a thousand times the contributions, also where the probability rounds to 1."""
    keras.utils.set_random_seed(0)
    vocabulary = Vocabulary(["good", "bad", "film"])
    model = keras_dl.create_model("embedding_average", vocabulary_size=5, num_classes=2, embedding_dim=4)
    layer = model.get_layer("predictions")
    kernel, bias = layer.get_weights()
    found = []
    for factor in (1, 1000):
        layer.set_weights([factor * kernel, bias])
        found += explain(model, vocabulary, ["good"])
    assert found[1].scores.max() > 1 - 1e-6
    np.testing.assert_allclose(found[1].contributions, 1000 * found[0].contributions, rtol=1e-3)


def test_ngrams_of_what_the_net_does_not_read_are_not_shown():
    """Of "a b c d e f" it reads a, b, e and f; the n-gram "c d" counts in the model, "b e" stands nowhere."""
    words = ["a", "b", "c", "d", "e", "f"]
    vocabulary = Vocabulary(words, ngrams=["b e", "b c", "c d"], ngram_width=2, max_tokens=4)
    model = keras_dl.create_model(
        "wide_recurrent", vocabulary_size=8, num_classes=2, embedding_dim=4, units=4, ngram_features=4
    )
    model.get_layer("deep").set_weights([np.zeros_like(w) for w in model.get_layer("deep").get_weights()])
    kernel = np.array([[0, 0], [0, 8.0], [0, 2.0], [0, 4.0]], "float32")
    model.get_layer("ngram_scores").kernel.assign(kernel)
    (found,) = explain(model, vocabulary, [" ".join(words)])
    assert found.words == ("a", "b", "e", "f")
    np.testing.assert_allclose(found.contributions, [0, 1, 0, 0], atol=1e-6)


def test_ngrams_are_divided_among_their_words_once():
    vocabulary = Vocabulary(["not", "bad"], ngrams=["not", "bad", "not bad"], ngram_width=2)
    weights = np.array([0, 1.0, -2.0, 5.0])
    shares = ngram_shares(vocabulary, ["not", "bad", "bad", "new"], weights)
    np.testing.assert_allclose(shares, [1 + 2.5, -2 + 2.5, 0, 0])
    assert shares.sum() == weights.sum()


def test_beginnings_belong_to_the_first_word_that_has_them():
    vocabulary = Vocabulary(["walks"], ngrams=["walks", "~wal", "~walk"], ngram_width=1, beginnings=(3, 4))
    shares = ngram_shares(vocabulary, ["walks", "walking", "wal"], np.array([0, 1.0, -2.0, 5.0]))
    np.testing.assert_allclose(shares, [1 - 2 + 5, 0, 0])


def test_a_wide_branch_counts_in_full():
    vocabulary = Vocabulary(["not", "bad"], ngrams=["not", "bad", "not bad"], ngram_width=2)
    model = keras_dl.create_model(
        "wide_recurrent", vocabulary_size=4, num_classes=2, embedding_dim=4, units=4, ngram_features=4
    )
    model.get_layer("deep").set_weights([np.zeros_like(w) for w in model.get_layer("deep").get_weights()])
    kernel = np.array([[0, 0], [0.1, 0.3], [0.2, -0.4], [-0.5, 0.7]], "float32")
    model.get_layer("ngram_scores").kernel.assign(kernel)
    (found,) = explain(model, vocabulary, ["not bad"])
    log_odds = np.log(found.scores.max() / found.scores.min())
    np.testing.assert_allclose(found.contributions.sum(), log_odds, rtol=1e-5)


def test_with_three_classes_a_wide_branch_has_the_share_of_the_gradient():
    """A bit more of the kernel changes the log-odds by that bit of all contributions."""
    vocabulary = Vocabulary(["not", "bad"], ngrams=["not", "bad", "not bad"], ngram_width=2)
    model = keras_dl.create_model(
        "wide_recurrent", vocabulary_size=4, num_classes=3, embedding_dim=4, units=4, ngram_features=4
    )
    top, scores = model.get_layer("deep"), model.get_layer("ngram_scores")
    top.set_weights([np.zeros_like(top.kernel), np.array([0.5, -1, 1], "float32")])
    kernel = np.random.default_rng(0).normal(size=(4, 3))
    log_odds = []
    for factor in (1, 0.99, 1.01):
        scores.kernel.assign(factor * kernel)
        (found,) = explain(model, vocabulary, ["not bad"])
        said, contributed = found.scores.max(), found.contributions.sum()
        log_odds.append(np.log(said / (1 - said)))
        if factor == 1:
            expected = contributed
    np.testing.assert_allclose((log_odds[2] - log_odds[1]) / 0.02, expected, rtol=1e-3)


def test_a_net_is_compiled_once_for_texts_of_any_length(monkeypatch):
    runs, told = [], []
    net = keras.layers.RNN.inner_loop

    def counted(layer, *arguments, **options):
        runs.append(layer)
        return net(layer, *arguments, **options)

    monkeypatch.setattr(keras.layers.RNN, "inner_loop", counted)
    model = keras_dl.create_model("vanilla_rnn", vocabulary_size=4, num_classes=2, embedding_dim=4, units=4)
    runs.clear()
    texts = [" ".join(["bad"] * length) for length in range(1, 7)]
    found = explain(model, Vocabulary(["not", "bad"]), texts, advance=lambda: told.append(len(runs)))
    assert [len(one.words) for one in found] == list(range(1, 7))
    assert len(told) == 6 and len(runs) <= 3


def test_attention_is_shown_where_there_is_some():
    model = keras_dl.create_model(
        "self_attention_classifier", vocabulary_size=4, num_classes=2, embedding_dim=4, units=4, num_heads=2
    )
    (found,) = explain(model, Vocabulary(["not", "bad"]), ["not bad bad"])
    assert found.attention.shape == (3,)
    np.testing.assert_allclose(found.attention.sum(), 1, rtol=1e-5)


def test_an_empty_text_has_nothing_to_show():
    model = keras_dl.create_model("embedding_average", vocabulary_size=4, num_classes=2, embedding_dim=4)
    (found,) = explain(model, Vocabulary(["not", "bad"]), [""])
    assert found.words == () and found.contributions.shape == (0,)
