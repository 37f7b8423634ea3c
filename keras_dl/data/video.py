"""Video files frame by frame, by PyAV (the extra `video`)."""

import contextlib
import importlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from keras_dl.errors import UserError

SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv"))


def read_video(path: Path) -> tuple[Fraction, Iterator[tuple[float, np.ndarray]]]:
    """Frames per second, and the frames: seconds since the start, and uint8 RGB `(height, width, 3)`.

    Raises:
        UserError: if PyAV is missing, or the file is no video that it reads.
    """
    av = _av(path)
    try:
        container = av.open(str(path))
        stream = container.streams.video[0]
    except (av.FFmpegError, IndexError) as error:
        raise UserError(f"{path} is no video that can be read ({error})") from None

    def frames() -> Iterator[tuple[float, np.ndarray]]:
        empty = True
        with container:
            try:
                for frame in container.decode(stream):
                    empty = False
                    yield float(frame.time or 0.0), frame.to_ndarray(format="rgb24")
            except av.FFmpegError as error:
                raise UserError(f"{path} is damaged ({error}): cut it before that place, or make it anew") from None
        if empty:
            raise UserError(f"{path} has no frames: leave it out")

    return stream.average_rate or Fraction(25), frames()


@contextlib.contextmanager
def video_writer(path: Path, rate: Fraction) -> Iterator[Any]:
    """A function that takes the frames of an MP4 file, uint8 RGB; the file appears whole or not at all.

    Raises:
        UserError: if PyAV is missing, or the file can't be written.
    """
    av = _av(path)
    beside = path.with_name(f".{path.stem}.part.mp4")
    try:
        with av.open(str(beside), "w") as container:
            stream = container.add_stream("libx264", rate=rate)
            stream.pix_fmt = "yuv420p"

            def write(pixels: np.ndarray) -> None:
                even = pixels[: max(2, len(pixels) // 2 * 2), : max(2, pixels.shape[1] // 2 * 2)]
                if not stream.codec_context.is_open:
                    stream.height, stream.width = even.shape[:2]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")))

            yield write
            container.mux(stream.encode())
        beside.replace(path)
    except av.FFmpegError as error:
        raise UserError(f"can't write {path} ({error.strerror}); free some space or name another folder") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def _av(path: Path) -> Any:
    try:
        return importlib.import_module("av")
    except ImportError:
        raise UserError(f"{path} is a video, which needs PyAV: pip install 'keras_dl[video]'") from None
