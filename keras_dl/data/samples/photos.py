"""The built-in photographs: the two that scikit-learn carries, 640x427 pixels (CC BY, see its DESCR)."""

import io

import numpy as np

NAMES = ("china", "flower")
HELD_OUT = 0.3  # of the width, on the right: never among the crops


def photograph(name: str = "china") -> np.ndarray:
    """A photograph, uint8 `(427, 640, 3)`: `china` is a temple by a lake, `flower` a dahlia."""
    from sklearn.datasets import load_sample_image

    return np.array(load_sample_image(f"{name}.jpg"))


def held_out(name: str = "china") -> np.ndarray:
    """The part of a photograph that `photo_crops` leaves out, uint8 `(427, 192, 3)`."""
    pixels = photograph(name)
    return pixels[:, -round(HELD_OUT * pixels.shape[1]) :]


def photo_crops(count: int = 400, side: int = 256, seed: int = 0) -> list[bytes]:
    """Square crops of the left of both photographs, of half their height and more, as PNG.

    Args:
        count: how many.
        side: pixels to which each is scaled.
        seed: of the places and sizes.
    """
    from PIL import Image

    random = np.random.default_rng(seed)
    pictures = []
    for name in NAMES:
        pixels = photograph(name)
        pictures.append(Image.fromarray(pixels[:, : pixels.shape[1] - held_out(name).shape[1]]))
    crops = []
    for i in range(count):
        picture = pictures[i % len(pictures)]
        size = int(random.uniform(0.5, 1) * min(picture.size))
        left, top = (int(random.integers(0, room - size + 1)) for room in picture.size)
        crop = picture.resize((side, side), Image.Resampling.LANCZOS, (left, top, left + size, top + size))
        buffer = io.BytesIO()
        crop.save(buffer, "PNG", compress_level=1)
        crops.append(buffer.getvalue())
    return crops
