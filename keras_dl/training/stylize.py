"""The picture itself is what learns: Gatys' optimisation, one compiled step after another, from coarse to fine."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import scipy.optimize
import tensorflow as tf

from keras_dl.errors import UserError
from keras_dl.generative.style import weighted_losses

SMALLEST = 96  # pixels of the shorter side below which the pyramid does not go
SMALLEST_MAP = 16  # pixels of which four poolings leave one
BETAS, EPSILON = (0.9, 0.99), 1e-12  # a pixel's share of the loss may be far below 1e-8
TOO_SMALL_MEND = "raise --size or --style-scale, or choose another --model"
LBFGS_SCALE = 1e6  # of the loss: makes the first step one of some levels of colour, and not of none


class TooSmall(UserError):
    """A picture in which the net finds nothing."""


Losses = Callable[[tf.Tensor], dict[str, tf.Tensor]]
"""From pictures `(1, height, width, 3)` to scalars, `total` among them."""

Watch = Callable[[int, tf.Tensor, dict[str, tf.Tensor]], None]
"""Called after each step with its number (from 1), the picture and its losses; whatever it raises ends the work."""


@dataclasses.dataclass(frozen=True)
class Style:
    """A picture to learn a style from.

    Attributes:
        pixels: `(height, width, 3)` in [0, 255].
        weight: its share where several are blended.
        mask: `(any height, any width)` in [0, 1], where to look in it; None for everywhere.
        region: `(any height, any width)` in [0, 1], which part of the content it styles; None for all.
    """

    pixels: np.ndarray
    weight: float = 1.0
    mask: np.ndarray | None = None
    region: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to optimise.

    Attributes:
        size: pixels of the longer side of the result.
        steps: passes through the net, over all sizes of the pyramid.
        optimizer: `"lbfgs"` or `"adam"`.
        learning_rate: Adam's, in levels of 255.
        weights: of `content`, `style` and `variation`.
        layer_weights: of the style's layers; None for equal ones.
        style_scale: size of the style pictures relative to the result.
        xla: compile the step with XLA, which has no fast bfloat16 on a processor.
    """

    size: int
    steps: int
    optimizer: str
    learning_rate: float
    weights: Mapping[str, float]
    layer_weights: Mapping[str, float] | None = None
    style_scale: float = 1.0
    xla: bool = True


def stylize(
    describe: keras.Model,
    content: np.ndarray,
    styles: Sequence[Style],
    settings: Settings,
    start: np.ndarray | None = None,
    watch: Watch = lambda *_: None,
) -> tuple[np.ndarray, dict[str, float]]:
    """Paints the content in the styles.

    Args:
        describe: from `style_transfer`, with regions if a style has a mask or a region.
        content: `(height, width, 3)` in [0, 255].
        styles: one or more.
        settings: how.
        start: the picture to begin with; by default the content.
        watch: see `Watch`; its steps count over all sizes of the pyramid.

    Returns:
        The picture, float32 `(height, width, 3)` in [0, 255], with the content's proportions; and its losses.

    Raises:
        TooSmall: if a picture is too small for the net; on the way there sizes that are too small are left out.
    """
    picture = content if start is None else start
    done = unspent = 0
    sizes = pyramid(content.shape, settings.size)
    for side, steps in zip(sizes, split_steps(settings.steps, len(sizes)), strict=True):
        shape = fitted(content.shape, side)
        steps += unspent
        try:
            targets = make_targets(describe, resize(content, shape), styles, side * settings.style_scale)
        except TooSmall:
            if side == sizes[-1]:
                raise
            unspent = steps
            continue
        unspent = 0
        masks = regions_of(styles, shape)
        losses = make_losses(describe, targets, settings.weights, settings.layer_weights, masks)

        def step_done(step: int, pixels: tf.Tensor, values: dict[str, tf.Tensor], before: int = done) -> None:
            watch(before + step, pixels, values)

        minimise = by_lbfgs if settings.optimizer == "lbfgs" else by_adam
        started = resize(picture, shape)
        picture = minimise(losses, started, steps, settings.learning_rate, step_done, settings.xla)[0].numpy()
        done += steps
    return picture, {name: float(value) for name, value in losses(tf.constant(picture)[None]).items()}


def pyramid(shape: Sequence[int], size: int) -> list[int]:
    """Longer sides to work at, ascending to `size`, each twice the one before."""
    sizes = [size]
    while min(fitted(shape, sizes[0] // 2)) >= SMALLEST:
        sizes.insert(0, sizes[0] // 2)
    return sizes


def split_steps(steps: int, levels: int) -> list[int]:
    """Half of the steps for the coarsest size, half of the rest for the next: a coarse step costs a quarter."""
    shares = []
    for _ in range(levels - 1):
        shares.append(-(-steps // 2))
        steps -= shares[-1]
    return [*shares, steps]


def fitted(shape: Sequence[int], longer: float) -> tuple[int, int]:
    """Height and width of the proportions of `shape`, the longer side being `longer`."""
    scale = longer / max(shape[:2])
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def resize(pixels: np.ndarray, shape: tuple[int, int]) -> tf.Tensor:
    """A picture `(height, width, 3)` as a batch of one in another size."""
    images = tf.constant(pixels, tf.float32)[None]
    if images.shape[1:3] == shape:
        return images
    smaller = images.shape[1] > shape[0]
    images = tf.image.resize(images, shape, "area" if smaller else "bicubic")
    return tf.clip_by_value(images, 0, 255)


def resize_mask(mask: np.ndarray, shape: tuple[int, int]) -> tf.Tensor:
    """A mask `(height, width)` as a batch of one with one channel: means over areas, so that nothing is missed."""
    return tf.image.resize(tf.constant(mask, tf.float32)[None, ..., None], shape, "area")


def regions_of(styles: Sequence[Style], shape: tuple[int, int]) -> tf.Tensor | None:
    """The regions of the content `(1, height, width, styles)` in one size, or None if no style has any."""
    if all(style.region is None for style in styles):
        return None
    whole = np.ones((1, 1))
    return tf.concat([resize_mask(whole if style.region is None else style.region, shape) for style in styles], -1)


def look(describe: Callable[[Any], Any], inputs: Any, part: str, mend: str = TOO_SMALL_MEND) -> dict[str, tf.Tensor]:
    """What the net says of a picture.

    Args:
        describe: from `style_transfer`, as a `tf.function` that is traced for each size: a convolution without padding
            that finds no place is an error then only, and otherwise gives numbers from nowhere.
        inputs: what it takes.
        part: `"content"` or `"style"`.
        mend: what to do about a picture that is too small, for the message.

    Raises:
        TooSmall: if a map of it is empty, or not finite.
    """
    too_small = TooSmall(f"a picture is too small for this net: {mend}")
    try:
        values = describe(inputs)[part]
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        raise too_small from error
    if not all(tf.size(value) and tf.reduce_all(tf.math.is_finite(value)) for value in values.values()):
        raise too_small
    return values


def make_targets(
    describe: keras.Model,
    content: tf.Tensor,
    styles: Sequence[Style],
    style_size: float,
    mend: str = TOO_SMALL_MEND,
) -> dict[str, dict[str, tf.Tensor]]:
    """What the picture should become: computed once, since it never changes.

    Args:
        describe: from `style_transfer`.
        content: `(1, height, width, 3)`.
        styles: blended by their weights, or one per region if they have regions.
        style_size: the longer side at which the styles are looked at.
        mend: see `look`.

    Raises:
        TooSmall: if a picture is too small for the net.
    """
    with_regions = isinstance(describe.input, list)
    describe = tf.function(describe, autograph=False)
    everywhere = tf.ones((1, 1, 1, 1))
    grams = []
    for style in styles:
        pixels = resize(style.pixels, fitted(style.pixels.shape, style_size))
        mask = everywhere if style.mask is None else resize_mask(style.mask, pixels.shape[1:3])
        grams.append(look(describe, [pixels, mask] if with_regions else pixels, "style", mend))
    if all(style.region is None for style in styles):
        total = sum(style.weight for style in styles)
        # Squared distances to several targets are, but for a constant, the distance to their mean.
        shares = [style.weight / total for style in styles]
        blended = {layer: sum(w * g[layer] for w, g in zip(shares, grams, strict=True)) for layer in grams[0]}
    else:
        blended = {layer: tf.concat([gram[layer] for gram in grams], 1) for layer in grams[0]}
    maps = look(describe, [content, everywhere] if with_regions else content, "content", mend)
    return {"content": maps, "style": blended}


def make_losses(
    describe: keras.Model,
    targets: Mapping[str, Mapping[str, tf.Tensor]],
    weights: Mapping[str, Any],
    layer_weights: Mapping[str, float] | None = None,
    regions: tf.Tensor | None = None,
) -> Losses:
    """The losses of a picture against fixed targets."""
    if regions is None and isinstance(describe.input, list):
        regions = tf.ones((1, 1, 1, 1))

    def losses(picture: tf.Tensor) -> dict[str, tf.Tensor]:
        described = describe(picture if regions is None else [picture, regions], training=False)
        values = weighted_losses(described, targets, picture, weights, layer_weights)
        return {name: value[0] for name, value in values.items()}

    return losses


class Adam(NamedTuple):
    """Adam's state (Kingma & Ba 2014, algorithm 1), as tensors that a loop in a graph can carry."""

    picture: tf.Tensor
    mean: tf.Tensor
    square: tf.Tensor
    step: tf.Tensor

    @classmethod
    def start(cls, picture: tf.Tensor) -> "Adam":
        return cls(picture, tf.zeros_like(picture), tf.zeros_like(picture), tf.constant(0.0))

    def next(self, losses: Losses, learning_rate: Any) -> tuple["Adam", dict[str, tf.Tensor]]:
        """The state one step on, the picture cut to [0, 255], and the losses before the step."""
        gradient, values = gradient_of(losses, self.picture)
        step = self.step + 1
        mean = BETAS[0] * self.mean + (1 - BETAS[0]) * gradient
        square = BETAS[1] * self.square + (1 - BETAS[1]) * gradient**2
        unbiased = mean / (1 - BETAS[0] ** step), square / (1 - BETAS[1] ** step)
        moved = self.picture - learning_rate * unbiased[0] / (tf.sqrt(unbiased[1]) + EPSILON)
        return Adam(tf.clip_by_value(moved, 0, 255), mean, square, step), values


def gradient_of(losses: Losses, picture: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    with tf.GradientTape() as tape:
        tape.watch(picture)
        values = losses(picture)
    return tape.gradient(values["total"], picture), values


def by_adam(
    losses: Losses, picture: tf.Tensor, steps: int, learning_rate: float, watch: Watch, xla: bool = True
) -> tf.Tensor:
    """Minimises the total loss by Adam, whose rate falls to a tenth along a cosine.

    Args:
        losses: what to minimise.
        picture: `(1, height, width, 3)` to begin with.
        steps: how many.
        learning_rate: at first, in levels of 255.
        watch: see `Watch`.
        xla: as in `Settings`.
    """

    @tf.function(jit_compile=xla, autograph=False)
    def step(state: Adam, rate: tf.Tensor) -> tuple[Adam, dict[str, tf.Tensor]]:
        return state.next(losses, rate)

    state = Adam.start(picture)
    for i in range(steps):
        rate = learning_rate * (0.55 + 0.45 * np.cos(np.pi * i / steps))
        state, values = step(state, tf.constant(rate, tf.float32))
        watch(i + 1, state.picture, values)
    return state.picture


def by_lbfgs(
    losses: Losses, picture: tf.Tensor, steps: int, learning_rate: float, watch: Watch, xla: bool = True
) -> tf.Tensor:
    """Minimises the total loss by SciPy's L-BFGS-B; arguments as of `by_adam`, of which it needs no learning rate.

    A step is one pass through the net, of which a line search may need several.
    """
    shape = picture.shape
    count = 0
    least, best = np.inf, (picture, {})

    @tf.function(jit_compile=xla, autograph=False)
    def evaluate(pixels: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        return gradient_of(losses, pixels)

    def function(flat: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal count, least, best
        if count == steps:
            raise StopIteration
        count += 1
        pixels = tf.constant(flat.reshape(shape), tf.float32)
        gradient, values = evaluate(pixels)
        total = float(values["total"])
        if total < least:
            least, best = total, (tf.clip_by_value(pixels, 0, 255), values)
        watch(count, *(best if np.isfinite(total) else (best[0], values)))
        return LBFGS_SCALE * total, LBFGS_SCALE * gradient.numpy().astype("float64").ravel()

    options = {"maxiter": steps, "maxfun": 2 * steps, "ftol": 0.0, "gtol": 0.0, "maxcor": 10}
    with contextlib.suppress(StopIteration):
        before = np.inf
        # It ends where two totals are equal, which those of bfloat16 soon are: from the best picture it goes on.
        while least < before or not count:
            before, flat = least, best[0].numpy().astype("float64").ravel()
            scipy.optimize.minimize(function, flat, jac=True, method="L-BFGS-B", options=options)
    return best[0]


def in_graph(
    describe: keras.Model,
    content: tf.Tensor,
    style: tf.Tensor,
    steps: tf.Tensor,
    weights: Mapping[str, Any],
    learning_rate: float,
    layer_weights: Mapping[str, float] | None = None,
) -> tf.Tensor:
    """The whole optimisation as one loop of a graph, by Adam, at half size and then at full size: for an export.

    Args:
        describe: from `style_transfer`, without regions.
        content: `(1, height, width, 3)` in [0, 255].
        style: the same, of any size.
        steps: int32 scalar.
        weights: of `content`, `style` and `variation`, numbers or scalar tensors.
        learning_rate: as in `by_adam`.
        layer_weights: of the style's layers.

    Returns:
        The picture, in the size of `content`.
    """
    picture = content
    half = (steps + 1) // 2
    for divisor, count in ((2, half), (1, steps - half)):
        small = [
            tf.image.resize(p, tf.maximum(tf.shape(p)[1:3] // divisor, SMALLEST_MAP), "area") for p in (content, style)
        ]
        targets = {"content": describe(small[0])["content"], "style": describe(small[1])["style"]}
        losses = make_losses(describe, targets, weights, layer_weights)

        def body(state: Adam, losses: Losses = losses, count: tf.Tensor = count) -> tuple[Adam]:
            progress = state.step / tf.cast(tf.maximum(count, 1), tf.float32)
            rate = learning_rate * (0.55 + 0.45 * tf.cos(np.pi * progress))
            return (state.next(losses, rate)[0],)

        def going(state: Adam, count: tf.Tensor = count) -> tf.Tensor:
            return state.step < tf.cast(count, tf.float32)

        start = tf.clip_by_value(tf.image.resize(picture, tf.shape(small[0])[1:3], "bicubic"), 0, 255)
        (state,) = tf.while_loop(going, body, (Adam.start(start),), parallel_iterations=1)
        picture = state.picture
    return tf.image.resize(picture, tf.shape(content)[1:3])
