"""Sentence pairs from the files that people have: two parallel files, one TSV, or TensorFlow Datasets."""

import dataclasses
import gzip
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_dl.data.text_file import decode_text
from keras_dl.errors import UserError

SLACK = 10  # characters: short sentences differ in length by chance
LONGER = 4.0  # times the usual ratio of lengths
ALIKE = 0.5  # share of pairs whose sides are equal, above which the files are taken for one


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Sentences and their translations.

    Attributes:
        sources: one line each, NFC.
        targets: as many.
        name: where they come from, for messages.
        dropped: how many pairs were left out, by reason.
        notes: what is to be said of the files, such as an encoding that was guessed.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    name: str
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sources)

    def subset(self, rows: Sequence[int]) -> "Pairs":
        """The pairs of these rows."""
        return Pairs(tuple(self.sources[i] for i in rows), tuple(self.targets[i] for i in rows), self.name)

    def reversed(self) -> "Pairs":
        """The other direction."""
        return dataclasses.replace(self, sources=self.targets, targets=self.sources)

    def scripts(self) -> tuple[str, str]:
        """The writing systems of sources and targets, see `script`."""
        return script(self.sources), script(self.targets)


def read_pairs(*names: str | Path, keep_outliers: bool = False) -> Pairs:
    """The pairs of a source and a target file, or of one TSV or `tfds:NAME@SPLIT`.

    Args:
        *names: two, or one.
        keep_outliers: see `checked`.

    Raises:
        UserError: as `read_parallel`, `read_tsv` and `read_tfds_pairs`.
    """
    if len(names) == 2:
        return read_parallel(*map(Path, names), keep_outliers=keep_outliers)
    name = str(names[0])
    if name.startswith("tfds:"):
        return read_tfds_pairs(name[5:], keep_outliers=keep_outliers)
    return read_tsv(Path(name), keep_outliers=keep_outliers)


def read_parallel(source: Path, target: Path, *, keep_outliers: bool = False) -> Pairs:
    """Line i of one file translates line i of the other; `.gz` files are unpacked.

    Args:
        source: see `read_lines`.
        target: as many lines.
        keep_outliers: see `checked`.

    Raises:
        UserError: for a missing file, one that is no text, unequal counts of lines, or two files alike.
    """
    (sources, of_source), (targets, of_target) = read_lines(source), read_lines(target)
    if len(sources) != len(targets):
        raise UserError(
            f"{source} has {len(sources):,} lines and {target} has {len(targets):,}: "
            "line i of one must translate line i of the other"
        )
    return checked(sources, targets, f"{source} and {target}", (of_source, of_target), keep_outliers=keep_outliers)


def read_tsv(path: Path, *, keep_outliers: bool = False) -> Pairs:
    """The first two columns of a tab-separated file, which may be a `.gz`; further columns are ignored.

    Args:
        path: see `read_lines`.
        keep_outliers: see `checked`.

    Raises:
        UserError: naming the line that has no second column, and as `read_parallel`.
    """
    sources, targets = [], []
    lines, note = read_lines(path)
    for number, line in enumerate(lines, 1):
        columns = line.split("\t") if line.strip() else ["", ""]
        if len(columns) < 2:
            raise UserError(f"{path}, line {number} has no tab: give a sentence, a tab and its translation")
        sources.append(columns[0])
        targets.append(columns[1])
    return checked(sources, targets, str(path), (note,), keep_outliers=keep_outliers)


def read_tfds_pairs(name: str, *, keep_outliers: bool = False) -> Pairs:
    """A translation set of TensorFlow Datasets, such as `ted_hrlr_translate/pt_to_en`, in its own direction.

    Args:
        name: as TensorFlow Datasets spells it, with `@SPLIT` for another split than `train`.
        keep_outliers: see `checked`.

    Raises:
        UserError: for an unknown set or split, one that is not of sentence pairs, or one that can't be had.
    """
    import tensorflow_datasets as tfds

    from keras_dl.data.tfds import prepared_builder, read_split

    name, _, split = name.partition("@")
    split = split or "train"
    builder = prepared_builder(name)
    keys = builder.info.supervised_keys
    features = builder.info.features
    if not keys or not all(isinstance(features[key], tfds.features.Text) for key in keys):
        raise UserError(f"tfds:{name} has no sentence pairs; choose a translation set")
    rows = list(read_split(builder, name, split).as_numpy_iterator())
    sources, targets = ([row[key].decode("utf-8") for row in rows] for key in keys)
    return checked(sources, targets, f"tfds:{name}@{split}", keep_outliers=keep_outliers)


def tfds_validation(name: str) -> str | None:
    """`NAME@validation` for `NAME`, `NAME@train` or a part of that, if the set has such a split."""
    from keras_dl.data.tfds import prepared_builder

    name, _, split = name.partition("@")
    if split.partition("[")[0] in ("", "train") and "validation" in prepared_builder(name).info.splits:
        return f"{name}@validation"
    return None


def read_lines(path: Path) -> tuple[list[str], str | None]:
    """`decode_lines` of a file, which is unpacked if it is a `.gz`.

    Raises:
        UserError: if it is missing, can't be read, is empty, damaged or no text.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); name a file that you may read") from None
    try:
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} can't be unpacked ({error}); is it a whole gzip file?") from None
    lines, note = decode_lines(content, str(path))
    if not any(line.strip() for line in lines):
        raise UserError(f"{path} is empty")
    return lines, note


def decode_lines(content: bytes, name: str) -> tuple[list[str], str | None]:
    """The lines of a text, and what is to be said of its encoding; `name` is what messages call it.

    Raises:
        UserError: if it is no text.
    """
    text, note = decode_text(content, name)
    return split_lines(text), note


def split_lines(text: str) -> list[str]:
    """The lines of a text as an editor counts them."""
    # Not str.splitlines: a vertical tab or U+2028 within a sentence would shift all that follow. So would a carriage
    # return, unless it is what ends the lines.
    text = text.replace("\r\n", "\n")
    lines = (text if "\n" in text else text.replace("\r", "\n")).split("\n")
    return lines[:-1] if not lines[-1] else lines


def checked(
    sources: Sequence[str],
    targets: Sequence[str],
    name: str,
    notes: Sequence[str | None] = (),
    *,
    keep_outliers: bool = False,
) -> Pairs:
    """The pairs that can be learned from: NFC, without empty sides and without outliers in the ratio of lengths.

    Args:
        sources: one line each.
        targets: as many.
        name: where they come from.
        notes: what is to be said of that; None is nothing.
        keep_outliers: drop empty sides only, for pairs that are measured on: a score is of the whole file.

    Raises:
        UserError: if none is left, or source and target are the same text.
    """
    sources, targets = (
        [" ".join(unicodedata.normalize("NFC", line).split()) for line in lines] for lines in (sources, targets)
    )
    alike = sum(a == b for a, b in zip(sources, targets, strict=True) if a)
    if alike > ALIKE * max(1, sum(map(bool, sources))):
        raise UserError(f"{name}: source and target are the same text; name a translation")
    whole = [i for i in range(len(sources)) if sources[i] and targets[i]]
    logarithms = np.array([np.log((len(targets[i]) + SLACK) / (len(sources[i]) + SLACK)) for i in whole])
    usual = np.median(logarithms) if whole else 0.0
    limit = np.inf if keep_outliers else np.log(LONGER)
    kept = [i for i, ratio in zip(whole, logarithms, strict=True) if abs(ratio - usual) <= limit]
    dropped = {"with an empty side": len(sources) - len(whole), "of unlike lengths": len(whole) - len(kept)}
    if not kept:
        raise UserError(f"{name} has no sentence pairs")
    pairs = Pairs(tuple(sources), tuple(targets), name).subset(kept)
    dropped = {reason: count for reason, count in dropped.items() if count}
    return dataclasses.replace(pairs, dropped=dropped, notes=tuple(filter(None, notes)))


def hold_out(pairs: Pairs, counts: Sequence[int], seed: int) -> list[Pairs]:
    """What is left, and parts of about `counts` pairs, drawn so that no part shares a sentence with another.

    Pairs that share a sentence, on whatever side, stay together: a translation is measured on what was never seen, not
    even in the other direction.
    """
    parent = list(range(len(pairs)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[str, int] = {}
    for side in (pairs.sources, pairs.targets):
        for i, text in enumerate(side):
            parent[root(i)] = root(first.setdefault(text, i))
    roots = np.array([root(i) for i in range(len(pairs))])
    groups: dict[int, list[int]] = {}
    for i in np.random.default_rng(seed).permutation(len(pairs)):
        groups.setdefault(roots[i], []).append(int(i))
    parts: list[list[int]] = [[] for _ in counts]
    rest: list[int] = []
    unfilled = [(part, count) for part, count in zip(parts, counts, strict=True) if count]
    for members in groups.values():
        # A phrase that joins many pairs, such as "Hi.", stays in training.
        if unfilled and len(members) <= 4:
            part, count = unfilled[0]
            part += members
            if len(part) >= count:
                unfilled.pop(0)
        else:
            rest += members
    return [pairs.subset(sorted(rows)) for rows in (rest, *parts)]


def script(texts: Sequence[str]) -> str:
    """The writing system of most letters, as Unicode names it: `"LATIN"`, `"CJK"`, `"CYRILLIC"` ..."""
    letters = Counter(character for text in texts[:1000] for character in text if character.isalpha())
    scripts: Counter[str] = Counter()
    for character, count in letters.items():
        scripts[unicodedata.name(character, "UNKNOWN").split(" ")[0].split("-")[0]] += count
    return scripts.most_common(1)[0][0] if scripts else "NONE"


def swapped_sides(training: Sequence[str], pairs: Pairs) -> str | None:
    """A warning if pairs are not written in the scripts of the training pairs, which `Pairs.scripts` gave."""
    for side, learned, found in zip(("source", "target"), training, pairs.scripts(), strict=True):
        if learned != found:
            return (
                f"warning: the {side} is written in {learned} in training and in {found} in {pairs.name}; "
                "were the files swapped?"
            )
    return None
