"""How labelled examples are divided: stratified, disjoint, the same for the same seed."""

from collections.abc import Sequence

import numpy as np


def stratified_parts(labels: np.ndarray, fractions: Sequence[float], seed: int) -> list[np.ndarray]:
    """Indices of each part, ascending; each part gets its share of every class.

    A class with as many members as there are parts, or more, has one at least in each.

    Args:
        labels: class numbers `(n,)`.
        fractions: positive, summing to 1, e.g. `(0.8, 0.1, 0.1)`.
        seed: of the choice.
    """
    if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"fractions must be positive and sum to 1; got {tuple(fractions)}")
    random = np.random.default_rng(seed)
    everything = np.arange(len(labels))
    parts: list[list[np.ndarray]] = [[] for _ in fractions]
    for group in [everything[labels == c] for c in np.unique(labels)]:
        ends = np.cumsum(_shares(len(group), fractions))
        for part, members in zip(parts, np.split(random.permutation(group), ends[:-1]), strict=True):
            part.append(members)
    return [np.sort(np.concatenate(part)) for part in parts]


def stratified_folds(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold `(n,)`, 0 to `folds - 1`, of each example: every fold has its share of every class, to one example."""
    random = np.random.default_rng(seed)
    fold_of = np.empty(len(labels), int)
    for c in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == c))
        fold_of[members] = np.arange(len(members)) % folds
    return fold_of


def _shares(count: int, fractions: Sequence[float]) -> np.ndarray:
    """How many of `count` each part gets: largest remainders, and one at least where there are enough."""
    fractions = np.asarray(fractions, dtype=float)
    by_size = np.argsort(-fractions, kind="stable")
    if count < len(fractions):
        shares = np.zeros(len(fractions), int)
        shares[by_size[:count]] = 1
        return shares
    ideal = count * fractions
    shares = np.floor(ideal + 1e-9).astype(int)
    for part in np.argsort(shares - ideal, kind="stable")[: count - shares.sum()]:
        shares[part] += 1
    for part in np.flatnonzero(shares == 0):
        shares[shares.argmax()] -= 1
        shares[part] = 1
    return shares
