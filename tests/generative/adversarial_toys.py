"""Small games and streams for the tests of adversarial training, and jobs that need a process of their own.

`python adversarial_toys.py FOLDER` writes FOLDER/replicas.npz and FOLDER/fits.npz.
"""

import contextlib
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_dl import create_model, model_info
from keras_dl.generative.adversarial import DRAWN, Adversarial
from keras_dl.generative.cyclegan import CycleGAN
from keras_dl.generative.dcgan import dcgan
from keras_dl.training import fit, make_strategy

BATCH, SIDE, LATENT = 8, 8, 3
DETERMINISTIC = ("autoencoder", "convolutional_autoencoder", "pixel_rnn", "pixel_cnn")
NOISY = ("denoising_autoencoder", "vae", "conditional_vae")
GAMES = ("gan", "conditional_gan", "bigan", "adversarial_autoencoder")
DENSE = (*NOISY, "gan", "conditional_gan", "adversarial_autoencoder")  # a replica may be left without a row


def point_game(objective, scale=1.0, average=0.0, hidden=0):
    """A linear generator against a linear critic, or one with a hidden layer."""
    latent, points = keras.Input((2,), name="latent"), keras.Input((2,), name="images")
    generator = keras.Model(latent, keras.layers.Dense(2, name="g")(latent), name="generator")
    x = keras.layers.Dense(hidden, "relu", name="h")(points) if hidden else points
    discriminator = keras.Model(points, keras.layers.Dense(1, name="d")(x), name="discriminator")
    nets = {"generator": generator, "discriminator": discriminator}
    return Adversarial(objective=objective, scale=scale, average=average, **nets)


def sgd(rate=0.1):
    return keras.optimizers.SGD(rate)


def picture_game(objective, optimizer, **arguments):
    def build():
        keras.utils.set_random_seed(0)
        model = dcgan(SIDE, LATENT, width=0.03, objective=objective, average=0.9, **arguments)
        model.compile(optimizer(), optimizer(), critic_steps=2, augmentation="all", instance_noise=0.1)
        return model

    return build


def stream(start):
    """Pictures, latent vectors and chances, a pure function of the step."""

    def batch(step):
        count = 2 * BATCH
        return {
            "images": tf.random.stateless_uniform((count, SIDE, SIDE, 3), (1, step), 0, 255),
            "latent": tf.random.stateless_normal((count, LATENT), (2, step)),
            "chances": tf.random.stateless_uniform((count, DRAWN), (3, step)),
        }

    return tf.data.Dataset.range(start, 2**62).map(batch)


def one_layer(name, channels):
    images = keras.Input((SIDE, SIDE, 3), name="images")
    x = keras.layers.Rescaling(1 / 255, name=f"{name}_preprocessing")(images)
    x = keras.layers.Conv2D(channels, 3, padding="same", name=f"{name}_conv")(x)
    return keras.Model(images, keras.layers.Rescaling(255 if channels == 3 else 1, name=name)(x), name=name)


def cycle_game(pool, optimizer=lambda: sgd(3e-3)):
    def build():
        keras.utils.set_random_seed(0)
        channels = dict.fromkeys(CycleGAN.makers, 3) | dict.fromkeys(CycleGAN.judges, 1)
        networks = {name: one_layer(name, count) for name, count in channels.items()}
        model = CycleGAN(pool=pool, objective="least_squares", scale=127.5, **networks)
        model.compile(optimizer(), optimizer())
        return model

    return build


def pair_stream(start, chances=True):
    """Unpaired pictures of two kinds."""

    def batch(step):
        kinds = {"first": (0, 140), "second": (100, 255)}
        pictures = {
            key: tf.random.stateless_uniform((2, SIDE, SIDE, 3), (i, step), *levels)
            for i, (key, levels) in enumerate(kinds.items())
        }
        numbers = {"chances": tf.random.stateless_uniform((2, CycleGAN.drawn), (2, step))}
        return pictures | (numbers if chances else {})

    return tf.data.Dataset.range(start, 2**62).map(batch)


class StopAt(keras.callbacks.Callback):
    """Ends the training at a global step."""

    def __init__(self, step):
        self.count, self.end = iter(range(1, 1000)), {"step": step}

    def on_train_batch_end(self, batch, logs=None):
        if next(self.count) == self.end["step"]:
            raise InterruptedError


def values(model):
    return np.concatenate([np.ravel(variable.numpy()) for variable in model.variables])


def weights(model):
    return np.concatenate([np.ravel(weight) for weight in model.get_weights()])


def trained(game, run, strategy=None, steps=10, batches=stream, **options):
    return fit(game, batches, run=run, steps_per_epoch=steps, epochs=1, strategy=strategy, **options)


def broken_and_resumed(game, run, step, steps, **options):
    with contextlib.suppress(InterruptedError):
        trained(game, run, steps=steps, callbacks=[StopAt(step)], save_steps=2, **options)
    return trained(game, run, steps=steps, callbacks=[StopAt(-1)], resume=True, **options)


def fitted(name, strategy):
    """The losses and how far the weights went in one epoch of plain Keras: two batches of eight, and a small one."""
    keras.utils.set_random_seed(0)
    small = model_info(name).small
    with strategy.scope():
        model = create_model(name, **small)
        model.compile(*[sgd(1e-3) for _ in range(1 + (name in GAMES))])
    before = weights(model)
    count = 17 if name in DENSE else 18
    images = np.random.default_rng(0).uniform(0, 255, (count, *small["image_shape"])).astype("float32")
    data = {"images": images, "classes": np.arange(count) % 3} if "num_classes" in small else images
    batches = tf.data.Dataset.from_tensor_slices(data).batch(BATCH)
    logs = model.fit(batches, verbose=0).history
    return np.ravel([value for key, value in logs.items() if key.endswith("loss")]), weights(model) - before


def job_fits(folder):
    out = {}
    for name in (*DETERMINISTIC, *NOISY, *GAMES):
        for way in ("single", "mirrored") if name in DETERMINISTIC else ("mirrored",):
            out[f"{name}-{way}-losses"], out[f"{name}-{way}"] = fitted(name, make_strategy(way))
    np.savez(folder / "fits.npz", **out)


def job_replicas(folder):
    out = {}

    def compare(name, game, **options):
        for way in ("single", "mirrored"):
            model = trained(game, folder / f"{name}-{way}", make_strategy(way), **options)
            out[f"{name}-{way}"] = weights(model)

    games = {name: {"objective": name} for name in ("non_saturating", "wasserstein_gp", "wasserstein")}
    games["spectral"] = {"objective": "wasserstein", "normalization": "spectral"}
    for name, arguments in games.items():
        compare(name, picture_game(optimizer=lambda: sgd(1e-3), **arguments))
    compare("cyclegan", cycle_game(pool=5), batches=pair_stream)
    np.savez(folder / "replicas.npz", **out)


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    # As in conftest.py: what runs once need not be optimised first.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    job_replicas(Path(sys.argv[1]))
    job_fits(Path(sys.argv[1]))
