"""Few-shot fine-tuning of the built-in backbone, the ways of --transfer, at equal training time.

    python benchmarks/transfer.py --faces orl_faces/

Two sets that the backbone never saw: scikit-learn's digits, 10 pictures per class, and a folder of faces with one
subfolder per person (such as the ORL faces), 3 pictures per person; the rest of each set is the test. Every way
trains for the same number of seconds with the application's default optimizer, learning rate and schedule. Seeds are
paired: the same seed draws the same pictures and the same new head for all ways.
"""

import argparse
import contextlib
import io
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

from apps.image_classification import Train, create_classifier, scores_of
from keras_dl import training
from keras_dl.data.images import read_images
from keras_dl.data.pipeline import training_stream
from keras_dl.registry import model_info

MODEL, BATCH = "resnet20_cifar", 32
WAYS = {
    "architecture": ("architecture", False),
    "head": ("head", False),
    "last": ("last", False),
    "all": ("all", False),
    "all --freeze-batch-norm": ("all", True),
}


def draw(images, per_class: int, seed: int):
    """`per_class` random pictures of each class, and the rest."""
    order = np.random.default_rng(seed).permutation(len(images))
    chosen = np.concatenate([order[images.labels[order] == c][:per_class] for c in range(len(images.class_names))])
    return images.subset(chosen), images.subset(np.setdiff1d(order, chosen))


def compiled(way: str, size: int, classes: int, steps: int) -> keras.Model:
    way, frozen = WAYS[way]
    weights = None if way == "architecture" else "builtin"
    model = create_classifier(MODEL, weights, size, classes)
    rate = training.make_schedule(
        Train.schedule, Train.learning_rate, steps_per_epoch=steps, epochs=1, warmup_epochs=0.1
    )
    optimizer = training.make_optimizer(Train.optimizer, rate, weight_decay=Train.weight_decay)
    model.compile(optimizer, "categorical_crossentropy")
    stages = model_info(MODEL).stages
    training.prepare_transfer(model, way, stages, steps_per_stage=steps // (4 * len(stages)), freeze_batch_norm=frozen)
    return model


def seconds_per_step(way: str, size: int, classes: int) -> float:
    model = compiled(way, size, classes, 100)
    x = np.random.default_rng(0).uniform(0, 255, (BATCH, size, size, 3)).astype("float32")
    y = np.eye(classes, dtype="float32")[np.arange(BATCH) % classes]
    times = []
    for _ in range(15):
        start = time.perf_counter()
        model.train_on_batch(x, y)
        times.append(time.perf_counter() - start)
    return float(np.median(times[3:]))


def accuracy(way: str, train, test, size: int, steps: int, seed: int, augment: str) -> float:
    keras.utils.set_random_seed(seed)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        model = training.fit(
            lambda: compiled(way, size, len(train.class_names), steps),
            lambda start: training_stream(
                train, image_size=size, batch_size=BATCH, seed=seed, augment=augment, start_step=start
            ),
            run=Path(folder),
            steps_per_epoch=steps,
            epochs=1,
        )
    return float(np.mean(scores_of(model, test).argmax(-1) == test.labels))


def compare(title: str, images, per_class: int, size: int, augment: str, seconds: float, seeds: int) -> None:
    classes = len(images.class_names)
    print(f"\n{title}: {classes} classes, {per_class} pictures each, {size}x{size}, {seconds:g} s of training")
    results: dict[str, np.ndarray] = {}
    print("| --transfer | steps | test accuracy, mean and deviation | above architecture | in standard errors |")
    print("| --- | --: | --: | --: | --: |")
    for way in WAYS:
        steps = max(10, round(seconds / seconds_per_step(way, size, classes)))
        results[way] = np.array(
            [accuracy(way, *draw(images, per_class, seed), size, steps, seed, augment) for seed in range(seeds)]
        )
        row = f"| `{way}` | {steps} | {results[way].mean():.1%} ± {results[way].std(ddof=1):.1%} |"
        gain = results[way] - results["architecture"]
        if way == "architecture":
            row += " | |"
        else:
            row += f" {gain.mean():+.1%} | {gain.mean() / (gain.std(ddof=1) / np.sqrt(seeds)):+.1f} |"
        print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=Path, help="folder with one subfolder of pictures per person")
    parser.add_argument("--seconds", type=float, default=10, help="of training, for each way and seed")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    compare("Digits", read_images("builtin"), 10, 32, "crop", options.seconds, options.seeds)
    if options.faces:
        compare("Faces", read_images(str(options.faces)), 3, 48, "light", options.seconds, options.seeds)


if __name__ == "__main__":
    main()
