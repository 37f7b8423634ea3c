"""A training step of DCGAN at 64x64, batch 64, against the recipe of keras.io over the same layers.

The recipe (keras.io/examples/generative/dcgan_overriding_train_step) makes fakes for the discriminator, joins them with
the real pictures, then makes others for the generator. Ours uses the same fakes for both.
"""

import argparse
import time

import keras
import numpy as np
import tensorflow as tf

from keras_dl.generative.dcgan import dcgan


class Recipe(keras.Model):
    """Two passes of the generator forwards, and one back."""

    def __init__(self, generator, discriminator, latent_dim):
        super().__init__()
        self.generator, self.discriminator, self.latent_dim = generator, discriminator, latent_dim
        self.loss = keras.losses.BinaryCrossentropy(from_logits=True)
        self.optimizers = [keras.optimizers.Adam(2e-4, 0.5) for _ in range(2)]
        for optimizer, network in zip(self.optimizers, (discriminator, generator), strict=True):
            optimizer.build(network.trainable_variables)

    def train_step(self, images):
        count = tf.shape(images)[0]
        fakes = self.generator(tf.random.normal((count, self.latent_dim)), training=True)
        both = tf.concat([fakes, images], 0)
        labels = tf.concat([tf.ones((count, 1)), tf.zeros((count, 1))], 0)
        labels += 0.05 * tf.random.uniform(tf.shape(labels))
        with tf.GradientTape() as tape:
            d_loss = self.loss(labels, self.discriminator(both, training=True))
        self._update(0, self.discriminator, tape, d_loss)
        with tf.GradientTape() as tape:
            fakes = self.generator(tf.random.normal((count, self.latent_dim)), training=True)
            g_loss = self.loss(tf.zeros((count, 1)), self.discriminator(fakes, training=True))
        self._update(1, self.generator, tape, g_loss)
        return d_loss, g_loss

    def _update(self, side, network, tape, loss):
        weights = network.trainable_variables
        self.optimizers[side].apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))


def median_seconds(steps, images, repeats):
    """Of each step function, taken in turns, so that both see the same machine."""
    compiled = [tf.function(step, autograph=False) for step in steps]
    for step in compiled:
        for _ in range(2):
            step(images)
    times = [[] for _ in compiled]
    for _ in range(repeats):
        for step, seconds in zip(compiled, times, strict=True):
            start = time.perf_counter()
            tf.nest.map_structure(lambda x: x.numpy(), step(images))
            seconds.append(time.perf_counter() - start)
    return [float(np.median(seconds)) for seconds in times]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=1.0, help="of the paper's filters")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    ours, theirs = (dcgan(64, width=options.width) for _ in range(2))
    ours.compile(keras.optimizers.Adam(2e-4, 0.5), keras.optimizers.Adam(2e-4, 0.5))
    recipe = Recipe(theirs.generator, theirs.discriminator, 100)
    images = tf.random.uniform((options.batch_size, 64, 64, 3), 0, 255)
    a, b = median_seconds([ours.train_step, recipe.train_step], images, options.repeats)
    print(
        f"DCGAN 64x64, batch {options.batch_size}, width {options.width}: seconds a step, median of {options.repeats}"
    )
    print(f"keras_dl {a:.3f}   keras.io's recipe {b:.3f}   {b / a:.2f} times faster")


if __name__ == "__main__":
    main()
