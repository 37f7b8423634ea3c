"""From a function that draws a figure to one that writes a file."""

import contextlib
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, ParamSpec

from matplotlib.figure import Figure

from keras_dl.data.progress import timed
from keras_dl.errors import UserError
from keras_dl.plots.style import house_style

P = ParamSpec("P")


class Picture(Generic[P]):
    """A function that draws a figure, called with one argument more: the file to write.

    `roc_curves(labels, scores, names, path=path)` writes the PNG and returns its path;
    `roc_curves.draw(labels, scores, names)` returns the `matplotlib.figure.Figure`. No picture touches
    pyplot, so none stays in memory and no display is needed.
    """

    def __init__(self, function: Callable[P, Figure]) -> None:
        functools.update_wrapper(self, function)
        self._function = function

    def draw(self, *args: P.args, **kwargs: P.kwargs) -> Figure:
        """The figure, unwritten."""
        with house_style():
            return self._function(*args, **kwargs)

    def __call__(self, *args: Any, path: Path | str, **kwargs: Any) -> Path:
        """Writes the figure as a PNG at `path`, whole or not at all, and returns `path`.

        Raises:
            UserError: if the file can't be written.
        """
        with timed(f"drawing {Path(path).name}"), house_style():
            return write_figure(self._function(*args, **kwargs), Path(path))


def write_figure(figure: Figure, path: Path) -> Path:
    """Writes beside `path`, then renames; makes the parent folders."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(beside, format="png")
        os.replace(beside, path)
    except OSError as error:
        raise UserError(f"can't write the picture {path}: {error.strerror or error}; choose another folder") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
        figure.clear()
    return path
