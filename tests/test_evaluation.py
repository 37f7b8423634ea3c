import json
import math

import numpy as np
import pytest
from sklearn import metrics as peer

from keras_dl.errors import UserError
from keras_dl.evaluation import (
    calibration_bins,
    classification_metrics,
    confusion_matrix,
    multi_label_metrics,
    wilson_interval,
    worst_mistakes,
)

NAMES = [f"class {i}" for i in range(8)]


def softmax(x):
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return x / x.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(3)
    labels = rng.choice(8, 400, p=[0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.06, 0.04])
    return labels, softmax(rng.normal(size=(400, 8)) + 2.0 * np.eye(8)[labels])


def test_single_label_metrics_equal_scikit_learn(sample):
    labels, scores = sample
    ours, predicted = classification_metrics(labels, scores, NAMES), scores.argmax(axis=1)
    assert ours["accuracy"] == pytest.approx(peer.accuracy_score(labels, predicted))
    assert ours["top5_accuracy"] == pytest.approx(peer.top_k_accuracy_score(labels, scores, k=5))
    assert ours["log_loss"] == pytest.approx(peer.log_loss(labels, scores))
    for average in ("macro", "weighted"):
        expected = peer.precision_recall_fscore_support(labels, predicted, average=average)
        assert [ours[f"{average}_{m}"] for m in ("precision", "recall", "f1")] == pytest.approx(expected[:3])
    expected = np.array(peer.precision_recall_fscore_support(labels, predicted)).T
    for name, row in zip(NAMES, expected, strict=True):
        assert [ours[f"{m}/{name}"] for m in ("precision", "recall", "f1", "support")] == pytest.approx(row)


def test_macro_f1_interval_is_that_of_resampled_samples(sample):
    labels, scores = sample
    ours, predicted = classification_metrics(labels, scores, NAMES), scores.argmax(axis=1)
    rng = np.random.default_rng(1)
    drawn = [rng.integers(0, len(labels), len(labels)) for _ in range(500)]
    found = [peer.f1_score(labels[rows], predicted[rows], average="macro") for rows in drawn]
    assert [ours["macro_f1_low"], ours["macro_f1_high"]] == pytest.approx(np.percentile(found, (2.5, 97.5)), abs=0.01)


def test_metrics_are_flat_and_survive_json(sample):
    metrics = classification_metrics(*sample, NAMES)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert all(isinstance(value, (int, float)) for value in metrics.values())
    assert metrics["majority_baseline"] == max(np.bincount(sample[0])) / 400


def test_confusion_matrix_equals_a_loop(sample):
    labels, scores = sample
    expected = np.zeros((8, 8), int)
    for true, row in zip(labels, scores, strict=True):
        expected[true, row.argmax()] += 1
    assert (confusion_matrix(labels, scores.argmax(axis=1), 8) == expected).all()


def test_calibration_error_equals_a_loop(sample):
    labels, scores = sample
    bins = [[] for _ in range(15)]
    for true, row in zip(labels, scores, strict=True):
        k = next(k for k in range(15) if k / 15 < row.max() <= (k + 1) / 15)
        bins[k].append((row.max(), row.argmax() == true))
    expected = sum(abs(sum(c for c, _ in b) - sum(r for _, r in b)) for b in bins) / 400
    assert classification_metrics(labels, scores, NAMES)["calibration_error"] == pytest.approx(expected)


def test_calibration_of_certain_answers():
    scores = np.eye(2)[[0, 0, 0, 1]]
    confidence, accuracy, count = calibration_bins(np.array([0, 0, 1, 1]), scores, bins=10)
    assert (confidence[-1], accuracy[-1], count[-1]) == (1.0, 0.75, 4)
    assert classification_metrics([0, 0, 1, 1], scores, "ab")["calibration_error"] == pytest.approx(0.25)


def test_wilson_interval_solves_its_equation():
    # The ends are the proportions p whose own standard error puts the observed share z of them away.
    low, high = wilson_interval(81, 263)
    for p in (low, high):
        assert abs(81 / 263 - p) == pytest.approx(1.959964 * math.sqrt(p * (1 - p) / 263))
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(10, 10) == pytest.approx((1 / (1 + 1.959964**2 / 10), 1.0))
    assert wilson_interval(0, 10)[0] == 0.0


def test_few_classes_have_no_top5():
    assert "top5_accuracy" not in classification_metrics([0, 1], np.full((2, 5), 0.2), NAMES[:5])


def test_ties_rank_by_class_number():
    scores = np.full((8, 8), 1 / 8)
    metrics = classification_metrics(np.arange(8), scores, NAMES)
    assert metrics["accuracy"] == 1 / 8
    assert metrics["top5_accuracy"] == 5 / 8


def test_a_class_without_samples_is_left_out_of_the_averages():
    # By hand: a is found once of twice, b always; the miss is called c, of which there is none.
    scores = np.array([[0.9, 0.1, 0.0], [0.2, 0.1, 0.7], [0.0, 1.0, 0.0]])
    metrics = classification_metrics([0, 0, 1], scores, ["a", "b", "c"])
    assert metrics["support/c"] == 0
    assert "recall/c" not in metrics and "precision/c" not in metrics
    assert metrics["macro_precision"] == 1.0
    assert metrics["macro_recall"] == pytest.approx(0.75)
    assert metrics["weighted_recall"] == pytest.approx(2 / 3)
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)


def test_one_sample():
    metrics = classification_metrics([1], [[0.25, 0.75]], ["no", "yes"])
    assert metrics["accuracy"] == 1.0
    assert metrics["log_loss"] == pytest.approx(-math.log(0.75))
    assert metrics["calibration_error"] == pytest.approx(0.25)
    assert metrics["accuracy_low"] == pytest.approx(1 / (1 + 1.959964**2))
    assert metrics["precision/yes"] == 1.0


def test_a_certain_error_has_a_finite_loss():
    metrics = classification_metrics([0], np.array([[0.0, 1.0]], "float16"), ["no", "yes"])
    assert metrics["log_loss"] == pytest.approx(-math.log(np.finfo("float32").eps))
    assert metrics["precision/no"] == 0.0


@pytest.mark.parametrize(
    ("labels", "scores", "names", "message"),
    [
        ([], np.zeros((0, 2)), "ab", "at least one"),
        ([0, 2], np.full((2, 2), 0.5), "ab", "labels run from 0 to 2"),
        ([-1], np.full((1, 2), 0.5), "ab", "labels run from -1"),
        ([0], np.full((1, 2), 0.5), "abc", "for 3 classes"),
        ([0], np.full((1, 2), 0.5), "aa", "same name"),
        ([0], np.array([[-2.0, 3.0]]), "ab", "no probabilities"),
        ([[0], [1]], np.full((2, 2), 0.5), "ab", "one class number"),
        ([0, 1], np.full((1, 2), 0.5), "ab", "2 labels and 1 scores"),
    ],
)
def test_bad_input_is_named(labels, scores, names, message):
    with pytest.raises(ValueError, match=message):
        classification_metrics(labels, scores, names)


def test_a_diverged_model_is_the_users_to_mend():
    with pytest.raises(UserError, match="lower learning rate"):
        classification_metrics([0], [[np.nan, np.nan]], "ab")


@pytest.fixture(scope="module")
def multi_sample():
    rng = np.random.default_rng(4)
    labels = (rng.random((300, 5)) < [0.5, 0.3, 0.2, 0.1, 0.4]).astype(int)
    scores = np.clip(0.35 * labels + 0.65 * rng.random((300, 5)), 0, 1).round(2)  # rounded: with ties
    return labels, scores


def test_multi_label_metrics_equal_scikit_learn(multi_sample):
    labels, scores = multi_sample
    ours, predicted = multi_label_metrics(labels, scores, "abcde"), scores >= 0.5
    assert ours["mean_average_precision"] == pytest.approx(peer.average_precision_score(labels, scores))
    assert ours["micro_f1"] == pytest.approx(peer.f1_score(labels, predicted, average="micro"))
    assert ours["macro_f1"] == pytest.approx(peer.f1_score(labels, predicted, average="macro"))
    assert ours["subset_accuracy"] == pytest.approx(peer.accuracy_score(labels, predicted))
    for i, name in enumerate("abcde"):
        expected = [f(labels[:, i], predicted[:, i]) for f in (peer.precision_score, peer.recall_score, peer.f1_score)]
        assert [ours[f"{m}/{name}"] for m in ("precision", "recall", "f1")] == pytest.approx(expected)


def test_average_precision_equals_a_loop_over_thresholds(multi_sample):
    labels, scores = multi_sample
    expected, recall = 0.0, 0.0
    for threshold in sorted(set(scores[:, 3]), reverse=True):
        chosen = scores[:, 3] >= threshold
        hits = (labels[:, 3][chosen] == 1).sum()
        new_recall = hits / labels[:, 3].sum()
        expected, recall = expected + (new_recall - recall) * hits / chosen.sum(), new_recall
    assert multi_label_metrics(labels, scores, "abcde")["average_precision/d"] == pytest.approx(expected)


def test_multi_label_without_any_label():
    metrics = multi_label_metrics(np.zeros((3, 2)), np.full((3, 2), 0.1), "ab")
    assert metrics["subset_accuracy"] == 1.0
    assert set(metrics) == {"samples", "subset_accuracy", "support/a", "support/b"}
    assert multi_label_metrics(np.zeros((3, 2)), np.full((3, 2), 0.9), "ab")["micro_f1"] == 0.0
    json.dumps(metrics, allow_nan=False)


def test_multi_label_refuses_other_labels():
    with pytest.raises(ValueError, match="0 or 1"):
        multi_label_metrics([[0, 2]], [[0.1, 0.2]], "ab")
    with pytest.raises(ValueError, match="0 or 1"):
        multi_label_metrics([0], [[0.1, 0.2]], "ab")


def test_worst_mistakes_are_the_most_confident_errors(sample):
    labels, scores = sample
    predicted = scores.argmax(axis=1)
    errors = [i for i in range(400) if predicted[i] != labels[i]]
    expected = sorted(errors, key=lambda i: -scores[i].max())
    assert list(worst_mistakes(labels, scores, 1000)) == expected
    assert list(worst_mistakes(labels, scores, 7)) == expected[:7]


def test_worst_mistakes_of_ties_and_of_none():
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]])
    assert list(worst_mistakes([1, 1, 0], scores, 5)) == [0, 1, 2]
    assert list(worst_mistakes([0, 0, 1], scores, 5)) == []


def test_worst_multi_label_mistakes():
    labels = np.array([[1, 0], [1, 0], [1, 1]])
    scores = np.array([[0.99, 0.6], [0.1, 0.2], [0.9, 0.8]])
    assert list(worst_mistakes(labels, scores, 5)) == [1, 0]
