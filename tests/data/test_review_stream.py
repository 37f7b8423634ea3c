"""Batches of reviews: a pure function of seed and step, of like lengths, complete."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dl import create_model
from keras_dl.data.review_set import ReviewSet
from keras_dl.data.review_stream import (
    EncodedReviews,
    balanced_class_weights,
    by_length,
    encode,
    evaluation_batches,
    scores_of,
    training_stream,
)
from keras_dl.errors import UserError
from keras_dl.text.vocabulary import Vocabulary, padded


@pytest.fixture(scope="module")
def reviews():
    """Review i is the id i + 2, repeated; lengths from 1 to 9."""
    rows = [[i + 2] * (i % 9 + 1) for i in range(103)]
    return EncodedReviews(
        {"tokens": tf.ragged.constant(rows, dtype=tf.int32)},
        np.eye(2, dtype="float32")[np.arange(103) % 2],
        np.arange(103, dtype="float32"),
    )


def take(stream, count):
    return [(tokens.numpy(), weights.numpy()) for tokens, _, weights in stream.take(count)]


@pytest.mark.parametrize("start", [1, 7, 10, 23])
@pytest.mark.parametrize("word_dropout", [0.0, 0.3])
def test_stream_goes_on_where_it_is_told(reviews, start, word_dropout):
    options = {"batch_size": 10, "seed": 5, "word_dropout": word_dropout}
    whole = take(training_stream(reviews, **options), start + 3)
    rest = take(training_stream(reviews, **options, start_step=start), 3)
    for one, other in zip(whole[start:], rest, strict=True):
        for array, again in zip(one, other, strict=True):
            np.testing.assert_array_equal(array, again)


def test_an_epoch_gives_every_review_at_most_once_in_a_new_order(reviews):
    batches = take(training_stream(reviews, batch_size=10, seed=0), 20)
    for epoch in (batches[:10], batches[10:]):
        seen = np.concatenate([weights for _, weights in epoch])
        assert len(np.unique(seen)) == 100
    assert not np.array_equal(batches[0][1], batches[10][1])
    other = take(training_stream(reviews, batch_size=10, seed=1), 1)
    assert not np.array_equal(batches[0][1], other[0][1])


def test_batches_hold_little_padding(reviews):
    batches = take(training_stream(reviews, batch_size=10, seed=0), 10)
    padding = np.mean([np.mean(tokens == 0) for tokens, _ in batches])
    assert padding < 0.1  # a random batch of these lengths has 0.4


def test_word_dropout_leaves_its_share_and_the_padding(reviews):
    batches = take(training_stream(reviews, batch_size=10, seed=0, word_dropout=0.3), 100)
    tokens = np.concatenate([tokens[tokens != 0] for tokens, _ in batches])
    assert abs(np.mean(tokens == 1) - 0.3) < 0.03
    whole = take(training_stream(reviews, batch_size=10, seed=0), 1)
    np.testing.assert_array_equal(batches[0][0] == 0, whole[0][0] == 0)


def test_evaluation_gives_every_review_once(reviews):
    weights = np.concatenate([weights for _, _, weights in evaluation_batches(reviews, 16)])
    np.testing.assert_array_equal(weights, by_length(reviews))
    assert len(np.unique(weights)) == 103


def test_scores_are_computed_on_one_device(reviews, monkeypatch):
    """Replicas that a last batch has nothing for would fail."""
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = create_model("embedding_average", vocabulary_size=200, num_classes=2, embedding_dim=4)
    used, predict = [], keras.Model.predict
    monkeypatch.setattr(
        keras.Model,
        "predict",
        lambda self, *args, **options: used.append(self) or predict(self, *args, **options),
    )
    scores = scores_of(model, reviews, batch_size=16)
    assert not isinstance(used[0].distribute_strategy, tf.distribute.MirroredStrategy) and not used[0].jit_compile
    np.testing.assert_allclose(scores, model(padded(reviews.inputs["tokens"])), atol=1e-5)


def made(texts, labels, classes=("bad", "good")):
    return ReviewSet(tuple(texts), np.array(labels, "int32"), classes, "somewhere")


def test_class_weights():
    labels = np.array([0, 0, 0, 1])
    weights = balanced_class_weights(labels, 2)
    np.testing.assert_allclose(weights, [4 / 6, 2])
    encoded = encode(made("abcd", labels), Vocabulary(list("abcd")), weights)
    assert encoded.weights.mean() == pytest.approx(1)
    assert encoded.targets.argmax(-1).tolist() == labels.tolist()


def test_texts_that_stand_in_several_parts_are_learned_from_in_none():
    texts = [f"{i // 2}" for i in range(200)]  # each twice
    reviews = made(texts, [i // 2 % 2 for i in range(200)])
    train, validation, test = reviews.split((0.8, 0.1, 0.1), seed=0)
    assert not set(train.texts) & (set(validation.texts) | set(test.texts))
    assert not set(validation.texts) & set(test.texts)
    assert len(test) == 20 and len(train) + len(validation) < 180


def test_texts_that_differ_in_case_width_or_spaces_stand_in_one_part():
    base = [f"Great film number {i}, really" for i in range(100)]
    wide = [text.replace(",", "，").replace(" ", "\u3000") for text in base]
    reviews = made([*base, *map(str.upper, base), *wide], [i % 2 for i in range(100)] * 3)
    parts = reviews.split((0.8, 0.1, 0.1), seed=0)
    numbers = [{int(text.split()[-2].rstrip(",，")) for text in part.texts} for part in parts]
    assert not numbers[0] & (numbers[1] | numbers[2]) and not numbers[1] & numbers[2]
    assert len(parts[2]) == 30
    for train, validation, test in reviews.folds(2, 0.2, seed=0):
        learned = {text.casefold() for text in (*train.texts, *validation.texts)}
        assert not learned & {text.casefold() for text in test.texts}


def test_a_fold_that_leaves_too_few_texts_is_named():
    texts = [*(f"good {i}" for i in range(8)), "a", "a", "a", "b", "b", "d"]
    reviews = made(texts, [0] * 8 + [1] * 6)
    with pytest.raises(UserError, match=r"class '\w+' of somewhere, fold \d and its texts left out, has"):
        for seed in range(50):
            list(reviews.folds(4, 0.5, seed))


def test_folds_test_every_review_once_and_keep_the_shares():
    reviews = made([str(i) for i in range(100)], [int(i < 30) for i in range(100)])
    tested = []
    for train, validation, test in reviews.folds(10, 0.1, seed=0):
        assert (len(train), len(validation), len(test)) == (81, 9, 10)
        assert test.labels.sum() == 3
        assert not set(test.texts) & (set(train.texts) | set(validation.texts))
        tested += test.texts
    assert sorted(tested) == sorted(reviews.texts)


def test_what_can_not_be_divided():
    with pytest.raises(UserError, match="only the class 'bad'"):
        made("abc", [0, 0, 0], ("bad",)).split((0.5, 0.5), seed=0)
    with pytest.raises(UserError, match=r"class 'good' of somewhere has 1 review\(s\), and 3 parts need 3"):
        made("abcd", [0, 0, 0, 1]).split((0.8, 0.1, 0.1), seed=0)
    with pytest.raises(UserError, match="'odd', which was not trained"):
        made("ab", [0, 1], ("bad", "odd")).with_classes(("bad", "good"))
