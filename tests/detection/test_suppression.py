"""Suppression against a plain loop, tf.image and keras_cv."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from keras_cv.layers import MultiClassNonMaxSuppression, NonMaxSuppression

from keras_dl.detection import suppression
from keras_dl.detection.suppression import non_max_suppression, soft_non_max_suppression


def overlap(a, b):
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return shared / max((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared, 1e-12)


def plain(boxes, scores, score_threshold, iou_threshold, most, class_agnostic):
    """Candidates by falling score, one after the other."""
    if class_agnostic:
        candidates = [(scores[i].max(), i, int(scores[i].argmax())) for i in range(len(boxes))]
    else:
        candidates = [(scores[i, c], i, c) for i in range(len(boxes)) for c in range(scores.shape[1])]
    kept = []
    for score, i, c in sorted(candidates, key=lambda row: -row[0]):
        rivals = (j for _, j, d in kept if class_agnostic or c == d)
        if score > score_threshold and all(overlap(boxes[i], boxes[j]) <= iou_threshold for j in rivals):
            kept.append((score, i, c))
    return kept[:most]


def random_candidates(batch, n, classes, seed=0, side=60):
    random = np.random.default_rng(seed)
    corner, size = random.uniform(0, side, (batch, n, 2)), random.uniform(5, 30, (batch, n, 2))
    boxes = np.concatenate([corner, corner + size], axis=-1).astype("float32")
    return boxes, random.uniform(0, 1, (batch, n, classes)).astype("float32")


def check(found, boxes, scores, *arguments):
    for i in range(len(boxes)):
        expected = plain(boxes[i], scores[i], *arguments)
        n = int(found["count"][i])
        assert n == len(expected)
        np.testing.assert_array_equal(found["class_ids"][i, :n], [c for _, _, c in expected])
        np.testing.assert_allclose(found["scores"][i, :n], [s for s, _, _ in expected])
        np.testing.assert_allclose(found["boxes"][i, :n], np.reshape([boxes[i, j] for _, j, _ in expected], (-1, 4)))
        assert (np.array(found["class_ids"][i, n:]) == -1).all()
        assert not np.array(found["boxes"][i, n:]).any() and not np.array(found["scores"][i, n:]).any()


@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize(
    ("score_threshold", "iou_threshold", "most"), [(0.6, 0.5, 100), (0.05, 0.3, 20), (0.99, 0.5, 5), (1.0, 0.5, 3)]
)
def test_equals_a_plain_loop(score_threshold, iou_threshold, most, class_agnostic):
    boxes, scores = random_candidates(3, 70, 4)
    found = non_max_suppression(boxes, scores, score_threshold, iou_threshold, most, class_agnostic)
    check(found, boxes, scores, score_threshold, iou_threshold, most, class_agnostic)


def test_goes_on_until_it_is_full(monkeypatch):
    """Small blocks and fetches: crowded boxes need many of either before enough survive."""
    monkeypatch.setattr(suppression, "FIRST", 8)
    monkeypatch.setattr(suppression, "FURTHER", 24)
    monkeypatch.setattr(suppression, "BLOCK", 16)
    boxes, scores = random_candidates(2, 150, 3, side=12)
    found = non_max_suppression(boxes, scores, 0.001, 0.2, 20)
    check(found, boxes, scores, 0.001, 0.2, 20, False)


def test_equal_scores_go_by_position(monkeypatch):
    monkeypatch.setattr(suppression, "FIRST", 8)
    monkeypatch.setattr(suppression, "FURTHER", 8)
    boxes, scores = random_candidates(2, 60, 3)
    scores = (scores * 3).round() / 3
    found = non_max_suppression(boxes, scores, 0.1, 0.1, 40)
    check(found, boxes, scores, 0.1, 0.1, 40, False)


def test_thresholds_per_picture_and_unknown_shapes():
    boxes, scores = random_candidates(2, 40, 3)

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, 4)),
            tf.TensorSpec((None, None, 3)),
            tf.TensorSpec((None,)),
            tf.TensorSpec((None,)),
        ]
    )
    def suppress(*arguments):
        return non_max_suppression(*arguments, max_detections=10)

    found = suppress(boxes, scores, [0.3, 0.8], [0.5, 0.1])
    for i, thresholds in enumerate(((0.3, 0.5), (0.8, 0.1))):
        one = {name: value[i : i + 1] for name, value in found.items()}
        check(one, boxes[i : i + 1], scores[i : i + 1], *thresholds, 10, False)
    assert int(suppress(boxes[:0], scores[:0], [], [])["count"].shape[0]) == 0


def test_equals_keras_cv_per_class():
    boxes, scores = random_candidates(4, 300, 5, side=200)
    peer = MultiClassNonMaxSuppression("xyxy", from_logits=False, confidence_threshold=0.2, max_detections=50)
    theirs = peer(boxes, scores)
    ours = non_max_suppression(boxes, scores, 0.2, 0.5, 50)
    np.testing.assert_array_equal(ours["count"], theirs["num_detections"])
    np.testing.assert_allclose(ours["boxes"], np.maximum(theirs["boxes"], 0), atol=1e-4)
    np.testing.assert_array_equal(ours["class_ids"], theirs["classes"])


def test_equals_keras_cv_class_agnostic():
    boxes, scores = random_candidates(4, 300, 5, side=200)
    peer = NonMaxSuppression("xyxy", from_logits=False, confidence_threshold=0.2, max_detections=50)
    theirs = peer(boxes, scores)
    ours = non_max_suppression(boxes, scores, 0.2, 0.5, 50, class_agnostic=True)
    np.testing.assert_array_equal(ours["count"], theirs["num_detections"])
    np.testing.assert_allclose(ours["boxes"], np.maximum(theirs["boxes"], 0), atol=1e-4)
    np.testing.assert_array_equal(ours["class_ids"], theirs["classes"])


@pytest.mark.parametrize("suppress", [non_max_suppression, soft_non_max_suppression])
@pytest.mark.parametrize("class_agnostic", [False, True])
def test_no_candidates(suppress, class_agnostic):
    boxes, scores = random_candidates(2, 0, 3)

    def run(boxes, scores):
        return suppress(boxes, scores, 0.1, max_detections=5, class_agnostic=class_agnostic)

    traced = tf.function(run, input_signature=[tf.TensorSpec((None, None, 4)), tf.TensorSpec((None, None, 3))])
    for found in (run(boxes, scores), traced(boxes, scores)):
        assert np.array(found["count"]).tolist() == [0, 0] and np.shape(found["boxes"]) == (2, 5, 4)
        assert (np.array(found["class_ids"]) == -1).all()


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_soft_suppression_equals_a_plain_loop(class_agnostic):
    boxes, scores = random_candidates(2, 30, 3)
    found = soft_non_max_suppression(boxes, scores, 0.4, 0.5, 80, class_agnostic)
    for i in range(2):
        left = scores[i].astype("float64")
        if class_agnostic:
            left = np.where(left == left.max(axis=1, keepdims=True), left, 0)
        expected = []
        while left.max() > 0.4:
            j, c = np.unravel_index(left.argmax(), left.shape)
            expected.append((left[j, c], c, boxes[i, j]))
            left[j, c] = 0
            for k in range(len(left)):
                factor = np.exp(-(overlap(boxes[i, j], boxes[i, k]) ** 2) / 0.5)
                left[k, slice(None) if class_agnostic else c] *= factor
        n = int(found["count"][i])
        assert n == len(expected)
        np.testing.assert_array_equal(found["class_ids"][i, :n], [c for _, c, _ in expected])
        np.testing.assert_allclose(found["scores"][i, :n], [s for s, _, _ in expected], rtol=1e-4)
        np.testing.assert_allclose(found["boxes"][i, :n], [box for _, _, box in expected])
    assert 0 < int(ops.min(found["count"])) < 80
