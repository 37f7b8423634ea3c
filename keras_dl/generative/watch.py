"""Watches an adversarial training: it stops when the generator collapses or the gradients run away."""

import contextlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_dl.errors import UserError


class StabilityWatch(keras.callbacks.Callback):
    """Ends the training with one line that says what happened; `restore` brings back the last good weights.

    Args:
        diversity: samples that vary by less than this share of how much real data varies are counted as collapsed.
        gradient: the norm of a gradient beyond which a side is counted as diverging.
        patience: epochs in a row until the training ends.
        checkpoints: the folder of a run's checkpoints, of which one of a good epoch is kept while others go bad.
    """

    def __init__(
        self, diversity: float = 0.05, gradient: float = 1e5, patience: int = 3, checkpoints: Path | None = None
    ) -> None:
        super().__init__()
        self.diversity, self.gradient, self.patience = diversity, gradient, patience
        self.checkpoints = checkpoints
        self.bad_epochs, self.good_epoch = 0, 0
        self.good_weights: list[np.ndarray] | None = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        trouble = self.trouble(logs or {})
        if not trouble:
            self.on_train_end()
            self.bad_epochs, self.good_epoch = 0, epoch + 1
            self.good_weights = [weight.numpy() for weight in self.model.weights]
            return
        if not self.bad_epochs and self.checkpoints:
            self._keep_checkpoint()
        self.bad_epochs += 1
        if self.bad_epochs >= self.patience:
            raise Unstable(f"stopped after epoch {epoch + 1}: {trouble}")

    def restore(self) -> None:
        """Gives the model the weights of `good_epoch`, if there was any, and the run a checkpoint from before it."""
        if self.good_weights is not None:
            for weight, value in zip(self.model.weights, self.good_weights, strict=True):
                weight.assign(value)
        for kept in self._files("good"):
            for bad in self._files("step"):
                bad.unlink()
            kept.rename(kept.with_name(kept.name.replace("good", "step")))

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Gives up the checkpoint that was kept: the loop's own are good."""
        for kept in self._files("good"):
            kept.unlink()

    def _files(self, kind: str) -> list[Path]:
        return sorted(self.checkpoints.glob(f"{kind}-*.npz")) if self.checkpoints else []

    def _keep_checkpoint(self) -> None:
        """A second name for the newest checkpoint up to the good epoch, which the loop would delete for newer ones."""
        last = self.good_epoch * self.params["steps"]
        good = [path for path in self._files("step") if int(path.stem.removeprefix("step-")) <= last]
        with contextlib.suppress(OSError):  # a disk without hard links
            for path in good[-1:]:
                os.link(path, path.with_name(path.name.replace("step", "good")))

    def trouble(self, logs: Mapping[str, Any]) -> str:
        """What is wrong by an epoch's metrics; empty if nothing is."""
        spread = float(logs.get("diversity", 1.0))
        if spread < self.diversity:
            return f"the generator collapsed, its samples vary {spread:.1%} as much as the pictures do"
        for side in ("generator", "discriminator"):
            norm = float(logs.get(f"{side}_gradient", 0.0))
            if not math.isfinite(norm) or norm > self.gradient:
                return f"the {side} diverged, the norm of its gradient is {norm:.3g}"
        return ""


class Unstable(UserError):
    """A training that collapsed, or whose gradients ran away."""
