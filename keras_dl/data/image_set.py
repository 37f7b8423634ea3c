"""Labelled pictures, still encoded, and how they are divided."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_dl.data.split import stratified_parts
from keras_dl.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """Pictures with their labels.

    Attributes:
        images: paths of files, or the encoded bytes, one per picture; never both kinds.
        labels: int32 class indices `(n,)`, or float32 0/1 `(n, classes)` where a picture has several labels.
        class_names: the classes in the order of their indices; empty where the pictures have no labels.
        source: what they were read from, as the user would name it.
        names: what messages call each picture.
        skipped: name and reason of every picture that could not be read; files of unknown formats share one by suffix.
        skipped_files: how many files these are.
        common_size: the longer side in pixels if all pictures share one size of at most 96 pixels, or None.
    """

    images: tuple[str, ...] | tuple[bytes, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    source: str
    names: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    skipped_files: int = 0
    common_size: int | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def multi_label(self) -> bool:
        """Whether a picture may have several labels, or none."""
        return self.labels.ndim == 2

    def label_bytes(self) -> bytes:
        """Classes and labels, for the fingerprint of a run's data."""
        return "\n".join(self.class_names).encode() + self.labels.tobytes()

    def subset(self, indices: Sequence[int] | np.ndarray) -> "ImageSet":
        """The pictures at `indices`, in that order."""
        indices = np.asarray(indices, dtype=int)
        return dataclasses.replace(
            self,
            images=tuple(self.images[i] for i in indices),
            labels=self.labels[indices],
            names=tuple(self.names[i] for i in indices),
        )

    def split(self, fractions: Sequence[float], seed: int) -> tuple["ImageSet", ...]:
        """Disjoint parts, the same for the same seed.

        Stratified: each part gets its share of every class, and at least one picture of each class that has as many
        as there are parts. A picture with several labels counts as one of its rarest; those without any are a class.
        Where that leaves a part empty, since almost all labels are rare, such pictures are divided at random.

        Args:
            fractions: positive, summing to 1, e.g. `(0.8, 0.1, 0.1)`.
            seed: of the choice.

        Raises:
            UserError: for one class only, a class with fewer than two pictures, or too few pictures for the parts.
        """
        self._check_divisible(len(fractions))
        indices = stratified_parts(self._rarest_labels() if self.multi_label else self.labels, fractions, seed)
        if self.multi_label and not all(map(len, indices)):
            indices = stratified_parts(np.zeros(len(self), int), fractions, seed)
        if not all(map(len, indices)):
            needed = len(fractions)
            raise UserError(
                f"{self.source} has too few pictures in each class for {needed} parts: add some, "
                f"until a class has {needed} at least"
            )
        return tuple(self.subset(part) for part in indices)

    def _rarest_labels(self) -> np.ndarray:
        """Of each picture the label that the fewest pictures have, -1 for one without labels."""
        given = self.labels > 0
        rarest = np.where(given, given.sum(axis=0), len(self) + 1).argmin(axis=1)
        return np.where(given.any(axis=1), rarest, -1)

    def _check_divisible(self, parts: int) -> None:
        if len(self.class_names) < 2 and not self.multi_label:
            found = f"only the class {self.class_names[0]!r}" if self.class_names else "no classes"
            raise UserError(f"{self.source} has {found}: a classifier needs two or more")
        if len(self) < parts:
            raise UserError(f"{self.source} has {len(self)} pictures, too few for {parts} parts: add some")
        if self.multi_label:
            return
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        for name, count in zip(self.class_names, counts, strict=True):
            if count < 2:
                found = "one picture" if count else "no readable picture"
                raise UserError(f"class {name!r} of {self.source} has {found}: add some (three at least), or remove it")
