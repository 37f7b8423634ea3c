"""The order of training examples: a function of the seed and the position alone."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

FOREVER = np.iinfo(np.int64).max


def endless_epochs(epoch_rows: Callable[[tf.Tensor], tf.Tensor], count: int, start: int) -> tf.data.Dataset:
    """The rows of one epoch after another without end, from row `start` of that sequence on.

    Args:
        epoch_rows: from an epoch's number (an int64 tensor) to its rows, `count` of them.
        count: rows of an epoch.
        start: the first row that is given.
    """
    first, offset = divmod(start, count)

    def rows(epoch: tf.Tensor) -> tf.data.Dataset:
        skipped = tf.where(epoch == first, tf.cast(offset, tf.int64), 0)
        return tf.data.Dataset.from_tensor_slices(epoch_rows(epoch)[skipped:])

    return tf.data.Dataset.range(first, FOREVER).flat_map(rows)


def shuffled(count: int, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """0 to `count - 1`, int64, in the order of that epoch."""
    return tf.random.experimental.stateless_shuffle(tf.range(count, dtype=tf.int64), [seed % (1 << 31), epoch])
