"""Boxes: their formats, and how far two of them overlap.

Everywhere a box is `(x1, y1, x2, y2)`, its corners in pixels, x to the right and y downwards. Coordinates are
continuous: a picture of width w reaches from 0 to w. The Pascal VOC devkit counts pixels, from 1, the last one
included: its box `(xmin, ymin, xmax, ymax)` is `(xmin - 1, ymin - 1, xmax, ymax)` here.
"""

import math
from typing import Any

from keras import ops

FORMATS = ("xyxy", "yxyx", "xywh", "cxcywh")


def convert(boxes: Any, source: str, target: str, image_size: tuple[Any, Any] | None = None) -> Any:
    """Boxes in another format.

    Args:
        boxes: `(..., 4)`.
        source: what they are in: `"xyxy"` (corners), `"yxyx"` (corners, rows first), `"xywh"` (first corner and
            size, as COCO has it), `"cxcywh"` (centre and size, as YOLO has it). With `"rel_"` before it, in
            fractions of the picture.
        target: what they shall be in, likewise.
        image_size: height and width in pixels, where one of the two is relative and the other is not.

    Returns:
        `(..., 4)`, float32.

    Raises:
        ValueError: for an unknown format, or a missing picture size.
    """
    for name in (source, target):
        if name.removeprefix("rel_") not in FORMATS:
            raise ValueError(f"a box format is one of {', '.join(FORMATS)}, or rel_ before it; got {name!r}")
    boxes = _to_corners(ops.cast(boxes, "float32"), source.removeprefix("rel_"))
    was_relative, will_be_relative = source.startswith("rel_"), target.startswith("rel_")
    if was_relative != will_be_relative:
        if image_size is None:
            raise ValueError(f"{source} to {target} needs image_size=(height, width)")
        height, width = (ops.cast(side, "float32") for side in image_size)
        scale = ops.stack([width, height, width, height], axis=-1)
        boxes = boxes * scale if was_relative else boxes / scale
    return _from_corners(boxes, target.removeprefix("rel_"))


def _to_corners(boxes: Any, source: str) -> Any:
    a, b, c, d = (boxes[..., i] for i in range(4))
    corners = {
        "xyxy": (a, b, c, d),
        "yxyx": (b, a, d, c),
        "xywh": (a, b, a + c, b + d),
        "cxcywh": (a - c / 2, b - d / 2, a + c / 2, b + d / 2),
    }
    return ops.stack(corners[source], axis=-1)


def _from_corners(boxes: Any, target: str) -> Any:
    x1, y1, x2, y2 = (boxes[..., i] for i in range(4))
    numbers = {
        "xyxy": (x1, y1, x2, y2),
        "yxyx": (y1, x1, y2, x2),
        "xywh": (x1, y1, x2 - x1, y2 - y1),
        "cxcywh": ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1),
    }
    return ops.stack(numbers[target], axis=-1)


def clip(boxes: Any, height: Any, width: Any) -> Any:
    """What lies inside the picture of each box `(..., 4)`; a box wholly outside becomes one without area."""
    x1, y1, x2, y2 = (boxes[..., i] for i in range(4))
    width, height = ops.cast(width, boxes.dtype), ops.cast(height, boxes.dtype)
    xs = (ops.minimum(ops.maximum(x, 0), width) for x in (x1, x2))
    ys = (ops.minimum(ops.maximum(y, 0), height) for y in (y1, y2))
    (x1, x2), (y1, y2) = xs, ys
    return ops.stack([x1, y1, x2, y2], axis=-1)


def area(boxes: Any) -> Any:
    """Square pixels of each box: `(..., 4)` to `(...,)`; an inverted box has none."""
    return ops.maximum(boxes[..., 2] - boxes[..., 0], 0) * ops.maximum(boxes[..., 3] - boxes[..., 1], 0)


def intersection(a: Any, b: Any) -> Any:
    """Square pixels that two boxes share; the leading axes broadcast."""
    width = ops.minimum(a[..., 2], b[..., 2]) - ops.maximum(a[..., 0], b[..., 0])
    height = ops.minimum(a[..., 3], b[..., 3]) - ops.maximum(a[..., 1], b[..., 1])
    return ops.maximum(width, 0) * ops.maximum(height, 0)


def iou(a: Any, b: Any) -> Any:
    """Intersection over union, 0 for two boxes without area; the leading axes broadcast.

    All pairs of `(..., n, 4)` and `(..., m, 4)`: `iou(a[..., :, None, :], b[..., None, :, :])`, or `pairwise_iou`.
    """
    shared = intersection(a, b)
    return ops.divide_no_nan(shared, area(a) + area(b) - shared)


def pairwise_iou(a: Any, b: Any) -> Any:
    """`(..., n, 4)` and `(..., m, 4)` to `(..., n, m)`."""
    return iou(a[..., :, None, :], b[..., None, :, :])


def giou(a: Any, b: Any) -> Any:
    """Generalised IoU (Rezatofighi et al. 2019, arXiv:1902.09630, algorithm 1): in [-1, 1], and it has a slope
    where boxes don't touch. The leading axes broadcast."""
    shared = intersection(a, b)
    union = area(a) + area(b) - shared
    width, height = _hull(a, b)
    hull = width * height
    return ops.divide_no_nan(shared, union) - ops.divide_no_nan(hull - union, hull)


def ciou(a: Any, b: Any) -> Any:
    """Complete IoU (Zheng et al. 2019, arXiv:1911.08287, equations 8 to 11): IoU less the squared distance of the
    centres over that of the hull's corners, less the weighted difference of the aspect ratios. The weight is a
    constant to the gradient, as in the authors' code. The leading axes broadcast."""
    overlap = iou(a, b)
    width, height = _hull(a, b)
    apart_x = (a[..., 0] + a[..., 2] - b[..., 0] - b[..., 2]) / 2
    apart_y = (a[..., 1] + a[..., 3] - b[..., 1] - b[..., 3]) / 2
    distance = ops.divide_no_nan(apart_x**2 + apart_y**2, width**2 + height**2)
    aspect = 4 / math.pi**2 * ops.square(_angle(a) - _angle(b))
    weight = ops.stop_gradient(ops.divide_no_nan(aspect, 1 - overlap + aspect))
    return overlap - distance - weight * aspect


def _hull(a: Any, b: Any) -> tuple[Any, Any]:
    """Width and height of the smallest box around both."""
    width = ops.maximum(a[..., 2], b[..., 2]) - ops.minimum(a[..., 0], b[..., 0])
    height = ops.maximum(a[..., 3], b[..., 3]) - ops.minimum(a[..., 1], b[..., 1])
    return width, height


def _angle(boxes: Any) -> Any:
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    return ops.arctan(width / ops.maximum(height, 1e-7))
