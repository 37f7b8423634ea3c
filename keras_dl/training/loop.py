"""One epoch, its end, and when to save: what `fit` repeats."""

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_dl.errors import UserError
from keras_dl.training.checkpoint import Checkpoints
from keras_dl.training.records import Interrupted, Progress, Signals
from keras_dl.training.replicas import (
    broadcast,
    is_chief,
    model_optimizers,
    shares,
    sum_over_workers,
    worker_count,
)

LOOK_SECONDS = 0.1
LOOK_STEPS = 10
# Epochs may be shorter than the time that it takes to write a checkpoint.
EPOCH_SAVE_SECONDS = 10.0


class Diverged(UserError):
    """A training whose loss is no longer a finite number."""


def compiled(model: keras.Model, strategy: tf.distribute.Strategy, method: Callable[[Any], Any]) -> Callable:
    """A compiled function that runs the model's `train_step` or `test_step` on every replica."""
    if model.jit_compile and strategy.num_replicas_in_sync == 1:
        method = tf.function(method, jit_compile=True, reduce_retracing=True, autograph=False)

    def step(batch: Any) -> Any:
        return strategy.run(method, args=(batch,))

    return step if model.run_eagerly else tf.function(step, reduce_retracing=True, autograph=False)


@dataclasses.dataclass
class Loop:
    """The parts of `fit` between its beginning and its end.

    Attributes:
        model: the model, built and compiled.
        strategy: the run's strategy.
        checkpoints: where its checkpoints go.
        optimizers: the model's.
        callbacks: all of them, early stopping included.
        state: what a checkpoint says of the loop: `step`, `history`, `stopped`.
        steps_per_epoch: global batches in an epoch.
        epochs: epochs of the whole run.
        save_steps: checkpoint after so many steps; None for by time alone.
        save_seconds: checkpoint after so many seconds.
        monitor: the metric that early stopping watches, or None.
        go_on: the flags that a stopped run goes on with; empty if it can't.
        mend: what to do about a loss that is not finite.
    """

    model: keras.Model
    strategy: tf.distribute.Strategy
    checkpoints: Checkpoints
    optimizers: Sequence[keras.optimizers.Optimizer]
    callbacks: Sequence[keras.callbacks.Callback]
    state: dict[str, Any]
    steps_per_epoch: int
    epochs: int
    save_steps: int | None
    save_seconds: float
    monitor: str | None
    go_on: str
    mend: str

    def __post_init__(self) -> None:
        self.chief = is_chief(self.strategy)
        self.alone = worker_count(self.strategy) == 1
        self.saved_at = time.monotonic()
        self.saved = False

    def train_epoch(self, iterator: Any, train: Callable, signals: Signals) -> dict[str, float]:
        """Trains from where the state stands to the end of the epoch; returns the epoch's metrics."""
        epoch, done = divmod(self.state["step"], self.steps_per_epoch)
        if not done:
            self.model.reset_metrics()
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch)
        progress = Progress(f"Epoch {epoch + 1}/{self.epochs}", self.steps_per_epoch) if self.chief else None
        looked = time.monotonic()
        for step in range(done + 1, self.steps_per_epoch + 1):
            for callback in self.callbacks:
                callback.on_train_batch_begin(step - 1)
            outputs = train(next(iterator))
            self.state["step"] += 1
            for callback in self.callbacks:
                callback.on_train_batch_end(step - 1, self._local(outputs))
            save, last = self._save_due(), step == self.steps_per_epoch
            # Workers decide together, so they must look at the same steps; a look waits for the device.
            pause = time.monotonic() - looked > LOOK_SECONDS if self.alone else step % LOOK_STEPS == 0
            if not (pause or save or last):
                continue
            logs = _numbers(self._local(outputs))
            bad, stop, save = self.agree(_diverged(logs), signals.received, save or self._save_late())
            if bad:
                self._not_finite()
            if not last:
                if save or stop:
                    self.save()
                self.stop_if(stop)
                if progress:
                    progress.show(step, logs)
            looked = time.monotonic()
        logs = self._metrics(outputs)
        if progress:
            progress.show(step, logs)
        return logs

    def validate(self, validation: Any, test: Callable) -> dict[str, float]:
        """The metrics of the validation set.

        Raises:
            UserError: if there is not one example for each replica.
        """
        if not isinstance(validation, tf.data.Dataset):
            logs = {name: float(value) for name, value in validation(self.model).items()}
            # Each worker has measured by itself: where they differ by a rounding, one would stop early, and the others
            # wait for it.
            return json.loads(broadcast(self.strategy, json.dumps(logs).encode()))
        for callback in self.callbacks:
            callback.on_test_begin()
        self.model.reset_metrics()
        outputs = None
        for batch in shares(self.strategy, validation):
            outputs = test(batch)
        if outputs is None:
            replicas = self.strategy.num_replicas_in_sync
            mend = " or train with --strategy single" if replicas > 1 else ""
            raise UserError(
                f"validation on {replicas} replica(s) needs at least {replicas} example(s) in a batch, and there are "
                f"fewer: give more validation pictures{mend}"
            )
        logs = self._metrics(outputs)
        for callback in self.callbacks:
            callback.on_test_end(logs)
        return logs

    def check_finite(self, logs: dict[str, float]) -> None:
        """Refuses an epoch's metrics, the same on every worker, if a loss among them is not finite.

        Raises:
            Diverged: if so.
        """
        if _diverged(logs):
            self._not_finite()

    def end_epoch(self, logs: dict[str, float], signals: Signals) -> bool:
        """Calls the callbacks, extends the history and saves if it is time to.

        Args:
            logs: the epoch's metrics; keeps what the callbacks add.
            signals: what may stop the run.

        Returns:
            Whether any worker got a signal to stop; then, as at the end of training, a checkpoint is written.
        """
        epoch = self.state["step"] // self.steps_per_epoch - 1
        for name, optimizer in model_optimizers(self.model).items():
            prefix = name.removesuffix("optimizer").strip("_")
            logs[f"{prefix}_learning_rate" if prefix else "learning_rate"] = _rate(optimizer)
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)
        if self.monitor is not None and self.monitor not in logs:
            raise ValueError(f"early stopping watches {self.monitor!r}, which is not among {', '.join(logs)}")
        if self.chief and any(key.startswith("val_") for key in logs):
            print("   ".join(f"{k}: {v:.4g}" for k, v in logs.items() if k.startswith("val_")), flush=True)
        self.state["history"].append({"epoch": epoch + 1, **_numbers(logs)})
        self.state["stopped"] = bool(self.model.stop_training)
        ends = self.state["stopped"] or epoch + 1 >= self.epochs
        stop, save = self.agree(signals.received, ends or self._save_due() or self._epoch_save_due())
        if stop or save:
            self.save()
        return stop

    def save(self) -> None:
        """Writes a checkpoint."""
        self.checkpoints.save(self.state, self.model, self.optimizers, self.callbacks)
        self.saved_at = time.monotonic()
        self.saved = True

    def _save_due(self) -> bool:
        return self.save_steps is not None and self.state["step"] % self.save_steps == 0

    def _save_late(self) -> bool:
        return self.chief and time.monotonic() - self.saved_at >= self.save_seconds

    def _epoch_save_due(self) -> bool:
        pause = min(EPOCH_SAVE_SECONDS, self.save_seconds)
        return self.chief and (not self.saved or time.monotonic() - self.saved_at >= pause)

    def agree(self, *flags: bool) -> list[bool]:
        """True where any worker's flag is."""
        return [bool(count) for count in sum_over_workers(self.strategy, np.array(flags, np.int32))]

    def stop_if(self, stop: bool) -> None:
        """Ends the run, and says how to go on."""
        if stop:
            line = f"stopped at step {self.state['step']} of {self.steps_per_epoch * self.epochs}"
            if self.chief:
                print(f"\n{line}" + (f"; go on with {self.go_on}" if self.go_on else ""), file=sys.stderr, flush=True)
            raise Interrupted(line)

    def _not_finite(self) -> None:
        scaled = any(hasattr(optimizer, "inner_optimizer") for optimizer in self.optimizers)
        raise Diverged(
            f"the loss is no longer a finite number at step {self.state['step']}: {self.mend}"
            f"{', or leave out --mixed-precision' if scaled else ''}"
        )

    def _local(self, outputs: Any) -> Any:
        """The first replica's view of what a step returned: cheap, for the bar and the callbacks."""
        return {key: self.strategy.experimental_local_results(value)[0] for key, value in outputs.items()}

    def _metrics(self, outputs: dict[str, Any]) -> dict[str, float]:
        """The metrics over all replicas, by the names that a step returns."""
        metrics = self.model.get_metrics_result()
        if not set(outputs) <= set(metrics):
            metrics = {k: self.strategy.reduce("MEAN", v, axis=None) for k, v in outputs.items()}
        return _numbers({key: metrics[key] for key in outputs})


def _numbers(logs: dict[str, Any]) -> dict[str, float]:
    arrays = {key: np.asarray(value) for key, value in logs.items()}
    return {key: float(array) for key, array in arrays.items() if array.ndim == 0}


def _rate(optimizer: keras.optimizers.Optimizer) -> float:
    """Of the last step, which the iterations are past already."""
    rate = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = rate(tf.constant(max(0, optimizer.iterations.numpy() - 1)))
    return float(np.asarray(rate.numpy() if hasattr(rate, "numpy") else rate))


def _diverged(logs: dict[str, float]) -> bool:
    return any("loss" in key and not math.isfinite(value) for key, value in logs.items())
