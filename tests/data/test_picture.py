"""One picture read and written: formats, orientation, transparency, and what is no picture."""

import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from pictures import STORED, drawing, encoded, exif
from PIL import Image, ImageCms, ImageSequence

from keras_dl.data.decode import decode_upright
from keras_dl.data.picture import (
    Picture,
    check_writable,
    encode_animation,
    picture_format,
    read_picture,
    write_picture,
)
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


def test_a_name_that_is_not_utf_8_is_neither_read_nor_written(tmp_path):
    path = tmp_path / "\udcce\udcd2.png"  # GBK
    for use in (read_picture, check_writable):
        with pytest.raises(UserError, match="is not UTF-8: rename it"):
            use(path)


def test_colours_of_a_profile_become_srgb(tmp_path):
    """A profile whose red and blue are exchanged would show the picture so."""
    srgb = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = srgb.index(b"rXYZ"), srgb.index(b"bXYZ")
    exchanged = srgb.copy()
    exchanged[red : red + 4], exchanged[blue : blue + 4] = b"bXYZ", b"rXYZ"
    for profile, channels in ((srgb, [0, 1, 2]), (exchanged, [2, 1, 0]), (b"damaged", [0, 1, 2])):
        picture = read_picture(write(tmp_path, encoded(drawing(), "PNG", icc_profile=bytes(profile))))
        assert np.abs(picture.pixels - PIXELS[..., channels]).max() <= 2


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


def ill_typed(tag, kind, count, value):
    """An Exif segment with the orientation 6 and one more entry."""
    entries = [(0x0112, 3, 1, b"\0\6\0\0"), (tag, kind, count, value)]
    tiff = b"MM\0*" + struct.pack(">LH", 8, len(entries))
    for *head, content in sorted(entries):
        tiff += struct.pack(">HHL", *head) + content
    return b"Exif\0\0" + tiff + bytes(4)


@pytest.mark.parametrize(
    "entry",
    [(0x0100, 2, 2, b"a\0\0\0"), (0x011A, 2, 4, b"abc\0"), (0x8769, 2, 4, b"abc\0")],
    ids=["a width of letters", "a resolution of letters", "a folder of letters"],
)
def test_exif_entries_of_a_wrong_type_do_no_harm(tmp_path, entry):
    content = encoded(drawing().transpose(STORED[6]), "JPEG", quality=95, exif=ill_typed(*entry))
    picture = read_picture(write(tmp_path, content))
    assert picture.pixels.shape == PIXELS.shape
    assert np.abs(picture.pixels - PIXELS).mean() < 3


def test_an_unreadable_orientation_leaves_the_picture_as_it_is(tmp_path, monkeypatch):
    def refuse(image):
        raise struct.error("required argument is not an integer")

    monkeypatch.setattr(Image.Image, "getexif", refuse)
    np.testing.assert_array_equal(read_picture(write(tmp_path, encoded(drawing(), "PNG"))).pixels, PIXELS)


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
    check_writable(tmp_path / "new" / "deep" / "picture.png")
    assert not (tmp_path / "new").exists()
    write_picture(tmp_path / "new" / "deep" / "picture.png", PIXELS)
    assert read_picture(tmp_path / "new" / "deep" / "picture.png").pixels.shape == PIXELS.shape


@pytest.mark.parametrize("suffix", ["xbm", "msp", "palm", "blp", "wmf", "h5", "grib", "bufr", "ico", "icns", "pdf"])
def test_formats_that_pillow_lists_but_does_not_write_whole_are_refused(suffix):
    with pytest.raises(UserError, match=rf"can't be written as \.{suffix}; use \.png"):
        picture_format(Path(f"picture.{suffix}"))


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "webp", "tiff", "bmp", "gif", "ppm", "pgm", "tga"])
def test_formats_that_are_written_whole_are_taken(tmp_path, suffix):
    path = write_picture(tmp_path / f"picture.{suffix}", PIXELS)
    assert read_picture(path).pixels.shape == PIXELS.shape


def test_animations_play_all_frames(tmp_path):
    frames = [np.full((20, 30, 3), tone, "float32") for tone in (0, 100, 200)]
    path = write(tmp_path, encode_animation(frames), "steps.gif")
    with Image.open(path) as animation:
        tones = [np.asarray(frame.convert("RGB")).mean() for frame in ImageSequence.Iterator(animation)]
    np.testing.assert_allclose(tones, (0, 100, 200), atol=3)
