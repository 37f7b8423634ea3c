"""How far a classifier's scores can be trusted: ROC and precision-recall curves, calibration, classes compared."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from keras_dl.evaluation import CALIBRATION_BINS, calibration_bins
from keras_dl.plots.fonts import class_labels, text_width
from keras_dl.plots.picture import Picture
from keras_dl.plots.style import BLUE, CLASS_COLOURS, GREEN, GREY, INK, PALE, VERMILION, message_figure

ALL_CURVES_UP_TO = 10  # classes; of more the worst few stand out
WORST_CURVES = 5
BARS_UP_TO = 30

Curve = tuple[np.ndarray, np.ndarray, float]


@Picture
def roc_curves(labels: np.ndarray, scores: np.ndarray, class_names: Sequence[str]) -> Figure:
    """True against false positive rate of each class against the rest, with the area under each curve.

    Of two classes with one label per sample the second is the positive one. Of more than ten classes the
    five of least area are in colour. Classes without positive or without negative samples have no curve.

    Args:
        labels: class numbers `(samples,)`, or 0 and 1 `(samples, classes)`.
        scores: probabilities `(samples, classes)`.
        class_names: one per class.
    """

    def curve(truth: np.ndarray, score: np.ndarray) -> Curve:
        rates = roc_curve(truth, score)[:2]
        return *rates, float(auc(*rates))

    figure = _curves_figure("ROC curves", "area", curve, labels, scores, class_names)
    for axes in figure.axes[:1]:
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", zorder=1)
    return figure


@Picture
def precision_recall_curves(labels: np.ndarray, scores: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Precision against recall of each class against the rest, with its average precision.

    Arguments and choice of classes are those of `roc_curves`; the average precision takes no interpolation.
    """

    def curve(truth: np.ndarray, score: np.ndarray) -> Curve:
        precision, recall, _ = precision_recall_curve(truth, score)
        return recall, precision, float(average_precision_score(truth, score))

    figure = _curves_figure("Precision-recall curves", "AP", curve, labels, scores, class_names)
    for axes in figure.axes[:1]:
        axes.set(xlabel="recall", ylabel="precision")
        for line in axes.get_lines():  # between two thresholds the precision is not on a straight line
            line.set_drawstyle("steps-post")
    return figure


@Picture
def reliability_diagram(labels: np.ndarray, scores: np.ndarray, bins: int = CALIBRATION_BINS) -> Figure:
    """Accuracy against confidence, and below it how many samples have that confidence (Guo et al. 2017).

    A calibrated model's dots lie on the diagonal; below it the model is too sure of itself.

    Args:
        labels: class numbers `(samples,)`.
        scores: probabilities `(samples, classes)`.
        bins: of equal width.
    """
    confidence, accuracy, count = calibration_bins(np.asarray(labels), np.asarray(scores), bins)
    error = np.abs(confidence - accuracy) @ count / max(1, count.sum())
    filled, edges = count > 0, np.arange(bins) / bins
    figure = Figure(figsize=(5.2, 6.0))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.bar(edges[filled], accuracy[filled], 1 / bins, align="edge", color=BLUE, alpha=0.25, edgecolor="white")
    top.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="calibrated")
    top.vlines(confidence[filled], accuracy[filled], confidence[filled], color=VERMILION, linewidth=2, label="gap")
    top.plot(confidence[filled], accuracy[filled], "o", color=BLUE, label="accuracy")
    top.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy", title=f"Calibration: expected error {error:.3f}")
    figure.legend(*top.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    bottom.bar(edges, count / max(1, count.sum()), 1 / bins, align="edge", color=GREY, edgecolor="white")
    bottom.set(xlabel="confidence", ylabel="samples")
    bottom.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.align_ylabels()
    return figure


@Picture
def class_scores(metrics: Mapping[str, float], class_names: Sequence[str]) -> Figure:
    """F1 of each class as a bar with its precision and recall, worst first; of more than 30 classes the worst 30.

    Args:
        metrics: what `classification_metrics` or `multi_label_metrics` returns.
        class_names: one per class; those without samples are left out.
    """
    labels = class_labels(class_names)
    known = [i for i, name in enumerate(class_names) if f"f1/{name}" in metrics]
    if not known:
        return message_figure("F1 by class", "No class has samples")
    worst = sorted(known, key=lambda i: metrics[f"f1/{class_names[i]}"])[:BARS_UP_TO]
    f1, precision, recall, support = (
        [metrics[f"{metric}/{class_names[i]}"] for i in worst] for metric in ("f1", "precision", "recall", "support")
    )
    figure = Figure(figsize=(7.5, 1.5 + 0.26 * len(worst)))
    axes, rows = figure.add_subplot(), np.arange(len(worst))
    axes.barh(rows, f1, height=0.62, color=BLUE, alpha=0.3, label="F1")
    axes.plot(precision, rows, ">", color=GREEN, markersize=5.5, label="precision")
    axes.plot(recall, rows, "<", color=VERMILION, markersize=5.5, label="recall")
    axes.set_yticks(rows, [f"{labels[i]}  ({count:,})" for i, count in zip(worst, support, strict=True)])
    axes.set(xlim=(0, 1.02), ylim=(len(worst) - 0.4, -0.6))
    axes.set_title("F1 by class" if len(worst) == len(known) else f"F1: the worst {len(worst)} of {len(known)} classes")
    axes.grid(axis="y", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _curves_figure(
    title: str,
    score_name: str,
    curve: Callable[[np.ndarray, np.ndarray], Curve],
    labels: np.ndarray,
    scores: np.ndarray,
    class_names: Sequence[str],
) -> Figure:
    curves = class_curves(curve, labels, scores)
    if not curves:
        return message_figure(title, "No class has both samples and counter-examples")
    names = class_labels(class_names)
    order = sorted(curves, key=lambda i: curves[i][2])
    chosen = sorted(order if len(order) <= ALL_CURVES_UP_TO else order[:WORST_CURVES])
    letters = max(text_width(names[i]) for i in chosen)
    figure = Figure(figsize=(5.0 if len(order) == 1 else 6.4 + 0.075 * letters, 4.9))
    axes = figure.add_subplot()
    for i in set(order) - set(chosen):
        axes.plot(*curves[i][:2], color=PALE, linewidth=0.9, zorder=1)
    handles = [axes.plot(*curves[i][:2], color=c)[0] for i, c in zip(chosen, CLASS_COLOURS, strict=False)]
    axes.set(xlim=(-0.01, 1.01), ylim=(0, 1.02), aspect="equal")
    mean = np.mean([curves[i][2] for i in order])
    if len(order) == 1:
        axes.set_title(f"{title}: {score_name} of {names[chosen[0]]} {mean:.3f}")
        return figure
    axes.set_title(f"{title}: mean {score_name} {mean:.3f}")
    figure.legend(
        handles,
        [f"{names[i]}  {curves[i][2]:.3f}" for i in chosen],
        title=f"class, {score_name}" if len(chosen) == len(order) else f"the {len(chosen)} worst of {len(order)}",
        loc="outside right upper",
        alignment="left",
        labelcolor=INK,
    )
    return figure


def class_curves(
    curve: Callable[[np.ndarray, np.ndarray], Curve], labels: np.ndarray, scores: np.ndarray
) -> dict[int, Curve]:
    """The curve of each class against the rest, for those that have samples and counter-examples."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    classes = range(scores.shape[1])
    if labels.ndim == 1:
        classes = (1,) if scores.shape[1] == 2 else classes
        labels = labels[:, None] == np.arange(scores.shape[1])
    return {i: curve(labels[:, i], scores[:, i]) for i in classes if len(np.unique(labels[:, i])) == 2}
