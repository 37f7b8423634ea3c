"""Learning rates that change over time; all are serialisable `LearningRateSchedule`s."""

import math
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import CosineDecay, ExponentialDecay, InverseTimeDecay, LearningRateSchedule

from keras_dl.errors import UserError

SCHEDULES = ("constant", "inverse_time", "exponential", "inverse_sqrt_epoch", "cosine", "one_cycle", "inverse_sqrt")
WITH_WARMUP = ("cosine", "one_cycle", "inverse_sqrt")


def check_warmup(schedule: str, warmup_epochs: float | None) -> None:
    """Refuses a warm-up of a schedule that has none; None and 0 pass.

    Raises:
        UserError: naming the schedules that have one.
    """
    if warmup_epochs and schedule not in WITH_WARMUP:
        raise UserError(f"--warmup-epochs: --schedule {schedule} has no warm-up; take {', '.join(WITH_WARMUP)}")


@keras.saving.register_keras_serializable(package="keras_dl")
class InverseSquareRootOfEpoch(LearningRateSchedule):
    """k / sqrt(epoch) times the initial rate; epochs count from 1.

    Args:
        initial_learning_rate: the rate that k multiplies.
        steps_per_epoch: steps of one epoch.
        k: the constant.
    """

    def __init__(self, initial_learning_rate: float, steps_per_epoch: int, k: float = 1.0) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.steps_per_epoch = steps_per_epoch
        self.k = k

    def __call__(self, step: Any) -> Any:
        epoch = ops.floor(ops.cast(step, "float32") / self.steps_per_epoch) + 1.0
        return self.initial_learning_rate * self.k / ops.sqrt(epoch)

    def get_config(self) -> dict:
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "steps_per_epoch": self.steps_per_epoch,
            "k": self.k,
        }


@keras.saving.register_keras_serializable(package="keras_dl")
class OneCycle(LearningRateSchedule):
    """Linear up to the peak and linear down to the end (Smith & Topin 2017, arXiv:1708.07120).

    With a short `warmup_steps` this is the "warm-up, then linear" schedule of BERT.

    Args:
        peak_learning_rate: the highest rate, reached after `warmup_steps`.
        total_steps: the step at which the last rate is reached; it stays afterwards.
        warmup_steps: steps of the rise, which starts at `start` times the peak.
        start: first rate, as a share of the peak.
        end: last rate, as a share of the peak.
    """

    def __init__(
        self, peak_learning_rate: float, total_steps: int, warmup_steps: int, start: float = 0.0, end: float = 0.0
    ) -> None:
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(f"warmup_steps is {warmup_steps}; it must be less than the {total_steps} steps in all")
        self.peak_learning_rate = peak_learning_rate
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.start = start
        self.end = end

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        up = self.start + (1.0 - self.start) * step / max(self.warmup_steps, 1)
        left = ops.maximum((self.total_steps - step) / (self.total_steps - self.warmup_steps), 0.0)
        down = self.end + (1.0 - self.end) * left
        return self.peak_learning_rate * ops.where(step < self.warmup_steps, up, down)

    def get_config(self) -> dict:
        return {
            "peak_learning_rate": self.peak_learning_rate,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "start": self.start,
            "end": self.end,
        }


@keras.saving.register_keras_serializable(package="keras_dl")
class InverseSquareRoot(LearningRateSchedule):
    """Vaswani et al. 2017, arXiv:1706.03762, equation 3, scaled to a given peak.

    The rate rises linearly over `warmup_steps` and falls as one over the square root of the step. The paper's own
    peak is `(d_model * warmup_steps) ** -0.5`. Steps count from 1, as in the paper.

    Args:
        peak_learning_rate: the rate at step `warmup_steps`.
        warmup_steps: steps of the rise.
    """

    def __init__(self, peak_learning_rate: float, warmup_steps: int) -> None:
        if warmup_steps < 1:
            raise ValueError("warmup_steps must be at least 1")
        self.peak_learning_rate = peak_learning_rate
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32") + 1.0
        return self.peak_learning_rate * ops.minimum(step / self.warmup_steps, ops.sqrt(self.warmup_steps / step))

    def get_config(self) -> dict:
        return {"peak_learning_rate": self.peak_learning_rate, "warmup_steps": self.warmup_steps}


def make_schedule(
    name: str,
    learning_rate: float,
    *,
    steps_per_epoch: int,
    epochs: int,
    warmup_epochs: float = 0.0,
    decay: float | None = None,
) -> LearningRateSchedule | float:
    """The schedule of that name over a run of `epochs`; its highest rate is `learning_rate`.

    Args:
        name: `"constant"`; `"inverse_time"`, 1 / (1 + decay * epoch), decay 1 unless told; `"exponential"`,
            decay ** epoch, decay 0.95 unless told (in both, epochs count from 0 and the rate changes once an epoch);
            `"inverse_sqrt_epoch"`, decay / sqrt(epoch), epochs from 1, decay 1 unless told; `"cosine"` down to 0
            after a linear warm-up; `"one_cycle"`, linear up and linear down; `"inverse_sqrt"`, a linear warm-up,
            then one over the square root of the step.
        learning_rate: the factor of the decaying schedules, the peak of those with a warm-up.
        steps_per_epoch: steps of one epoch.
        epochs: epochs of the whole run.
        warmup_epochs: length of the rise, for the last three.
        decay: the constant of the three schedules that name one.

    Raises:
        UserError: for an unknown name, or a warm-up as long as the run or shorter than nothing.
    """
    if not 0 <= warmup_epochs < math.inf:
        raise UserError(f"--warmup-epochs is {warmup_epochs:g}; give 0 or more, but a finite number")
    total = steps_per_epoch * epochs
    warmup = round(warmup_epochs * steps_per_epoch)
    if name in ("cosine", "one_cycle") and warmup >= total:
        raise UserError(f"--warmup-epochs {warmup_epochs:g} must be less than --epochs {epochs}")
    if name == "constant":
        return learning_rate
    if name == "inverse_time":
        return InverseTimeDecay(learning_rate, steps_per_epoch, 1.0 if decay is None else decay, staircase=True)
    if name == "exponential":
        return ExponentialDecay(learning_rate, steps_per_epoch, 0.95 if decay is None else decay, staircase=True)
    if name == "inverse_sqrt_epoch":
        return InverseSquareRootOfEpoch(learning_rate, steps_per_epoch, 1.0 if decay is None else decay)
    if name == "cosine":
        if not warmup:
            return CosineDecay(learning_rate, total)
        return CosineDecay(0.0, total - warmup, warmup_target=learning_rate, warmup_steps=warmup)
    if name == "one_cycle":
        return OneCycle(learning_rate, total, warmup)
    if name == "inverse_sqrt":
        return InverseSquareRoot(learning_rate, max(warmup, 1))
    raise UserError(f"--schedule {name}: choose from {', '.join(SCHEDULES)}")
