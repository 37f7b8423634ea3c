"""Reviews as ids, in batches of like lengths: the training stream is a pure function of seed and step."""

import dataclasses
import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_dl.data.order import endless_epochs, shuffled
from keras_dl.data.progress import Progress
from keras_dl.data.review_set import ReviewSet
from keras_dl.text.vocabulary import PADDING, UNKNOWN, Vocabulary, as_taken, chunks, padded

# Batches that are sorted by length together: the more, the less padding and the less chance in what meets in a batch.
POOL = 50
Batch = tuple[dict[str, tf.Tensor] | tf.Tensor, tf.Tensor, tf.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedReviews:
    """Texts as a model takes them.

    Attributes:
        inputs: ids by the name of the model's input, int32 `(n, None)`.
        targets: float32 `(n, classes)`, one-hot or probabilities.
        weights: float32 `(n,)`, how much each counts in the loss.
    """

    inputs: dict[str, tf.RaggedTensor]
    targets: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text."""
        return self.inputs["tokens"].row_lengths().numpy()

    def rows(self, indices: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        """A batch: inputs padded to the longest, targets and weights."""
        inputs = {name: padded(tf.gather(ids, indices)) for name, ids in self.inputs.items()}
        return inputs, tf.gather(self.targets, indices), tf.gather(self.weights, indices)


def encode(reviews: ReviewSet, vocabulary: Vocabulary, class_weights: np.ndarray | None = None) -> EncodedReviews:
    """Reviews as ids.

    Args:
        reviews: texts and labels.
        vocabulary: gives the ids.
        class_weights: weight in the loss of each class's reviews; by default 1.
    """
    classes = len(reviews.class_names)
    weights = np.ones(classes) if class_weights is None else class_weights
    return EncodedReviews(
        encode_texts(reviews.texts, vocabulary),
        np.eye(classes, dtype="float32")[reviews.labels],
        weights[reviews.labels].astype("float32"),
    )


def encode_unlabelled(texts: Sequence[str], vocabulary: Vocabulary, classes: int) -> EncodedReviews:
    """Texts as ids, with targets of zeros."""
    count = len(texts)
    return EncodedReviews(
        encode_texts(texts, vocabulary), np.zeros((count, classes), "float32"), np.ones(count, "float32")
    )


def encode_texts(texts: Sequence[str], vocabulary: Vocabulary) -> dict[str, tf.RaggedTensor]:
    """Ids by the name of the model's input, int32 `(n, None)`."""
    parts = []
    with Progress("counting words", len(texts)) as progress:
        for chunk in chunks(texts):
            parts.append(vocabulary.ragged(tf.constant(chunk)))
            progress.advance(len(chunk))
    return {name: tf.concat([part[name] for part in parts], axis=0) for name in parts[0]}


def balanced_class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights by which each class has the same share in the loss, 1 on average over the examples."""
    counts = np.bincount(labels, minlength=classes)
    return len(labels) / (classes * np.maximum(counts, 1))


def training_stream(
    reviews: EncodedReviews, *, batch_size: int, seed: int, start_step: int = 0, word_dropout: float = 0.0
) -> tf.data.Dataset:
    """Endless batches of like lengths; batch k is a function of the seed and k alone, wherever the stream starts.

    An epoch takes the reviews in a new random order, sorts each `POOL` batches of it by length, and gives the batches
    in random order; what does not fill a batch at its end is left out of that epoch.

    Args:
        reviews: what to draw from.
        batch_size: reviews per step, over all replicas; no more than there are.
        seed: of order and word dropout.
        start_step: the step of the first batch.
        word_dropout: share of the tokens that become unknown, so that the model learns what to do with new words
            (Iyyer et al. 2015, ACL).

    Returns:
        The model's inputs, int32; targets `(batch_size, classes)`; weights `(batch_size,)`.
    """
    count, steps = len(reviews), len(reviews) // batch_size
    if not steps:
        raise ValueError(f"{count} reviews don't fill a batch of {batch_size}")
    lengths = tf.constant(reviews.lengths)
    pool_of = np.arange(steps * batch_size) // (POOL * batch_size)

    def epoch_batches(epoch: tf.Tensor) -> tf.Tensor:
        order = shuffled(count, seed, epoch)[: steps * batch_size]
        # Within a pool by length, of equal ones by chance, since the sort is stable.
        key = tf.constant(pool_of) * (tf.reduce_max(lengths) + 1) + tf.gather(lengths, order)
        batches = tf.reshape(tf.gather(order, tf.argsort(key, stable=True)), [steps, batch_size])
        return tf.gather(batches, shuffled(steps, seed + 1, epoch))

    def finish(step: tf.Tensor, indices: tf.Tensor) -> Batch:
        inputs, targets, weights = reviews.rows(tf.ensure_shape(indices, [batch_size]))
        if word_dropout:
            tokens = inputs["tokens"]
            chance = tf.random.stateless_uniform(tf.shape(tokens), [seed % (1 << 31), step])
            inputs["tokens"] = tf.where((chance < word_dropout) & (tokens != PADDING), UNKNOWN, tokens)
        return as_taken(inputs), targets, weights

    stream = endless_epochs(epoch_batches, steps, start_step).enumerate(start_step)
    stream = stream.map(finish, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
    return stream.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


def evaluation_batches(reviews: EncodedReviews, batch_size: int) -> tf.data.Dataset:
    """All reviews once, short ones first; the order is `by_length(reviews)`."""
    indices = tf.data.Dataset.from_tensor_slices(by_length(reviews)).batch(batch_size)

    def rows(indices: tf.Tensor) -> Batch:
        inputs, targets, weights = reviews.rows(indices)
        return as_taken(inputs), targets, weights

    return indices.map(rows, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def by_length(reviews: EncodedReviews) -> np.ndarray:
    """Indices of the reviews, the shortest first."""
    return np.argsort(reviews.lengths, kind="stable")


def scores_of(model: keras.Model, reviews: EncodedReviews, batch_size: int = 128) -> np.ndarray:
    """A model's output for each review, `(n, classes)`, in the order of the reviews; on one device."""
    # The model's own strategy would give some replicas less of the last batch than others, or none.
    plain = keras.Model(model.input, model.output)
    plain.jit_compile = False  # XLA would compile it anew for each length of a batch
    batches = evaluation_batches(reviews, batch_size).map(lambda inputs, *_: inputs)
    with Progress("scoring batches of reviews", math.ceil(len(reviews) / batch_size)) as progress:
        count = keras.callbacks.LambdaCallback(on_predict_batch_end=lambda batch, logs: progress.advance())
        outputs = plain.predict(batches, verbose=0, callbacks=[count])
    ordered = np.empty_like(outputs)
    ordered[by_length(reviews)] = outputs
    return ordered
