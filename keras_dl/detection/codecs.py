"""Codecs: between boxes and the numbers that a head gives for an anchor or a cell. All axes but the last broadcast."""

from typing import Any

from keras import ops

from keras_dl.detection.boxes import convert

LARGEST_LOG = 8.0  # e^8 times an anchor is larger than any picture; e^90 is no float32


def encode_offsets(boxes: Any, anchors: Any, variances: tuple[float, float] = (1.0, 1.0)) -> Any:
    """Centre and size against an anchor's (Girshick et al. 2013, arXiv:1311.2524, equations 6 to 9).

    Args:
        boxes: `(..., 4)`, corners.
        anchors: `(..., 4)`, corners.
        variances: divisors of the centre's and the size's numbers; SSD's code has (0.1, 0.2).

    Returns:
        `(..., 4)`: x and y in the anchor's width and height, the logarithms of the width's and height's ratios.
    """
    box, anchor = (convert(x, "xyxy", "cxcywh") for x in (boxes, anchors))
    size = ops.maximum(anchor[..., 2:], 1e-6)
    centre = (box[..., :2] - anchor[..., :2]) / size
    log_size = ops.log(ops.maximum(box[..., 2:], 1e-6) / size)
    return ops.concatenate([centre / variances[0], log_size / variances[1]], axis=-1)


def decode_offsets(offsets: Any, anchors: Any, variances: tuple[float, float] = (1.0, 1.0)) -> Any:
    """The inverse of `encode_offsets`: corners `(..., 4)`."""
    anchor = convert(anchors, "xyxy", "cxcywh")
    centre = offsets[..., :2] * variances[0] * anchor[..., 2:] + anchor[..., :2]
    size = _exp(offsets[..., 2:] * variances[1]) * anchor[..., 2:]
    return _corners(centre, size)


def decode_cell(raw: Any, centres: Any, stride: int, anchors: Any, scale_xy: float = 1.0) -> Any:
    """YOLOv2's boxes (Redmon & Farhadi 2016, section 2, "direct location prediction").

    The centre lies in the cell, `sigmoid(t)` of its side from its corner, and the size is `e^t` of the anchor's.
    YOLOv4 stretches the sigmoid about its middle by `scale_xy`, so that a centre on a cell's edge can be reached.

    Args:
        raw: `(..., 4)`.
        centres: `(..., 2)`, of the cells, in pixels.
        stride: pixels a side of a cell.
        anchors: `(..., 2)`, widths and heights in pixels.
        scale_xy: the stretch.

    Returns:
        `(..., 4)`, corners.
    """
    centre = centres + (ops.sigmoid(raw[..., :2]) - 0.5) * (scale_xy * stride)
    return _corners(centre, _exp(raw[..., 2:]) * anchors)


def decode_bounded(raw: Any, centres: Any, stride: int, anchors: Any) -> Any:
    """YOLOv5's boxes: the centre up to half a cell outside its own, the size up to four times the anchor's.

    Arguments as in `decode_cell`.
    """
    raw = ops.sigmoid(raw)
    return _corners(centres + (2 * raw[..., :2] - 1) * stride, ops.square(2 * raw[..., 2:]) * anchors)


def _corners(centre: Any, size: Any) -> Any:
    return ops.concatenate([centre - size / 2, centre + size / 2], axis=-1)


def _exp(x: Any) -> Any:
    return ops.exp(ops.minimum(x, LARGEST_LOG))
