"""Pictures drawn for the tests."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

STORED = {  # Exif 2.32: how a picture lies in the file that an orientation turns upright
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def drawing(width: int = 96, height: int = 64, seed: int = 0) -> Image.Image:
    """A smooth picture without symmetry."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3)).astype("uint8")
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def exif(orientation: int, little: bool = False) -> bytes:
    """An Exif segment with another entry before the orientation, in either byte order."""
    order = "little" if little else "big"
    tiff = b"II*\0" if little else b"MM\0*"
    tiff += (8).to_bytes(4, order) + (2).to_bytes(2, order)
    for tag, value in ((0x0100, 4000), (0x0112, orientation)):
        tiff += tag.to_bytes(2, order) + (3).to_bytes(2, order) + (1).to_bytes(4, order)
        tiff += value.to_bytes(2, order) + b"\0\0"
    return b"Exif\0\0" + tiff + bytes(4)


def class_folders(root: Path, count: int = 4, classes: tuple[str, ...] = ("ant", "bee"), **options: int) -> Path:
    """A folder per class with `count` JPEGs each."""
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            drawing(seed=100 * c + i, **options).save(root / name / f"{i:03}.jpg")
    return root
