"""Suppression and mean average precision against public peers, side by side in one process.

    python benchmarks/detection.py

Suppression: 32 pictures, 8,400 boxes, 80 classes, in graph, against keras_cv (per class its
MultiClassNonMaxSuppression, class-agnostic its NonMaxSuppression), with random scores of which few are high, as
those of a trained detector. Evaluation: 5,000 pictures with 100 detections each, against pycocotools.
"""

import contextlib
import io
import time

import numpy as np
import tensorflow as tf
from keras_cv.layers import MultiClassNonMaxSuppression, NonMaxSuppression
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_dl.detection.metrics import mean_average_precision
from keras_dl.detection.suppression import non_max_suppression

CLASSES = 80


def fastest(function, *arguments, rounds=5):
    """Seconds of the fastest round, after one that traces."""
    function(*arguments)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return min(times)


def candidates(random, batch=32, boxes=8400):
    corner, size = random.uniform(0, 600, (batch, boxes, 2)), np.exp(random.normal(3.5, 0.8, (batch, boxes, 2)))
    scores = 1 / (1 + np.exp(-random.normal(-8, 2, (batch, boxes, CLASSES))))
    return tf.constant(np.concatenate([corner, corner + size], axis=-1), tf.float32), tf.constant(scores, tf.float32)


def suppression(random):
    boxes, scores = candidates(random)
    for class_agnostic, peer_layer in ((False, MultiClassNonMaxSuppression), (True, NonMaxSuppression)):
        for threshold in (0.25, 0.001):
            layer = peer_layer("xyxy", from_logits=False, confidence_threshold=threshold, max_detections=100)
            ours = tf.function(lambda b, s, t=threshold, a=class_agnostic: non_max_suppression(b, s, t, 0.5, 100, a))
            peer = tf.function(lambda b, s, layer=layer: layer(b, s))
            found, theirs = ours(boxes, scores), peer(boxes, scores)
            # Behind the last detection the peer fills with -1.
            same = np.allclose(
                found["boxes"], np.where(theirs["classes"][..., None] < 0, 0, theirs["boxes"]), atol=1e-3
            )
            mine, other = fastest(ours, boxes, scores), fastest(peer, boxes, scores)
            kind = "class-agnostic" if class_agnostic else "per class"
            print(
                f"suppression {kind}, threshold {threshold}: same boxes {same}, {mine:.3f} s, keras_cv {other:.3f} s "
                f"({other / mine:.2f} x)"
            )


def annotated(random, pictures=5000, detections=100, most=15):
    predictions, truths = [], []
    for _ in range(pictures):
        m = random.integers(1, most + 1)
        corner, size = random.uniform(0, 500, (m, 2)), random.uniform(10, 140, (m, 2))
        truth, classes = np.concatenate([corner, corner + size], axis=1), random.integers(0, CLASSES, m)
        near = random.integers(0, m, detections)
        boxes = truth[near] + random.normal(0, 8, (detections, 4))
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        ids = np.where(random.uniform(size=detections) < 0.5, classes[near], random.integers(0, CLASSES, detections))
        predictions.append({"boxes": boxes, "class_ids": ids, "scores": random.uniform(0, 1, detections)})
        truths.append({"boxes": truth, "classes": classes, "ignore": np.zeros(m, bool)})
    return predictions, truths


def evaluation(random):
    predictions, truths = annotated(random)
    start = time.perf_counter()
    ours = mean_average_precision(predictions, truths, CLASSES)["mAP"]
    mine = time.perf_counter() - start

    def size(box):
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]

    rows, results = [], []
    for i, (found, real) in enumerate(zip(predictions, truths, strict=True)):
        for box, number in zip(real["boxes"].tolist(), real["classes"].tolist(), strict=True):
            x, y, w, h = size(box)
            annotation = {"image_id": i, "category_id": number, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
            rows.append({"id": len(rows) + 1, **annotation})
        for box, number, score in zip(
            found["boxes"].tolist(), found["class_ids"].tolist(), found["scores"].tolist(), strict=True
        ):
            results.append({"image_id": i, "category_id": number, "bbox": size(box), "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        images, categories = [{"id": i} for i in range(len(truths))], [{"id": i} for i in range(CLASSES)]
        coco.dataset = {"info": {}, "images": images, "categories": categories, "annotations": rows}
        coco.createIndex()
        detections = coco.loadRes(results)
        start = time.perf_counter()
        peer = COCOeval(coco, detections, "bbox")
        # One area, as ours measures: the peer's default of four takes four times as long.
        peer.params.areaRng, peer.params.areaRngLbl = [[0, 1e10]], ["all"]
        peer.evaluate()
        peer.accumulate()
        other = time.perf_counter() - start
    precision = peer.eval["precision"][:, :, :, 0, -1]
    theirs = precision[precision > -1].mean()
    print(
        f"evaluation: mAP {ours:.6f} and {theirs:.6f}, {mine:.1f} s, pycocotools {other:.1f} s ({other / mine:.1f} x)"
    )


if __name__ == "__main__":
    suppression(np.random.default_rng(0))
    evaluation(np.random.default_rng(1))
