"""What makes a step on several replicas equal to one on a single device."""

import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_dl.errors import UserError
from keras_dl.run import fingerprint


def worker_count(strategy: tf.distribute.Strategy) -> int:
    """Processes that train together; 1 for every strategy of a single machine."""
    if strategy.cluster_resolver is None:
        return 1
    return sum(len(hosts) for hosts in strategy.cluster_resolver.cluster_spec().as_dict().values()) or 1


def check_batch_size(size: int, strategy: tf.distribute.Strategy) -> None:
    """Refuses a global batch that does not split evenly over the replicas.

    Raises:
        UserError: if so.
    """
    replicas = strategy.num_replicas_in_sync
    if size % replicas:
        raise UserError(f"--batch-size {size} does not split evenly over {replicas} replicas")


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """True in the one process that writes files and prints."""
    if worker_count(strategy) == 1:
        return True
    resolver = strategy.cluster_resolver
    return leads(resolver.task_type, resolver.task_id, resolver.cluster_spec().jobs)


def leads(kind: str, index: int, kinds: Iterable[str]) -> bool:
    """Whether a task of a cluster that has tasks of these kinds is its chief, or its first worker if there is none."""
    return (kind, index) == ("chief" if "chief" in kinds else "worker", 0)


def check_same_data(
    strategy: tf.distribute.Strategy, names: Sequence[str], labels: bytes = b"", source: str = ""
) -> None:
    """Refuses workers that have read different data: each takes its part of batches that must be the same in all.

    Args:
        strategy: the strategy; all its workers must call this at the same point.
        names: of all pictures or rows, in their order.
        labels: as in `run.save_fingerprint`.
        source: the folder with which the names of files begin; it may be another on each worker.

    Raises:
        UserError: in every worker, if one has other data than the chief.
    """
    if worker_count(strategy) == 1:
        return
    mine = json.dumps(fingerprint([name.removeprefix(source) for name in names], labels)).encode()
    chiefs = broadcast(strategy, mine)
    if sum_over_workers(strategy, np.array([mine != chiefs], np.int32))[0]:
        raise UserError(
            f"the workers have read different data ({json.loads(chiefs)['entries']:,} entries in the first, "
            f"{len(names):,} in this one): give each a copy of the same files, or one folder that all see"
        )


def check_same_options(strategy: tf.distribute.Strategy, options: Any) -> None:
    """Refuses workers that were started with different options, save the run folder and where their files lie.

    Args:
        strategy: the strategy; all its workers must call this at the same point.
        options: a dataclass of strings, numbers, booleans and paths.

    Raises:
        UserError: in every worker, naming the flag.
    """
    if worker_count(strategy) == 1:
        return

    def comparable(value: Any) -> Any:
        if isinstance(value, tuple):
            return [comparable(part) for part in value]
        is_path = isinstance(value, Path) or (isinstance(value, str) and (os.sep in value or os.path.exists(value)))
        return "a path" if is_path else value

    mine = {name: comparable(value) for name, value in vars(options).items() if name != "run"}
    chiefs = json.loads(broadcast(strategy, json.dumps(mine).encode()))
    differing = np.array([chiefs.get(name) != value for name, value in mine.items()], np.int32)
    for name, workers in zip(mine, sum_over_workers(strategy, differing), strict=True):
        if workers:
            flag = name.replace("_", "-")
            mend = "start all of them by the same command, and where it finds the same files"
            raise UserError(f"the workers have different --{flag}: {mend}")


def shares(strategy: tf.distribute.Strategy, batches: tf.data.Dataset) -> Any:
    """Splits each global batch evenly: replica r of R takes the r-th of R parts.

    Args:
        strategy: the strategy.
        batches: global batches, the same in every worker. What R does not divide is dropped from a batch's end.

    Returns:
        The dataset itself on one replica, otherwise a distributed dataset.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return batches

    def rows(batch: Any) -> tf.Tensor:
        first = tf.nest.flatten(batch)[0]
        return first.nrows(tf.int32) if isinstance(first, tf.RaggedTensor) else tf.shape(first)[0]

    def whole(*parts: Any) -> Any:
        return parts if isinstance(batches.element_spec, tuple) else parts[0]

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        local = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * local

        def split(*parts: Any) -> tf.data.Dataset:
            batch = whole(*parts)
            size = rows(batch) // replicas

            def share(replica: tf.Tensor) -> Any:
                return tf.nest.map_structure(lambda x: x[replica * size : (replica + 1) * size], batch)

            return tf.data.Dataset.range(first, first + local, output_type=tf.int32).map(share)

        parts = batches.filter(lambda *parts: rows(whole(*parts)) >= replicas).flat_map(split)
        if batches.cardinality() == tf.data.INFINITE_CARDINALITY:
            # Otherwise the workers would ask one another at every step whether there is a next batch.
            parts = parts.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        return parts.prefetch(tf.data.AUTOTUNE)

    return strategy.distribute_datasets_from_function(of_worker)


@contextmanager
def synchronized_batch_norm(model: keras.Model, strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Batch normalisation takes its statistics over the global batch, in every function traced in here."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    before = [layer.synchronized for layer in layers]
    for layer in layers:
        layer.synchronized = strategy.num_replicas_in_sync > 1
    try:
        yield
    finally:
        # The saved model must load on backends that can't synchronise.
        for layer, synchronized in zip(layers, before, strict=True):
            layer.synchronized = synchronized


def model_optimizers(model: keras.Model) -> dict[str, keras.optimizers.Optimizer]:
    """The optimizers that are attributes of the model, by attribute."""
    return {name: value for name, value in vars(model).items() if isinstance(value, keras.optimizers.Optimizer)}


def prepare_optimizers(model: keras.Model, clip_norm: float | None) -> list[keras.optimizers.Optimizer]:
    """Builds and wraps the optimizers of a model, in the strategy's scope.

    Each is wrapped for loss scaling under mixed precision (`compile` does so for its own only), and applies the sum
    of the replicas' gradients, clipped to the global norm `clip_norm`. Keras clips each replica's part before the
    sum, and looks for overflow in each part by itself.

    Raises:
        ValueError: if one of several optimizers is not built yet: only the model knows its variables.
    """
    optimizers = model_optimizers(model)
    wrappers = {id(o.inner_optimizer): o for o in optimizers.values() if hasattr(o, "inner_optimizer")}
    scaled = keras.mixed_precision.dtype_policy().name == "mixed_float16"
    ready = {}
    for name, optimizer in optimizers.items():
        if not optimizer.built:
            if len({id(wrappers.get(id(o), o)) for o in optimizers.values()}) > 1:
                raise ValueError(f"{model.name}.{name} is not built; call .build(variables) on each optimizer")
            optimizer.build(model.trainable_variables)
        wrapped = wrappers.get(id(optimizer), optimizer)
        if scaled and not hasattr(wrapped, "inner_optimizer"):
            variables = wrapped._trainable_variables
            wrapped = wrappers[id(optimizer)] = keras.optimizers.LossScaleOptimizer(wrapped)
            wrapped.build(variables)
        if wrapped is not optimizer:
            setattr(model, name, wrapped)
        ready[id(wrapped)] = wrapped
    for optimizer in ready.values():
        _sum_then_apply(optimizer, clip_norm)
    return list(ready.values())


def _sum_then_apply(optimizer: keras.optimizers.Optimizer, clip_norm: float | None) -> None:
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if clip_norm:
        inner.global_clipnorm = clip_norm
    apply = optimizer.apply

    def sum_then_apply(grads: Any, trainable_variables: Any = None) -> None:
        if inner.global_clipnorm:
            # The norm of a sparse gradient is wrong while rows stand in it twice.
            grads = [g if g is None else tf.convert_to_tensor(g) for g in grads]
        if replicas > 1:
            context = tf.distribute.get_replica_context()
            summed = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, [g for g in grads if g is not None]))
            grads = [g if g is None else next(summed) for g in grads]
        apply(list(grads), trainable_variables)

    optimizer.apply = sum_then_apply
    inner._all_reduce_sum_gradients = lambda pairs: list(pairs)


def sum_over_workers(strategy: tf.distribute.Strategy, values: np.ndarray) -> np.ndarray:
    """The sum of each worker's integers, on every worker; all must call it at the same point."""
    if worker_count(strategy) == 1:
        return values
    total = _sum_function(strategy)(tf.constant(values))
    return strategy.experimental_local_results(total)[0].numpy()


@functools.cache
def _sum_function(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], Any]:
    local = len(strategy.extended.worker_devices)

    @tf.function(reduce_retracing=True, autograph=False)
    def total(x: tf.Tensor) -> Any:
        def on_replica() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            once = tf.cast(context.replica_id_in_sync_group % local == 0, x.dtype)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, x * once)

        return strategy.run(on_replica)

    return total


def broadcast(strategy: tf.distribute.Strategy, data: bytes | None) -> bytes:
    """The chief's bytes, on every worker; the others' are not looked at."""
    if worker_count(strategy) == 1:
        return data
    mine = data if is_chief(strategy) else b""
    size = int(sum_over_workers(strategy, np.array([len(mine)]))[0])
    padded = np.zeros(-(-size // 4), np.int32)
    padded.view(np.uint8)[: len(mine)] = np.frombuffer(mine, np.uint8)
    chunk = 2**24  # 64 MiB at a time
    parts = [sum_over_workers(strategy, padded[i : i + chunk]) for i in range(0, len(padded), chunk)]
    return np.concatenate([np.zeros(0, np.int32), *parts]).tobytes()[:size]
