"""Pictures with boxes, still encoded: what the readers of all formats give, checked and divided."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_dl.data.check import check_pictures
from keras_dl.data.convert import orientation_of
from keras_dl.data.decode import read_orientation
from keras_dl.errors import UserError

FRACTIONS = (0.85, 0.15)  # training and validation, where the data doesn't say
_TOLERANCE = 0.01  # pixels: what fractions written with six digits are off by
_TURNED = 5  # Exif orientations from here on swap width and height


@dataclasses.dataclass(frozen=True, eq=False)
class Annotation:
    """One picture and its boxes as a file gives them.

    Attributes:
        picture: path of the file, or its encoded bytes.
        name: what messages call the annotation.
        boxes: float `(n, 4)`, corners x1, y1, x2, y2 in pixels, or in fractions of the picture.
        labels: the name of each box's class.
        ignore: bool `(n,)`: neither to be found nor wrong when found (VOC `difficult`, COCO `iscrowd`).
        size: height and width that the boxes were drawn for, or None if the file doesn't say.
        fractions: whether the boxes are in fractions.
        part: `"train"`, `"validation"`, `"test"`, "" where the data isn't divided, or None where lists divide it and
            none of them names the picture: it is left out.
    """

    picture: str | bytes
    name: str
    boxes: np.ndarray
    labels: tuple[str, ...]
    ignore: np.ndarray
    size: tuple[int, int] | None = None
    fractions: bool = False
    part: str | None = ""


@dataclasses.dataclass(frozen=True, eq=False)
class BoxSet:
    """Pictures with their boxes.

    Attributes:
        images: paths of files, or the encoded bytes, one per picture; never both kinds.
        boxes: per picture float32 `(n, 4)`: x1, y1, x2, y2 in pixels of the upright picture, inside it; n may be 0.
        classes: per picture int32 `(n,)`.
        ignore: per picture bool `(n,)`, see `Annotation`.
        sizes: int32 `(pictures, 2)`: height and width of each upright picture.
        class_names: the classes in the order of their indices.
        source: what they were read from, as the user would name it.
        names: what messages call each picture.
        part: of each picture, see `Annotation`.
        skipped: name and reason of every picture, annotation and box that was left out.
        clipped: how many boxes reached outside their picture, and were cut off at its edge.
        unlisted: how many annotated pictures are left out since no part's list or folder has them.
        declared: the parts that the data declares, which may all the same be empty, and the file or folder that does.
        notes: lines for the user about how it was read.
    """

    images: tuple[str, ...] | tuple[bytes, ...]
    boxes: tuple[np.ndarray, ...]
    classes: tuple[np.ndarray, ...]
    ignore: tuple[np.ndarray, ...]
    sizes: np.ndarray
    class_names: tuple[str, ...]
    source: str
    names: tuple[str, ...]
    part: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    clipped: int = 0
    unlisted: int = 0
    declared: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def most(self) -> int:
        """The largest number of boxes in a picture, and 1 at least."""
        return max(1, *map(len, self.boxes)) if len(self) else 1

    def subset(self, indices: Sequence[int] | np.ndarray) -> "BoxSet":
        """The pictures at `indices`, in that order; it declares no parts."""
        rows = ("images", "boxes", "classes", "ignore", "names", "part")
        chosen = {name: tuple(getattr(self, name)[int(i)] for i in indices) for name in rows}
        return dataclasses.replace(self, sizes=self.sizes[np.asarray(indices, int)], declared=(), **chosen)

    def padded(self, most: int | None = None) -> dict[str, np.ndarray]:
        """The boxes as arrays: `boxes` `(pictures, most, 4)`, `classes` and `ignore` `(pictures, most)`.

        Args:
            most: boxes per picture, by default the largest number that there is. Rows of class -1 fill it up.
        """
        most = self.most if most is None else most
        arrays = {
            "boxes": np.zeros((len(self), most, 4), "float32"),
            "classes": np.full((len(self), most), -1, "int32"),
            "ignore": np.zeros((len(self), most), bool),
        }
        for i, rows in enumerate(zip(self.boxes, self.classes, self.ignore, strict=True)):
            for array, row in zip(arrays.values(), rows, strict=True):
                array[i, : len(row)] = row
        return arrays

    def split(self, seed: int) -> dict[str, "BoxSet"]:
        """Its parts: `"train"`, `"validation"`, and `"test"` where the data has all three.

        The data's own parts where it has `train` and another one (a test part without a validation part is taken
        for it); otherwise 85 and 15 hundredths at random, the same for the same seed.

        Raises:
            UserError: if a part is declared but empty or would be empty, or nothing in the training part has a box that
                isn't to be ignored.
        """
        part = np.array(self.part)
        members = {name: np.flatnonzero(part == name) for name in ("train", "validation", "test")}
        for name, where in self.declared:
            if not len(members[name]):
                raise UserError(f"{where} is the data's {name} part, but has no usable picture: add some, or remove it")
        if not any(map(len, members.values())) or not (len(members["validation"]) or len(members["test"])):
            if len(self) < 2:
                raise UserError(f"{self.source} has one picture: add some, to train on and to validate with")
            order = np.random.default_rng(seed).permutation(len(self))
            count = max(1, round(len(self) * FRACTIONS[1]))
            members = {"train": np.sort(order[count:]), "validation": np.sort(order[:count])}
        elif not len(members["validation"]):
            members["validation"] = members.pop("test")
        parts = {name: self.subset(indices) for name, indices in members.items() if len(indices)}
        if "train" not in parts:
            raise UserError(f"{self.source} has a part to validate with, but none to train on: add one called train")
        pictures = f"its {len(parts['train']):,} training pictures"
        if not any(map(len, parts["train"].boxes)):
            raise UserError(f"{self.source} has no box in {pictures}: add some")
        if all(flags.all() for flags in parts["train"].ignore):
            raise UserError(f"{self.source}: all boxes in {pictures} are difficult or crowds: add some that are not")
        return parts


def checked_box_set(
    annotations: Sequence[Annotation],
    class_names: Sequence[str] | None,
    *,
    source: str,
    strict: bool,
    skipped: Iterable[tuple[str, str]] = (),
) -> BoxSet:
    """The usable ones of annotated pictures.

    Each picture is decoded once. Boxes are brought to pixels, cut off at the edge of the picture (and counted), and
    left out (and named) where nothing of them remains. An annotation that was made for another size is fitted to the
    picture if it has the same aspect; one of a photo as it lies in the file is turned upright with it.

    Args:
        annotations: at least one.
        class_names: their order; by default the labels that occur, sorted.
        source: see `BoxSet`.
        strict: nothing may be left out.
        skipped: what the reader has left out already.

    Raises:
        UserError: if no picture is left, there is no class, a label is not among the names, or with `strict` if
            anything was left out.
    """
    skipped, unlisted = list(skipped), sum(annotation.part is None for annotation in annotations)
    annotations = [annotation for annotation in annotations if annotation.part is not None]
    if not annotations:
        name, reason = skipped[0] if skipped else (source, "no picture is listed")
        raise UserError(f"{source} has no usable annotation: {name}: {reason}")
    if class_names is None:
        class_names = sorted({label for annotation in annotations for label in annotation.labels})
    numbers = {name: i for i, name in enumerate(class_names)}
    for annotation in annotations:
        for label in annotation.labels:
            if label not in numbers:
                raise UserError(f"{annotation.name}: class {label!r} is not among {', '.join(class_names)}: add it")
    if not numbers:
        raise UserError(f"{source} has no boxes: draw some, there is nothing to learn from background alone")
    checked = check_pictures([a.picture for a in annotations], [a.name for a in annotations], strict)
    skipped += checked.skipped
    clipped, kept, rows, sizes = 0, [], [], []
    for i, size in zip(checked.kept, checked.sizes, strict=True):
        annotation = annotations[i]
        boxes = _in_picture(annotation, tuple(map(int, size)))
        if boxes is None:
            told = f"{annotation.size[1]}x{annotation.size[0]}"
            skipped.append((annotation.name, f"made for {told} pixels, its picture has {size[1]}x{size[0]}"))
            continue
        # As float32 already here: what is so narrow that it has no area then is empty.
        inside = np.clip(boxes, 0, [size[1], size[0]] * 2).astype("float32")
        good = (inside[:, 2:] > inside[:, :2]).all(axis=1)
        for number in np.flatnonzero(~good):
            with np.errstate(over="ignore"):
                skipped.append((f"{annotation.name} box {number + 1}", _fault(boxes[number].astype("float32"))))
        clipped += int((np.abs(inside - boxes).max(axis=1) > _TOLERANCE)[good].sum()) if len(boxes) else 0
        classes = np.array([numbers[label] for label in annotation.labels], "int32")
        rows.append((inside[good], classes[good], np.asarray(annotation.ignore, bool)[good]))
        kept.append(i)
        sizes.append(size)
    if strict and skipped:
        raise UserError(f"{skipped[0][0]}: {skipped[0][1]}; mend it, or leave out --strict to skip it")
    if not kept:
        raise UserError(f"{source} has no usable annotation: {skipped[0][0]}: {skipped[0][1]}")
    pictures = dict(zip(checked.kept, checked.images, strict=True))
    return BoxSet(
        images=tuple(pictures[i] for i in kept),
        boxes=tuple(row[0] for row in rows),
        classes=tuple(row[1] for row in rows),
        ignore=tuple(row[2] for row in rows),
        sizes=np.array(sizes, "int32"),
        class_names=tuple(class_names),
        source=source,
        names=tuple(a.picture if isinstance(a.picture, str) else a.name for a in (annotations[i] for i in kept)),
        part=tuple(annotations[i].part for i in kept),
        skipped=tuple(skipped),
        clipped=clipped,
        unlisted=unlisted,
    )


def _in_picture(annotation: Annotation, size: tuple[int, int]) -> np.ndarray | None:
    """The boxes in pixels of the upright picture, or None if they were made for another one."""
    height, width = size
    boxes = np.asarray(annotation.boxes, "float64").reshape(-1, 4)
    if annotation.fractions:
        return boxes * [width, height, width, height]
    if annotation.size in (None, size) or 0 in annotation.size:
        return boxes
    if annotation.size == size[::-1]:
        orientation = _orientation(annotation.picture)
        # Writers of annotations are known to mix up width and height: then the boxes are right all the same.
        return _turn_upright(boxes, annotation.size, orientation) if orientation >= _TURNED else boxes
    scales = np.array([width / annotation.size[1], height / annotation.size[0]])
    if abs(scales[0] / scales[1] - 1) > 0.02:
        return None
    return boxes * np.tile(scales, 2)


def _orientation(picture: str | bytes) -> int:
    if isinstance(picture, bytes):
        return 1
    try:
        with Image.open(picture) as image:
            return orientation_of(image)
    except Image.DecompressionBombError:  # TensorFlow has decoded it, since Pillow converts none of that size
        return int(read_orientation(tf.io.read_file(picture)))


def _turn_upright(boxes: np.ndarray, stored: tuple[int, int], orientation: int) -> np.ndarray:
    """Boxes in a picture as stored (height, width) to boxes in the upright one; Exif 2.32, orientations 5 to 8."""
    x, y = boxes[:, ::2], boxes[:, 1::2]
    across = stored[0] - y if orientation in (6, 7) else y
    down = stored[1] - x if orientation in (7, 8) else x
    return np.stack([across.min(1), down.min(1), across.max(1), down.max(1)], axis=1)


def _fault(box: np.ndarray) -> str:
    x1, y1, x2, y2 = (f"{value:g}" for value in box)
    where = f"({x1}, {y1}, {x2}, {y2})"
    if box[2] < box[0] or box[3] < box[1]:
        return f"inverted {where}: its corners are swapped"
    if box[2] == box[0] or box[3] == box[1]:
        return f"empty {where}"
    return f"outside of its picture {where}"
