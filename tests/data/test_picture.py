"""One picture read and written: formats, orientation, transparency, and what is no picture."""

import numpy as np
import pytest
import tensorflow as tf
from pictures import STORED, drawing, encoded, exif
from PIL import Image, ImageSequence

from keras_dl.data.decode import decode_upright
from keras_dl.data.picture import Picture, check_writable, encode_animation, read_picture, write_picture
from keras_dl.errors import UserError

PIXELS = np.asarray(drawing(), "float32")


def write(folder, content, name="picture.png"):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "WEBP", "PPM"])
def test_reads_every_format_of_pillow(tmp_path, form):
    options = {"lossless": True} if form == "WEBP" else {}
    picture = read_picture(write(tmp_path, encoded(drawing(), form, **options)))
    np.testing.assert_array_equal(picture.pixels, PIXELS)
    assert picture.alpha is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(tmp_path, orientation):
    turn = STORED[orientation]
    stored = drawing() if turn is None else drawing().transpose(turn)
    content = encoded(stored, "JPEG", quality=95, exif=exif(orientation))
    picture = read_picture(write(tmp_path, content))
    assert picture.pixels.shape == PIXELS.shape
    assert np.abs(picture.pixels - PIXELS).mean() < 3
    served = decode_upright(tf.constant(content)).numpy()
    assert np.abs(served - picture.pixels).mean() < 3  # decoders differ by a rounding of chroma


@pytest.mark.parametrize(("options", "shape"), [({"longer": 48}, (32, 48, 3)), ({"largest": 30}, (20, 30, 3))])
def test_served_pictures_keep_their_proportions(options, shape):
    assert decode_upright(tf.constant(encoded(drawing())), **options).shape == shape
    assert decode_upright(tf.constant(encoded(drawing())), largest=500).shape == (64, 96, 3)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
def test_transparency_is_kept(tmp_path, suffix):
    image = drawing().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    picture = read_picture(write(tmp_path, encoded(image, "PNG")))
    np.testing.assert_array_equal(picture.alpha, np.asarray(image)[..., 3])
    again = read_picture(write_picture(tmp_path / f"again{suffix}", picture.pixels, picture.alpha))
    np.testing.assert_array_equal(again.alpha, picture.alpha)


def test_formats_without_transparency_get_white(tmp_path):
    clear = np.zeros((20, 20), "uint8")
    path = write_picture(tmp_path / "white.jpg", np.zeros((20, 20, 3)), clear)
    assert np.asarray(Image.open(path)).min() > 250


def test_grey_and_sixteen_bits(tmp_path):
    grey = Image.fromarray(np.full((20, 30), 40_000, "uint16"))
    picture = read_picture(write(tmp_path, encoded(grey, "PNG")))
    assert picture.pixels.shape == (20, 30, 3)
    np.testing.assert_allclose(picture.pixels, 40_000 / 257, atol=0.5)


def test_resized_together_with_its_transparency():
    picture = Picture(PIXELS, np.full((64, 96), 9, "uint8")).resized(32, 48)
    assert picture.pixels.shape == (32, 48, 3)
    assert picture.alpha.shape == (32, 48)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b"%PDF-1.7\n" + bytes(500), "PDF document"),
        (b"hello", "not a picture"),
        (encoded(drawing())[:900], "truncated or damaged"),
        (encoded(drawing(), "PNG")[:900], "truncated or damaged"),
    ],
    ids=["empty", "pdf", "text", "jpeg", "png"],
)
def test_what_is_no_picture_is_named(tmp_path, content, message):
    path = write(tmp_path, content, "photo.jpg")
    with pytest.raises(UserError, match=message) as caught:
        read_picture(path)
    assert str(caught.value).startswith(str(path))


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(UserError, match="is a directory"):
        read_picture(tmp_path)


def test_unwritable_places_are_found_at_once(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can't write"):
        check_writable(tmp_path / "file" / "picture.png")
    with pytest.raises(UserError, match=r"can't be written as \.xyz"):
        check_writable(tmp_path / "picture.xyz")
    check_writable(tmp_path / "new" / "picture.png")
    assert list((tmp_path / "new").iterdir()) == []


def test_animations_play_all_frames(tmp_path):
    frames = [np.full((20, 30, 3), tone, "float32") for tone in (0, 100, 200)]
    path = write(tmp_path, encode_animation(frames), "steps.gif")
    with Image.open(path) as animation:
        tones = [np.asarray(frame.convert("RGB")).mean() for frame in ImageSequence.Iterator(animation)]
    np.testing.assert_allclose(tones, (0, 100, 200), atol=3)
