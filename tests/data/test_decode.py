import io

import numpy as np
import pytest
import tensorflow as tf
from pictures import STORED, drawing, encoded, exif
from PIL import Image

from keras_dl.data.decode import _fit, check_image, decode_image, decode_image_bytes, decode_images, read_shape

SIZE = (48, 40)


@pytest.fixture(scope="module")
def decode():
    return tf.function(lambda text: decode_image(text, SIZE), input_signature=[tf.TensorSpec((), tf.string)])


def pixels(image):
    """An uncompressed file's pixels through the function, at the picture's own size."""
    return decode_image(tf.constant(encoded(image, "PNG")), (image.height, image.width)).numpy()


@pytest.mark.parametrize("little", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_gives_the_upright_picture(decode, orientation, little):
    upright = drawing()
    stored = upright if orientation == 1 else upright.transpose(STORED[orientation])
    photo = encoded(stored, quality=95, exif=exif(orientation, little))
    assert np.abs(decode(photo) - decode(encoded(upright, quality=95))).max() <= 12
    assert check_image(photo).numpy().tolist() == read_shape(photo).numpy().tolist() == [64, 96]
    if orientation > 1:
        assert np.abs(decode(encoded(stored, quality=95)) - decode(encoded(upright, quality=95))).max() > 60


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_png_and_webp_have_orientations_too(decode, form):
    upright = drawing()
    photo = encoded(upright.transpose(STORED[6]), form, exif=exif(6), lossless=True)
    assert np.abs(decode(photo) - decode(encoded(upright, "PNG"))).max() <= 1
    assert check_image(photo).numpy().tolist() == read_shape(photo).numpy().tolist() == [64, 96]


@pytest.mark.parametrize("size", [(9, 9), (20, 31), (64, 96)])
@pytest.mark.parametrize("resize", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_turning_commutes_with_resizing(size, resize, orientation):
    # Odd sides, so that a cut or bar could be off by one.
    upright = drawing(97, 65)
    photo = encoded(upright.transpose(STORED[orientation]), "PNG", exif=exif(orientation))
    straight = encoded(upright, "PNG")
    turned, plain = (decode_image(tf.constant(text), size, resize) for text in (photo, straight))
    assert np.abs(turned - plain).max() <= 1


@pytest.mark.parametrize("size", [(16, 16), (24, 40), (64, 64), (100, 100)])
def test_large_and_small_agree_with_pillow(size):
    image = drawing(640, 480)
    side = min(640 * size[0], 480 * size[1]) / (size[0] * size[1])
    box = (320 - side * size[1] / 2, 240 - side * size[0] / 2, 320 + side * size[1] / 2, 240 + side * size[0] / 2)
    expected = np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR, box), float)
    for form in ("PNG", "JPEG"):
        found = decode_image(tf.constant(encoded(image, form)), size).numpy()
        assert np.abs(found - expected).mean() < 1.5


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("shape", [(60, 161), (61, 160), (160, 61), (64, 96), (256, 512), (20, 400)])
def test_columns_that_are_cut_away_need_no_decoding(shape, subsampling):
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 13, 3)).astype("uint8"))
    file = io.BytesIO()
    coarse.resize(shape[::-1], Image.Resampling.BICUBIC).save(file, "jpeg", subsampling=subsampling)
    for size in ((48, 48), (40, 64)):
        ratio = 4 if shape == (256, 512) else 1
        whole = tf.io.decode_jpeg(file.getvalue(), channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")
        wanted = tf.cast(_fit(whole, tf.constant(size), "crop") + 0.5, tf.uint8)
        np.testing.assert_array_equal(decode_image_bytes(file.getvalue(), size), wanted)


def test_below_half_size_the_filter_averages():
    # A fine checkerboard is grey from afar; sampling single pixels would give black or white.
    board = np.indices((256, 256)).sum(0) % 2 * 255
    image = Image.fromarray(board.astype("uint8"))
    for form in ("PNG", "JPEG"):
        small = decode_image(tf.constant(encoded(image, form)), (30, 30)).numpy()
        assert np.abs(small - 127.5).max() < 6


def test_own_size_gives_the_own_pixels_and_bars_are_black():
    image = drawing(31, 33)
    assert np.array_equal(pixels(image), np.asarray(image))
    padded = decode_image(tf.constant(encoded(image, "PNG")), (33, 41), "pad").numpy()
    assert np.array_equal(padded[:, 5:36], np.asarray(image, "float32"))
    assert padded[:, :5].max() == padded[:, 36:].max() == 0


# BMPs of one bit are refused, and converted by the reader.
MODES = [(mode, form) for mode in ("RGB", "L", "P") for form in ("PNG", "BMP", "GIF")]
MODES += [("1", "PNG"), ("1", "GIF"), ("RGB", "JPEG"), ("L", "JPEG")]


@pytest.mark.parametrize(("mode", "form"), MODES)
def test_modes_become_rgb_as_pillow_has_them(mode, form):
    image = drawing().convert(mode)
    text = encoded(image, form)
    expected = np.asarray(Image.open(io.BytesIO(text)).convert("RGB"))
    assert np.array_equal(decode_image(tf.constant(text), (64, 96)), expected)


def test_cmyk_and_16_bits_become_8_bit_rgb():
    image = drawing()
    cmyk = decode_image(tf.constant(encoded(image.convert("CMYK"), quality=95)), (64, 96))
    assert np.abs(cmyk - np.asarray(image)).mean() < 3
    grey = np.asarray(image.convert("L"))
    deep = Image.fromarray(grey.astype("uint16") * 257)
    assert np.array_equal(pixels(deep), np.repeat(grey[..., None], 3, -1))


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_transparency_is_laid_on_white(form):
    image = Image.new("RGBA", (8, 8), (200, 0, 100, 51))
    found = decode_image(tf.constant(encoded(image, form, lossless=True, exact=True)), (8, 8))
    assert np.abs(found - np.array([244, 204, 224])).max() <= 1  # 0.2 of the colour, 0.8 of white


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_an_animation_gives_its_first_frame(form, mode):
    frames = [Image.new(mode, (40, 30), colour) for colour in ("red", "blue")]
    text = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    found = decode_image(tf.constant(text), (30, 40)).numpy()
    assert np.abs(found - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_of_an_animated_webp_only_the_first_frame_is_decoded(mode):
    frames = [drawing(seed=seed).convert(mode) for seed in range(2)]
    text = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    damaged = text[: text.rindex(b"VP8L") + 16] + b"\xff" * (len(text) - text.rindex(b"VP8L") - 16)
    assert np.array_equal(decode_image(tf.constant(damaged), (64, 96)), np.asarray(drawing()))


def test_no_room_is_made_for_an_impossible_animation(decode):
    frames = [drawing(20, 16), drawing(20, 16, seed=1)]
    animation = bytearray(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    animation[24:27] = (20_000).to_bytes(3, "little")
    with pytest.raises(tf.errors.InvalidArgumentError, match="larger than WebP can be"):
        decode(bytes(animation))


@pytest.mark.parametrize("shape", [(1, 1), (20_000, 3), (2, 20_000)])
@pytest.mark.parametrize("resize", ["crop", "stretch", "pad"])
def test_extreme_shapes(shape, resize):
    image = Image.new("RGB", shape, (10, 200, 90))
    for form in ("PNG", "JPEG"):
        found = decode_image(tf.constant(encoded(image, form)), (32, 24), resize).numpy()
        assert np.abs(found[16, 12] - [10, 200, 90]).max() <= 3


@pytest.mark.parametrize("text", [b"", b"hello", b"\xff\xd8\xff", b"RIFF", b"BM", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_no_picture_is_refused(decode, text):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(text)
    with pytest.raises(tf.errors.InvalidArgumentError):
        check_image(tf.constant(text)).numpy()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_check_and_decoder_agree_on_cut_files(form, share):
    text = tf.constant(encoded(drawing(160, 120), form))
    text = tf.strings.substr(text, 0, int(share * len(text.numpy())))
    for function in (
        lambda: decode_image(text, (16, 16)),
        lambda: decode_image(text, (160, 160)),
        lambda: check_image(text),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError):
            function().numpy()


def test_it_survives_a_saved_model(tmp_path, decode):
    module = tf.Module()
    module.serve = tf.function(
        lambda texts: decode_images(texts, SIZE), input_signature=[tf.TensorSpec((None,), tf.string)]
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    texts = [
        encoded(drawing(seed=1).transpose(STORED[8]), exif=exif(8)),
        encoded(drawing(seed=2), "PNG"),
        encoded(drawing(seed=3), "GIF"),
    ]
    found = loaded.serve(tf.constant(texts)).numpy()
    assert np.array_equal(found, np.stack([decode(text) for text in texts]))
    assert loaded.serve(tf.constant([], tf.string)).shape == (0, *SIZE, 3)
