"""What goes on while a picture is optimised: progress, its losses, and when to stop."""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_dl.errors import UserError
from keras_dl.training.records import Interrupted, Progress, Signals

LOOK_STEPS = 10


class NotFinite(UserError):
    """The losses are no longer finite numbers."""


class PictureWatch:
    """Looks at the picture every ten steps, and at once after a signal; between looks nothing leaves the device.

    Args:
        steps: how many there will be.
        signals: what may stop the work.
        keep_every: steps between pictures that go to `keep`, or None.
        keep: takes a step's number and its picture `(height, width, 3)`.

    Attributes:
        step: of the last look.
        picture: float32 `(height, width, 3)` of the last look at which all was well, or None before the first.
        history: `step` and each loss, a row per look.
    """

    def __init__(
        self,
        steps: int,
        signals: Signals,
        keep_every: int | None = None,
        keep: Callable[[int, np.ndarray], None] = lambda *_: None,
    ) -> None:
        self.steps, self.signals, self.keep_every, self.keep = steps, signals, keep_every, keep
        self.step = 0
        self.picture: np.ndarray | None = None
        self.history: list[dict[str, float]] = []
        self.progress: Progress | None = None

    def __call__(self, step: int, picture: tf.Tensor, values: dict[str, tf.Tensor]) -> None:
        """See `keras_dl.training.stylize.Watch`.

        Raises:
            NotFinite: if a loss or a pixel is no finite number.
            Interrupted: after a signal.
        """
        kept = self.keep_every is not None and step % self.keep_every == 0
        if not (kept or step % LOOK_STEPS == 0 or step in (1, self.steps) or self.signals.received):
            return
        losses = {name: float(value) for name, value in values.items()}
        pixels = picture[0].numpy()
        if not (all(map(math.isfinite, losses.values())) and np.isfinite(pixels).all()):
            raise NotFinite(f"the losses are no longer finite numbers at step {step}")
        self.step, self.picture = step, pixels
        self.history.append({"step": step, **losses})
        if kept:
            self.keep(step, pixels)
        self.progress = self.progress or Progress(f"painting, {self.steps} steps", self.steps)
        self.progress.show(step, losses)
        if self.signals.received:
            raise Interrupted(f"stopped at step {step} of {self.steps}")
