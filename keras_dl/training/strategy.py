"""Where training runs: one device, the GPUs of one machine, or several machines (`tf.distribute`)."""

import contextlib
import functools
import itertools
import json
import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import tensorflow as tf

from keras_dl.cli import TrainingOptions
from keras_dl.errors import UserError
from keras_dl.training.checkpoint import has_ended
from keras_dl.training.replicas import check_same_options, leads, worker_count

STRATEGIES = ("auto", "single", "mirrored", "multiworker")


def make_strategy(name: str = "auto", ended: bool = False) -> tf.distribute.Strategy:
    """The strategy of that name.

    Call it before any other TensorFlow op runs: several workers must be connected before TensorFlow starts its
    devices.

    Args:
        name: `"single"` (one device), `"mirrored"` (all GPUs of this machine, or its logical CPUs where there are
            several), `"multiworker"` (every process that `cluster_config` finds), or `"auto"`: several workers if
            the environment names them, otherwise mirrored if there is more than one GPU, otherwise single.
        ended: whether the run that is resumed has been trained to its end (`has_ended`). Of several workers the first
            then evaluates and exports by itself, since the others may have gone, and those have nothing to do.

    Returns:
        A `tf.distribute.Strategy`. For several workers this waits until all of them have come up.

    Raises:
        SystemExit: with status 0, in the workers that have nothing to do.
        UserError: for an unknown name, an environment that names no cluster or a broken one, or too few devices.
        RuntimeError: if TensorFlow has already started and several workers are asked for.
    """
    if name not in STRATEGIES:
        raise UserError(f"--strategy {name}: choose from {', '.join(STRATEGIES)}")
    config = cluster_config(os.environ) if name in ("auto", "multiworker") else None
    if name == "multiworker" and config is None:
        raise UserError(
            "--strategy multiworker: no cluster found; set TF_CONFIG, start with srun, or set WORKER_HOSTS in an "
            "indexed Kubernetes job"
        )
    if config and (name == "multiworker" or _tasks(config) > 1):
        if ended:
            task = config["task"]
            if not leads(task["type"], int(task["index"]), config["cluster"]):
                print("the run has ended: nothing is left to do for this worker", flush=True)
                raise SystemExit(0)
            return tf.distribute.get_strategy()
        os.environ["TF_CONFIG"] = json.dumps(config)
        return _multiworker(os.environ["TF_CONFIG"])
    gpus = tf.config.list_physical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if not gpus and len(devices) < 2:
            raise UserError("--strategy mirrored: there is no GPU here; use --strategy single")
        return _mirrored(tuple(device.name for device in devices))
    return tf.distribute.get_strategy()


def run_strategy(options: TrainingOptions, epochs: int | None) -> tf.distribute.Strategy:
    """The strategy that a run's options ask for; see `make_strategy`.

    Args:
        options: of an application.
        epochs: as of `fit`, of a run that is resumed; a new one may not have settled them yet.

    Raises:
        SystemExit: with status 0, in a later worker that resumes a run that has ended.
        UserError: as `make_strategy` does, and if several workers have not been told their common run folder, or have
            different options.
    """
    strategy = make_strategy(options.strategy, ended=options.resume and has_ended(options.run, epochs))
    if worker_count(strategy) > 1 and options.run is None:
        raise UserError("several workers share one run folder; name it with --run")
    check_same_options(strategy, options)
    return strategy


# A process keeps one strategy for the same devices: the collectives of two would be taken for one another's.
@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(list(devices))


@functools.cache
def _multiworker(config: str) -> tf.distribute.Strategy:
    cluster, task = (json.loads(config)[key] for key in ("cluster", "task"))
    others = ", ".join(address for addresses in cluster.values() for address in addresses)
    print(f"waiting until all workers are up: {others}", flush=True)
    try:
        with _stopped_by_signals():
            return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise RuntimeError("make_strategy() must run before anything else of TensorFlow does") from error
    except tf.errors.UnknownError as error:
        if "gRPC server" not in str(error):
            raise
        address = cluster[task["type"]][int(task["index"])]
        raise UserError(f"can't listen on {address}: another program does; name another port in TF_CONFIG") from error


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Lets Ctrl-C end the process at once: Python's handlers don't run while TensorFlow waits.

    SIGTERM too, until TensorFlow listens for it by itself, which it does while it waits; it then waits on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def set_mixed_precision(on: bool) -> None:
    """Computes in half precision (weights and losses stay float32), or all in float32 again. Call it before building.

    On a GPU that is float16, with loss scaling. On a processor it is bfloat16, for which newer ones have instructions
    (AMX, AVX-512 BF16), while float16 is slower there than float32.
    """
    half = "mixed_float16" if tf.config.list_physical_devices("GPU") else "mixed_bfloat16"
    keras.mixed_precision.set_dtype_policy(half if on else "float32")


def has_fast_bfloat16() -> bool:
    """Whether all GPUs (from Ampere on), or without any the processor (AMX), have units for bfloat16."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return all(each.get("compute_capability", (0, 0)) >= (8, 0) for each in details)
    with contextlib.suppress(OSError):  # a system without /proc
        return "amx_bf16" in Path("/proc/cpuinfo").read_text()
    return False


@contextlib.contextmanager
def bfloat16_inside(on: bool) -> Iterator[None]:
    """Layers that are built inside compute in bfloat16, if `on`."""
    before = keras.mixed_precision.dtype_policy()
    if on:
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def cluster_config(environment: Mapping[str, str]) -> dict | None:
    """The cluster that the environment describes, in the form of `TF_CONFIG`, or None.

    In this order: `TF_CONFIG` itself; an indexed Kubernetes job (`JOB_COMPLETION_INDEX`, set by Kubernetes, and
    `WORKER_HOSTS`, a list `host:port,host:port` in the order of the indices); a Slurm step (what `srun` sets).

    Raises:
        UserError: if what is there can't be used; the message names the variable.
    """
    if environment.get("TF_CONFIG"):
        return _checked(environment["TF_CONFIG"])
    if environment.get("WORKER_HOSTS"):
        hosts = [host.strip() for host in environment["WORKER_HOSTS"].split(",") if host.strip()]
        index = environment.get("JOB_COMPLETION_INDEX", "")
        if not index.isdigit() or int(index) >= len(hosts):
            raise UserError(
                f"JOB_COMPLETION_INDEX={index!r} is no index into WORKER_HOSTS, which names {len(hosts)} workers"
            )
        return _worker_config(hosts, int(index))
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return _slurm_config(environment)
    return None


def _worker_config(hosts: list[str], index: int) -> dict:
    return {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}


def _tasks(config: dict) -> int:
    return sum(len(hosts) for hosts in config["cluster"].values())


def _checked(text: str) -> dict:
    example = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        kind, index = task["type"], int(task["index"])
        hosts = cluster[kind]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"TF_CONFIG is not of the form {example} ({type(error).__name__}: {error})") from None
    if not set(cluster) <= {"chief", "worker"}:
        raise UserError(f"TF_CONFIG names tasks other than chief and worker: {', '.join(sorted(cluster))}")
    if not isinstance(hosts, list) or not 0 <= index < len(hosts):
        raise UserError(f"TF_CONFIG: there is no task {kind} {index} in its cluster {json.dumps(cluster)}")
    if any(not re.fullmatch(r"\S+:\d+", str(host)) for group in cluster.values() for host in group):
        raise UserError(f"TF_CONFIG: addresses are host:port, got {json.dumps(cluster)}")
    return config


def _slurm_config(environment: Mapping[str, str]) -> dict:
    """One worker per task, numbered as `SLURM_PROCID` is.

    TensorFlow's own SlurmClusterResolver needs `nvidia-smi` and sorts the hosts by name, which is not the order of
    the tasks (node10 before node2). GPUs are given to tasks by Slurm (`srun --gpus-per-task`).
    """
    try:
        nodes = expand_nodes(environment["SLURM_STEP_NODELIST"])
        counts = expand_counts(environment["SLURM_STEP_TASKS_PER_NODE"])
        rank = int(environment["SLURM_PROCID"])
        # Jobs and steps may share a node: neighbours are 64 ports apart, all below those that Linux gives to clients.
        job, step = (int(environment.get(name, "0")) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
        port = 20000 + 64 * ((7 * job + step) % 180)
    except (KeyError, ValueError) as error:
        raise UserError(f"this Slurm step can't be read ({type(error).__name__}: {error}); set TF_CONFIG") from None
    hosts = [f"{node}:{port + i}" for node, count in zip(nodes, counts, strict=False) for i in range(count)]
    if len(nodes) != len(counts) or rank >= len(hosts):
        raise UserError(f"this Slurm step has {len(hosts)} tasks on {len(nodes)} nodes, but SLURM_PROCID is {rank}")
    spread = environment.get("SLURM_DISTRIBUTION", "block")
    if max(counts) > 1 and not spread.startswith("block"):
        raise UserError(f"srun --distribution={spread} numbers tasks across the nodes; start with --distribution=block")
    return _worker_config(hosts, rank)


def expand_nodes(nodes: str) -> list[str]:
    """Slurm's short form of host names: `"n[08-10,12],gpu1"` is n08, n09, n10, n12, gpu1; `"r[1-2]n[1-2]"` is four."""

    def numbers(ranges: str) -> list[str]:
        spans = [span.partition("-")[::2] for span in ranges.split(",")]
        return [str(n).zfill(len(first)) for first, last in spans for n in range(int(first), int(last or first) + 1)]

    names = []
    for part in re.findall(r"(?:\[[^\]]*\]|[^,\[])+", nodes):
        pieces = re.split(r"\[([^\]]*)\]", part)  # every second one stood in brackets
        choices = [numbers(piece) if i % 2 else [piece] for i, piece in enumerate(pieces)]
        names += map("".join, itertools.product(*choices))
    return names


def expand_counts(counts: str) -> list[int]:
    """Slurm's short form of tasks per node: `"2(x3),1"` is 2, 2, 2, 1."""
    tasks = []
    for part in counts.split(","):
        count, _, repeats = part.partition("(x")
        tasks += [int(count)] * int(repeats.rstrip(")") or 1)
    return tasks
