"""Anchors: boxes that a detector starts from, at the places of a grid or of several grids."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

LARGEST_SAMPLE = 20_000  # sizes that k-means looks at, whose time grows with them


def cell_centres(rows: Any, columns: Any, stride: int) -> Any:
    """Centres `(rows, columns, 2)`, x and y in pixels, of a grid's cells."""
    y = (ops.cast(ops.arange(rows), "float32") + 0.5) * stride
    x = (ops.cast(ops.arange(columns), "float32") + 0.5) * stride
    return ops.stack(ops.meshgrid(x, y, indexing="xy"), axis=-1)


def grid_anchors(rows: Any, columns: Any, stride: int, sizes: Any) -> Any:
    """Boxes around each cell's centre.

    Args:
        rows: cells from top to bottom.
        columns: cells from left to right.
        stride: pixels a side of a cell.
        sizes: `(n, 2)`, widths and heights in pixels.

    Returns:
        `(rows, columns, n, 4)`, corners.
    """
    centres = cell_centres(rows, columns, stride)[:, :, None]
    half = ops.cast(sizes, "float32") / 2
    return ops.concatenate([centres - half, centres + half], axis=-1)


def pyramid_anchors(height: int, width: int, strides: Sequence[int], sizes: Sequence[Any]) -> Any:
    """The anchors of several grids over one picture, one after the other: `(n, 4)`.

    Args:
        height: the picture's, in pixels; a grid has `ceil(height / stride)` rows.
        width: the picture's, in pixels.
        strides: pixels a side of the cells of each grid.
        sizes: for each grid `(n, 2)`, widths and heights in pixels.
    """
    grids = [
        grid_anchors(-(-height // stride), -(-width // stride), stride, size)
        for stride, size in zip(strides, sizes, strict=True)
    ]
    return ops.concatenate([ops.reshape(grid, (-1, 4)) for grid in grids], axis=0)


def kmeans_anchors(sizes: np.ndarray, k: int, seed: int = 0, rounds: int = 300) -> np.ndarray:
    """Anchors that overlap the user's own boxes well: k-means under the distance `1 - IoU` of boxes that share a
    centre (Redmon & Farhadi 2016, arXiv:1612.08242, section 2).

    Centres start by k-means++ (each new one far from those before); a cluster's centre is its mean size.

    Args:
        sizes: `(n, 2)`, widths and heights in pixels; of more than 20,000 so many are drawn.
        k: how many anchors.
        seed: of what is drawn, and of the random start.
        rounds: at most so many.

    Returns:
        `(k, 2)`, float32, from the smallest area to the largest.

    Raises:
        ValueError: if there are fewer than k different sizes, or one is not positive.
    """
    sizes = np.asarray(sizes, "float64").reshape(-1, 2)
    if len(sizes) and sizes.min() <= 0:
        raise ValueError("boxes have positive widths and heights")
    if len(np.unique(sizes, axis=0)) < k:
        raise ValueError(
            f"{k} anchors need as many boxes of different sizes; there are {len(np.unique(sizes, axis=0))}"
        )
    random = np.random.default_rng(seed)
    if len(sizes) > LARGEST_SAMPLE:
        drawn = sizes[random.choice(len(sizes), LARGEST_SAMPLE, replace=False)]
        sizes = drawn if len(np.unique(drawn, axis=0)) >= k else sizes
    centres = sizes[[random.integers(len(sizes))]]
    while len(centres) < k:
        distance = 1 - size_iou(sizes, centres).max(axis=1)
        chance = np.where(distance > 1e-12, distance**2, 0)
        centres = np.concatenate([centres, sizes[[random.choice(len(sizes), p=chance / chance.sum())]]])
    nearest = None
    for _ in range(rounds):
        before, nearest = nearest, size_iou(sizes, centres).argmax(axis=1)
        if before is not None and (before == nearest).all():
            break
        for i in range(k):
            if (nearest == i).any():
                centres[i] = sizes[nearest == i].mean(axis=0)
    return centres[np.argsort(centres.prod(axis=1), kind="stable")].astype("float32")


def size_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU `(n, m)` of sizes `(n, 2)` and `(m, 2)`, as of boxes that share a centre."""
    shared = np.minimum(a[:, None], b[None]).prod(axis=-1)
    return shared / (a.prod(axis=1)[:, None] + b.prod(axis=1)[None] - shared)


def split_anchors(anchors: np.ndarray, scales: int) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Anchors from small to large, shared out over the scales of a pyramid from fine to coarse."""
    per_scale = np.array_split(np.asarray(anchors, "float64"), scales)
    return tuple(tuple((float(w), float(h)) for w, h in part) for part in per_scale)
