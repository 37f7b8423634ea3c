"""The built-in faces: drawn from shapes whose form, place and colour are random, half of them with glasses."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

CLASS_NAMES = ("bare", "glasses")
COUNT = 2000
SIDE = 32
OVERSAMPLING = 6  # drawn so much larger, then averaged: smooth edges

SKINS = ((255, 224, 196), (241, 194, 160), (224, 172, 132), (198, 134, 92), (150, 96, 62), (106, 66, 44))
HAIRS = ((28, 22, 20), (70, 44, 28), (122, 78, 40), (196, 156, 88), (150, 58, 30), (170, 168, 166))
IRISES = ((60, 40, 26), (70, 110, 160), (76, 120, 80))
LINE = (38, 28, 26)

Colour = tuple[int, int, int]


def face_pictures(count: int = COUNT, side: int = SIDE, seed: int = 0) -> tuple[list[bytes], np.ndarray]:
    """Draws faces; the i-th is the same for the same seed, whatever the count.

    Args:
        count: how many.
        side: pixels.
        seed: of what is drawn.

    Returns:
        Encoded PNGs, RGB, and their int32 labels into `CLASS_NAMES`.
    """
    encoded = []
    for i in range(count):
        buffer = io.BytesIO()
        draw_face(side, np.random.default_rng((seed, i)), glasses=bool(i % 2)).save(buffer, "PNG", compress_level=1)
        encoded.append(buffer.getvalue())
    return encoded, np.arange(count, dtype="int32") % 2


def draw_face(side: int, random: np.random.Generator, glasses: bool) -> Image.Image:
    """One face, RGB, `side` pixels a side."""
    large = side * OVERSAMPLING
    image = Image.new("RGB", (large, large), vary((176, 190, 206), random, 30))
    pen = Pen(image, large, centre=(0.5 + random.uniform(-0.03, 0.03), 0.53 + random.uniform(-0.02, 0.02)))
    skin, hair = (vary(colours[random.integers(len(colours))], random, 8) for colours in (SKINS, HAIRS))
    wide, tall = random.uniform(0.27, 0.32), random.uniform(0.35, 0.39)
    turn = random.uniform(-0.05, 0.05)  # how far the features have moved to a side of the head
    long_hair = random.random() < 0.4

    if long_hair:
        pen.ellipse(0, 0.02, wide * 1.3, tall * 1.18, hair)
        pen.box(0, 0.3, wide * 1.3, 0.3, hair)
    pen.ellipse(0, 0.52, 0.42, 0.2, vary((90, 110, 140), random, 60))
    pen.box(0, 0.36, 0.11, 0.12, shade(skin, 0.85))
    for way in (-1, 1):
        pen.ellipse(way * wide, 0.02, 0.05, 0.08, shade(skin, 0.92))
    pen.ellipse(0, -0.07, wide * 1.12, tall * 0.98, hair)
    pen.ellipse(0, 0.03, wide, tall * 0.97, skin)
    fringe = random.uniform(0.03, 0.12)
    pen.crescent(wide * 1.02, tall, fringe, random.uniform(-0.1, 0.1), hair)

    apart, level = random.uniform(0.115, 0.14), random.uniform(-0.03, 0.0)
    open_by, iris = random.uniform(0.03, 0.045), IRISES[random.integers(len(IRISES))]
    tilt = random.uniform(-0.02, 0.03)
    for way in (-1, 1):
        x = way * apart + turn
        pen.ellipse(x, level, 0.06, open_by, (250, 250, 250))
        pen.ellipse(x + turn * 0.3, level, 0.03, min(0.035, open_by), iris)
        pen.line([(x - way * 0.06, level - 0.075), (x + way * 0.07, level - 0.075 - tilt)], 0.022, shade(hair, 0.8))
        if glasses:
            pen.ring(x, level + 0.005, 0.1, 0.085, 0.02, LINE)
    if glasses:
        pen.line([(turn - apart + 0.09, level), (turn + apart - 0.09, level)], 0.02, LINE)
    nose = level + random.uniform(0.12, 0.15)
    pen.line(
        [(turn * 1.3, level + 0.05), (turn * 1.6 + 0.02, nose), (turn * 1.3 - 0.02, nose)], 0.018, shade(skin, 0.7)
    )
    smile, mouth = random.uniform(-0.02, 0.05), nose + random.uniform(0.08, 0.1)
    half = random.uniform(0.07, 0.11)
    curve = [(turn + half * t, mouth + smile * (1 - t * t)) for t in np.linspace(-1, 1, 9)]
    pen.line(curve, random.uniform(0.025, 0.04), vary((170, 70, 70), random, 20))
    return image.resize((side, side), Image.Resampling.BOX)


class Pen:
    """Draws on a picture whose side is 1, relative to the middle of a face."""

    def __init__(self, image: Image.Image, side: int, centre: tuple[float, float]) -> None:
        self.draw, self.side, self.centre = ImageDraw.Draw(image), side, centre

    def at(self, x: float, y: float) -> tuple[float, float]:
        return (self.centre[0] + x) * self.side, (self.centre[1] + y) * self.side

    def bounds(self, x: float, y: float, half_width: float, half_height: float) -> list[tuple[float, float]]:
        return [self.at(x - half_width, y - half_height), self.at(x + half_width, y + half_height)]

    def ellipse(self, x: float, y: float, half_width: float, half_height: float, colour: Colour) -> None:
        self.draw.ellipse(self.bounds(x, y, half_width, half_height), fill=colour)

    def box(self, x: float, y: float, half_width: float, half_height: float, colour: Colour) -> None:
        self.draw.rectangle(self.bounds(x, y, half_width, half_height), fill=colour)

    def ring(self, x: float, y: float, half_width: float, half_height: float, thick: float, colour: Colour) -> None:
        bounds = self.bounds(x, y, half_width, half_height)
        self.draw.ellipse(bounds, outline=colour, width=max(1, round(thick * self.side)))

    def line(self, points: Sequence[tuple[float, float]], thick: float, colour: Colour) -> None:
        width = max(1, round(thick * self.side))
        self.draw.line([self.at(*point) for point in points], fill=colour, width=width, joint="curve")

    def crescent(self, half_width: float, half_height: float, depth: float, parting: float, colour: Colour) -> None:
        """Hair over the forehead: the top of the head's ellipse, down to a curve `depth` below it at the parting."""
        angles = np.linspace(np.pi, 2 * np.pi, 24)
        top = [(half_width * np.cos(a), 0.01 + half_height * np.sin(a)) for a in angles]
        across = np.linspace(half_width, -half_width, 24)
        below = [(x, 0.01 - half_height + depth + 2.2 * (x - parting) ** 2) for x in across]
        self.draw.polygon([self.at(*point) for point in top + below], fill=colour)


def vary(colour: Colour, random: np.random.Generator, by: float) -> Colour:
    """A colour near by."""
    channels = np.clip(np.array(colour) + random.uniform(-by, by, 3), 0, 255).astype(int)
    return int(channels[0]), int(channels[1]), int(channels[2])


def shade(colour: Colour, factor: float) -> Colour:
    """A darker one."""
    return int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor)
