import itertools

import numpy as np
import pytest

from keras_dl.plots.confusion import confusion_matrix, worst_pairs


def texts(axes):
    return [text.get_text() for text in axes.texts]


def names_of(labels):
    return [label.get_text() for label in labels]


def test_colours_are_shares_of_rows_and_cells_hold_counts():
    axes = confusion_matrix.draw(np.array([[6, 2], [0, 5]]), ["cat", "dog"]).axes[0]
    assert np.asarray(axes.images[0].get_array()).tolist() == [[0.75, 0.25], [0.0, 1.0]]
    places = {text.get_position(): text.get_text() for text in axes.texts}
    assert places == {(0, 0): "6", (1, 0): "2", (1, 1): "5"}
    assert axes.get_title(loc="left") == "Confusion matrix: 84.6% of 13 right"
    assert names_of(axes.get_yticklabels()) == names_of(axes.get_xticklabels()) == ["cat", "dog"]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true", "predicted")


def test_a_class_without_samples_has_no_colour():
    shares = confusion_matrix.draw(np.array([[0, 0], [1, 1]]), "ab").axes[0].images[0].get_array()
    assert shares.mask.tolist() == [[True, True], [False, False]]


def test_counts_stand_in_cells_up_to_twenty_classes():
    assert len(texts(confusion_matrix.draw(np.ones((20, 20), int), [f"c{i}" for i in range(20)]).axes[0])) == 400
    many = texts(confusion_matrix.draw(np.eye(21, dtype=int), [f"c{i}" for i in range(21)]).axes[0])
    assert many == ["Most frequent confusions", "none"]


def test_the_most_frequent_confusions_of_many_classes_are_listed():
    matrix = np.diag(np.full(30, 9))
    matrix[4, 7], matrix[2, 3] = 5, 8
    listed = texts(confusion_matrix.draw(matrix, [f"c{i}" for i in range(30)]).axes[0])
    assert listed[1:] == ["8×", "c2\ntaken for c3", "5×", "c4\ntaken for c7"]


@pytest.mark.parametrize("classes", [2, 10, 30, 100])
def test_names_do_not_run_into_each_other(classes, tmp_path):
    names = [f"a rather long name of class {i}" for i in range(classes)]
    figure = confusion_matrix.draw(np.eye(classes, dtype=int), names)
    figure.draw_without_rendering()
    rows = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(above.y0 > below.y0 + 0.6 * below.height for above, below in itertools.pairwise(rows))
    assert min(box.x0 for box in rows) >= 0
    assert figure.get_figwidth() <= 14


@pytest.mark.parametrize("classes", [2, 12])
@pytest.mark.parametrize("letters", [8, 24])
def test_the_words_at_both_sides_are_whole(classes, letters):
    figure = confusion_matrix.draw(np.eye(classes, dtype=int), [f"{'x' * letters}{i}" for i in range(classes)])
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert axes.yaxis.label.get_window_extent().x0 > 0
    assert axes.child_axes[0].get_tightbbox().x1 < figure.bbox.x1


@pytest.mark.parametrize("name", ["c{}", "class_{:03}", "a rather long name of class {}"])
def test_the_list_of_confusions_is_whole_and_counts_stand_clear_of_names(name):
    matrix = np.ones((40, 40), int)
    matrix[1, 2] = 123_456
    figure = confusion_matrix.draw(matrix, [name.format(i) for i in range(40)])
    figure.draw_without_rendering()
    title, count, names, *rest = [text.get_window_extent() for text in figure.axes[0].texts]
    assert max(box.x1 for box in (title, names, *rest)) < figure.bbox.x1
    assert count.x1 < names.x0


def test_worst_pairs_equal_a_loop():
    matrix = np.random.default_rng(0).permutation(25).reshape(5, 5)
    expected = sorted(((r, c, matrix[r, c]) for r in range(5) for c in range(5) if r != c), key=lambda x: -x[2])
    assert worst_pairs(matrix, 7) == expected[:7]
    assert worst_pairs(np.eye(3), 7) == []
