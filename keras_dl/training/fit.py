"""The training loop of all applications."""

import io
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_dl.errors import UserError
from keras_dl.training.checkpoint import Checkpoints, assign, replaced
from keras_dl.training.loop import Loop, compiled
from keras_dl.training.records import Signals, TensorBoardLog, write_history
from keras_dl.training.replicas import (
    broadcast,
    check_batch_size,
    is_chief,
    model_optimizers,
    prepare_optimizers,
    shares,
    synchronized_batch_norm,
    worker_count,
)
from keras_dl.training.swats import SWATS


def fit(
    build: Callable[[], keras.Model],
    stream: Callable[[int], tf.data.Dataset],
    *,
    run: Path,
    steps_per_epoch: int,
    epochs: int,
    validation: tf.data.Dataset | Callable[[keras.Model], dict[str, float]] | None = None,
    strategy: tf.distribute.Strategy | None = None,
    clip_norm: float | None = None,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    early_stopping: int | None = None,
    monitor: str = "val_loss",
    mode: str = "auto",
    save_steps: int | None = None,
    save_seconds: float = 300.0,
    tensorboard: bool = False,
    go_on: str | None = None,
    mend: str = "lower --learning-rate, or set --clip-norm",
) -> keras.Model:
    """Trains a model; the same call serves one device, several GPUs and several machines.

    The loop runs the model's own `train_step` and `test_step`, so whatever overrides them or `compute_loss` works,
    several optimizers included. It is not Keras' `fit`, which fails on several workers and can't resume exactly.
    The same global batch gives the same update on one replica and on several: gradients are summed before they are
    clipped, and batch normalisation is synchronised. That leaves the loss to the model: `keras.losses` objects
    divide by the number of replicas by themselves; a mean written by hand must be divided by
    `tf.distribute.get_strategy().num_replicas_in_sync`. XLA (`jit_compile`) is used on a single replica only.
    All workers start from the chief's weights.
    A resumed run ends with the weights of an unbroken one, as far as TensorFlow's ops are deterministic: on a GPU
    after `tf.config.experimental.enable_op_determinism()`.

    Args:
        build: returns the compiled model; called in the strategy's scope. If the model has several optimizers, each
            is an attribute of it and built already; under mixed precision all are wrapped for loss scaling (a
            `train_step` calls `optimizer.scale_loss`).
        stream: from a global step to an endless dataset of global batches, a pure function of seed and step. Every
            worker runs it whole and takes its share of each batch.
        run: the run folder: `checkpoints/`, `history.csv`, `model.keras` and `tensorboard/` appear in it.
        steps_per_epoch: global batches in an epoch.
        epochs: epochs in all, those before a resume included.
        validation: a finite dataset of global batches (on R replicas up to R - 1 examples of a batch are left out),
            or a function from the model to metrics, which must give the same on every worker.
        strategy: from `make_strategy`; by default one device.
        clip_norm: the largest global norm of an optimizer's gradients.
        resume: go on from the run's newest checkpoint, if there is one. Several workers follow the chief.
        callbacks: Keras callbacks. What `on_epoch_end` puts into its logs goes into the history. Their attributes
            that are numbers, arrays or lists of these are saved and restored.
        early_stopping: stop after so many epochs in which `monitor` did not improve.
        monitor: what early stopping watches.
        mode: `"min"`, `"max"`, or `"auto"`, by the metric's kind.
        save_steps: checkpoint after so many steps, as well as ...
        save_seconds: ... after so many seconds, and at the end of an epoch, unless the checkpoint before is less than
            ten seconds old and the run goes on. A run that has ended keeps its last checkpoint alone.
        tensorboard: write TensorBoard logs of each epoch.
        go_on: the flags that a stopped run goes on with, for the message that says so; by default those of `run`,
            empty if it can't go on.
        mend: what to do about a loss that is not finite, for that message.

    Returns:
        The trained model, with the best epoch's weights if `early_stopping` is set, the averaged ones if its
        optimizer has `use_ema`, otherwise the last; saved without its optimizers as `model.keras`.

    Raises:
        Diverged: (a UserError) if the loss is not finite.
        UserError: if a batch doesn't split evenly, there are fewer validation examples than
            replicas, the folder holds another run, or a file can't be written.
        Interrupted: (a KeyboardInterrupt) after Ctrl-C or SIGTERM, once the checkpoint is saved.
    """
    run, strategy = Path(run), strategy or tf.distribute.get_strategy()
    checkpoints = Checkpoints(run / "checkpoints", strategy)
    if is_chief(strategy) and not resume and checkpoints.files():
        raise UserError(f"{run} holds a run already: go on with --resume, or choose another folder with --run")
    callbacks, early = list(callbacks), None
    if early_stopping is not None:
        early = keras.callbacks.EarlyStopping(monitor, patience=early_stopping, mode=mode, restore_best_weights=True)
        callbacks.append(early)
    with strategy.scope():
        model = build()
        saved = checkpoints.read(resume)
        state = saved or {"step": 0, "history": [], "stopped": False}
        batches = stream(state["step"])
        _check_batches(batches, strategy)
        _build_in_scope(model, batches.element_spec)
        if not saved:
            _start_alike(model, strategy)
        optimizers = prepare_optimizers(model, clip_norm)
        if early_stopping is not None and any(getattr(o, "inner_optimizer", o).use_ema for o in optimizers):
            raise ValueError("early stopping keeps the best weights, use_ema the averaged ones; choose one of them")
        model.stop_training = False
        for callback in callbacks:
            callback.set_params({"epochs": epochs, "steps": steps_per_epoch, "verbose": 0})
            callback.set_model(model)
            callback.on_train_begin()
        if saved:
            checkpoints.restore(saved, model, optimizers, callbacks)
    loop = Loop(
        model=model,
        strategy=strategy,
        checkpoints=checkpoints,
        optimizers=optimizers,
        callbacks=callbacks,
        state=state,
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
        save_steps=save_steps,
        save_seconds=save_seconds,
        monitor=monitor if early_stopping is not None else None,
        go_on=f"--run {shlex.quote(str(run))} --resume" if go_on is None else go_on,
        mend=mend,
    )
    log = TensorBoardLog(run / "tensorboard") if tensorboard and loop.chief else None
    if loop.chief and saved:
        print(f"resuming at step {state['step']} of {epochs * steps_per_epoch}", flush=True)
        if state["history"]:  # the run may have been killed between the checkpoint and its row
            write_history(run / "history.csv", state["history"])
    with synchronized_batch_norm(model, strategy), Signals() as signals:
        test = compiled(model, strategy, model.test_step) if isinstance(validation, tf.data.Dataset) else validation
        iterator = iter(shares(strategy, batches))
        train = compiled(model, strategy, model.train_step)
        while state["step"] < epochs * steps_per_epoch and not state["stopped"]:
            logs = loop.train_epoch(iterator, train, signals)
            if validation is not None:
                logs |= {f"val_{key}": value for key, value in loop.validate(validation, test).items()}
                loop.check_finite(logs)  # the last step's own loss is from before it
            stop = loop.end_epoch(logs, signals)
            if loop.chief:
                write_history(run / "history.csv", state["history"])
                if log:
                    row = state["history"][-1]
                    log.write(row["epoch"], {key: value for key, value in row.items() if key != "epoch"})
            loop.stop_if(stop)
        for callback in callbacks:
            callback.on_train_end()
        (stop,) = loop.agree(signals.received)  # while a callback worked; a resume repeats what it did
        loop.stop_if(stop)
        for optimizer in optimizers:
            inner = getattr(optimizer, "inner_optimizer", optimizer)
            optimizer.finalize_variable_values(inner._trainable_variables)
    if loop.chief:
        if early:
            stopped = "stopped early: " if state["stopped"] else ""
            print(f"{stopped}{monitor} was best in epoch {early.best_epoch + 1}, whose weights are kept")
        for optimizer in (getattr(o, "inner_optimizer", o) for o in optimizers):
            if isinstance(optimizer, SWATS):
                done = "went over to SGD" if optimizer.switched else "stayed with Adam: its rate did not settle"
                print(f"swats {done}")
        save_model(model, run / "model.keras")
        checkpoints.keep(1)  # from which a resume with more epochs goes on
    loop.agree(True)  # no worker leaves while another still needs it
    return model


def save_model(model: keras.Model, path: Path) -> None:
    """Writes a `.keras` file without optimizers, losses and metrics: a third of the size, and it needs none of
    their classes to load.

    Raises:
        UserError: if it can't be written.
    """
    optimizers, was_compiled = model_optimizers(model), model.compiled
    try:
        model.compiled = False
        for name in optimizers:
            setattr(model, name, None)
        with replaced(path) as temporary:
            model.save(temporary)
    finally:
        model.compiled = was_compiled
        for name, optimizer in optimizers.items():
            setattr(model, name, optimizer)


def _check_batches(batches: tf.data.Dataset, strategy: tf.distribute.Strategy) -> None:
    shape = tf.nest.flatten(batches.element_spec)[0].shape
    if shape.rank and shape[0] is not None:
        check_batch_size(shape[0], strategy)


def _build_in_scope(model: keras.Model, spec: Any) -> None:
    """Makes every variable now: inside a compiled step on several replicas it is too late."""
    parts = (model._compile_loss, model._compile_metrics, *model._flatten_layers(include_self=False))
    if any(part is not None and not part.built for part in parts):
        model._symbolic_build(data_batch=spec)


def _start_alike(model: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Gives every worker the chief's variables: pretrained weights may have come to some workers only.

    The shapes are alike: TensorFlow already ends workers that create different variables.
    """
    if worker_count(strategy) == 1:
        return
    content = io.BytesIO()
    if is_chief(strategy):
        # The chief's own copy: reading statistics of batch normalisation takes their mean over all workers.
        copies = [getattr(variable.value, "values", [variable])[0] for variable in model.variables]
        np.savez(content, *(copy.numpy() for copy in copies))
    with np.load(io.BytesIO(broadcast(strategy, content.getvalue())), allow_pickle=False) as file:
        arrays = [file[name] for name in file.files]
    for variable, array in zip(model.variables, arrays, strict=True):
        assign(variable, array, is_chief(strategy))
