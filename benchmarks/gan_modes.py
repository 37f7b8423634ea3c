"""Modes of a mixture of 25 Gaussians that a generator reaches, by objective: mean and deviation over seeds.

python benchmarks/gan_modes.py                        # WGAN-GP and minimax, five seeds each
python benchmarks/gan_modes.py --stacked              # a thousand modes of stacked digits, by a classifier
"""

import argparse
import time

import keras
import numpy as np
import tensorflow as tf

from keras_dl.generative import metrics
from keras_dl.generative.adversarial import Adversarial
from keras_dl.generative.dcgan import dcgan

DEVIATION, BATCH, SAMPLES = 0.05, 128, 10_000
# Weighs the penalty as 0.1 instead of 10 would in units of 1: between narrow clusters a critic must be steep.
PENALTY_SCALE = 0.01
# Rate of both sides and their momentum, of which Gulrajani et al. 2017 take none.
POINT_RATES, PICTURE_RATES = {"wasserstein_gp": (1e-3, 0.0)}, {"wasserstein_gp": (1e-4, 0.5)}
USUAL_RATES = (2e-4, 0.5)


def dense(inputs, outputs, name, units):
    x = inputs
    for i in range(3):
        x = keras.layers.Dense(units, "relu", name=f"{name}_fc{i}")(x)
    return keras.Model(inputs, keras.layers.Dense(outputs, name=f"{name}_out")(x), name=name)


def point_gan(objective, units):
    generator = dense(keras.Input((2,), name="latent"), 2, "generator", units)
    discriminator = dense(keras.Input((2,), name="images"), 1, "discriminator", units)
    return Adversarial(objective=objective, scale=PENALTY_SCALE, generator=generator, discriminator=discriminator)


def train(model, objective, batches, steps, rates):
    critic_steps = 5 if objective.startswith("wasserstein") else 1
    rate, momentum = rates.get(objective, USUAL_RATES)
    decays = [keras.optimizers.schedules.CosineDecay(rate, count) for count in (steps, steps * critic_steps)]
    model.compile(*(keras.optimizers.Adam(decay, momentum, 0.9) for decay in decays), critic_steps=critic_steps)
    step = tf.function(model.train_step, autograph=False)
    batches = iter(batches.batch(BATCH * critic_steps, drop_remainder=True).cache().repeat().prefetch(2))
    for _ in range(steps):
        step({"images": next(batches)})


def points(objective, seed, steps, units):
    """Coverage of the 25 Gaussians."""
    keras.utils.set_random_seed(seed)
    centres = metrics.grid_mixture()
    data = metrics.draw_mixture(centres, DEVIATION, 200_000, np.random.default_rng(seed)).astype("float32")
    model = point_gan(objective, units)
    train(model, objective, tf.data.Dataset.from_tensor_slices(data), steps, POINT_RATES)
    latent = np.random.default_rng(seed + 1).normal(size=(SAMPLES, 2)).astype("float32")
    return metrics.mode_coverage(np.asarray(model(latent)), centres, DEVIATION)


def digit_classifier(digits, labels):
    model = keras.Sequential(
        [
            keras.Input(digits.shape[1:]),
            keras.layers.Rescaling(1 / 127.5, -1),
            keras.layers.Conv2D(16, 3, 2, activation="relu"),
            keras.layers.Conv2D(32, 3, 2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(digits, labels, batch_size=32, epochs=15, verbose=0)
    print(f"classifier: {model.evaluate(digits, labels, verbose=0)[1]:.1%} of the digits that it learned from")
    return model


def stacked(objective, seed, steps, digits, classifier):
    """Coverage of the thousand modes of three stacked digits."""
    keras.utils.set_random_seed(seed)
    data = metrics.stack_digits(digits, 20_000, np.random.default_rng(seed)).astype("float32")
    model = dcgan(16, 64, width=0.25, objective=objective)
    train(model, objective, tf.data.Dataset.from_tensor_slices(data), steps, PICTURE_RATES)
    latent = np.random.default_rng(seed + 1).normal(size=(SAMPLES, 64)).astype("float32")
    made = model.predict(latent, batch_size=500, verbose=0)
    channels = [classifier.predict(made[..., i : i + 1], batch_size=500, verbose=0).argmax(-1) for i in range(3)]
    return metrics.histogram_coverage(metrics.stacked_modes(np.stack(channels, -1)), 1000)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objectives", nargs="+", default=["wasserstein_gp", "minimax"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20_000, help="of the generator")
    parser.add_argument("--units", type=int, default=128, help="of the three hidden layers of each network")
    parser.add_argument("--stacked", action="store_true")
    options = parser.parse_args()
    if options.stacked:
        from sklearn.datasets import load_digits

        found = load_digits()
        digits = tf.image.resize(found.images[..., None] * (255 / 16), (16, 16)).numpy()
        classifier = digit_classifier(digits, found.target)
    print(f"{options.steps:,} steps, batch {BATCH}, {SAMPLES:,} samples, {options.seeds} seeds")
    print("| objective | modes | KL of the histogram | good samples | seconds a run |\n| --- | --: | --: | --: | --: |")
    for objective in options.objectives:
        start, rows = time.monotonic(), []
        for seed in range(options.seeds):
            if options.stacked:
                rows.append(stacked(objective, seed, options.steps, digits, classifier))
            else:
                rows.append(points(objective, seed, options.steps, options.units))
        seconds = (time.monotonic() - start) / options.seeds
        cells = []
        for key, form in (("modes", ".1f"), ("kl", ".3f"), ("good", ".1%")):
            values = [row[key] for row in rows if key in row]
            cells.append(f"{np.mean(values):{form}} ± {np.std(values):{form}}" if values else "")
        print(f"| {objective} | {' | '.join(cells)} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
