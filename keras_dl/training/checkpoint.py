"""Checkpoints from which a killed run goes on as if it had never stopped."""

import io
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_dl.errors import UserError
from keras_dl.training.replicas import broadcast, is_chief, worker_count

KEPT = 2
DAMAGED = b"damaged"


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Gives the name of a file beside `path` to write to, which takes its place at the end: `path` is always whole.

    Raises:
        UserError: if it can't be written; what stood at `path` still stands.
    """
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"can't write {path}: {error.strerror or error}; mend that, then go on with --resume") from None
    finally:
        temporary.unlink(missing_ok=True)


def all_variables(model: keras.Model, optimizers: Sequence[keras.optimizers.Optimizer]) -> list[keras.Variable]:
    """Every variable that training changes: weights, states of seed generators, metrics, optimizers."""
    variables = [*model.variables, *model.metrics_variables, *(v for o in optimizers for v in o.variables)]
    return list({id(variable): variable for variable in variables}.values())


def callback_state(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """The numbers and arrays among a callback's attributes (best value, patience, best weights ...)."""
    # Keras turns the sign of `min_delta` together with `monitor_op`, a function, which starts anew.
    return {k: v for k, v in vars(callback).items() if k not in ("params", "_model", "min_delta") and _is_state(v)}


def _is_state(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_state(item) for item in value)
    return value is None or isinstance(value, bool | int | float | np.number | np.ndarray)


def _pack(value: Any, arrays: list[np.ndarray]) -> Any:
    """The value as JSON, its arrays moved to the end of `arrays`."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, list | tuple):
        return [_pack(item, arrays) for item in value]
    return value.item() if isinstance(value, np.number) else value


def _unpack(value: Any, arrays: Sequence[np.ndarray]) -> Any:
    if isinstance(value, dict):
        return arrays[value["array"]]
    return [_unpack(item, arrays) for item in value] if isinstance(value, list) else value


def assign(variable: keras.Variable, value: np.ndarray, chief: bool) -> None:
    """Sets a variable on all replicas. What is summed over them when read goes to the first, and 0 to the rest."""
    summed = variable.synchronization == "on_read" and variable.aggregation == "sum"
    parts = getattr(variable.value, "values", None) if summed else None
    if parts is None:
        variable.assign(value)
        return
    for i, part in enumerate(parts):
        part.assign(value if chief and i == 0 else np.zeros_like(value))


def has_checkpoint(run: Path) -> bool:
    """Whether a run has a checkpoint, which replaces all weights that it began with."""
    return bool(_files(run / "checkpoints"))


def has_ended(run: Path, epochs: int) -> bool:
    """Whether a run has been trained for so many epochs, or stopped early, and its model is written.

    Args:
        run: the run folder.
        epochs: as of `fit`.
    """
    # A run in the middle has no model yet, and its checkpoint, which may be large, is not read here too.
    newest = _newest(run / "checkpoints") if (run / "model.keras").exists() else None
    if newest is None:
        return False
    with np.load(newest, allow_pickle=False) as file:
        state = json.loads(file["state"].tobytes())
    return state["stopped"] or len(state["history"]) >= epochs


class Checkpoints:
    """The checkpoints of a run, `step-00001234.npz`: the newest two, and after its end the last.

    Only the chief reads and writes, so workers need no common disk; all of them must call each method together.

    Args:
        folder: where they lie.
        strategy: the run's strategy.
    """

    def __init__(self, folder: Path, strategy: tf.distribute.Strategy) -> None:
        self.folder = folder
        self.strategy = strategy
        self.arrays: list[np.ndarray] = []

    def files(self) -> list[Path]:
        """Oldest first."""
        return _files(self.folder)

    def save(
        self,
        state: dict[str, Any],
        model: keras.Model,
        optimizers: Sequence[keras.optimizers.Optimizer],
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> None:
        """Saves everything; `state` is what the loop itself remembers (JSON), `state["step"]` the global step.

        Raises:
            UserError: if the disk is full; the checkpoints before stay.
        """
        # Metrics are summed over all workers to be read, so every worker reads.
        arrays = [variable.numpy() for variable in all_variables(model, optimizers)]
        if not is_chief(self.strategy):
            return
        saved = {
            **state,
            "variables": len(arrays),
            "callbacks": [{k: _pack(v, arrays) for k, v in callback_state(c).items()} for c in callbacks],
        }
        members = {f"{i:05d}": array for i, array in enumerate(arrays)}
        members["state"] = np.frombuffer(json.dumps(saved).encode(), np.uint8)
        path = self.folder / f"step-{state['step']:08d}.npz"
        with replaced(path) as temporary:
            np.savez(temporary, **members)
        self.keep(KEPT)

    def keep(self, count: int) -> None:
        """Deletes all but the newest `count`, and what killed processes had begun to write."""
        for old in [*self.files()[:-count], *self.folder.glob(".step-*.part.npz")]:
            old.unlink(missing_ok=True)

    def read(self, resume: bool) -> dict[str, Any] | None:
        """The state of the newest whole checkpoint, None without any; the chief's `resume` counts for all workers.

        Raises:
            UserError: if all checkpoints are damaged.
        """
        path, damaged = None, False
        if is_chief(self.strategy) and resume:
            path = _newest(self.folder)
            damaged = path is None and bool(self.files())
        source = path
        if worker_count(self.strategy) > 1:
            # Who waits for a chief that has ended with an error waits in vain, so all of them learn of it.
            sent = DAMAGED if damaged else path.read_bytes() if path else b""
            sent = broadcast(self.strategy, sent)
            damaged = sent == DAMAGED
            source = io.BytesIO(sent) if sent else None
        if damaged:
            raise UserError(f"all checkpoints in {self.folder} are damaged: restore one, or delete them to start over")
        if source is None:
            return None
        with np.load(source, allow_pickle=False) as file:
            state = json.loads(file["state"].tobytes())
            self.arrays = [file[f"{i:05d}"] for i in range(len(file.files) - 1)]
        return state

    def restore(
        self,
        state: dict[str, Any],
        model: keras.Model,
        optimizers: Sequence[keras.optimizers.Optimizer],
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> None:
        """Puts what `read` found into a model built in the same way.

        Raises:
            UserError: if the model, an optimizer or the callbacks are not those of the checkpoint.
        """
        variables = all_variables(model, optimizers)
        arrays = self.arrays[: state["variables"]]
        if [tuple(v.shape) for v in variables] != [a.shape for a in arrays] or len(callbacks) != len(
            state["callbacks"]
        ):
            raise UserError(
                f"{self.folder} was made by another model, optimizer or set of callbacks; "
                "resume with the same options, or train into a new folder with --run"
            )
        chief = is_chief(self.strategy)
        for variable, array in zip(variables, arrays, strict=True):
            assign(variable, array, chief)
        for callback, values in zip(callbacks, state["callbacks"], strict=True):
            for key, value in values.items():
                setattr(callback, key, _unpack(value, self.arrays))
        self.arrays = []


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.npz"))


def _newest(folder: Path) -> Path | None:
    return next((path for path in reversed(_files(folder)) if _is_whole(path)), None)


def _is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None and "state.npy" in file.namelist()
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile):  # by damage, a file may seem encrypted or compressed
        return False
