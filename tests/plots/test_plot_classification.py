import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from keras_dl.evaluation import classification_metrics, multi_label_metrics
from keras_dl.plots.classification import class_scores, precision_recall_curves, reliability_diagram, roc_curves


def sample(classes, n, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    scores = rng.random((n, classes)) + 0.6 * np.eye(classes)[labels]
    return labels, scores / scores.sum(axis=1, keepdims=True)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_roc_curves_have_the_areas_of_a_count_of_pairs():
    labels, scores = sample(3, 60)
    figure = roc_curves.draw(labels, scores, "abc")
    for i, text in enumerate(legend(figure)):
        positive, negative = scores[labels == i, i], scores[labels != i, i]
        area = np.mean(positive[:, None] > negative)  # of all pairs, those in the right order
        assert text == f"{'abc'[i]}  {area:.3f}"
        x, y = figure.axes[0].get_lines()[i].get_xydata().T
        assert np.trapezoid(y, x) == pytest.approx(area)


def test_two_classes_have_one_curve_of_the_second():
    labels, scores = sample(2, 40)
    figure = roc_curves.draw(labels, scores, ["no", "yes"])
    assert len(figure.axes[0].get_lines()) == 2  # and the diagonal
    area = roc_auc_score(labels, scores[:, 1])
    assert figure.axes[0].get_title(loc="left") == f"ROC curves: area of yes {area:.3f}"


def test_precision_and_recall_of_a_small_case():
    # In falling order of score the truth is 1, 0, 1.
    scores = np.array([0.9, 0.6, 0.3])
    figure = precision_recall_curves.draw([1, 0, 1], np.stack([1 - scores, scores], 1), ["no", "yes"])
    points = figure.axes[0].get_lines()[0].get_xydata()
    assert points == pytest.approx(np.array([[1, 2 / 3], [0.5, 0.5], [0.5, 1], [0, 1]]))
    assert figure.axes[0].get_title(loc="left").endswith(f"AP of yes {(1 + 2 / 3) / 2:.3f}")


def test_of_many_classes_the_worst_stand_out():
    labels, scores = sample(12, 600)
    scores[:, 7] = np.random.default_rng(1).random(600)  # knows nothing of class 7
    figure = roc_curves.draw(labels, scores, [f"c{i}" for i in range(12)])
    assert len(figure.axes[0].get_lines()) == 13
    assert len(legend(figure)) == 5
    assert any(text.startswith("c7 ") for text in legend(figure))


def test_several_labels_per_sample():
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    figure = roc_curves.draw(labels, np.array([[0.9, 0.1], [0.2, 0.8], [0.8, 0.3], [0.1, 0.4]]), "ab")
    assert legend(figure) == ["a  1.000", "b  0.750"]


def test_a_class_without_samples_has_no_curve():
    labels, scores = sample(3, 60)
    figure = precision_recall_curves.draw(np.where(labels == 2, 0, labels), scores, "abc")
    assert [text[0] for text in legend(figure)] == ["a", "b"]
    alone = precision_recall_curves.draw(np.zeros(60, int), scores, "abc")
    assert "No class has both" in alone.axes[0].texts[0].get_text()


def test_reliability_dots_are_mean_confidence_and_accuracy():
    scores = np.array([[0.9, 0.1], [0.94, 0.06], [0.3, 0.7], [0.62, 0.38]])
    figure = reliability_diagram.draw(np.array([0, 1, 1, 1]), scores, bins=10)
    dots = next(line for line in figure.axes[0].get_lines() if line.get_label() == "accuracy").get_xydata()
    # 0.9 and 0.7 close their bins; 0.94 is wrong, 0.62 is in the bin of 0.7 and wrong
    assert dots == pytest.approx(np.array([[0.66, 0.5], [0.9, 1.0], [0.94, 0.0]]))
    assert [bar.get_height() for bar in figure.axes[1].patches if bar.get_height()] == [0.5, 0.25, 0.25]
    assert figure.axes[0].get_title(loc="left") == f"Calibration: expected error {0.32 / 4 + 0.1 / 4 + 0.94 / 4:.3f}"


def test_reliability_has_the_error_of_the_metrics():
    labels, scores = sample(3, 200)
    error = classification_metrics(labels, scores, ["a", "b", "c"])["calibration_error"]
    title = reliability_diagram.draw(labels, scores).axes[0].get_title(loc="left")
    assert title == f"Calibration: expected error {error:.3f}"


def test_class_scores_are_sorted_from_the_worst():
    labels, scores = np.array([0, 0, 1, 1, 2]), np.eye(4)[[0, 0, 1, 0, 2]]
    names = ["a", "b", "c", "absent"]
    axes = class_scores.draw(classification_metrics(labels, scores, names), names).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b  (2)", "a  (2)", "c  (1)"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([2 / 3, 0.8, 1.0])
    markers = {line.get_label(): line.get_xdata().tolist() for line in axes.get_lines()}
    assert markers == {"precision": pytest.approx([1, 2 / 3, 1]), "recall": pytest.approx([0.5, 1, 1])}


def test_class_scores_of_many_and_of_several_labels():
    labels, scores = sample(40, 400)
    names = [f"c{i}" for i in range(40)]
    axes = class_scores.draw(classification_metrics(labels, scores, names), names).axes[0]
    assert axes.get_title(loc="left") == "F1: the worst 30 of 40 classes"
    metrics = multi_label_metrics([[1, 0], [1, 1]], [[0.9, 0.2], [0.8, 0.9]], "ab")
    assert len(class_scores.draw(metrics, "ab").axes[0].patches) == 2


@pytest.mark.parametrize("first", ["_hidden", "$x^2$"])
def test_legends_show_names_that_matplotlib_would_hide_or_typeset(first):
    labels, scores = sample(3, 30)
    figure = roc_curves.draw(labels, scores, [first, "b", "c"])
    figure.draw_without_rendering()
    text = figure.legends[0].get_texts()[0]
    assert text.get_text().startswith(first)
    assert not text.get_parse_math()
