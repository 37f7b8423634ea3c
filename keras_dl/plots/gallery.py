"""Pictures of pictures: what a classifier got wrong."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from keras_dl.plots.fonts import class_labels, drawable, shorten, text_width
from keras_dl.plots.images import caption, image_grid, show
from keras_dl.plots.picture import Picture
from keras_dl.plots.style import BLUE, GREY, VERMILION, message_figure

COLUMNS = 6
LETTERS = 25  # of a file name that fit under an image
BOLD_LETTERS = 17  # of a class name after "said"


@Picture
def mistakes_gallery(
    images: Sequence[np.ndarray],
    labels: np.ndarray,
    scores: np.ndarray,
    class_names: Sequence[str],
    file_names: Sequence[str] = (),
    title: str = "Most confident mistakes",
) -> Figure:
    """Images with what they are, what the model said, how sure it was, and the file.

    The arguments are those of the mistakes alone, in the order to show: `worst_mistakes` finds them.

    Args:
        images: in [0, 255], each `(height, width, channels)` of its own size; none gives a picture that
            says so.
        labels: class numbers `(images,)`, or 0 and 1 `(images, classes)` for several labels per image.
        scores: probabilities `(images, classes)`.
        class_names: one per class.
        file_names: one per image, or none.
        title: stands over the gallery.
    """
    if not len(images):
        return message_figure(title, "No mistakes")
    columns = max(3, min(COLUMNS, len(images)))
    figure, grid = image_grid(-(-len(images) // columns), columns, title, caption_lines=3)
    names = class_labels(class_names, BOLD_LETTERS)
    file_names = file_names or [""] * len(images)
    for axes, image, label, score, file_name in zip(grid.flat, images, labels, scores, file_names, strict=False):
        is_text, said_text, probability = verdict(np.asarray(label), np.asarray(score), names)
        show(axes, image)
        caption(axes, 0, f"is {shorten(is_text, BOLD_LETTERS)}", color=BLUE, fontweight="bold")
        caption(axes, 1, f"said {shorten(said_text, BOLD_LETTERS)}", color=VERMILION, fontweight="bold")
        room = LETTERS - 11
        fitting = file_name if text_width(file_name) <= room else Path(file_name).name  # which file, before where
        last = f"{percent(probability)} sure  {shorten(drawable(fitting), room)}"
        caption(axes, 2, last.rstrip(), color=GREY, fontsize=7)
    for axes in grid.flat[len(images) :]:
        axes.remove()
    return figure


def verdict(label: np.ndarray, score: np.ndarray, names: Sequence[str]) -> tuple[str, str, float]:
    """What an image is, what a model said, and how sure it was of the (worst) wrong part of it.

    `label` is a class number, or 0 and 1 for each class; then a class is said from 0.5 on.
    """
    if label.ndim == 0:
        said = int(score.argmax())
        return names[int(label)], names[said], float(score[said])
    said = score >= 0.5
    certainty = np.where(said, score, 1 - score)
    wrong = said != (label == 1)
    texts = [", ".join(names[i] for i in np.flatnonzero(chosen)) or "nothing" for chosen in (label == 1, said)]
    return texts[0], texts[1], float(certainty[wrong].max() if wrong.any() else certainty.min())


def percent(share: float) -> str:
    """A probability as a reader wants it: 97%, and >99% where rounding would claim certainty."""
    if 0.995 <= share < 1:
        return ">99%"
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"
