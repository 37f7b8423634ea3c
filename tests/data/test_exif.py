import random

import pytest
import tensorflow as tf
from pictures import drawing, encoded, exif
from PIL import Image

from keras_dl.data.exif import jpeg_exif, tiff_orientation


@pytest.fixture(scope="module")
def orientation():
    return tf.function(lambda text: tiff_orientation(jpeg_exif(text)), input_signature=[tf.TensorSpec((), tf.string)])


def segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def test_it_is_found_behind_other_segments(orientation):
    plain = encoded(drawing())
    before = (
        segment(0xE0, b"JFIF\0" + bytes(9)) + segment(0xFE, b"a comment") + segment(0xE1, b"http://ns.adobe.com/xap")
    )
    colour_profile = b"".join(segment(0xE2, bytes(60_000)) for _ in range(3))
    photo = plain[:2] + before + colour_profile + b"\xff\xff" + segment(0xE1, exif(7)) + plain[2:]
    assert orientation(photo) == 7
    assert orientation(plain) == 1


def test_pillow_writes_what_it_reads(orientation):
    for value in range(1, 9):
        tags = Image.Exif()
        tags[0x0112] = value
        tags[0x010F] = "a maker's name that does not fit the entry"
        assert orientation(encoded(drawing(), exif=tags)) == value


def test_a_long_integer_counts():
    for order, magic in (("little", b"II*\0"), ("big", b"MM\0*")):
        entry = b"".join(n.to_bytes(size, order) for n, size in ((0x0112, 2), (4, 2), (1, 4), (5, 4)))
        tiff = magic + (8).to_bytes(4, order) + (1).to_bytes(2, order) + entry
        assert tiff_orientation(tf.constant(tiff)) == 5


@pytest.mark.parametrize("value", [0, 9, 255, 65_535])
def test_values_without_meaning_are_upright(orientation, value):
    assert orientation(encoded(drawing(), exif=exif(value))) == 1


def test_garbage_is_upright_and_never_an_error(orientation):
    plain, good = encoded(drawing()), exif(6)
    for cut in range(len(good)):
        assert orientation(plain[:2] + segment(0xE1, good[:cut]) + plain[2:]) in (1, 6)
    generator = random.Random(0)
    for _ in range(300):
        bad = bytearray(good)
        for _ in range(3):
            bad[generator.randrange(6, len(bad))] = generator.randrange(256)
        assert 1 <= orientation(plain[:2] + segment(0xE1, bytes(bad)) + plain[2:]) <= 8
    for text in (
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\xff\xd8\xff\xe1",
        b"\xff\xd8\xff\xe1\0\0Exif\0\0",
        b"\xff\xd8" + b"\xff" * 999,
    ):
        assert orientation(text) == 1
