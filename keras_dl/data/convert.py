"""Pictures that TensorFlow does not read (PGM, TIFF ...) made into PNG once, by Pillow, in a cache folder."""

import atexit
import contextlib
import functools
import hashlib
import io
import os
import shutil
import struct
import tempfile
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

DAMAGED = (  # what Pillow's format plugins let escape on damaged files, beside OSError
    SyntaxError, ValueError, EOFError, TypeError, AttributeError, LookupError, ArithmeticError, AssertionError,
    RuntimeError, struct.error,
)  # fmt: skip
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
UPRIGHT = {  # EXIF orientation to what turns the stored picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@functools.cache
def cache_folder() -> Path:
    """Where converted pictures are kept: `$XDG_CACHE_HOME/keras_dl/pictures`, by default below `~/.cache`.

    Where that can't be written, a folder in the system's temporary one, which is removed when the process ends.
    """
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = home / "keras_dl" / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return folder
    except (OSError, RuntimeError):  # the latter for a user who has no home, as in a container
        folder = Path(tempfile.mkdtemp(prefix="keras_dl-pictures-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder


def convert_file(path: str) -> tuple[str, tuple[int, int]]:
    """The PNG of a picture file, made unless the cache has it.

    Args:
        path: a file that Pillow reads.

    Returns:
        The PNG's path, and its height and width.

    Raises:
        OSError: with an `errno`, of the disk; without one, if Pillow can't read all of the picture.
        PIL.Image.DecompressionBombError: for more pixels than Pillow allows.
    """
    status = os.stat(path)
    key = f"{os.path.abspath(path)}\0{status.st_mtime_ns}\0{status.st_size}"
    target = cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()}.png"
    # Made anew where it is not whole: a power failure may leave an empty file, or half of one.
    with contextlib.suppress(OSError), Image.open(target) as image:
        image.fp.seek(-len(PNG_END), os.SEEK_END)
        if image.fp.read() == PNG_END:
            return str(target), image.size[::-1]
    encoded, size = convert_bytes(Path(path).read_bytes())
    handle, beside = tempfile.mkstemp(dir=target.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(encoded)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException:
        os.unlink(beside)
        raise
    return str(target), size


def convert_bytes(encoded: bytes) -> tuple[bytes, tuple[int, int]]:
    """A picture as PNG, upright, 8-bit grey or RGB, transparency laid on white; and its height and width.

    Raises:
        OSError: without an `errno`, if Pillow can't read all of it.
        PIL.Image.DecompressionBombError: for more pixels than Pillow allows.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as opened:
            image = to_rgb(upright(opened))
    except DAMAGED as error:
        raise OSError(str(error)) from error
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue(), image.size[::-1]


def upright(image: Image.Image) -> Image.Image:
    """The picture turned by its EXIF orientation; as it is stored where that can't be read.

    Pillow's own `exif_transpose` writes the other entries anew, and fails on those of a wrong type.
    """
    image.load()  # a TIFF is turned by this, and then says that it is upright
    turn = UPRIGHT.get(orientation_of(image))
    return image if turn is None else image.transpose(turn)


def orientation_of(image: Image.Image) -> int:
    """1 (upright) to 8, as the picture's EXIF says; 1 where that can't be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Pillow trusts what the entries say of themselves: anything may come of it
        return 1
    return orientation if orientation in range(1, 9) else 1


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit grey or RGB.

    Integers of more than 8 bits are scaled from the range of 16; floats are taken as [0, 1] if none is larger, and
    otherwise as [0, 255].
    """
    if image.mode.startswith("I"):
        values = np.asarray(image).astype("float64") / 257
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype="float64"))
        values = values * 255 if values.size and values.max() <= 1 else values
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    else:
        return image if image.mode == "L" else image.convert("RGB")
    return Image.fromarray(np.rint(np.clip(values, 0, 255)).astype("uint8"))
