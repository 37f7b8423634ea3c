import numpy as np
from PIL import Image

from keras_dl import plots
from keras_dl.plots.samples import nearest_pictures, sample_grid, tiles


def levels(count, side=32, channels=3):
    """Pictures of one level each, 10, 20, 30 ..."""
    return np.ones((count, side, side, channels)) * 10 * np.arange(1, count + 1)[:, None, None, None]


def test_tiles_stand_row_by_row_with_white_between():
    sheet = tiles(levels(5), columns=3)
    assert sheet.shape == (65, 98, 3)
    assert [sheet[5, x, 0] for x in (5, 40, 70)] == [10, 20, 30]
    assert [sheet[40, x, 0] for x in (5, 40, 70)] == [40, 50, 255]
    assert (sheet[:, 32] == 255).all()
    assert (sheet[32] == 255).all()


def test_samples_are_shown_pixel_for_pixel(tmp_path):
    path = sample_grid(levels(4, channels=1) + 120, path=tmp_path / "grid.png", columns=2)
    with Image.open(path) as image:
        grey = np.asarray(image.convert("L"))
    for level in (130, 140, 150, 160):
        # Each picture of 32 pixels is drawn at twice its size, give or take lines at its edge and of the title.
        assert 60**2 <= (np.abs(grey.astype(int) - level) <= 1).sum() <= 68**2


def test_nearest_pictures_stand_below_with_their_distance():
    figure = nearest_pictures.draw(levels(3), levels(3) + 100, np.array([1.04, 20.0, 100.0]), usual=50.0)
    texts = [text.get_text() for text in figure.texts]
    assert texts[1:] == ["1.0", "20.0", "100.0"]
    assert texts[0].endswith("root mean square difference in levels of 255 (of unseen real pictures 50.0)")
    shown = [int(axes.images[0].get_array()[0, 0, 0]) for axes in figure.axes]
    assert shown == [10, 20, 30, 110, 120, 130]


def test_strip_and_projection_are_written(tmp_path):
    strip = plots.interpolation_strip(levels(6), path=tmp_path / "strip.png")
    pair = plots.projection(levels(1)[0], levels(2)[1], 10.0, path=tmp_path / "pair.png")
    for path in (strip, pair):
        with Image.open(path) as image:
            assert image.width > image.height
