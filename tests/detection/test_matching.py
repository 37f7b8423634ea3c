"""Matching by hand-drawn cases."""

import numpy as np
from keras import ops

from keras_dl.detection.matching import (
    Places,
    at_places,
    covered_cells,
    match_anchors,
    match_iou,
    match_neighbours,
    mean_at_places,
    midpoint_cells,
)


def truth(*rows):
    """Rows of (box, class, ignore), one picture."""
    boxes, classes, ignore = zip(*rows, strict=True)
    return {
        "boxes": ops.array([boxes], "float32"),
        "classes": ops.array([classes], "int32"),
        "ignore": ops.array([ignore], "bool"),
    }


PADDING = ([0, 0, 0, 0], -1, False)


def taken(places):
    """The valid places of the one picture, with class and box."""
    valid = np.array(places.valid[0])
    columns = (np.array(column[0])[valid] for column in (places.index, places.classes, places.boxes))
    return sorted((int(i), int(c), tuple(box)) for i, c, box in zip(*columns, strict=True))


def test_midpoint_lies_in_its_cell():
    boxes = np.array([[0, 0, 10, 10], [30, 60, 34, 68], [90, 90, 110, 110], [-9, -9, -1, -1]], "float32")
    rows, columns = midpoint_cells(boxes, 3, 4, 32)
    np.testing.assert_array_equal(rows, [0, 2, 2, 0])  # outside: the nearest
    np.testing.assert_array_equal(columns, [0, 1, 3, 0])


def test_ignored_boxes_cover_cells():
    there = truth(([0, 0, 40, 20], 0, True), ([40, 40, 64, 64], 0, False), ([0, 0, 64, 64], -1, True))
    covered = np.array(covered_cells(there, 4, 4, 16))[0]
    np.testing.assert_array_equal(np.argwhere(covered), [[row, column] for row in (0, 1) for column in (0, 1, 2)])
    # Smaller than a cell, and not over its centre.
    small = np.array(covered_cells(truth(([34, 34, 46, 46], 0, True), PADDING), 2, 2, 32))[0]
    np.testing.assert_array_equal(np.argwhere(small), [[1, 1]])
    touching = np.array(covered_cells(truth(([32, 0, 64, 32], 0, True)), 2, 2, 32))[0]
    np.testing.assert_array_equal(np.argwhere(touching), [[0, 1]])  # beside an edge is not over it


def test_values_at_places_and_back():
    array = np.arange(2 * 5 * 3, dtype="float32").reshape(2, 5, 3)
    np.testing.assert_array_equal(at_places(array, [[4, 0], [1, 1]]), [array[0, [4, 0]], array[1, [1, 1]]])
    places = Places(
        ops.array([[1, 1, 4, 0], [0, 2, 2, 3]]), ops.array([[1, 1, 0, 1], [0, 1, 0, 1]], "bool"), None, None
    )
    mean, has = mean_at_places(places, ops.array([[1.0, 2, 9, 5], [9, 3, 9, 4]]), 5)
    np.testing.assert_array_equal(mean, [[5, 1.5, 0, 0, 0], [0, 0, 3, 4, 0]])
    np.testing.assert_array_equal(has, [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0]])


def test_best_shape_over_all_scales():
    anchors = (((8, 8), (8, 16)), ((32, 32),))
    there = truth(([10, 2, 18, 18], 2, False), ([0, 0, 40, 30], 1, False), ([0, 0, 8, 8], 0, True), PADDING)
    fine = match_anchors(there, anchors, 0, 4, 4, 16)
    coarse = match_anchors(there, anchors, 1, 2, 2, 32)
    assert taken(fine) == [(1, 2, (10, 2, 18, 18))]  # row 0, column 0, second anchor
    assert taken(coarse) == [(0, 1, (0, 0, 40, 30))]
    several = match_anchors(there, anchors, 0, 4, 4, 16, threshold=0.45)
    assert [index for index, _, _ in taken(several)] == [0, 1]  # the square anchor has half of the tall box


def test_neighbours_and_ratios():
    anchors = ((16, 16), (100, 100))
    there = truth(([36, 20, 52, 36], 1, False), PADDING)  # middle (44, 28): column 2.75, row 1.75
    places = match_neighbours(there, anchors, 4, 4, 16)
    cells = [divmod(index // 2, 4) for index, _, _ in taken(places)]
    assert cells == [(1, 2), (1, 3), (2, 2)]
    assert all(index % 2 == 0 for index, _, _ in taken(places))  # 100 is more than four times 16
    corner = match_neighbours(truth(([0, 0, 8, 8], 1, False)), anchors, 4, 4, 16)
    assert [index for index, _, _ in taken(corner)] == [0]  # the neighbours lie outside
    centred = match_neighbours(truth(([16, 16, 32, 32], 1, False)), anchors, 4, 4, 16)
    assert [index for index, _, _ in taken(centred)] == [(1 * 4 + 1) * 2]  # no side is nearer


def test_by_overlap_every_box_has_an_anchor():
    anchors = ops.array(
        [[0, 0, 10, 10], [0, 0, 10, 12], [20, 20, 40, 40], [50, 50, 60, 60], [52, 52, 58, 58]], "float32"
    )
    there = truth(([0, 0, 10, 10], 0, False), ([22, 22, 30, 30], 1, False), PADDING, ([48, 48, 60, 56], 2, True))
    row, matched, background = (np.array(x[0]) for x in match_iou(there, anchors, 0.5))
    np.testing.assert_array_equal(matched, [1, 1, 1, 0, 0])  # the third is the second box's best, at IoU 0.16
    np.testing.assert_array_equal(row[:3], [0, 0, 1])
    np.testing.assert_array_equal(background, [0, 0, 0, 0, 0])  # 60% and 67% of the last two are ignored
    small = truth(([0, 0, 10, 10], 0, False), ([30, 30, 36, 36], 1, True))  # 9% of the anchor that is its best
    assert not np.array(match_iou(small, anchors, 0.5)[2])[0, 2]
    far = match_iou(truth(([90, 90, 99, 99], 0, False)), anchors, 0.5)  # where no anchor is
    assert not np.array(far[1]).any()
    nothing = match_iou(truth(PADDING), anchors, 0.5)
    assert not np.array(nothing[1]).any() and np.array(nothing[2]).all()
