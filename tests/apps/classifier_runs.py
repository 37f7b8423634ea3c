"""How the tests run the image classifier, and the photos they give it."""

import json
import os
import subprocess
import sys

import numpy as np
import tensorflow as tf
from PIL import Image

from apps.image_classification import APPLICATION, COMMANDS
from keras_dl import cli

CLASSES = ("blue", "green", "red")
SIZE = ("--weights", "none", "--image-size", "16", "--batch-size", "8")
SMALL = ("--model", "resnet20_cifar", *SIZE, "--epochs", "2")
UNDRAWN = """
from apps import image_classification
image_classification.evaluate_and_draw = lambda *_: {}
"""
RUN = """
import sys
from apps.image_classification import APPLICATION, COMMANDS
from keras_dl import cli
sys.exit(cli.main(APPLICATION, COMMANDS))
"""


def app(*argv):
    return cli.main(APPLICATION, COMMANDS, [str(word) for word in argv])


def start(folder, *argv, before="", **environment):
    """The application in a process of its own, after some lines of Python if there are any."""
    command = ["-c", before + RUN] if before else ["-m", "apps.image_classification"]
    return subprocess.Popen(
        [sys.executable, *command, *map(str, argv)],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=(folder / f"{argv[-1]}.log").open("a"),
    )


def log(folder):
    return "\n".join(path.read_text()[-3000:] for path in folder.glob("*.log"))


def paint(folder, per_class=10, size=24, classes=CLASSES, seed=0):
    """Noisy pictures of one colour per class."""
    random = np.random.default_rng(seed)
    for channel, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            pixels = random.integers(0, 120, (size, size, 3))
            pixels[..., channel] += 100
            Image.fromarray(pixels.astype("uint8")).save(folder / name / f"{i}.jpg", quality=95)
    return folder


def write_records(file, rows):
    """A TFRecord of encoded pictures and their labels."""
    with tf.io.TFRecordWriter(str(file)) as writer:
        for image, label in rows:
            features = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def predictions(run):
    """What `predict` wrote: labels with their probabilities, best first, for each picture."""
    return [json.loads(line)["labels"] for line in (run / "predictions.jsonl").read_text().splitlines()]


def assert_export_agrees(version, pictures, found, atol):
    """The export labels these picture files as `predict` did."""
    served = tf.saved_model.load(str(version))
    outputs = served.signatures["serving_default"](
        image_bytes=tf.constant([picture.read_bytes() for picture in pictures])
    )
    for labels, classes, scores in zip(found, outputs["classes"].numpy(), outputs["scores"].numpy(), strict=True):
        assert [name.decode() for name in classes] == list(labels)
        np.testing.assert_allclose(scores, list(labels.values()), atol=atol)
