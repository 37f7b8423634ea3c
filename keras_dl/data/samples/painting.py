"""The built-in painting: brush strokes along a flow field, drawn by this program."""

import numpy as np

PALETTES = {  # from shadow to light, with a stray colour for the lights
    "night": ("#111842", "#1c3678", "#2e62a4", "#6296be", "#b0c4be", "#eccc6e", "#f09632"),
    "ember": ("#280e1c", "#681620", "#b23022", "#de682c", "#f0aa4e", "#f6dea0", "#5c8c8c"),
    "meadow": ("#102c28", "#1c563e", "#548a3e", "#a8ba54", "#e8de8c", "#eea096", "#ba5478"),
}
SWIRLS = 7
BRUSHES = (26, 15, 8)  # width in pixels of a picture of 512, broad first


def painting(palette: str = "night", width: int = 512, height: int = 384, seed: int = 0) -> np.ndarray:
    """A painting of swirling strokes, uint8 `(height, width, 3)`; the same for the same arguments.

    Args:
        palette: a key of `PALETTES`.
        width: pixels.
        height: pixels.
        seed: of where the strokes go.
    """
    from PIL import Image, ImageColor, ImageDraw

    random = np.random.default_rng(seed)
    colours = np.array([ImageColor.getrgb(colour) for colour in PALETTES[palette]])
    scale = 2 * max(width, height) / 512  # drawn at twice the size, for smooth edges
    size = np.array([2 * width, 2 * height])
    swirls = _swirls(random, size)
    canvas = Image.new("RGB", tuple(size.tolist()), tuple(colours[1].tolist()))
    draw = ImageDraw.Draw(canvas)
    for brush in BRUSHES:
        breadth = brush * scale
        count = int(2.8 * size.prod() / (breadth * 7 * breadth))
        starts = random.uniform(-0.1, 1.05, (count, 2)) * size
        paths = _follow(starts, swirls, steps=9, length=0.9 * breadth)
        tones = _tone(starts, swirls, size) + random.normal(0, 0.055, count)
        for path, tone in zip(paths, tones, strict=True):
            _stroke(draw, path, _colour(tone, colours), breadth, random)
    return np.array(canvas.resize((width, height), Image.Resampling.LANCZOS))


def _swirls(random: np.random.Generator, size: np.ndarray) -> np.ndarray:
    """Rows of x, y, radius and sense of rotation."""
    places = random.uniform(0.05, 0.95, (SWIRLS, 2)) * size
    radii = random.uniform(0.12, 0.3, (SWIRLS, 1)) * size.max()
    return np.hstack([places, radii, random.choice([-1, 1], (SWIRLS, 1))])


def _flow(points: np.ndarray, swirls: np.ndarray) -> np.ndarray:
    """Unit vectors `(n, 2)`: a wavy wind from the left, turning around each swirl."""
    wave = 0.5 * np.sin(points[:, 0] / swirls[:, 2].mean() * 1.7)
    field = np.stack([np.ones(len(points)), wave], axis=1)
    for x, y, radius, sense in swirls:
        offset = points - (x, y)
        strength = 4 * sense * np.exp(-np.sum(offset**2, axis=1) / radius**2)
        field += strength[:, None] * offset[:, ::-1] * (-1, 1) / radius
    return field / np.linalg.norm(field, axis=1, keepdims=True).clip(1e-6)


def _follow(points: np.ndarray, swirls: np.ndarray, steps: int, length: float) -> np.ndarray:
    """The paths of all strokes, `(strokes, steps, 2)`."""
    path = [points]
    for _ in range(steps - 1):
        path.append(path[-1] + length * _flow(path[-1], swirls))
    return np.stack(path, axis=1)


def _tone(points: np.ndarray, swirls: np.ndarray, size: np.ndarray) -> np.ndarray:
    """A place in the palette, 0 to 1: rings of light around the swirls, dark towards the ground."""
    tone = 0.42 - 0.42 * points[:, 1] / size[1]
    for x, y, radius, _ in swirls:
        distance = np.hypot(*(points - (x, y)).T) / radius
        tone += 0.62 * np.exp(-((distance / 0.42) ** 2)) + 0.16 * np.cos(9 * distance) * np.exp(-(distance**2))
    return tone


def _colour(tone: float, colours: np.ndarray) -> np.ndarray:
    place = float(np.clip(tone, 0, 1)) * (len(colours) - 1)
    return np.array([np.interp(place, range(len(colours)), channel) for channel in colours.T])


def _stroke(draw: object, path: np.ndarray, colour: np.ndarray, breadth: float, random: np.random.Generator) -> None:
    """Bristles side by side, each a little lighter or darker than the paint."""
    along = np.gradient(path, axis=0)
    across = along[:, ::-1] * (-1, 1) / np.linalg.norm(along, axis=1, keepdims=True).clip(1e-6)
    bristles = max(4, round(breadth / 6))
    for place in np.linspace(-0.5, 0.5, bristles):
        shade = np.clip(colour + random.normal(0, 13), 0, 255).astype(int)
        line = path + place * breadth * across
        first = random.integers(0, 2)
        draw.line([tuple(p) for p in line[first:]], fill=tuple(shade.tolist()), width=round(1.3 * breadth / bristles))
