"""Seconds per step of our models against the same ones of keras.applications, in one run on one machine.

    python benchmarks/models.py
    python benchmarks/models.py --models resnet50 vgg16 --rounds 5 --size 96 --train-size 64

Both sides have random weights and the same optimizer, and take turns (ours, theirs, theirs, ours, ...), so that
a machine that slows down slows both. The ratio is the median of the ratios of neighbouring steps, with their
quartiles beside it. Ours takes images in [0, 255] and preprocesses them itself, as users run it; the peer,
which leaves that to the caller, takes them as they are. Exits with status 1 if a ratio is above `--limit`.
"""

import argparse
import gc
import itertools
import sys
import time
from collections.abc import Callable

import keras
import numpy as np

import keras_dl

PEERS = {
    "resnet50": keras.applications.ResNet50,
    "densenet121": keras.applications.DenseNet121,
    "vgg16": keras.applications.VGG16,
    "inception_v3": keras.applications.InceptionV3,
}
SAME_WORK = {"vgg16": {"dropout": 0.0}}  # the peer has no dropout
SMALLEST = {"inception_v3": 75}  # pixels a side that both accept


def build_pair(name: str, size: int) -> tuple[keras.Model, keras.Model]:
    """Ours and theirs, compiled alike, with equally many weights."""
    shape = (size, size, 3)
    ours = keras_dl.create_model(name, input_shape=shape, **SAME_WORK.get(name, {}))
    theirs = PEERS[name](weights=None, input_shape=shape)
    if ours.count_params() != theirs.count_params():
        raise SystemExit(f"{name}: ours has {ours.count_params():,} weights, the peer {theirs.count_params():,}")
    for model in (ours, theirs):
        model.compile(optimizer=keras.optimizers.SGD(1e-3), loss="sparse_categorical_crossentropy")
    return ours, theirs


def inference(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> Callable[[], object]:
    return lambda: model.predict_on_batch(images)


def training(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> Callable[[], object]:
    return lambda: model.train_on_batch(images, labels)


def seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def in_turns(steps: tuple[Callable[[], object], ...], rounds: int, warmup: int) -> np.ndarray:
    """Seconds `(rounds, 2)` of two steps, the first to run changing each round."""
    for _, step in itertools.product(range(warmup), steps):
        step()
    times = np.empty((rounds, 2))
    for i in range(rounds):
        for side in (0, 1) if i % 2 == 0 else (1, 0):
            times[i, side] = seconds(steps[side])
    return times


def compare(name: str, kind: Callable, size: int, batch: int, rounds: int, warmup: int) -> tuple[str, float]:
    """A line of the table, and its ratio."""
    size = max(size, SMALLEST.get(name, 32))
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (batch, size, size, 3)).astype("float32")
    labels = rng.integers(0, 1000, batch)
    pair = build_pair(name, size)
    times = in_turns(tuple(kind(model, images, labels) for model in pair), rounds, warmup)
    low, ratio, high = np.percentile(times[:, 0] / times[:, 1], (25, 50, 75))
    ours, theirs = np.median(times, axis=0)
    what = f"{name:<13} {kind.__name__:<10} {batch:>5} {size:>5}"
    return f"{what} {ours:>9.3f} {theirs:>9.3f}  {ratio:.3f} ({low:.3f} to {high:.3f})", ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=224, help="pixels a side in inference")
    parser.add_argument("--train-size", type=int, default=128, help="pixels a side in training")
    parser.add_argument("--rounds", type=int, default=20, help="steps of each side that are timed")
    parser.add_argument("--warmup", type=int, default=3, help="steps of each side before that")
    parser.add_argument("--limit", type=float, default=1.05, help="the highest ratio that passes")
    options = parser.parse_args()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}; seconds per step, medians of {options.rounds}")
    print(f"{'model':<13} {'step':<10} {'batch':>5} {'size':>5} {'ours':>9} {'theirs':>9}  ratio (quartiles)")
    worst = 0.0
    for name, kind in itertools.product(options.models, (inference, training)):
        size = options.size if kind is inference else options.train_size
        line, ratio = compare(name, kind, size, options.batch, options.rounds, options.warmup)
        print(line, flush=True)
        worst = max(worst, ratio)
        keras.utils.clear_session()
        gc.collect()
    print(f"worst ratio {worst:.3f}, at most {options.limit} wanted")
    sys.exit(int(worst > options.limit))


if __name__ == "__main__":
    main()
