"""How good a classifier is: metrics of labels against scores, for any model whose scores are probabilities."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import average_precision_score

from keras_dl.errors import UserError

CALIBRATION_BINS = 15  # Guo et al. 2017, section 5


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts `[true class, predicted class]`, int64, of class numbers `(samples,)`."""
    cells = np.asarray(labels, "int64") * num_classes + np.asarray(predictions, "int64")
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """The interval of a proportion (Wilson 1927), by default of 95%; (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    share, square = successes / trials, z**2 / trials
    centre = (share + square / 2) / (1 + square)
    half = z / (1 + square) * np.sqrt(share * (1 - share) / trials + square / (4 * trials))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def calibration_bins(
    labels: np.ndarray, scores: np.ndarray, bins: int = CALIBRATION_BINS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, accuracy and count of the samples whose confidence falls in each of equally wide bins.

    Confidence is the score of the predicted class (Guo et al. 2017, arXiv:1706.04599, section 2). A bin is
    open on its left and closed on its right; the means of an empty one are 0.
    """
    confidence = scores.max(axis=1).astype("float64")
    correct = scores.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    total = np.maximum(count, 1)
    return np.bincount(place, confidence, bins) / total, np.bincount(place, correct, bins) / total, count


def classification_metrics(labels: np.ndarray, scores: np.ndarray, class_names: Sequence[str]) -> dict[str, float]:
    """Everything a report says of a classifier with one label per sample.

    Args:
        labels: class numbers `(samples,)`.
        scores: probabilities `(samples, classes)`; a binary classifier gives both columns.
        class_names: one name per class.

    Returns:
        A flat dictionary that JSON can hold: `samples`, `accuracy` with its 95% interval `accuracy_low` and
        `accuracy_high` (Wilson), `majority_baseline` (the accuracy of always saying the most frequent
        label), `top5_accuracy` (more than five classes only; of equal scores the lower class number ranks
        first, as in argmax), `log_loss` (nats), `calibration_error` (expected, 15 bins), `macro_*` and
        `weighted_*` of `precision`, `recall` and `f1`, of `macro_f1` its 95% interval too, `macro_f1_low` and
        `macro_f1_high` (percentiles of the bootstrap), and for each class `precision/NAME`, `recall/NAME`,
        `f1/NAME`, `support/NAME`. A class that no sample has is left out of the averages and has its
        support, 0, alone; the precision of a class that is never predicted is 0.

    Raises:
        ValueError: if shapes or names don't fit, there is no sample, a label is no class, or scores are
            not in [0, 1].
    """
    labels, scores = np.asarray(labels), np.asarray(scores, "float64")
    _check(labels, scores, class_names)
    num_classes = len(class_names)
    if labels.shape != scores.shape[:1]:
        raise ValueError(f"labels {labels.shape} must be one class number for each of {len(scores)} samples")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}, classes from 0 to {num_classes - 1}")
    labels = labels.astype("int64")
    matrix = confusion_matrix(labels, scores.argmax(axis=1), num_classes)
    samples, correct = len(labels), int(np.trace(matrix))
    low, high = wilson_interval(correct, samples)
    metrics = {
        "samples": samples,
        "accuracy": correct / samples,
        "accuracy_low": low,
        "accuracy_high": high,
        "majority_baseline": float(matrix.sum(axis=1).max() / samples),
    }
    own = scores[np.arange(samples), labels]
    if num_classes > 5:
        ahead = (scores > own[:, None]) | ((scores == own[:, None]) & (np.arange(num_classes) < labels[:, None]))
        metrics["top5_accuracy"] = float(np.mean(ahead.sum(axis=1) < 5))
    metrics["log_loss"] = float(-np.log(np.maximum(own, np.finfo("float32").eps)).mean())
    confidence, accuracy, count = calibration_bins(labels, scores)
    metrics["calibration_error"] = float(np.abs(confidence - accuracy) @ count / samples)
    table = _precision_recall_f1(np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1))
    low, high = _macro_f1_interval(matrix)
    averages = _averages(table) | {"macro_f1_low": low, "macro_f1_high": high}
    return metrics | averages | _per_class(table, class_names)


def multi_label_metrics(
    labels: np.ndarray, scores: np.ndarray, class_names: Sequence[str], threshold: float = 0.5
) -> dict[str, float]:
    """Everything a report says of a classifier that gives each sample any number of labels.

    Args:
        labels: `(samples, classes)` of 0 and 1.
        scores: probabilities of the same shape, each class by itself.
        class_names: one name per class.
        threshold: a class is predicted from this score on.

    Returns:
        A flat dictionary: `samples`, `mean_average_precision` (over classes that some sample has; without
        interpolation, as scikit-learn), `micro_f1` (over all decisions), `macro_*` and `weighted_*` of `precision`,
        `recall` and `f1`, `subset_accuracy` (samples with every label right), and for each class
        `average_precision/NAME`, `precision/NAME`, `recall/NAME`, `f1/NAME`, `support/NAME`. A class that
        no sample has is left out of the averages and has its support, 0, alone. Without any label there are no
        averages over classes, and no `micro_f1` either if none is predicted.

    Raises:
        ValueError: if shapes or names don't fit, there is no sample, labels are not 0 and 1, or scores are
            not in [0, 1].
    """
    labels, scores = np.asarray(labels), np.asarray(scores, "float64")
    _check(labels, scores, class_names)
    if labels.shape != scores.shape or not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels {labels.shape} must be 0 or 1 for each of the scores {scores.shape}")
    truth, predicted = labels == 1, scores >= threshold
    hits = (truth & predicted).sum(axis=0)
    table = _precision_recall_f1(hits, predicted.sum(axis=0), truth.sum(axis=0))
    present = np.flatnonzero(truth.any(axis=0))
    precisions = {class_names[i]: float(average_precision_score(truth[:, i], scores[:, i])) for i in present}
    metrics: dict[str, float] = {"samples": len(labels)}
    if precisions:
        metrics["mean_average_precision"] = float(np.mean(list(precisions.values())))
    if decisions := predicted.sum() + truth.sum():
        metrics["micro_f1"] = float(2 * hits.sum() / decisions)
    metrics["subset_accuracy"] = float((truth == predicted).all(axis=1).mean())
    per_class = {f"average_precision/{name}": value for name, value in precisions.items()}
    return metrics | _averages(table) | per_class | _per_class(table, class_names)


def worst_mistakes(labels: np.ndarray, scores: np.ndarray, n: int) -> np.ndarray:
    """Indices of the `n` most confident errors, the worst first; of equals the earlier sample first.

    `labels` are class numbers `(samples,)`, and confidence is the score of the wrong prediction; or 0 and 1
    `(samples, classes)` as in `multi_label_metrics`, and confidence is the distance of the most
    confidently wrong class from 0.5. Fewer are returned where there are fewer errors.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    if labels.ndim == 2:
        misses = (scores >= 0.5) != (labels == 1)
        wrong, confidence = misses.any(axis=1), np.where(misses, np.abs(scores - 0.5), 0).max(axis=1)
    else:
        wrong, confidence = scores.argmax(axis=1) != labels, scores.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    return order[wrong[order]][:n]


def _check(labels: np.ndarray, scores: np.ndarray, class_names: Sequence[str]) -> None:
    if scores.ndim != 2 or scores.shape[1] != len(class_names):
        raise ValueError(f"scores {scores.shape} must be (samples, classes) for {len(class_names)} classes")
    if len(set(class_names)) != len(class_names):
        raise ValueError("two classes have the same name")
    if len(labels) == 0 or len(labels) != len(scores):
        raise ValueError(f"{len(labels)} labels and {len(scores)} scores: there must be as many, and at least one")
    if not np.isfinite(scores).all():
        raise UserError("the model's scores are not finite, its training diverged; train with a lower learning rate")
    if scores.min() < 0 or scores.max() > 1 + 1e-3:
        raise ValueError(f"scores from {scores.min():.3g} to {scores.max():.3g} are no probabilities")


def _macro_f1_interval(matrix: np.ndarray, draws: int = 1000) -> tuple[float, float]:
    """The 95% interval of the macro F1: percentiles over resampled test sets (Efron & Tibshirani 1993, chapter 13)."""
    truth, said = np.nonzero(matrix)
    samples, right, classes = int(matrix.sum()), truth == said, len(matrix)
    random, found = np.random.default_rng(0), []
    for _ in range(draws):
        count = random.multinomial(samples, matrix[truth, said] / samples)
        support, predicted = np.bincount(truth, count, classes), np.bincount(said, count, classes)
        hits = np.bincount(truth[right], count[right], classes)
        present = support > 0
        found.append(np.mean(2 * hits[present] / (support + predicted)[present]))
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def _precision_recall_f1(hits: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> dict[str, np.ndarray]:
    """Per class, from the counts of right predictions, of predictions and of samples; 0 where undefined."""
    return {
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(support, 1),
        "f1": 2 * hits / np.maximum(predicted + support, 1),
        "support": support,
    }


def _averages(table: dict[str, np.ndarray]) -> dict[str, float]:
    """Over the classes that some sample has; none where there is no such class."""
    present = table["support"] > 0
    if not present.any():
        return {}
    weights = {"macro": present, "weighted": table["support"]}
    return {
        f"{kind}_{name}": float(table[name] @ weight / weight.sum())
        for kind, weight in weights.items()
        for name in ("precision", "recall", "f1")
    }


def _per_class(table: dict[str, np.ndarray], class_names: Sequence[str]) -> dict[str, float]:
    metrics = {}
    for i, name in enumerate(class_names):
        if table["support"][i] > 0:
            metrics |= {f"{metric}/{name}": float(table[metric][i]) for metric in ("precision", "recall", "f1")}
        metrics[f"support/{name}"] = int(table["support"][i])
    return metrics
