"""Mean average precision: how COCO and how Pascal VOC measure it. NumPy; nothing is compiled.

A picture's predictions are a dictionary of `boxes (n, 4)`, `class_ids (n,)` and `scores (n,)`, its truth one of
`boxes (m, 4)`, `classes (m,)` and `ignore (m,)`; rows of class -1 are padding. What is to be ignored costs no
recall, and what finds it no precision.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_LEVELS = np.linspace(0, 1, 101)
_SMALLEST = np.spacing(1)

Picture = Mapping[str, Any]


def mean_average_precision(
    predictions: Sequence[Picture], truths: Sequence[Picture], num_classes: int, max_detections: int = 100
) -> dict[str, Any]:
    """COCO's measure (Lin et al. 2014, arXiv:1405.0312), as pycocotools computes it for all areas.

    Precision is made monotone, read at 101 levels of recall and averaged, at each IoU from 0.50 to 0.95. Ignored
    boxes are COCO's crowds: a prediction belongs to one by the share of its own area that lies inside, and any
    number may belong to the same.

    Args:
        predictions: one dictionary per picture.
        truths: one dictionary per picture, in the same order.
        num_classes: how many classes there are.
        max_detections: of each class in each picture so many, the best by score, count.

    Returns:
        A dictionary: `mAP` (0.50:0.95), `mAP50` and `mAP75`, means over the classes that have a truth (nan if none
        has); `AP`, `AP50` and `AP75`, `(num_classes,)`, nan where a class has none; `truths (num_classes,)`, how
        many objects there are; `precision (10, 101, num_classes)` at `iou_thresholds (10,)` and
        `recall_levels (101,)`, nan where a class has no truth; `recall (10, num_classes)`, the largest reached.

    Raises:
        ValueError: if there are more of one than of the other, or a class number is out of range.
    """
    found, real = _flatten(predictions, truths, num_classes, max_detections)
    hit, void = _match(found, real, IOU_THRESHOLDS)
    precision = np.full((len(IOU_THRESHOLDS), len(RECALL_LEVELS), num_classes), np.nan)
    recall = np.full((len(IOU_THRESHOLDS), num_classes), np.nan)
    counts = np.bincount(real["classes"][~real["ignore"]], minlength=num_classes)
    for number, rows in _rows_by_class(found, num_classes):
        if counts[number]:
            for t in range(len(IOU_THRESHOLDS)):
                curve = precision_recall(hit[t, rows], void[t, rows], counts[number])
                precision[t, :, number] = _at_levels(*curve, RECALL_LEVELS)
                recall[t, number] = curve[1][-1] if len(curve[1]) else 0.0
    per_class = precision.mean(axis=1)
    result = {"AP": per_class.mean(axis=0), "AP50": per_class[0], "AP75": per_class[5]}
    return {
        **{f"m{name}": _mean(values) for name, values in result.items()},
        **result,
        "truths": counts,
        "precision": precision,
        "recall": recall,
        "iou_thresholds": IOU_THRESHOLDS,
        "recall_levels": RECALL_LEVELS,
    }


def voc_average_precision(
    predictions: Sequence[Picture],
    truths: Sequence[Picture],
    num_classes: int,
    iou_threshold: float = 0.5,
    eleven_points: bool = False,
) -> np.ndarray:
    """Pascal VOC's measure (Everingham et al. 2010): the development kit's `VOCevaldet`.

    Each prediction, by falling score, looks only at the box that it overlaps most: the first to reach it is right,
    any further one wrong, and one that reaches a difficult box is left out. Boxes are continuous: with those that
    the readers of this package give, the overlaps are the kit's, which counts pixels.

    Args:
        predictions: one dictionary per picture.
        truths: one dictionary per picture, in the same order; `ignore` is VOC's `difficult`.
        num_classes: how many classes there are.
        iou_threshold: the overlap that makes a prediction right.
        eleven_points: the mean of the largest precision at recalls of 0, 0.1 ... 1 and beyond (until 2009);
            otherwise the area below the monotone curve (from 2010 on).

    Returns:
        The average precision of each class, `(num_classes,)`, nan where it has no truth.

    Raises:
        ValueError: as in `mean_average_precision`.
    """
    found, real = _flatten(predictions, truths, num_classes, None)
    best, overlap = _best_overlap(found, real)
    counts = np.bincount(real["classes"][~real["ignore"]], minlength=num_classes)
    average = np.full(num_classes, np.nan)
    for number, rows in _rows_by_class(found, num_classes):
        if counts[number]:
            reached = overlap[rows] >= iou_threshold
            void = reached & real["ignore"][best[rows]] if len(real["classes"]) else reached
            claims = np.flatnonzero(reached & ~void)
            hit = np.zeros(len(rows), bool)
            hit[claims[np.unique(best[rows][claims], return_index=True)[1]]] = True
            average[number] = _voc_average(*precision_recall(hit, void, counts[number]), eleven_points)
    return average


def precision_recall(hit: np.ndarray, void: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The curve of predictions in order of falling score.

    Args:
        hit: `(n,)`, which are right.
        void: `(n,)`, which do not count.
        count: how many objects there are.

    Returns:
        Precision and recall after each prediction that counts.
    """
    hit = hit[~void]
    right = np.cumsum(hit, dtype="float64")
    return right / (np.arange(1, len(hit) + 1) + _SMALLEST), right / count


def _at_levels(precision: np.ndarray, recall: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The largest precision at each recall or beyond; 0 beyond the last."""
    monotone = np.maximum.accumulate(precision[::-1])[::-1]
    return np.append(monotone, 0.0)[np.searchsorted(recall, levels, side="left")]


def _voc_average(precision: np.ndarray, recall: np.ndarray, eleven_points: bool) -> float:
    if eleven_points:
        return float(_at_levels(precision, recall, np.linspace(0, 1, 11)).mean())
    monotone = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * monotone))


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _flatten(
    predictions: Sequence[Picture], truths: Sequence[Picture], num_classes: int, max_detections: int | None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """All rows of all pictures, in order of group (picture and class); predictions by falling score in each group,
    and at most `max_detections` of them."""
    if len(predictions) != len(truths):
        raise ValueError(
            f"{len(predictions)} predictions and {len(truths)} truths: there must be one of each a picture"
        )
    found = _rows(predictions, {"boxes": "float64", "class_ids": "int64", "scores": "float64"})
    real = _rows(truths, {"boxes": "float64", "classes": "int64", "ignore": "bool"})
    found["classes"] = found.pop("class_ids")
    for rows in (found, real):
        if len(rows["classes"]) and rows["classes"].max() >= num_classes:
            raise ValueError(f"class {rows['classes'].max()} is out of range: there are {num_classes} classes")
        rows["group"] = rows["picture"] * num_classes + rows["classes"]
    # Stable: of equal scores the earlier row ranks first.
    found = _take(found, np.lexsort((-found["scores"], found["group"])))
    real = _take(real, np.argsort(real["group"], kind="stable"))
    if max_detections is not None:
        found = _take(found, _rank_in_group(found["group"]) < max_detections)
    return found, real


def _rows(pictures: Sequence[Picture], types: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The columns of all pictures behind one another, without padding, and the number of each row's picture."""
    columns = {name: [np.asarray(picture[name], kind) for picture in pictures] for name, kind in types.items()}
    classes = "class_ids" if "class_ids" in types else "classes"
    lengths = [len(column) for column in columns[classes]]
    rows: dict[str, np.ndarray] = {"picture": np.repeat(np.arange(len(pictures)), lengths)}
    for name, kind in types.items():
        shape = (-1, 4) if name == "boxes" else (-1,)
        rows[name] = np.concatenate([np.zeros(0, kind), *(c.reshape(-1) for c in columns[name])]).reshape(shape)
    return _take(rows, rows[classes] >= 0)


def _take(rows: Mapping[str, np.ndarray], which: np.ndarray) -> dict[str, np.ndarray]:
    return {name: column[which] for name, column in rows.items()}


def _rank_in_group(group: np.ndarray) -> np.ndarray:
    """The number of each row among the adjacent rows of its group, from 0."""
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    return np.arange(len(group)) - np.repeat(starts, np.diff(np.append(starts, len(group))))


def _rows_by_class(found: Mapping[str, np.ndarray], num_classes: int) -> list[tuple[int, np.ndarray]]:
    """For each class its rows by falling score; of equal scores the earlier picture first."""
    order = np.lexsort((found["picture"], -found["scores"], found["classes"]))
    ends = np.searchsorted(found["classes"][order], np.arange(num_classes), side="right")
    return list(enumerate(np.split(order, ends[:-1]))) if num_classes else []


def _spans(found: Mapping[str, np.ndarray], real: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """For each prediction the first truth of its group, and how many there are."""
    first = np.searchsorted(real["group"], found["group"], side="left")
    return first, np.searchsorted(real["group"], found["group"], side="right") - first


def _overlap(a: np.ndarray, b: np.ndarray, share_of_a: np.ndarray) -> np.ndarray:
    """IoU of boxes row by row, or the share of the first's area where `share_of_a`."""
    size = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.where((size > 0).all(axis=-1), size.prod(axis=-1), 0.0)
    own = (a[..., 2:] - a[..., :2]).prod(axis=-1)
    whole = np.where(share_of_a, own, own + (b[..., 2:] - b[..., :2]).prod(axis=-1) - shared)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)


def _match(
    found: Mapping[str, np.ndarray], real: Mapping[str, np.ndarray], thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which predictions are right and which do not count, `(thresholds, predictions)` each.

    In every group the predictions choose by falling score: the free truth that they overlap most (of equals the
    last), or else an ignored one. All groups of about one size choose at once.
    """
    hit = np.zeros((len(thresholds), len(found["classes"])), bool)
    void = np.zeros_like(hit)
    first, number = _spans(found, real)
    rank = _rank_in_group(found["group"])
    starts = np.flatnonzero((rank == 0) & (number > 0))
    length = np.diff(np.append(np.flatnonzero(rank == 0), len(rank)))[number[rank == 0] > 0]
    truths = number[starts]
    least = np.minimum(thresholds, 1 - 1e-10)[:, None, None]
    size_class = np.ceil(np.log2(length)).astype(int) * 64 + np.ceil(np.log2(truths)).astype(int)
    for kind in np.unique(size_class):
        chosen = np.flatnonzero(size_class == kind)
        columns = np.arange(truths[chosen].max())
        places = first[starts[chosen], None] + columns
        there = columns < truths[chosen, None]
        places = np.where(there, places, 0)
        boxes, crowd = real["boxes"][places], real["ignore"][places]
        free = np.repeat(there[None], len(thresholds), axis=0)
        for step in range(length[chosen].max()):
            active = np.flatnonzero(length[chosen] > step)
            rows = starts[chosen[active]] + step
            overlap = _overlap(found["boxes"][rows][:, None], boxes[active], crowd[active])
            # Of equals the last: the order is turned, and argmax takes the first.
            usable = np.where(free[:, active] & (overlap >= least), overlap, -1.0)[..., ::-1]
            crowded = crowd[active][:, ::-1]
            own = np.where(crowded, -1.0, usable)
            pick = np.where(own.max(axis=-1) >= 0, own.argmax(axis=-1), usable.argmax(axis=-1))
            reached = usable.max(axis=-1) >= 0
            is_crowd = np.take_along_axis(np.broadcast_to(crowded, usable.shape), pick[..., None], axis=-1)[..., 0]
            hit[:, rows], void[:, rows] = reached & ~is_crowd, reached & is_crowd
            t, i = np.nonzero(hit[:, rows])
            free[t, active[i], len(columns) - 1 - pick[t, i]] = False
    return hit, void


def _best_overlap(found: Mapping[str, np.ndarray], real: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """For each prediction the truth of its group that it overlaps most (0 if none), and by how much."""
    first, number = _spans(found, real)
    row = np.repeat(np.arange(len(number)), number)
    truth = np.repeat(first, number) + _rank_in_group(row)
    overlap = _overlap(found["boxes"][row], real["boxes"][truth], np.zeros(len(row), bool))
    # By prediction, then by falling overlap: the first of each is its best.
    order = np.lexsort((truth, -overlap, row))
    lead = order[_rank_in_group(row[order]) == 0]
    best, most = np.zeros(len(number), int), np.zeros(len(number))
    best[row[lead]], most[row[lead]] = truth[lead], overlap[lead]
    return best, most
