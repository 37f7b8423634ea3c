"""Boxes against closed forms, keras.utils.bounding_boxes and plain loops."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dl.detection import anchors
from keras_dl.detection import boxes as b
from keras_dl.detection.anchors import grid_anchors, kmeans_anchors, pyramid_anchors, size_iou, split_anchors
from keras_dl.detection.codecs import decode_bounded, decode_cell, decode_offsets, encode_offsets


def random_boxes(*shape, seed=0, side=100):
    random = np.random.default_rng(seed)
    corner, size = random.uniform(0, side, (*shape, 2)), random.uniform(1, side / 2, (*shape, 2))
    return np.concatenate([corner, corner + size], axis=-1).astype("float32")


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("other", ["yxyx", "xywh", "cxcywh"])
def test_formats_turn_into_one_another(other, relative):
    xyxy = np.array([[10, 20, 50, 100]], "float32")
    expected = {"yxyx": [20, 10, 100, 50], "xywh": [10, 20, 40, 80], "cxcywh": [30, 60, 40, 80]}[other]
    if relative:
        scale = [100, 200, 100, 200] if other == "yxyx" else [200, 100, 200, 100]
        expected, other = np.divide(expected, scale), f"rel_{other}"
    size = (100, 200)
    found = b.convert(xyxy, "xyxy", other, size)
    np.testing.assert_allclose(found, [expected], rtol=1e-6)
    np.testing.assert_allclose(b.convert(found, other, "xyxy", size), xyxy, rtol=1e-6)


def test_unknown_formats_and_missing_sizes_are_refused():
    with pytest.raises(ValueError, match="xyxz"):
        b.convert([[0, 0, 1, 1]], "xyxz", "xyxy")
    with pytest.raises(ValueError, match="image_size"):
        b.convert([[0, 0, 1, 1]], "rel_xyxy", "xyxy")


def test_overlaps_equal_keras_own():
    one, two = random_boxes(3, 7), random_boxes(3, 5, seed=1)
    keras_iou = keras.utils.bounding_boxes.compute_iou(one, two, bounding_box_format="xyxy")
    np.testing.assert_allclose(b.pairwise_iou(ops.array(one), ops.array(two)), keras_iou, atol=1e-6)
    keras_ciou = keras.utils.bounding_boxes.compute_ciou(one[:, :5], two, bounding_box_format="xyxy")
    np.testing.assert_allclose(b.ciou(ops.array(one[:, :5]), ops.array(two)), keras_ciou, atol=1e-5)


def test_giou_by_hand():
    a, c = np.array([[0.0, 0, 2, 2]], "float32"), np.array([[1.0, 1, 3, 3]], "float32")
    np.testing.assert_allclose(b.giou(a, c), [1 / 7 - 2 / 9], rtol=1e-6)  # union 7, hull 9
    apart = np.array([[6.0, 0, 8, 2]], "float32")
    np.testing.assert_allclose(b.giou(a, apart), [-8 / 16], rtol=1e-6)
    np.testing.assert_allclose(b.giou(a, a), [1], rtol=1e-6)


def test_boxes_without_area_give_numbers():
    point, box = np.zeros((1, 4), "float32"), random_boxes(1)
    for overlap in (b.iou, b.giou, b.ciou):
        assert np.isfinite(np.array(overlap(ops.array(point), ops.array(point)))).all()
        assert np.isfinite(np.array(overlap(ops.array(point), ops.array(box)))).all()
    assert float(b.area(np.array([5.0, 5, 2, 9], "float32"))) == 0


def test_clip_keeps_what_is_inside():
    boxes = np.array([[-5, -5, 20, 30], [10, 10, 300, 300], [-9, -9, -1, -1]], "float32")
    np.testing.assert_array_equal(
        b.clip(ops.array(boxes), 100, 200), [[0, 0, 20, 30], [10, 10, 200, 100], [0, 0, 0, 0]]
    )


def test_offsets_round_trip_and_by_hand():
    boxes, anchors = random_boxes(20), random_boxes(20, seed=1)
    for variances in ((1.0, 1.0), (0.1, 0.2)):
        offsets = encode_offsets(boxes, anchors, variances)
        np.testing.assert_allclose(decode_offsets(offsets, anchors, variances), boxes, atol=1e-3)
    offsets = encode_offsets(np.array([[2.0, 0, 6, 8]]), np.array([[0.0, 0, 4, 4]]))
    np.testing.assert_allclose(offsets, [[0.5, 0.5, 0, np.log(2)]], rtol=1e-6)


def test_cell_codecs_by_hand():
    centre, anchor = np.array([[48.0, 16.0]], "float32"), np.array([[20.0, 10.0]], "float32")
    raw = np.array([[np.log(3), 0, np.log(2), 0]], "float32")  # sigmoid(log 3) is 3/4
    np.testing.assert_allclose(decode_cell(raw, centre, 32, anchor), [[36, 11, 76, 21]], rtol=1e-5)
    np.testing.assert_allclose(decode_cell(raw, centre, 32, anchor, 1.2), [[37.6, 11, 77.6, 21]], rtol=1e-5)
    raw = np.array([[np.log(3), 0, np.log(3), 0]], "float32")
    np.testing.assert_allclose(decode_bounded(raw, centre, 32, anchor), [[41.5, 11, 86.5, 21]], rtol=1e-5)


def test_grid_anchors_stand_on_the_cells():
    anchors = np.array(grid_anchors(2, 3, 10, [(4, 8), (2, 2)]))
    assert anchors.shape == (2, 3, 2, 4)
    np.testing.assert_array_equal(anchors[1, 2, 0], [23, 11, 27, 19])
    pyramid = np.array(pyramid_anchors(20, 30, (10, 20), ([(4, 8), (2, 2)], [(6, 6)])))
    assert pyramid.shape == (2 * 3 * 2 + 1 * 2, 4)
    np.testing.assert_array_equal(pyramid[:12].reshape(2, 3, 2, 4), anchors)
    np.testing.assert_array_equal(pyramid[-1], [27, 7, 33, 13])


def test_kmeans_finds_the_clusters():
    random = np.random.default_rng(0)
    centres = np.array([(10, 12), (40, 20), (30, 90), (120, 100)], "float64")
    sizes = np.concatenate([centre * random.uniform(0.9, 1.1, (50, 2)) for centre in centres])
    found = kmeans_anchors(random.permutation(sizes), 4, seed=1)
    np.testing.assert_allclose(found, centres, rtol=0.05)
    assert size_iou(sizes, found.astype("float64")).max(axis=1).mean() > 0.85
    np.testing.assert_array_equal(found, kmeans_anchors(found[::-1], 4))
    assert split_anchors(found, 2)[0] == tuple(tuple(map(float, row)) for row in found[:2])


def test_kmeans_looks_at_a_sample_of_many_boxes(monkeypatch):
    seen = []
    monkeypatch.setattr(anchors, "size_iou", lambda a, b: seen.append(len(a)) or size_iou(a, b))
    random = np.random.default_rng(0)
    sizes = np.exp(random.normal(3, 1, (50_000, 2)))
    found = kmeans_anchors(sizes, 3, rounds=5)
    assert set(seen) == {20_000} and (found == kmeans_anchors(sizes, 3, rounds=5)).all()
    rare = np.ones((50_000, 2))
    rare[7] = 9
    assert kmeans_anchors(rare, 2).tolist() == [[1, 1], [9, 9]]


def test_kmeans_refuses_what_has_no_clusters():
    with pytest.raises(ValueError, match="there are 1"):
        kmeans_anchors(np.ones((9, 2)), 2)
    with pytest.raises(ValueError, match="positive"):
        kmeans_anchors(np.array([[0.0, 1], [2, 2]]), 1)
