"""Mean average precision against pycocotools and against a plain loop of the VOC development kit's formula."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_dl.detection.metrics import mean_average_precision, voc_average_precision

CLASSES = 4


def random_pictures(seed, pictures=25, ignore=0.15, whole=False, most_truths=8, most_found=30):
    """Truths, and predictions that are half of them moved, half of them anywhere."""
    random = np.random.default_rng(seed)
    predictions, truths = [], []
    for _ in range(pictures):
        m, n = random.integers(0, most_truths + 1), random.integers(0, most_found + 1)
        corner, size = random.uniform(0, 80, (m, 2)), random.uniform(4, 60, (m, 2))
        truth = np.concatenate([corner, corner + size], axis=1)
        classes = random.integers(0, CLASSES - 1, m)  # the last class has no truth
        corner, size = random.uniform(0, 80, (n, 2)), random.uniform(0 if whole else 4, 60, (n, 2))
        boxes, ids = np.concatenate([corner, corner + size], axis=1), random.integers(0, CLASSES, n)
        if m:
            near = random.integers(0, m, n // 2)
            boxes[: n // 2] = truth[near] + random.normal(0, 3, (n // 2, 4))
            ids[: n // 2] = classes[near]
            boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
        scores = random.integers(0, 8, n) / 8 if whole else random.uniform(0, 1, n)
        if whole:
            boxes, truth = boxes.round(), truth.round()
        predictions.append({"boxes": boxes, "class_ids": ids, "scores": scores})
        truths.append({"boxes": truth, "classes": classes, "ignore": random.uniform(size=m) < ignore})
    return predictions, truths


def coco_of(predictions, truths):
    """pycocotools' precision `(10, 101, classes)`, -1 where a class has no truth."""

    def corner_and_size(box):
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]

    annotations, results = [], []
    for i, (found, real) in enumerate(zip(predictions, truths, strict=True)):
        for box, number, ignore in zip(real["boxes"], real["classes"], real["ignore"], strict=True):
            x, y, w, h = corner_and_size(box)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i,
                    "category_id": int(number),
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": int(ignore),
                }
            )
        for box, number, score in zip(found["boxes"], found["class_ids"], found["scores"], strict=True):
            results.append(
                {"image_id": i, "category_id": int(number), "bbox": corner_and_size(box), "score": float(score)}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(len(truths))],
            "categories": [{"id": i} for i in range(CLASSES)],
            "annotations": annotations,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results) if results else COCO(), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [1, 10, 100]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, :, 0, -1]


@pytest.mark.parametrize(
    ("seed", "arguments"),
    [
        (0, {}),
        (1, {"ignore": 0.0}),
        (2, {"ignore": 0.9}),
        (3, {"whole": True}),  # equal scores, equal overlaps, boxes without area
        (4, {"whole": True, "ignore": 0.5}),
        (5, {"most_truths": 30, "most_found": 260, "pictures": 4}),  # more of a class than count
        (6, {"pictures": 1}),
    ],
)
def test_coco_measure_equals_pycocotools(seed, arguments):
    predictions, truths = random_pictures(seed, **arguments)
    theirs = coco_of(predictions, truths)
    ours = mean_average_precision(predictions, truths, CLASSES)
    assert np.array_equal(np.isnan(ours["precision"]), theirs == -1)
    np.testing.assert_allclose(np.nan_to_num(ours["precision"], nan=-1), theirs, atol=1e-6)
    known = theirs > -1
    np.testing.assert_allclose(ours["mAP"], theirs[known].mean(), atol=1e-6)
    np.testing.assert_allclose(ours["mAP50"], theirs[0][known[0]].mean(), atol=1e-6)
    np.testing.assert_allclose(ours["mAP75"], theirs[5][known[5]].mean(), atol=1e-6)
    if not arguments:
        assert 0.05 < ours["mAP"] < 0.95


EMPTY = {"boxes": np.zeros((0, 4)), "class_ids": np.zeros(0, int), "scores": np.zeros(0)}
NO_TRUTH = {"boxes": np.zeros((0, 4)), "classes": np.zeros(0, int), "ignore": np.zeros(0, bool)}
ONE = {"boxes": [[0, 0, 10, 10]], "classes": [1], "ignore": [False]}
FOUND = {"boxes": [[0, 0, 10, 10]], "class_ids": [1], "scores": [0.5]}


def test_degenerate_cases():
    assert mean_average_precision([EMPTY], [ONE], CLASSES)["mAP"] == 0
    assert mean_average_precision([FOUND], [ONE], CLASSES)["mAP"] == pytest.approx(1)
    for predictions, truths in (([], []), ([EMPTY], [NO_TRUTH]), ([FOUND], [NO_TRUTH])):
        measured = mean_average_precision(predictions, truths, CLASSES)
        assert np.isnan(measured["mAP"]) and np.isnan(measured["AP50"]).all() and not measured["truths"].any()
        assert np.isnan(voc_average_precision(predictions, truths, CLASSES)).all()
    only_ignored = {**ONE, "ignore": [True]}
    assert np.isnan(mean_average_precision([FOUND], [only_ignored], CLASSES)["mAP"])


def test_padding_does_not_count():
    predictions, truths = random_pictures(7)
    padded = [
        {
            "boxes": np.pad(p["boxes"], ((0, 5), (0, 0))),
            "class_ids": np.pad(p["class_ids"], (0, 5), constant_values=-1),
            "scores": np.pad(p["scores"], (0, 5)),
        }
        for p in predictions
    ]
    a, b = (mean_average_precision(p, truths, CLASSES) for p in (predictions, padded))
    np.testing.assert_array_equal(a["precision"], b["precision"])


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="1 predictions and 2 truths"):
        mean_average_precision([FOUND], [ONE, ONE], CLASSES)
    with pytest.raises(ValueError, match="class 1 is out of range"):
        mean_average_precision([FOUND], [ONE], 1)


FIRST_PIXEL = np.array([1, 1, 0, 0])


def devkit(predictions, truths, number, threshold, eleven_points):
    """VOCevaldet of one class, as a plain loop, on the kit's pixel numbers (from 1, the last included)."""
    objects = []
    for truth in truths:
        mine = np.asarray(truth["classes"]) == number
        objects.append({"box": truth["boxes"][mine], "difficult": truth["ignore"][mine], "taken": [False] * mine.sum()})
    positives = sum((~one["difficult"]).sum() for one in objects)
    if positives == 0:
        return np.nan
    rows = [
        (-score, i, box)
        for i, found in enumerate(predictions)
        for box, ids, score in zip(found["boxes"], found["class_ids"], found["scores"], strict=True)
        if ids == number
    ]
    right, wrong = [], []
    for _, i, box in sorted(rows, key=lambda row: row[0]):
        best, at = -np.inf, None
        for j, other in enumerate(objects[i]["box"]):
            a, b = box + FIRST_PIXEL, other + FIRST_PIXEL
            shared = [max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])]
            width, height = shared[2] - shared[0] + 1, shared[3] - shared[1] + 1
            if width > 0 and height > 0:
                union = (a[2] - a[0] + 1) * (a[3] - a[1] + 1) + (b[2] - b[0] + 1) * (b[3] - b[1] + 1) - width * height
                if width * height / union > best:
                    best, at = width * height / union, j
        is_right = is_wrong = 0
        if best >= threshold:
            if not objects[i]["difficult"][at]:
                is_right, is_wrong = (0, 1) if objects[i]["taken"][at] else (1, 0)
                objects[i]["taken"][at] = True
        else:
            is_wrong = 1
        right.append(is_right)
        wrong.append(is_wrong)
    right, wrong = np.cumsum(right), np.cumsum(wrong)
    recall, precision = right / positives, right / np.maximum(right + wrong, 1e-9)
    if eleven_points:
        reached = [precision[recall >= t] for t in np.linspace(0, 1, 11)]
        return sum(part.max() if len(part) else 0 for part in reached) / 11
    recall, precision = np.concatenate([[0], recall, [1]]), np.concatenate([[0], precision, [0]])
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[i + 1] - recall[i]) * precision[i + 1] for i in range(len(recall) - 1))


@pytest.mark.parametrize("eleven_points", [False, True])
@pytest.mark.parametrize("whole", [False, True])  # equal scores, equal overlaps, boxes without area
@pytest.mark.parametrize(("seed", "ignore", "threshold"), [(0, 0.15, 0.5), (1, 0.0, 0.5), (2, 0.8, 0.3), (3, 0.3, 0.7)])
def test_voc_measure_equals_the_development_kits_loop(seed, ignore, threshold, whole, eleven_points):
    predictions, truths = random_pictures(seed, ignore=ignore, whole=whole)
    ours = voc_average_precision(predictions, truths, CLASSES, threshold, eleven_points)
    theirs = [devkit(predictions, truths, number, threshold, eleven_points) for number in range(CLASSES)]
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    assert np.isnan(ours[-1]) and (ours[:-1] > 0).all()


@pytest.mark.parametrize("first", [True, False])
def test_of_equal_overlaps_the_first_box_in_the_file_counts(first):
    twins = {"boxes": np.array([[0, 0, 9, 9]] * 2), "classes": np.zeros(2, int), "ignore": np.array([first, not first])}
    found = {"boxes": np.array([[0, 0, 9, 9]]), "class_ids": np.zeros(1, int), "scores": np.ones(1)}
    assert devkit([found], [twins], 0, 0.5, False) == (0 if first else 1)
    assert voc_average_precision([found], [twins], 1) == pytest.approx([0 if first else 1])
