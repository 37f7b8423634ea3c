"""The built-in sample for detectors: scenes of scikit-learn's digits and plain shapes on textured backgrounds."""

import functools
import io

import numpy as np
from PIL import Image, ImageDraw

from keras_dl.data.box_set import BoxSet
from keras_dl.data.progress import Progress

SIDE = 96
TRAINING, VALIDATION = 1600, 200
SHAPES = ("circle", "square", "triangle")
CLASS_NAMES = (*(f"digit {digit}" for digit in range(10)), *SHAPES)
SMALLEST, LARGEST = 14, 44  # pixels of an object's side before it is turned
MOST = 9  # objects in a scene at most; some find no room
_HIDDEN = 0.3  # share of an object that another may cover
_DIGITS_TO_TRAIN = 1400  # the scans after these are in validation scenes alone
_FINE = 4  # shapes are drawn so many times larger, and then reduced


def scene_box_set(seed: int, training: int = TRAINING, validation: int = VALIDATION, side: int = SIDE) -> BoxSet:
    """Scenes in a training and a validation part, which share no scan of a digit.

    Args:
        seed: the same seed gives the same scenes.
        training: scenes to train on.
        validation: scenes to validate with.
        side: pixels of a scene's side.
    """
    scenes = []
    with Progress("drawing scenes", training + validation) as progress:
        for number in range(training + validation):
            scenes.append(draw_scene(np.random.default_rng([seed % 2**32, number]), side, number < training))
            progress.advance()
    count = len(scenes)
    return BoxSet(
        images=tuple(_png(pixels) for pixels, _, _ in scenes),
        boxes=tuple(boxes for _, boxes, _ in scenes),
        classes=tuple(classes for _, _, classes in scenes),
        ignore=tuple(np.zeros(len(classes), bool) for _, _, classes in scenes),
        sizes=np.full((count, 2), side, "int32"),
        class_names=CLASS_NAMES,
        source="the built-in sample (drawn scenes of scikit-learn's digits and shapes)",
        names=tuple(f"scene {number}" for number in range(count)),
        part=("train",) * training + ("validation",) * validation,
    )


def draw_scene(random: np.random.Generator, side: int, training: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One scene.

    Args:
        random: decides all of it.
        side: its pixels a side.
        training: whether its digits are those to train on.

    Returns:
        uint8 RGB `(side, side, 3)`, float32 boxes `(n, 4)` around what is drawn, and their int32 classes.
    """
    scene = texture(random, side)
    boxes: list[tuple[int, int, int, int]] = []
    classes = []
    for _ in range(random.integers(2, MOST + 1)):
        kind = int(random.integers(len(CLASS_NAMES)))
        size = round(float(np.exp(random.uniform(np.log(SMALLEST), np.log(min(LARGEST, side))))))
        mask = _mask(random, kind, size, training)
        height, width = mask.shape
        left, top = (int(random.integers(0, max(1, side - length))) for length in (width, height))
        box = (left, top, min(left + width, side), min(top + height, side))
        if any(_covered(box, other) > _HIDDEN or _covered(other, box) > _HIDDEN for other in boxes):
            continue
        window = scene[top : box[3], left : box[2]]
        share = mask[: window.shape[0], : window.shape[1], None]
        window += share * (_ink(random, window) - window)
        boxes.append(box)
        classes.append(kind)
    noise = random.normal(0, 4, scene.shape)
    pixels = np.clip(scene + noise, 0, 255).astype("uint8")
    return pixels, np.array(boxes, "float32").reshape(-1, 4), np.array(classes, "int32")


def texture(random: np.random.Generator, side: int) -> np.ndarray:
    """A background float64 `(side, side, 3)` in [0, 255]: noise of several sizes of grain around one colour."""
    ground = np.zeros((side, side, 3)) + random.uniform(40, 215, 3)
    for grain in (3, 6, 12, 24):
        coarse = random.normal(0, 1, (grain, grain)).astype("float32")
        smooth = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
        ground += smooth[..., None] * random.uniform(0, 40, 3) / grain**0.5
    return np.clip(ground, 0, 255)


def _ink(random: np.random.Generator, window: np.ndarray) -> np.ndarray:
    """A colour that stands out from what lies behind."""
    behind = window.mean((0, 1))
    while True:
        colour = random.uniform(0, 255, 3)
        if abs(colour.mean() - behind.mean()) > 90:
            return colour


def _mask(random: np.random.Generator, kind: int, size: int, training: bool) -> np.ndarray:
    """How much of each pixel an object covers, float64 in [0, 1], cut to where it is."""
    if kind < 10:
        scans = _scans(kind, training)
        large = Image.fromarray(scans[random.integers(len(scans))]).resize((size, size), Image.Resampling.BICUBIC)
    else:
        large = _shape(SHAPES[kind - 10], size)
    turned = large.rotate(random.uniform(-12, 12), Image.Resampling.BICUBIC, expand=True)
    mask = np.clip(np.asarray(turned, "float64") / 255, 0, 1)
    rows, columns = (np.flatnonzero(mask.max(axis) > 0.4) for axis in (1, 0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _shape(name: str, size: int) -> Image.Image:
    fine = Image.new("L", (size * _FINE, size * _FINE))
    end = size * _FINE - 1
    draw = ImageDraw.Draw(fine)
    if name == "circle":
        draw.ellipse((0, 0, end, end), fill=255)
    elif name == "square":
        draw.rectangle((0, 0, end, end), fill=255)
    else:
        draw.polygon(((end / 2, 0), (0, end), (end, end)), fill=255)
    return fine.resize((size, size), Image.Resampling.BOX)


@functools.cache
def _scans(digit: int, training: bool) -> np.ndarray:
    """uint8 `(scans, 8, 8)` of one digit."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    some = slice(None, _DIGITS_TO_TRAIN) if training else slice(_DIGITS_TO_TRAIN, None)
    chosen = digits.images[some][digits.target[some] == digit]
    return np.rint(chosen * (255 / 16)).astype("uint8")


def _covered(box: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Share of a box that another one covers."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return max(width, 0) * max(height, 0) / ((box[2] - box[0]) * (box[3] - box[1]))


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
