"""Matching: which places of a head answer for which box."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from keras import ops

from keras_dl.detection.boxes import area, intersection, pairwise_iou


class Places(NamedTuple):
    """Places of a head with `length` of them per picture, and the boxes that they shall find.

    Attributes:
        index: `(batch, k)`, int32, which place; several may be the same.
        valid: `(batch, k)`, bool; what is not counts for nothing.
        boxes: `(batch, k, 4)`, corners in pixels.
        classes: `(batch, k)`, int32, 0 or more.
    """

    index: Any
    valid: Any
    boxes: Any
    classes: Any


def objects(truth: dict[str, Any]) -> Any:
    """Which rows of the padded truth are objects to be found: `(batch, most)`, bool."""
    return (truth["classes"] >= 0) & ~truth["ignore"]


def ignored_boxes(truth: dict[str, Any]) -> Any:
    """Which rows of the padded truth are neither objects nor background: `(batch, most)`, bool."""
    return (truth["classes"] >= 0) & truth["ignore"]


def at_places(array: Any, index: Any) -> Any:
    """`(batch, n, depth)` at `(batch, k)` to `(batch, k, depth)`."""
    batch, length = ops.shape(array)[:2]
    first = ops.arange(batch, dtype="int32")[:, None] * length
    return ops.take(ops.reshape(array, (-1, *array.shape[2:])), first + index, axis=0)


def mean_at_places(places: Places, values: Any, length: Any) -> tuple[Any, Any]:
    """Spreads values over all places of a head.

    Args:
        places: where.
        values: `(batch, k)`, float32.
        length: how many places a picture has.

    Returns:
        The mean of the values of each place and whether it has any: `(batch, length)`, float32 and bool.
    """
    batch = ops.shape(places.index)[0]
    valid = ops.cast(places.valid, "float32")
    flat = ops.reshape(ops.arange(batch, dtype="int32")[:, None] * length + places.index, (-1, 1))
    totals = ops.scatter(flat, ops.reshape(values * valid, (-1,)), (batch * length,))
    counts = ops.reshape(ops.scatter(flat, ops.reshape(valid, (-1,)), (batch * length,)), (batch, length))
    return ops.reshape(totals, (batch, length)) / ops.maximum(counts, 1.0), counts > 0


def midpoint_cells(boxes: Any, rows: Any, columns: Any, stride: Any) -> tuple[Any, Any]:
    """Row and column, int32, of the cell that each box's midpoint lies in: `(..., 4)` to twice `(...,)`."""

    def cell(low: Any, high: Any, count: Any) -> Any:
        return ops.clip(ops.cast(ops.floor((low + high) / 2 / stride), "int32"), 0, count - 1)

    return cell(boxes[..., 1], boxes[..., 3], rows), cell(boxes[..., 0], boxes[..., 2], columns)


def covered_cells(truth: dict[str, Any], rows: Any, columns: Any, stride: Any) -> Any:
    """Cells that an ignored box touches: `(batch, rows, columns)`, bool. They are not background."""
    boxes, ignored = truth["boxes"], ignored_boxes(truth)
    y = ops.cast(ops.arange(rows), "float32") * stride
    x = ops.cast(ops.arange(columns), "float32") * stride
    in_rows = (boxes[..., 1:2] < y + stride) & (y < boxes[..., 3:4]) & ignored[..., None]
    in_columns = (boxes[..., 0:1] < x + stride) & (x < boxes[..., 2:3])
    times = ops.matmul(ops.transpose(ops.cast(in_rows, "float32"), (0, 2, 1)), ops.cast(in_columns, "float32"))
    return times > 0


def anchor_iou(boxes: Any, anchors: Any) -> Any:
    """IoU of boxes `(..., 4)` with anchors `(n, 2)` moved onto the same centre: `(..., n)`."""
    width, height = boxes[..., 2:3] - boxes[..., 0:1], boxes[..., 3:4] - boxes[..., 1:2]
    anchor_width, anchor_height = anchors[:, 0], anchors[:, 1]
    shared = ops.minimum(width, anchor_width) * ops.minimum(height, anchor_height)
    return shared / (width * height + anchor_width * anchor_height - shared + 1e-9)


def match_anchors(
    truth: dict[str, Any],
    anchors: Sequence[Any],
    scale: int,
    rows: Any,
    columns: Any,
    stride: int,
    threshold: float | None = None,
) -> Places:
    """The cell of the midpoint, with the anchor of the best shape (YOLOv2, v3), or with all above a threshold (v4).

    Args:
        truth: padded boxes.
        anchors: for each scale `(n, 2)`; all compete.
        scale: the scale of this grid.
        rows: the grid's.
        columns: the grid's.
        stride: pixels a side of a cell.
        threshold: anchors of a larger IoU are taken beside the best; None for the best alone.

    Returns:
        Places of a head `(batch, rows * columns * n, ...)`.
    """
    sizes = [size for sizes in anchors for size in sizes]
    first, number = sum(len(sizes) for sizes in anchors[:scale]), len(anchors[scale])
    overlap = anchor_iou(truth["boxes"], ops.cast(sizes, "float32"))
    taken = ops.one_hot(ops.argmax(overlap, axis=-1), len(sizes), dtype="bool")
    if threshold is not None:
        taken = taken | (overlap > threshold)
    taken = taken[..., first : first + number] & objects(truth)[..., None]
    row, column = midpoint_cells(truth["boxes"], rows, columns, stride)
    index = ((row * columns + column) * number)[..., None] + ops.arange(number, dtype="int32")
    return _flat_places(index, taken, truth)


def match_neighbours(
    truth: dict[str, Any], anchors: Any, rows: Any, columns: Any, stride: int, ratio: float = 4.0
) -> Places:
    """YOLOv5's several positives: the midpoint's cell and the nearest neighbour on either axis, with every anchor
    whose sides are within a factor of the box's.

    Args:
        truth: padded boxes.
        anchors: `(n, 2)`, of this grid.
        rows: the grid's.
        columns: the grid's.
        stride: pixels a side of a cell.
        ratio: the factor.

    Returns:
        Places of a head `(batch, rows * columns * n, ...)`.
    """
    boxes, anchors = truth["boxes"], ops.cast(anchors, "float32")
    size = ops.maximum(boxes[..., None, 2:] - boxes[..., None, :2], 1e-6) / anchors
    alike = ops.max(ops.maximum(size, 1 / size), axis=-1) < ratio
    row, column = midpoint_cells(boxes, rows, columns, stride)
    across = (boxes[..., 0] + boxes[..., 2]) / 2 / stride - ops.cast(column, "float32") - 0.5
    down = (boxes[..., 1] + boxes[..., 3]) / 2 / stride - ops.cast(row, "float32") - 0.5
    beside = column + ops.cast(ops.sign(across), "int32")
    above = row + ops.cast(ops.sign(down), "int32")
    rows_of = ops.stack([row, row, above], axis=-1)
    columns_of = ops.stack([column, beside, column], axis=-1)
    exists = ops.stack(
        [
            ops.ones_like(row, dtype="bool"),
            (across != 0) & (beside >= 0) & (beside < columns),
            (down != 0) & (above >= 0) & (above < rows),
        ],
        axis=-1,
    )
    cells = ops.clip(rows_of, 0, rows - 1) * columns + ops.clip(columns_of, 0, columns - 1)
    number = anchors.shape[0]
    index = cells[..., :, None] * number + ops.arange(number, dtype="int32")
    valid = exists[..., :, None] & alike[..., None, :] & objects(truth)[..., None, None]
    return _flat_places(index, valid, truth)


def match_iou(truth: dict[str, Any], anchors: Any, threshold: float) -> tuple[Any, Any, Any]:
    """Each anchor gets the box that it overlaps most, if by the threshold; each box gets its best anchor in any
    case (Liu et al. 2015, arXiv:1512.02325, section 2.2).

    Args:
        truth: padded boxes.
        anchors: `(n, 4)`, corners.
        threshold: the least IoU.

    Returns:
        For each anchor `(batch, n)`: the row of the truth (int32), whether it is matched, and whether it is
        background: neither matched, nor what an ignored box would be matched with, nor with half of its area in one.
    """
    real, ignored = objects(truth), ignored_boxes(truth)
    iou = pairwise_iou(truth["boxes"], anchors[None])
    overlap = ops.where(real[..., None], iou, -1.0)
    row, best = ops.argmax(overlap, axis=1), ops.max(overlap, axis=1)
    # (batch, most, n): the anchors that are some box's best. Where one is so for two boxes, the better fit has it.
    # A box that no anchor touches has none: its best would be the first of them.
    best_of_box = ops.one_hot(ops.argmax(iou, axis=2), anchors.shape[0], dtype="bool") & (iou > 0)
    favourite = best_of_box & real[..., None]
    forced = ops.where(favourite, overlap, -2.0)
    is_forced = ops.any(favourite, axis=1)
    row = ops.where(is_forced, ops.argmax(forced, axis=1), row)
    matched = is_forced | (best >= threshold)
    inside = intersection(truth["boxes"][:, :, None], anchors[None, None]) >= 0.5 * area(anchors)
    theirs = (inside | (iou >= threshold) | best_of_box) & ignored[..., None]
    return ops.cast(row, "int32"), matched, ~matched & ~ops.any(theirs, axis=1)


def _flat_places(index: Any, valid: Any, truth: dict[str, Any]) -> Places:
    """Places `(batch, most, ...)` in one row per picture, with the box and class of each."""
    shape = ops.shape(index)
    flat: Sequence[Any] = (shape[0], -1)
    each = ops.cast(ops.zeros_like(index), "float32")
    inner = (1,) * (len(shape) - 2)
    boxes = ops.reshape(truth["boxes"], (*shape[:2], *inner, 4)) + each[..., None]
    classes = ops.reshape(ops.maximum(truth["classes"], 0), (*shape[:2], *inner)) + ops.zeros_like(index)
    return Places(
        ops.reshape(index, flat), ops.reshape(valid, flat), ops.reshape(boxes, (*flat, 4)), ops.reshape(classes, flat)
    )
