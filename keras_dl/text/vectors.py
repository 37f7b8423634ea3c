"""Pretrained word vectors from text files, as GloVe and word2vec write them."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_dl.errors import UserError


def read_vectors(path: Path, tokens: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of these tokens: a line per word, the word and its numbers with spaces or tabs between.

    A first line of two numbers, as word2vec writes it, is skipped.

    Args:
        path: the file, UTF-8 in any normal form; a word may be damaged.
        tokens: whose vectors are wanted, in NFC.

    Returns:
        `(tokens, n)` float32, zeros for a token that the file lacks, and which tokens it has, `(tokens,)`.

    Raises:
        UserError: for a file that can't be read, a binary one, or a line that doesn't fit; it names the line.
    """
    numbers = {token: i for i, token in enumerate(tokens)}
    found: dict[int, np.ndarray] = {}
    width = None
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as file:
            for line, content in enumerate(file, 1):
                if "\0" in content:
                    raise UserError(f"--vectors {path} is no text file: convert it to word2vec's text format")
                if not content.strip():
                    continue
                # Not at every space that Unicode has: some stand within words.
                word, *values = content.rstrip().replace("\t", " ").split(" ")
                if "" in values:
                    values = [value for value in values if value]
                if line == 1 and len(values) == 1:
                    continue
                if width is None:
                    width = len(values)
                extra = len(values) - width
                if extra < 0:
                    raise UserError(f"{path} line {line} has {len(values)} numbers, the first has {width}: mend it")
                # GloVe's largest file has words with spaces inside.
                word = unicodedata.normalize("NFC", " ".join([word, *values[:extra]]))
                if word not in numbers:
                    continue
                with np.errstate(over="ignore"):
                    vector = np.array(values[extra:], "float32")
                if not np.isfinite(vector).all():
                    raise UserError(f"{path} line {line} has a number that is not finite: mend or remove the line")
                found.setdefault(numbers[word], vector)
    except OSError as error:
        raise UserError(f"--vectors {path} can't be read: {error.strerror}") from None
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} line {line} has something else than numbers after the word: mend the line") from None
    if not found:
        raise UserError(
            f"--vectors {path} has none of the {len(tokens):,} words of the training texts: is its language theirs?"
        )
    vectors = np.zeros((len(tokens), width), "float32")
    vectors[list(found)] = list(found.values())
    return vectors, np.isin(np.arange(len(tokens)), list(found))


def initial_embedding(vectors: np.ndarray, known: np.ndarray, seed: int) -> np.ndarray:
    """An embedding's weights, padding and out-of-vocabulary included: words without a vector get random ones of the
    spread that the others have."""
    spread = vectors[known].std()
    random = np.random.default_rng(seed).normal(0, spread, vectors.shape).astype("float32")
    table = np.where(known[:, None], vectors, random)
    return np.concatenate([np.zeros((2, vectors.shape[1]), "float32"), table])
