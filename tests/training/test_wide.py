"""The net and the n-grams beside it, trained apart and saved as one model."""

import keras
import numpy as np
import pytest

from keras_dl import create_model
from keras_dl.data import progress
from keras_dl.data.review_set import ReviewSet
from keras_dl.data.review_stream import encode, scores_of
from keras_dl.text.bag_of_words import blend, fit_naive_bayes_regression, refit
from keras_dl.text.vocabulary import learn_vocabulary
from keras_dl.training.wide import WideBranch, ngram_matrix


def reviews(count, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    words = np.array(["bad", "good"])[np.where(random.random(count) < 0.9, labels, 1 - labels)]
    fill = random.choice(["film", "room", "food"], (count, 2))
    texts = tuple(f"{a} {word} {b}" for word, (a, b) in zip(words, fill, strict=True))
    return ReviewSet(texts, labels.astype("int32"), ("neg", "pos"), "test")


@pytest.mark.parametrize("keep_validation", [False, True])
def test_the_saved_model_adds_both_with_their_factors(keep_validation, monkeypatch, capfd):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    keras.utils.set_random_seed(0)
    train, validation = reviews(200, 0), reviews(60, 1)
    vocabulary = learn_vocabulary(train.texts, ngram_width=2)
    features = 1 + len(vocabulary.ngram_list)
    model = create_model(
        "wide_recurrent", vocabulary_size=len(vocabulary), ngram_features=features, embedding_dim=4, units=4,
        classifier_activation=None,
    )  # fmt: skip
    parts = encode(train, vocabulary), encode(validation, vocabulary)
    deep = scores_of(model, parts[1])  # the branch is silent still

    callback = WideBranch(*parts, keep_validation)
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_train_end()

    matrices = [ngram_matrix(part, features) for part in parts]
    wide = fit_naive_bayes_regression(matrices[0], train.labels, matrices[1], validation.labels, 2)
    factors = blend(deep, wide.logits(matrices[1]), validation.labels)
    if not keep_validation:
        wide = refit(wide, matrices, (train.labels, validation.labels))
    expected = factors[0] * deep + factors[1] * wide.logits(matrices[1])
    np.testing.assert_allclose(scores_of(model, parts[1]), expected, atol=1e-4)
    assert np.mean(expected.argmax(-1) == validation.labels) > 0.8
    assert "learning from n-grams: 5 of 5" in capfd.readouterr().err
