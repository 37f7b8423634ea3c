"""Word vectors from the company that words keep: Mikolov et al. 2013, arXiv:1301.3781 and arXiv:1310.4546."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_dl.errors import UserError
from keras_dl.registry import register
from keras_dl.text.common import masked_mean, real_words
from keras_dl.text.windows import cbow_contexts, draw_negatives, skipgram_pairs, subsample

PAPER = "Mikolov et al. 2013, arXiv:1301.3781, arXiv:1310.4546"
SMALL = {"vocabulary_size": 20, "embedding_dim": 8}
OUTPUTS = ("softmax", "negative_sampling")


def word_vectors(words: Any, vocabulary_size: int, embedding_dim: int) -> Any:
    """Vectors of ids; they start within 0.5 / width of zero, as in the authors' program."""
    start = keras.initializers.RandomUniform(-0.5 / embedding_dim, 0.5 / embedding_dim)
    return layers.Embedding(vocabulary_size, embedding_dim, start, name="embedding")(words)


def prediction(x: Any, vocabulary_size: int, output: str) -> tuple[Any, list[Any]]:
    """Which word goes with the vector x, and the inputs that the answer needs."""
    if output == "softmax":
        dense = layers.Dense(vocabulary_size, activation="softmax", use_bias=False, dtype="float32", name="predictions")
        return dense(x), []
    if output != "negative_sampling":
        raise UserError(f"output is one of {', '.join(OUTPUTS)}; got {output!r}")
    candidates = keras.Input((None,), dtype="int32", name="candidates")
    vectors = layers.Embedding(vocabulary_size, x.shape[-1], "zeros", name="candidate_embedding")(candidates)
    products = ops.cast(vectors, "float32") * ops.cast(ops.expand_dims(x, 1), "float32")
    return ops.sum(products, axis=-1), [candidates]


@register(paper=PAPER, task="word embedding", parameters=6_000_000, small=SMALL)
def word2vec_skipgram(
    vocabulary_size: int = 10_000,
    embedding_dim: int = 300,
    output: str = "negative_sampling",
    name: str | None = None,
) -> keras.Model:
    """A word foretells each of the words around it. Its vectors are the weights of the layer `embedding`.

    With the full softmax the target is the word seen, by sparse cross-entropy. With negative sampling the word seen
    stands among words drawn at random, and the target is 1 for it and 0 for them, by binary cross-entropy from
    logits: the cost no longer grows with the vocabulary. `examples` makes both.

    Args:
        vocabulary_size: ids that there are, padding (0) and out-of-vocabulary (1) included.
        embedding_dim: width of the vectors.
        output: `"softmax"` or `"negative_sampling"`.
        name: the model's name.

    Returns:
        Ids `words` `(batch,)` to probabilities `(batch, vocabulary_size)`; with negative sampling, ids `words`
        `(batch,)` and `candidates` `(batch, n)` to logits `(batch, n)`. Reference count: 6,000,000.

    Raises:
        ValueError: for another output.
    """
    words = keras.Input((), dtype="int32", name="words")
    x = word_vectors(words, vocabulary_size, embedding_dim)
    x, candidates = prediction(x, vocabulary_size, output)
    return keras.Model([words, *candidates], x, name=name or "word2vec_skipgram")


@register(paper=PAPER, task="word embedding", parameters=6_000_000, small=SMALL)
def word2vec_cbow(
    vocabulary_size: int = 10_000,
    embedding_dim: int = 300,
    output: str = "negative_sampling",
    name: str | None = None,
) -> keras.Model:
    """The words around foretell the word in the middle by the mean of their vectors (continuous bag of words).

    Arguments and targets are those of `word2vec_skipgram`.

    Returns:
        Ids `words` `(batch, places)`, 0 for none, to what `word2vec_skipgram` returns. Reference count: 6,000,000.

    Raises:
        ValueError: for another output.
    """
    words = keras.Input((None,), dtype="int32", name="words")
    x = masked_mean(word_vectors(words, vocabulary_size, embedding_dim), real_words(words))
    x, candidates = prediction(x, vocabulary_size, output)
    return keras.Model([words, *candidates], x, name=name or "word2vec_cbow")


def examples(
    model: keras.Model,
    sentences: Sequence[np.ndarray],
    counts: np.ndarray,
    random: np.random.Generator,
    window: int = 5,
    negatives: int = 5,
    threshold: float = 1e-3,
    batch_size: int = 1024,
) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """One pass over a corpus for either model: batches for `model.train_on_batch` or a stream, in random order.

    Args:
        model: what `word2vec_skipgram` or `word2vec_cbow` built.
        sentences: arrays of word ids.
        counts: how often each id occurs, `(vocabulary_size,)`; ids that count 0 are never drawn as negatives.
        random: draws words to leave out, how far each word sees, negatives and the order.
        window: how far a word sees at most.
        negatives: words drawn for each word seen; a drawn word that is the one seen counts as seen.
        threshold: frequency above which words are left out at times.
        batch_size: examples in a batch; the last may have fewer.

    Yields:
        Inputs and targets.
    """
    kept = subsample(sentences, counts, threshold, random)
    takes_contexts = len(model.inputs[0].shape) == 2
    given, target = (cbow_contexts if takes_contexts else skipgram_pairs)(kept, window, random)
    order = random.permutation(len(target))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        if len(model.inputs) == 1:
            yield [given[rows]], target[rows]
        else:
            drawn = draw_negatives(counts, (len(rows), negatives), random)
            candidates = np.concatenate([target[rows, None], drawn], axis=1)
            yield [given[rows], candidates], (candidates == target[rows, None]).astype("float32")


def nearest(vectors: np.ndarray, query: np.ndarray, count: int, without: Sequence[int] = ()) -> np.ndarray:
    """The ids of the vectors with the largest cosine to a query, nearest first.

    The analogy "a is to b as c is to ..." is `nearest(vectors, unit(b) - unit(a) + unit(c), 1, without=[a, b, c])`.

    Args:
        vectors: `(vocabulary_size, width)`.
        query: `(width,)`.
        count: how many.
        without: ids that are no answer, e.g. those that the query is made of.
    """
    similarity = unit(vectors) @ unit(query)
    similarity[list(without)] = -np.inf
    return np.argsort(-similarity, kind="stable")[:count]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length one in their directions; zero stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length == 0, 1, length)
