"""One picture of any format and size, read and written as the user has it: upright, with its transparency."""

import errno
import functools
import io
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from keras_dl.data.convert import DAMAGED, to_rgb, upright
from keras_dl.data.folder import check_name
from keras_dl.errors import UserError
from keras_dl.run import write_bytes

WITH_ALPHA = frozenset(("PNG", "WEBP", "TIFF"))


class Picture(NamedTuple):
    """A picture's pixels, and what of it is transparent.

    Attributes:
        pixels: float32 sRGB `(height, width, 3)` in [0, 255], transparency laid on white.
        alpha: uint8 `(height, width)`, or None for an opaque picture.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None

    def resized(self, height: int, width: int) -> "Picture":
        """The picture in another size."""
        if self.pixels.shape[:2] == (height, width):
            return self
        rgb = Image.fromarray(np.rint(self.pixels).astype("uint8")).resize((width, height), Image.Resampling.LANCZOS)
        alpha = self.alpha
        if alpha is not None:
            alpha = np.asarray(Image.fromarray(alpha).resize((width, height), Image.Resampling.LANCZOS))
        return Picture(np.asarray(rgb, "float32"), alpha)


def read_picture(path: Path | str) -> Picture:
    """A picture file of any format that Pillow reads, turned upright by its EXIF orientation, in sRGB by its profile.

    Raises:
        UserError: for a file that is missing, empty, broken, too large or no picture, or whose name is not UTF-8.
    """
    check_name(path)
    path = Path(path)
    try:
        encoded = path.read_bytes()
        if not encoded:
            raise UserError(f"{path} is an empty file; give a picture")
        if encoded.startswith(b"%PDF"):
            raise UserError(f"{path} is a PDF document, whatever its name says; export the page as PNG or JPEG")
        with Image.open(io.BytesIO(encoded)) as opened:
            image = upright(opened)
            transparent = image.has_transparency_data
            alpha = np.asarray(image.convert("RGBA").getchannel("A")) if transparent else None
            pixels = np.asarray(_to_srgb(image, opened.info.get("icc_profile")), "float32")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; look at its path") from error
    except UnidentifiedImageError as error:
        raise UserError(f"{path} is not a picture; give a JPEG, PNG or another picture file") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{path} is too large ({2 * Image.MAX_IMAGE_PIXELS:,} pixels at most); reduce it") from error
    except (OSError, *DAMAGED) as error:
        if isinstance(error, UserError):
            raise
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"{path} can't be read: {os.strerror(error.errno).lower()}") from error
        raise UserError(f"{path} is a truncated or damaged picture; get it anew") from error
    return Picture(pixels, None if alpha is None or alpha.min() == 255 else alpha)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """What is written has no profile: without this, colours of a phone's Display P3 would come out paler."""
    rgb = to_rgb(image).convert("RGB")
    if not profile:
        return rgb
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        coloured = image if image.mode == "CMYK" else rgb
        return ImageCms.profileToProfile(coloured, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):  # damaged, or of another kind of picture
        return rgb


def picture_format(path: Path) -> str:
    """The format that a file name's suffix stands for, as Pillow names it.

    Raises:
        UserError: if it stands for none that can be written.
    """
    name = Image.registered_extensions().get(path.suffix.lower())
    if name is None or not _can_be_written(name):
        raise UserError(f"{path}: pictures can't be written as {path.suffix or 'a file without a suffix'}; use .png")
    return name


@functools.cache
def _can_be_written(form: str) -> bool:
    """Whether a colour picture comes back in its size: Pillow lists writers that lack a library, or know icons only."""
    pixels = np.zeros((23, 37, 3))
    try:
        with Image.open(io.BytesIO(encode_picture(pixels, form=form))) as image:
            return image.size == (37, 23)
    except (OSError, ValueError, KeyError):
        return False


def check_writable(path: Path) -> None:
    """Looks whether a picture can be written, in a folder that is still to be made if need be.

    Raises:
        UserError: if not.
    """
    check_name(path)
    picture_format(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        tempfile.TemporaryFile(dir=next(place for place in path.parents if place.exists())).close()
    except OSError as error:
        raise UserError(f"can't write {path} ({error.strerror}); name another file") from error


def write_picture(path: Path, pixels: np.ndarray, alpha: np.ndarray | None = None) -> Path:
    """Writes a picture in the format of its suffix, whole or not at all; its folder is made if need be.

    Args:
        path: the file.
        pixels: `(height, width, 3)` in [0, 255].
        alpha: `(height, width)`, for formats that have it; others get the pixels on white.

    Raises:
        UserError: if it can't be written.
    """
    content = encode_picture(pixels, alpha, picture_format(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
    return path


def encode_picture(pixels: np.ndarray, alpha: np.ndarray | None = None, form: str = "PNG") -> bytes:
    """A picture as the bytes of a file; arguments as of `write_picture`."""
    image = Image.fromarray(np.rint(np.clip(pixels, 0, 255)).astype("uint8"))
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
        image = image if form in WITH_ALPHA else to_rgb(image)
    buffer = io.BytesIO()
    image.save(buffer, form, **({"quality": 95} if form in ("JPEG", "WEBP") else {}))
    return buffer.getvalue()


def encode_animation(frames: list[np.ndarray], milliseconds: int = 120) -> bytes:
    """An endless GIF of frames `(height, width, 3)` in [0, 255], the last one shown longer."""
    images = [Image.fromarray(np.rint(np.clip(frame, 0, 255)).astype("uint8")) for frame in frames]
    durations = [milliseconds] * (len(images) - 1) + [10 * milliseconds]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    return buffer.getvalue()
