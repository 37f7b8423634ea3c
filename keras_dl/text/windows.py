"""What word embeddings learn from: which words stand near which, in NumPy."""

from collections.abc import Iterator, Sequence

import numpy as np


def flatten(sentences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All words in a row, and for each word the number of its sentence."""
    lengths = [len(sentence) for sentence in sentences]
    words = np.concatenate([np.asarray(sentence, "int32") for sentence in sentences])
    return words, np.repeat(np.arange(len(lengths)), lengths)


def subsample(
    sentences: Sequence[np.ndarray], counts: np.ndarray, threshold: float, random: np.random.Generator
) -> list[np.ndarray]:
    """Leaves out frequent words at random (Mikolov et al. 2013, arXiv:1310.4546, section 2.3).

    A word of relative frequency f is kept with probability sqrt(threshold / f), at most 1.
    """
    frequency = np.maximum(counts, 1) / counts.sum()
    keep = np.sqrt(threshold / frequency)
    return [sentence[random.random(len(sentence)) < keep[sentence]] for sentence in sentences]


def neighbours(
    sentences: Sequence[np.ndarray], window: int, random: np.random.Generator | None = None
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Words that stand near each other, one distance after the other.

    Args:
        sentences: word ids.
        window: how far a word sees to either side.
        random: if given, each word draws how far it sees from 1 to `window`, as word2vec does: near words count more.

    Yields:
        The distance, the words that look and those that they see, each `(pairs,)` places in the flattened sentences.
    """
    words, sentence = flatten(sentences)
    sight = np.full(len(words), window) if random is None else random.integers(1, window + 1, len(words))
    for distance in range(1, window + 1):
        left = np.flatnonzero(sentence[distance:] == sentence[:-distance])
        right = left + distance
        yield -distance, right[sight[right] >= distance], left[sight[right] >= distance]
        yield distance, left[sight[left] >= distance], right[sight[left] >= distance]


def skipgram_pairs(
    sentences: Sequence[np.ndarray], window: int, random: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a word and one that it sees, `(pairs,)` each, int32; arguments as `neighbours`."""
    words, _ = flatten(sentences)
    pairs = [(words[centre], words[seen]) for _, centre, seen in neighbours(sentences, window, random)]
    return tuple(np.concatenate(side) for side in zip(*pairs, strict=True))


def cbow_contexts(
    sentences: Sequence[np.ndarray], window: int, random: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """For each word that sees any what it sees, `(words, 2 * window)` with 0 for nothing, and the word, int32."""
    words, _ = flatten(sentences)
    contexts = np.zeros((len(words), 2 * window), "int32")
    for distance, centre, seen in neighbours(sentences, window, random):
        contexts[centre, distance + window - (distance > 0)] = words[seen]
    sees = contexts.any(axis=1)
    return contexts[sees], words[sees]


def cooccurrences(
    sentences: Sequence[np.ndarray], vocabulary_size: int, window: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts of words near each other; a pair d words apart counts 1/d (Pennington et al. 2014, section 4.2).

    Returns:
        Words, the words near them, int32, and the counts, float32: one entry for each pair that occurs.
    """
    words, _ = flatten(sentences)
    codes, weights = [], []
    for distance, centre, seen in neighbours(sentences, window):
        codes.append(words[centre].astype("int64") * vocabulary_size + words[seen])
        weights.append(np.full(len(centre), 1 / abs(distance)))
    pairs, entry = np.unique(np.concatenate(codes), return_inverse=True)
    counts = np.bincount(entry, np.concatenate(weights))
    first, second = np.divmod(pairs, vocabulary_size)
    return first.astype("int32"), second.astype("int32"), counts.astype("float32")


def draw_negatives(
    counts: np.ndarray, shape: tuple[int, ...], random: np.random.Generator, power: float = 0.75
) -> np.ndarray:
    """Words drawn by the power of their counts (Mikolov et al. 2013, arXiv:1310.4546, section 2.2), int32."""
    cumulative = np.cumsum(np.asarray(counts, "float64") ** power)
    return np.searchsorted(cumulative, random.random(shape) * cumulative[-1], side="right").astype("int32")
