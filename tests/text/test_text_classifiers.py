"""What holds for every text classifier, and the closed forms of the small ones."""

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.naive_bayes import MultinomialNB

from keras_dl import create_model, list_models, model_info
from keras_dl.text.wide_recurrent import NgramScores, log_count_ratios

CLASSIFIERS = list_models("text classification")


def small(name, **arguments):
    keras.utils.set_random_seed(0)
    return create_model(name, **{**model_info(name).small, "sequence_length": None, **arguments})


def answers(model, ids, ngrams=None):
    if isinstance(model.input, dict):
        ids = {"tokens": ids, "ngrams": np.zeros((len(ids), 2), "int32") if ngrams is None else ngrams}
    return ops.convert_to_numpy(model(ids))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_padding_changes_nothing_and_emptiness_is_answered(name):
    model = small(name)
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:  # biases that are not zero would show
        weight.assign(random.normal(0, 0.5, weight.shape))
    texts = [random.integers(1, 20, length).tolist() for length in (7, 1, 3)]
    batch = np.array([text + [0] * (12 - len(text)) for text in [*texts, []]], "int32")
    together = answers(model, batch)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)
    for text, row in zip(texts, together, strict=False):
        np.testing.assert_allclose(answers(model, np.array([text], "int32"))[0], row, atol=1e-5)
    assert np.abs(together[0] - together[2]).max() > 1e-3


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_logits_are_what_the_softmax_is_of(name):
    probabilities, logits = small(name), small(name, classifier_activation=None)
    logits.set_weights(probabilities.get_weights())
    ids = np.random.default_rng(0).integers(1, 20, (3, 6)).astype("int32")
    expected = ops.convert_to_numpy(ops.softmax(answers(logits, ids)))
    np.testing.assert_allclose(answers(probabilities, ids), expected, atol=1e-6)


def test_average_is_the_mean_and_a_dense_layer():
    model = small("embedding_average", classifier_activation=None)
    table, kernel, bias = (np.array(weight, "float64") for weight in model.weights)
    expected = table[[5, 9, 9]].mean(axis=0) @ kernel + bias
    np.testing.assert_allclose(answers(model, np.array([[5, 9, 9, 0]]))[0], expected, atol=1e-6)


def test_cnn_is_the_largest_response_of_each_filter():
    """Kim 2014, equations 2 and 4, over windows that reach past the ends of the text."""
    model = small("text_cnn", classifier_activation=None, widths=(2, 3))
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape))
    table = np.array(model.get_layer("embedding").embeddings, "float64")
    text = [4, 8, 15, 16]
    pooled = []
    for width in (2, 3):
        filters, bias = (np.array(w, "float64") for w in model.get_layer(f"conv{width}").weights)
        words = np.pad(table[text], ((width - 1, width - 1), (0, 0)))
        windows = np.array([words[i : i + width] for i in range(len(text) + width - 1)])
        pooled.append(np.maximum(np.einsum("nwd,wdf->nf", windows, filters) + bias, 0).max(axis=0))
    kernel, bias = (np.array(w, "float64") for w in model.get_layer("predictions").weights)
    expected = np.concatenate(pooled) @ kernel + bias
    np.testing.assert_allclose(answers(model, np.array([[*text, 0, 0]]))[0], expected, rtol=1e-4)


def bags_of(texts, features):
    bags = np.zeros((len(texts), features))
    for bag, ids in zip(bags, texts, strict=True):
        bag[ids] = 1
    return bags[:, 1:]


@pytest.mark.parametrize("num_classes", [2, 3])
def test_log_count_ratios_are_naive_bayes(num_classes):
    random = np.random.default_rng(0)
    labels = random.integers(0, num_classes, 60)
    texts = [random.integers(0, 15, random.integers(1, 12)) for _ in labels]
    ratios = log_count_ratios(texts, labels, num_classes, 15)
    assert ratios.shape == (15, num_classes) and (ratios[0] == 0).all()
    for c in range(num_classes):
        bayes = MultinomialNB(alpha=1.0).fit(bags_of(texts, 15), labels == c)
        expected = bayes.feature_log_prob_[1] - bayes.feature_log_prob_[0]
        np.testing.assert_allclose(ratios[1:, c], expected, atol=1e-5)


def test_ngrams_count_once_in_any_order():
    layer = NgramScores(10, 2)
    layer.build((None, None))
    random = np.random.default_rng(0)
    layer.ratios.assign(random.normal(size=(10, 2)))
    layer.kernel.assign(random.normal(size=(10, 2)))
    weights = np.array(layer.ratios) * np.array(layer.kernel)
    ids = np.array([[3, 7, 3, 0, 3], [9, 0, 0, 0, 1], [0, 0, 0, 0, 0]], "int32")
    expected = [weights[[3, 7]].sum(axis=0), weights[[1, 9]].sum(axis=0), [0, 0]]
    np.testing.assert_allclose(ops.convert_to_numpy(layer(ids)), expected, atol=1e-6)


def test_ngrams_are_left_out_in_training_alone():
    layer = NgramScores(400, 1, dropout=0.5)
    layer.build((None, None))
    layer.kernel.assign(np.ones((400, 1)))
    ids = np.arange(400, dtype="int32")[None]
    assert float(layer(ids)[0, 0]) == 399
    kept = float(layer(ids, training=True)[0, 0]) / 2  # what stays counts double
    assert 150 < kept < 250 and kept == round(kept)


def test_wide_branch_and_recurrent_net_are_added():
    model = small("wide_recurrent", classifier_activation=None)
    random = np.random.default_rng(0)
    scores = model.get_layer("ngram_scores")
    scores.kernel.assign(random.normal(size=scores.kernel.shape))
    ids = random.integers(1, 20, (3, 6)).astype("int32")
    ngrams = random.integers(0, 30, (3, 4)).astype("int32")
    deep = answers(model, ids)
    np.testing.assert_allclose(answers(model, ids, ngrams) - deep, ops.convert_to_numpy(scores(ngrams)), atol=1e-5)
    assert np.abs(deep[0] - deep[1]).max() > 1e-4


def test_wide_recurrent_takes_the_largest_output_over_the_words():
    model = small("wide_recurrent", classifier_activation=None)
    inputs = {"tokens": np.array([[5, 6, 7, 0, 0]], "int32"), "ngrams": np.zeros((1, 1), "int32")}
    net = keras.Model(model.input, model.get_layer("bidirectional1").output)
    outputs = ops.convert_to_numpy(net(inputs))[0, :3]
    kernel, bias = model.get_layer("deep").get_weights()
    np.testing.assert_allclose(model(inputs)[0], outputs.max(axis=0) @ kernel + bias, atol=1e-6)


def test_wide_recurrent_learns_from_both():
    """The label counts yeses: is n-gram 1 there, is word 3 before word 2? Either alone is right half the time."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)

    def draw(count):
        order = random.integers(0, 2, count)
        ids = random.integers(4, 20, (count, 6))
        ids[np.arange(count), 1 + order], ids[np.arange(count), 2 - order] = 2, 3
        holds = random.integers(0, 2, count)
        ngrams = random.integers(2, 30, (count, 5))
        ngrams[:, 2] = np.where(holds, 1, 0)
        return {"tokens": ids.astype("int32"), "ngrams": ngrams.astype("int32")}, order + holds

    model = create_model("wide_recurrent", **model_info("wide_recurrent").small, dropout=0.0, ngram_dropout=0.0)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*draw(2000), batch_size=100, epochs=10, verbose=0)
    assert model.evaluate(*draw(500), batch_size=250, verbose=0)[1] > 0.9


def test_wide_recurrent_refuses_other_nets():
    with pytest.raises(ValueError, match="got 'elman'"):
        create_model("wide_recurrent", recurrent="elman")
