"""Pictures per second of `training_stream` against `keras.utils.image_dataset_from_directory`, on one folder.

    python benchmarks/input_pipeline.py [--photos 320x240 640x480 1600x1200] [--pictures 1000] [--rounds 8]

Both shuffle, decode, cut to a square, resize to 224x224 and batch by 32. `from files` keeps nothing: every epoch
decodes, and the stream decodes a JPEG at a half, a quarter or an eighth of its size where that is enough. Where the
pictures fit into memory both keep them, the peer by `.cache()` on single pictures, shuffled again each epoch, as the
stream does: `first epoch, kept` decodes and keeps, `later epochs` come from memory. Each number is the best of the
rounds, which alternate, so that other work on the machine touches both alike; the rate per second of processor time is
the steadier one on a busy machine. Above 1 the stream is the faster one.
"""

import argparse
import functools
import io
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_dl.data.images import read_images, training_stream

SIZE, BATCH = 224, 32
DRAWN = 50  # different pictures; the others are copies


def draw_folder(root: Path, pictures: int, width: int, height: int) -> None:
    """JPEGs in four class folders: smooth shapes with noise, about two bits a pixel."""
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWN):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3)).astype("uint8"))
        pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), float)
        pixels += random.normal(0, 8, (height, width, 1))
        file = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(file, "jpeg", quality=85)
        drawn.append(file.getvalue())
    for i in range(pictures):
        folder = root / f"class{i % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:05}.jpg").write_bytes(drawn[i % DRAWN])


def peer(root: Path) -> tf.data.Dataset:
    return keras.utils.image_dataset_from_directory(
        root,
        label_mode="categorical",
        image_size=(SIZE, SIZE),
        crop_to_aspect_ratio=True,
        batch_size=None,
        seed=1,
        verbose=False,
    )


def batched(pictures: tf.data.Dataset) -> tf.data.Dataset:
    return pictures.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def rate(batches: Iterator, steps: int) -> tuple[float, float]:
    """Pictures per second over so many batches, and per second of processor time."""
    start, cpu_start = time.perf_counter(), time.process_time()
    for _ in islice(batches, steps):
        pass
    pictures = steps * BATCH
    return pictures / (time.perf_counter() - start), pictures / (time.process_time() - cpu_start)


def measure(root: Path, pictures: int, rounds: int) -> dict[str, tuple[list, list]]:
    """Rates by epoch: those of the stream and those of the peer."""
    images = read_images(root)
    steps = pictures // BATCH
    rates = {"from files": ([], []), "first epoch, kept": ([], []), "later epochs": ([], [])}

    def add(epoch: str, side: int, batches: Iterator, count: int) -> None:
        rates[epoch][side].append(rate(batches, count))

    for _ in range(rounds):
        # Two batches beforehand, so that building the graph counts for neither; one pipeline alive at a time.
        ours = functools.partial(training_stream, images, image_size=SIZE, batch_size=BATCH, seed=1)
        for side, dataset in enumerate((ours(memory_limit=0), batched(peer(root)))):
            batches = iter(dataset)
            rate(batches, 2)
            add("from files", side, batches, steps - 2)
            del batches
        stream = iter(ours())
        rate(stream, 2)
        add("first epoch, kept", 0, stream, steps - 2)
        rate(stream, 4)
        add("later epochs", 0, stream, 2 * steps)
        del stream
        cached = peer(root).cache()
        theirs = iter(batched(cached))
        rate(theirs, 2)
        add("first epoch, kept", 1, theirs, steps - 2)
        rate(theirs, 1)
        del theirs
        theirs = iter(batched(cached.shuffle(pictures).repeat()))
        rate(theirs, steps + 2)
        add("later epochs", 1, theirs, 2 * steps)
        del theirs
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", nargs="+", default=["320x240", "640x480", "1600x1200"], metavar="WIDTHxHEIGHT")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    print(f"{'best of the rounds':<50}{'training_stream':>18}{'image_dataset_from_directory':>32}{'ratio':>8}")
    for photo in options.photos:
        width, height = map(int, photo.split("x"))
        with tempfile.TemporaryDirectory() as name:
            draw_folder(Path(name), options.pictures, width, height)
            for epoch, sides in measure(Path(name), options.pictures, options.rounds).items():
                for column, unit in enumerate(("images/s", "images/s of processor time")):
                    ours, others = (max(round[column] for round in side) for side in sides)
                    row = f"{photo}, {epoch}, {unit}"
                    print(f"{row:<50}{ours:>18,.0f}{others:>32,.0f}{ours / others:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
