"""Differentiable augmentation for GANs on few pictures: Zhao et al. 2020, arXiv:2006.10738."""

from typing import Any

from keras import ops

from keras_dl.errors import UserError

CHANCES = 7  # random numbers that one picture's augmentation takes
POLICIES = ("colour", "translation", "cutout")


def parse_policy(text: str) -> tuple[str, ...]:
    """`"none"`, `"all"`, or any of `POLICIES` joined by commas.

    Raises:
        UserError: for another word.
    """
    if text in ("none", ""):
        return ()
    chosen = POLICIES if text == "all" else tuple(text.split(","))
    for word in chosen:
        if word not in POLICIES:
            raise UserError(f"unknown differentiable augmentation {word!r}; choose none, all, or {','.join(POLICIES)}")
    return chosen


def augment(images: Any, chances: Any, policy: tuple[str, ...]) -> Any:
    """Changes each picture at random, in a way through which gradients flow.

    Args:
        images: `(batch, height, width, channels)` in [0, 255].
        chances: uniform in [0, 1), `(batch, CHANCES)`.
        policy: of `POLICIES`.

    Returns:
        Pictures of the same shape, which colours may leave [0, 255]. What comes in from outside is mid-grey.
    """
    x = images / 127.5 - 1
    column = [ops.reshape(chances[:, i], (-1, 1, 1, 1)) for i in range(CHANCES)]
    if "colour" in policy:
        x = x + column[0] - 0.5
        grey = ops.mean(x, axis=-1, keepdims=True)
        x = (x - grey) * 2 * column[1] + grey
        mean = ops.mean(x, axis=(1, 2, 3), keepdims=True)
        x = (x - mean) * (column[2] + 0.5) + mean
    height, width = x.shape[1:3]
    if "translation" in policy:
        x = _shift(x, chances[:, 3], axis=1, most=height // 8)
        x = _shift(x, chances[:, 4], axis=2, most=width // 8)
    if "cutout" in policy:
        rows = _within(column[5] * height, height, axis=1)
        columns = _within(column[6] * width, width, axis=2)
        x = ops.where(ops.logical_and(rows, columns), 0.0, x)
    return (x + 1) * 127.5


def _shift(x: Any, chance: Any, axis: int, most: int) -> Any:
    """Moves each picture by -most .. most whole pixels along an axis."""
    size = x.shape[axis]
    shape = [-1 if a == 0 else size if a == axis else 1 for a in range(4)]
    shift = ops.cast(ops.floor(chance * (2 * most + 1)), "int32") - most
    source = ops.reshape(ops.arange(size)[None] + shift[:, None], shape)
    moved = ops.take_along_axis(x, ops.clip(source, 0, size - 1), axis=axis)
    inside = ops.logical_and(source >= 0, source < size)
    return ops.where(inside, moved, 0.0)


def _within(centre: Any, size: int, axis: int) -> Any:
    """Whether each row (or column) lies within a quarter of the picture's size from the centre."""
    place = ops.reshape(ops.arange(size, dtype="float32") + 0.5, [size if a == axis else 1 for a in range(4)])
    return ops.abs(place - centre) < size / 4
