import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from keras_dl import plots
from keras_dl.errors import UserError
from keras_dl.plots.picture import Picture
from keras_dl.plots.style import message_figure, thinned


@Picture
def square(side):
    """A square of that many inches."""
    figure = Figure(figsize=(side, side))
    figure.add_subplot().plot([0, 1], [0, 1])
    return figure


def test_a_picture_is_a_png_of_its_size_that_shows_something(tmp_path):
    path = square(2, path=tmp_path / "new" / "folder" / "a.png")
    assert path == tmp_path / "new" / "folder" / "a.png"
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (240, 240))
        assert len(np.unique(np.asarray(image.convert("L")))) > 10
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def test_a_picture_replaces_the_old_one(tmp_path):
    square(1, path=tmp_path / "a.png")
    square(2, path=str(tmp_path / "a.png"))
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (240, 240)


def test_a_failure_while_drawing_leaves_the_old_picture(tmp_path, monkeypatch):
    before = square(1, path=tmp_path / "a.png").read_bytes()

    def full_disk(self, target, **kwargs):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full_disk)
    with pytest.raises(UserError, match="No space left"):
        square(2, path=tmp_path / "a.png")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before


def test_a_path_under_a_file_is_named_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as error:
        square(1, path=tmp_path / "file" / "plots" / "a.png")
    assert str(tmp_path / "file" / "plots" / "a.png") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_in_the_way_is_named_and_kept(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(UserError, match=r"a\.png"):
        square(1, path=tmp_path / "a.png")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_the_users_own_style_is_neither_used_nor_changed(tmp_path):
    with matplotlib.rc_context({"figure.facecolor": "black", "savefig.dpi": 30}):
        with Image.open(square(1, path=tmp_path / "a.png")) as image:
            assert image.size == (120, 120)
            assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        assert matplotlib.rcParams["figure.facecolor"] == "black"


def test_draw_gives_the_figure_alone():
    assert square.draw(3).get_figwidth() == 3
    assert square.__doc__ == "A square of that many inches."


def test_thinned_is_evenly_spaced_and_short():
    assert list(thinned(5, 10)) == [0, 1, 2, 3, 4]
    assert list(thinned(10, 5)) == [0, 2, 4, 6, 8]
    assert all(len(thinned(n, 50)) <= 50 for n in range(1, 400))


def test_a_message_figure_says_it():
    texts = [text.get_text() for text in message_figure("Title", "nothing here").axes[0].texts]
    assert texts == ["nothing here"]


NO_FIGURES = ("annotate", "attention_html", "deciding_words_html")  # pixels, and pages


@pytest.mark.parametrize("name", plots.__all__)
def test_every_picture_is_found_by_name(name):
    picture = getattr(plots, name)
    assert isinstance(picture, Picture) == (name not in NO_FIGURES)
    assert picture.__name__ == name and picture.__doc__
