"""Small models and streams for the tests of training, and the jobs that need a process of their own.

`python training_toys.py JOB FOLDER`: each job writes FOLDER/JOB.npz.
"""

import contextlib
import dataclasses
import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_dl.cli import TrainingOptions
from keras_dl.errors import UserError
from keras_dl.training import fit, make_optimizer, make_strategy
from keras_dl.training.replicas import check_same_data, check_same_options

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(64, 8, 8, 3)).astype("float32")
LABELS = (IMAGES[:, :4].mean((1, 2, 3)) > IMAGES[:, 4:].mean((1, 2, 3))).astype("int32")
BATCH = 8


def stream(start):
    """Labelled images with noise, a pure function of the step."""

    def batch(step):
        rows = tf.random.stateless_uniform([BATCH], [1, step], 0, len(LABELS), tf.int64)
        noise = tf.random.stateless_normal([BATCH, 8, 8, 3], [2, step], stddev=0.1)
        return tf.gather(IMAGES, rows) + noise, tf.gather(LABELS, rows)

    return tf.data.Dataset.range(start, 2**62).map(batch)


def validation():
    return tf.data.Dataset.from_tensor_slices((IMAGES[:48], LABELS[:48])).batch(16)


def classifier(optimizer, random=False):
    """Convolution and batch normalisation; with `random`, augmentation and dropout inside the model."""

    def build():
        keras.utils.set_random_seed(0)
        augment = [keras.layers.RandomFlip(seed=1), keras.layers.RandomTranslation(0.2, 0.2, seed=2)] if random else []
        model = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                *augment,
                keras.layers.Conv2D(4, 3),
                keras.layers.BatchNormalization(),
                keras.layers.ReLU(),
                *([keras.layers.Dropout(0.3, seed=3)] if random else []),
                keras.layers.Flatten(),
                keras.layers.Dense(2, dtype="float32"),
            ]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer(), loss, metrics=["accuracy"])
        return model

    return build


def momentum():
    return make_optimizer("momentum", 0.05, weight_decay=1e-2)


def adam():
    return make_optimizer("adam", 1e-3)


class Gan(keras.Model):
    """The smallest adversarial model: two networks, two optimizers, noise from its own seed generator."""

    def __init__(self):
        super().__init__()
        self.generator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(12)])
        self.discriminator = keras.Sequential(
            [keras.Input((12,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)]
        )
        self.seed = keras.random.SeedGenerator(5)
        self.d_loss, self.g_loss = keras.metrics.Mean("d_loss"), keras.metrics.Mean("g_loss")
        self.built = True

    def compile(self, d_optimizer, g_optimizer):
        super().compile(optimizer=None)
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer
        d_optimizer.build(self.discriminator.trainable_variables)
        g_optimizer.build(self.generator.trainable_variables)

    def call(self, latent):
        return self.generator(latent)

    def train_step(self, data):
        real, latent = data
        latent = latent + 0.0 * keras.random.normal((4,), seed=self.seed)
        bce = keras.losses.BinaryCrossentropy(from_logits=True)
        with tf.GradientTape(persistent=True) as tape:
            fake = self.generator(latent, training=True)
            known, fooled = self.discriminator(real, training=True), self.discriminator(fake, training=True)
            d_loss = (bce(tf.ones_like(known), known) + bce(tf.zeros_like(fooled), fooled)) / 2
            g_loss = bce(tf.ones_like(fooled), fooled)
            scaled_d = self.d_optimizer.scale_loss(d_loss)
            scaled_g = self.g_optimizer.scale_loss(g_loss)
        for network, loss, optimizer in (
            (self.discriminator, scaled_d, self.d_optimizer),
            (self.generator, scaled_g, self.g_optimizer),
        ):
            weights = network.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self.d_loss.update_state(d_loss * replicas)
        self.g_loss.update_state(g_loss * replicas)
        return {"d_loss": self.d_loss.result(), "g_loss": self.g_loss.result()}


def gan(kind="sgd", rate=0.1):
    def build():
        keras.utils.set_random_seed(0)
        model = Gan()
        model.compile(make_optimizer(kind, rate), make_optimizer(kind, rate))
        return model

    return build


def gan_stream(start):
    def batch(step):
        real = tf.random.stateless_normal([BATCH, 12], [3, step], mean=1.0)
        return real, tf.random.stateless_normal([BATCH, 4], [4, step])

    return tf.data.Dataset.range(start, 2**62).map(batch)


class StopAt(keras.callbacks.Callback):
    """Ends the process, or this training, at a global step."""

    def __init__(self, step, kill=False):
        # No numbers as attributes: a resumed callback would get them back.
        self.count = iter(range(1, 1000))
        self.end = {"step": step, "kill": kill}

    def on_train_batch_end(self, batch, logs=None):
        if next(self.count) == self.end["step"]:
            if self.end["kill"]:
                os.kill(os.getpid(), signal.SIGKILL)
            raise InterruptedError


def weights(model):
    return np.concatenate([np.ravel(w) for w in model.get_weights()])


def history(run):
    """The columns of history.csv, as arrays."""
    table = np.genfromtxt(Path(run) / "history.csv", delimiter=",", names=True)
    return {name: np.atleast_1d(table[name]) for name in table.dtype.names}


def stopped(build, source, step, **options):
    """Trains until StopAt raises, then resumes; a callback that never fires keeps the callbacks alike."""
    with contextlib.suppress(InterruptedError):
        fit(build, source, callbacks=[StopAt(step)], **options)
    return fit(build, source, callbacks=[StopAt(-1)], resume=True, **options)


def job_replicas(folder):
    """One replica against two (logical CPU devices of this process)."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    tf.config.experimental.enable_op_determinism()
    out = {}
    for name in ("single", "mirrored"):
        strategy = make_strategy(name)
        epochs = {"steps_per_epoch": 1, "epochs": 6, "strategy": strategy}
        model = fit(classifier(momentum), stream, run=folder / name, validation=validation(), clip_norm=0.5, **epochs)
        out[f"{name}_loss"] = history(folder / name)["loss"]
        out[f"{name}_val_loss"] = history(folder / name)["val_loss"]
        out[f"{name}_weights"] = weights(model)
        out[f"{name}_synchronized"] = any(getattr(layer, "synchronized", False) for layer in model.layers)
        model = fit(gan("swats", 0.01), gan_stream, run=folder / f"{name}_swats", **epochs)
        out[f"{name}_swats"] = model.g_optimizer._projected_rate.numpy()
        model = fit(gan(), gan_stream, run=folder / f"{name}_gan", clip_norm=1.0, **epochs)
        out[f"{name}_gan"] = weights(model)
        out[f"{name}_gan_loss"] = history(folder / f"{name}_gan")["g_loss"]
    epochs = {"steps_per_epoch": 5, "epochs": 2, "strategy": make_strategy("mirrored")}
    whole = fit(gan("adam", 0.01), gan_stream, run=folder / "gan_whole", callbacks=[StopAt(-1)], **epochs)
    parts = stopped(gan("adam", 0.01), gan_stream, 8, run=folder / "gan_parts", save_steps=3, **epochs)
    for name, model in (("whole", whole), ("parts", parts)):
        out[f"gan_{name}"] = weights(model)
        out[f"gan_{name}_seed"] = model.seed.state.numpy()
        out[f"gan_{name}_loss"] = history(folder / f"gan_{name}")["d_loss"]
    try:
        fit(
            classifier(adam),
            lambda start: stream(start).map(lambda x, y: (x[:7], y[:7])),
            run=folder / "uneven",
            **epochs,
        )
    except UserError as error:
        out["uneven"] = str(error)
    try:
        fit(classifier(adam), stream, run=folder / "few", validation=validation().unbatch().take(1).batch(1), **epochs)
    except UserError as error:
        out["few"] = str(error)
    keras.config.set_dtype_policy("mixed_float16")

    def poisoned_then_clean(start):
        poison = lambda x, y: (tf.concat([x[:-1], x[-1:] * np.inf], 0), y)  # noqa: E731
        return gan_stream(0).take(1).map(poison).concatenate(gan_stream(1))

    def mixed():
        model = gan("adam", 0.01)()
        model.d_loss, model.g_loss = Finite("d_loss"), Finite("g_loss")
        out["mixed_before"] = weights(model.discriminator)
        return model

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if "mixed_poisoned" not in out:
                out["mixed_poisoned"] = weights(self.model.discriminator)
                out["mixed_scale"] = self.model.d_optimizer.dynamic_scale.numpy()

    class Finite(keras.metrics.Mean):
        def update_state(self, values, sample_weight=None):
            return super().update_state(tf.where(tf.math.is_finite(values), values, 0.0))

    model = fit(mixed, poisoned_then_clean, run=folder / "mixed", callbacks=[Watch()], **epochs)
    out["mixed_after"] = weights(model.discriminator)
    out["mixed_wrapped"] = [hasattr(o, "inner_optimizer") for o in (model.d_optimizer, model.g_optimizer)]
    keras.config.set_dtype_policy("float32")
    return out


KILLED = {"steps_per_epoch": 6, "epochs": 3, "save_steps": 4}


def job_killed(folder):
    """Ends by SIGKILL at step 11, in the middle of the second epoch, three steps after a checkpoint."""
    strategy = make_strategy()
    tf.config.experimental.enable_op_determinism()
    fit(
        classifier(adam, random=True),
        stream,
        run=folder / "killed",
        callbacks=[StopAt(11, kill=True)],
        validation=validation(),
        strategy=strategy,
        **KILLED,
    )


def job_resumed(folder):
    """Resumes what `killed` left; then trains the same without a break, and a run to compare losses with.

    In the last one the second worker would start from other values.
    """
    strategy = make_strategy()
    worker = strategy.cluster_resolver.task_id if strategy.cluster_resolver else 0
    tf.config.experimental.enable_op_determinism()
    out = {}
    common = {"validation": validation(), "strategy": strategy, "callbacks": [StopAt(-1)], **KILLED}
    build = classifier(adam, random=True)
    out["resumed"] = weights(fit(build, stream, run=folder / "killed", resume=True, **common))
    out["unbroken"] = weights(fit(build, stream, run=folder / "unbroken", **common))
    out["replicas"] = strategy.num_replicas_in_sync

    check_same_data(strategy, [f"{folder}/a.jpg"], source=str(folder))  # each worker's own
    out["data"] = ""
    try:
        check_same_data(strategy, ["a.jpg", "b.jpg"][: 1 + worker])
    except UserError as error:
        out["data"] = str(error)
    # Where the files lie may differ.
    out["options"] = ""
    mine = TrainingOptions(run=folder, strategy=str(folder))
    check_same_options(strategy, mine)
    try:
        check_same_options(strategy, dataclasses.replace(mine, seed=worker))
    except UserError as error:
        out["options"] = str(error)

    def shifted():
        model = classifier(momentum)()
        model.set_weights([weight + worker for weight in model.get_weights()])
        return model

    fit(
        shifted,
        stream,
        run=folder / "losses",
        steps_per_epoch=1,
        epochs=6,
        validation=validation(),
        clip_norm=0.5,
        strategy=strategy,
    )
    return out


if __name__ == "__main__":
    # As in conftest.py: what runs once need not be optimised first.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    job, target = sys.argv[1], Path(sys.argv[2])
    results = globals()[f"job_{job}"](target)
    np.savez(target / f"{job}.npz", **results)
