"""Labelled texts, and how they are divided."""

import dataclasses
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from keras_dl.data.split import stratified_folds, stratified_parts
from keras_dl.errors import UserError


def same_text(text: str) -> str:
    """Equal for texts that differ in case, width or spaces only, which few models tell apart."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@dataclasses.dataclass(frozen=True, eq=False)
class ReviewSet:
    """Texts with their labels.

    Attributes:
        texts: one string per review.
        labels: int32 class numbers `(n,)`.
        class_names: the classes in the order of their numbers.
        source: what they were read from, as the user would name it.
        notes: what is to be said of the source: encodings, rows left out.
    """

    texts: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "ReviewSet":
        """The reviews at `indices`, in that order."""
        indices = np.asarray(indices, dtype=int)
        return dataclasses.replace(self, texts=tuple(self.texts[i] for i in indices), labels=self.labels[indices])

    def without(self, texts: Iterable[str]) -> "ReviewSet":
        """The reviews whose text is not among `texts`, as `same_text` compares them."""
        left_out = {same_text(text) for text in texts}
        return self.subset([i for i, text in enumerate(self.texts) if same_text(text) not in left_out])

    def with_classes(self, class_names: Sequence[str]) -> "ReviewSet":
        """The reviews with their labels numbered as these classes are.

        Raises:
            UserError: if a review has another class.
        """
        unknown = [name for name in self.class_names if name not in class_names]
        if unknown:
            raise UserError(f"{self.source} has the class {unknown[0]!r}, which was not trained: remove it")
        numbers = np.array([class_names.index(name) for name in self.class_names], "int32")
        return dataclasses.replace(self, labels=numbers[self.labels], class_names=tuple(class_names))

    def split(self, fractions: Sequence[float], seed: int) -> tuple["ReviewSet", ...]:
        """Disjoint parts, stratified, the same for the same seed.

        A text that stands in several parts, by `same_text`, stays in the last of them alone.

        Raises:
            UserError: for one class only, fewer reviews of a class than parts, or too few different texts.
        """
        self.check_classes(len(fractions))
        parts = [self.subset(indices) for indices in stratified_parts(self.labels, fractions, seed)]
        for i in range(len(parts) - 1):
            parts[i] = parts[i].without(text for part in parts[i + 1 :] for text in part.texts)
        for number, name in enumerate(self.class_names):
            if number not in parts[0].labels:
                raise UserError(
                    f"class {name!r} of {self.source} has too few different texts: none is left to learn from where "
                    "each stands in one part only; add some, or leave the class out"
                )
        if not all(map(len, parts)):
            raise UserError(f"{self.source} has too few different texts for {len(parts)} parts: add some")
        return tuple(parts)

    def folds(self, count: int, validation: float, seed: int) -> Iterator[tuple["ReviewSet", ...]]:
        """For each of `count` stratified folds its parts for training, validation and test.

        Args:
            count: folds; each review is tested once.
            validation: share of the reviews outside the fold that is set aside for validation.
            seed: of the choice.

        Raises:
            UserError: for one class only, or fewer reviews of a class than folds.
        """
        self.check_classes(count)
        fold_of = stratified_folds(self.labels, count, seed)
        for fold in range(count):
            test = self.subset(np.flatnonzero(fold_of == fold))
            rest = self.subset(np.flatnonzero(fold_of != fold)).without(test.texts)
            rest = dataclasses.replace(rest, source=f"{self.source}, fold {fold + 1} and its texts left out,")
            yield *rest.split((1 - validation, validation), seed), test

    def check_classes(self, least: int) -> None:
        """Refuses what no classifier can learn.

        Raises:
            UserError: for one class only, or a class with fewer than `least` reviews.
        """
        if len(self.class_names) < 2:
            raise UserError(f"{self.source} has only the class {self.class_names[0]!r}: a classifier needs two or more")
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        for name, count in zip(self.class_names, counts, strict=True):
            if count < least:
                raise UserError(
                    f"class {name!r} of {self.source} has {count} review(s), and {least} parts need {least}: add some, "
                    "or leave the class out"
                )
