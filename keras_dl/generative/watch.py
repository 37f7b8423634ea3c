"""Watches an adversarial training: it stops when the generator collapses or the gradients run away."""

import math
from collections.abc import Mapping
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
    """

    def __init__(self, diversity: float = 0.05, gradient: float = 1e5, patience: int = 3) -> None:
        super().__init__()
        self.diversity, self.gradient, self.patience = diversity, gradient, patience
        self.bad_epochs, self.good_epoch = 0, 0
        self.good_weights: list[np.ndarray] | None = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        trouble = self.trouble(logs or {})
        if not trouble:
            self.bad_epochs, self.good_epoch = 0, epoch + 1
            self.good_weights = [weight.numpy() for weight in self.model.weights]
            return
        self.bad_epochs += 1
        if self.bad_epochs >= self.patience:
            raise Unstable(f"stopped after epoch {epoch + 1}: {trouble}")

    def restore(self) -> None:
        """Gives the model the weights of `good_epoch`, if there was any."""
        if self.good_weights is not None:
            for weight, value in zip(self.model.weights, self.good_weights, strict=True):
                weight.assign(value)

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
