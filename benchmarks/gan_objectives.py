"""FID of the face application by objective, each trained for the same time on the same pictures.

    python benchmarks/gan_objectives.py --faces orl_faces/ --minutes 20 --output runs/objectives

The clock runs from the first step, with the sample grids and distances on the way, of which each run folder has all.
"""

import argparse
import csv
import dataclasses
import json
import sys
import time
from pathlib import Path

import keras

from apps import face_gan
from keras_dl import training
from keras_dl.data.faces import hold_back
from keras_dl.errors import UserError
from keras_dl.generative.feature_net import FeatureNet

ENDLESS = 10**9  # steps
EVERY = 250  # steps of the critic between two looks at the clock


class TimeLimit(keras.callbacks.Callback):
    """Ends the training at the end of that epoch that is nearest to so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.began = self.last = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        now = time.monotonic()
        self.model.stop_training = now + (now - self.last) / 2 >= self.began + self.seconds
        self.last = now


def train(options: face_gan.Train, folder: Path, seconds: float) -> tuple[int, float, dict[str, float]]:
    """Steps, minutes and metrics; no metrics if the training collapsed or diverged."""
    images = face_gan.read_data(options)
    learned, held = hold_back(images, face_gan.HELD_BACK, options.seed)
    options = face_gan.settle(options, len(images))
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(options), default=str))
    net = FeatureNet(options.features)
    limit = TimeLimit(seconds)
    metrics = {}
    try:
        face_gan.fit_gan(options, learned, held, net, folder, callbacks=[limit])
        model, _ = face_gan.load_gan(folder)
        minutes = (time.monotonic() - limit.began) / 60
        metrics = face_gan.evaluate_and_draw(model, options, learned, held, net, folder, folder / "plots")
    except UserError as error:  # a collapse is a result
        print(f"{folder}: {error}", file=sys.stderr)
        minutes = (time.monotonic() - limit.began) / 60
    with open(folder / "history.csv") as file:
        steps = options.round_steps * len(list(csv.DictReader(file)))
    return steps, minutes, metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", required=True)
    parser.add_argument("--objectives", nargs="+", default=["non_saturating", "least_squares", "wasserstein_gp"])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--output", type=Path, default=Path("runs/objectives"))
    options = parser.parse_args()
    rows = []
    for objective in options.objectives:
        keras.utils.clear_session()
        training.set_mixed_precision(False)
        every = EVERY // 5 if objective.startswith("wasserstein") else EVERY  # which has five critic steps for one
        chosen = face_gan.Train(data=options.faces, objective=objective, size=options.size, steps=ENDLESS, every=every)
        steps, minutes, found = train(chosen, options.output / objective, 60 * options.minutes)
        names = ("fid", "kid", "nearest_training_picture")
        cells = [f"{found[key]:.4g}" if key in found else "stopped" for key in names]
        rows.append(f"| {objective.replace('_', ' ')} | {steps:,} | {minutes:.1f} | {' | '.join(cells)} |")
    header = "| objective | steps | minutes | FID | KID | nearest training picture |"
    print("\n".join(["", header, f"|{' --- |' * 6}", *rows]))


if __name__ == "__main__":
    main()
