"""The drawn paintings and the built-in photographs."""

import io

import numpy as np
import pytest
from PIL import Image, ImageColor

from keras_dl.data.samples.painting import PALETTES, painting
from keras_dl.data.samples.photos import NAMES, held_out, photo_crops, photograph


@pytest.mark.parametrize("palette", PALETTES)
def test_painting_has_its_palettes_colours(palette):
    pixels = painting(palette, 96, 64)
    assert pixels.shape == (64, 96, 3)
    colours = np.array([ImageColor.getrgb(colour) for colour in PALETTES[palette]])
    distances = np.linalg.norm(pixels.reshape(-1, 1, 3).astype(float) - colours, axis=-1)
    assert np.percentile(distances.min(1), 90) < 50
    assert np.bincount(distances.argmin(1), minlength=len(colours)).min() > 0  # from shadow to light


def test_painting_is_a_function_of_its_seed():
    np.testing.assert_array_equal(painting(width=64, height=48), painting(width=64, height=48))
    assert (painting(width=64, height=48) != painting(width=64, height=48, seed=1)).mean() > 0.5


def test_strokes_are_longer_than_broad():
    """Along the flow neighbouring pixels are alike, across it they differ: the structure tensors are elongated."""
    grey = painting(width=256, height=192).mean(-1)
    down, right = np.gradient(grey)
    cells = [a[:192, :256].reshape(12, 16, 16, 16).sum((1, 3)) for a in (down * down, right * right, down * right)]
    spread = np.hypot(cells[0] - cells[1], 2 * cells[2]) / (cells[0] + cells[1] + 1e-9)
    assert np.median(spread) > 0.3  # noise without direction has 0.05


def test_crops_come_from_the_part_that_is_not_held_out():
    crops = [np.asarray(Image.open(io.BytesIO(crop))) for crop in photo_crops(6, side=32)]
    assert {crop.shape for crop in crops} == {(32, 32, 3)}
    assert crops[0].std() > 10
    assert len({crop.tobytes() for crop in crops}) == 6
    for name in NAMES:
        np.testing.assert_array_equal(held_out(name), photograph(name)[:, 448:])
