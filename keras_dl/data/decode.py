"""Encoded picture to resized RGB: one function for training, `predict` and the exported SavedModel.

TensorFlow's core ops only. JPEG (grey, CMYK and progressive too), PNG, BMP, GIF (first frame) and WebP (first frame);
the EXIF orientation is applied, transparency is laid on white (but in a GIF it is black: TensorFlow drops it), palettes
and 16 bits become 8-bit RGB.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import tensorflow as tf

from keras_dl.data import exif

# No function here needs AutoGraph, which takes seconds to rewrite them.
Resize = Literal["crop", "stretch", "pad"]
Branch = Callable[[], tf.Tensor]
Test = Callable[[tf.Tensor], tf.Tensor]
_LARGER_THAN_ANY = 1 << 20  # pixels a side
_WEBP_LIMIT = 1 << 14  # likewise, of a frame
_DCT = "INTEGER_ACCURATE"  # of JPEGs, as other decoders do; TensorFlow's default is a level off and no faster


def decode_image(encoded: tf.Tensor, size: Sequence[int], resize: Resize = "crop") -> tf.Tensor:
    """Decodes a picture and fits it to a size.

    Values are whole numbers, as in a picture file, so that they can be kept as bytes without loss. Below half size
    the filter is antialiased bilinear; from there up it is plain bilinear, which then differs little and costs half.

    Args:
        encoded: scalar string, a picture file's bytes.
        size: height and width in pixels.
        resize: `"crop"` fills the size and cuts what overhangs, evenly on both sides; `"stretch"` ignores the aspect;
            `"pad"` shows the whole picture with black bars.

    Returns:
        float32 RGB `(height, width, 3)` in [0, 255].

    Raises:
        tf.errors.InvalidArgumentError: when run on bytes that are no whole picture of these formats.
    """
    return tf.cast(decode_image_bytes(encoded, size, resize), tf.float32)


def decode_images(encoded: tf.Tensor, size: Sequence[int], resize: Resize = "crop") -> tf.Tensor:
    """`decode_image` over a batch: strings `(n,)` to float32 `(n, height, width, 3)`; n may be 0."""
    signature = tf.TensorSpec((*size, 3), tf.float32)
    return tf.map_fn(lambda one: decode_image(one, size, resize), encoded, fn_output_signature=signature)


@tf.autograph.experimental.do_not_convert
def decode_upright(encoded: tf.Tensor, longer: float | None = None, largest: int | None = None) -> tf.Tensor:
    """Decodes a whole picture in its own proportions.

    Args:
        encoded: scalar string, a picture file's bytes.
        longer: pixels of the longer side; by default its own.
        largest: the same, for larger pictures only.

    Returns:
        float32 RGB `(height, width, 3)` in [0, 255].

    Raises:
        tf.errors.InvalidArgumentError: when run on bytes that are no whole picture of the formats above.
    """
    pixels = _decode(encoded, tf.constant([_LARGER_THAN_ANY] * 2), "stretch")
    shape = tf.cast(tf.shape(pixels)[:2], tf.float32)
    side = tf.reduce_max(shape)
    wanted = side if longer is None else tf.constant(longer, tf.float32)
    if largest is not None:
        wanted = tf.minimum(wanted, float(largest))
    target = tf.maximum(tf.cast(tf.round(shape * wanted / side), tf.int32), 1)
    upright = _turn_upright(_fit(pixels, target, "stretch"), _orientation(encoded))
    return tf.ensure_shape(upright, (None, None, 3))


@tf.autograph.experimental.do_not_convert
def decode_image_bytes(encoded: tf.Tensor, size: Sequence[int], resize: Resize = "crop") -> tf.Tensor:
    """`decode_image` as uint8, for keeping and moving pictures at a quarter of the memory."""
    if resize not in ("crop", "stretch", "pad"):
        raise ValueError(f"resize is 'crop', 'stretch' or 'pad'; got {resize!r}")
    # As a tensor: a Python string would cost a graph of its own, a second, for each picture.
    return _decode_to(tf.convert_to_tensor(encoded), (int(size[0]), int(size[1])), resize)


@tf.function(autograph=False)
def _decode_to(encoded: tf.Tensor, size: tuple[int, int], resize: Resize) -> tf.Tensor:
    target = tf.constant(size)

    def upright() -> tf.Tensor:
        if resize == "crop":
            return _decode_cropped(encoded, target)
        return _fit(_decode_jpeg(encoded, target, resize), target, resize)

    # Inlined, its many operations would be passed over one by one where they are not wanted.
    @tf.function(autograph=False, experimental_attributes={"_noinline": True})
    def any_way() -> tf.Tensor:
        # Resizing first and turning the small picture gives the same pixels as turning first.
        orientation = _orientation(encoded)
        stored = tf.where(orientation >= 5, target[::-1], target)
        return _turn_upright(_fit(_decode(encoded, stored, resize), stored, resize), orientation)

    # The common case by itself: small operations add up to a third of the time that a small JPEG takes.
    image = tf.cond(exif.is_plain_jpeg(encoded), upright, any_way)
    # One operation rounds and cuts to [0, 255], in the time that a cast alone takes.
    image = tf.ensure_shape(image, (*size, 3))
    whole = tf.raw_ops.QuantizeV2(input=image, min_range=0.0, max_range=255.0, T=tf.quint8, mode="MIN_COMBINED")
    return tf.bitcast(whole.output, tf.uint8)


@tf.function(autograph=False, input_signature=[tf.TensorSpec((), tf.string)])
def check_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes every byte, but of an animation the first frame only, without keeping the pixels.

    Returns:
        int32 height and width of the upright picture.

    Raises:
        tf.errors.InvalidArgumentError: on the bytes that `decode_image` refuses, when run.
    """

    def jpeg_shape() -> tf.Tensor:
        # An eighth of the side needs all of the file's entropy decoding, but little arithmetic and memory.
        small = tf.io.decode_jpeg(encoded, channels=3, ratio=8)
        return tf.where(tf.shape(small)[0] > 0, tf.io.extract_jpeg_shape(encoded)[:2], 0)

    return _upright_shape(encoded, {_is_jpeg: jpeg_shape})


@tf.function(autograph=False, input_signature=[tf.TensorSpec((), tf.string)])
def read_shape(encoded: tf.Tensor) -> tf.Tensor:
    """int32 height and width of the upright picture: of a JPEG or a PNG what its header says, unchecked."""

    def png_shape() -> tf.Tensor:
        sides = tf.io.decode_raw(tf.strings.substr(encoded, 16, 8), tf.int32, little_endian=False)
        return sides[::-1]

    return _upright_shape(encoded, {_is_jpeg: lambda: tf.io.extract_jpeg_shape(encoded)[:2], _is_png: png_shape})


@tf.function(autograph=False, input_signature=[tf.TensorSpec((), tf.string)])
def read_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """int32, 1 (upright) to 8: as the Exif data of a JPEG, PNG or WebP say; 1 without any."""
    return _orientation(encoded)


def _upright_shape(encoded: tf.Tensor, shapes: Mapping[Test, Branch]) -> tf.Tensor:
    """Height and width of the upright picture, from stored ones by format; those of other formats are decoded."""

    @tf.function(autograph=False, experimental_attributes={"_noinline": True})
    def any_shape() -> tf.Tensor:
        stored = _by_format(encoded, shapes, lambda: tf.shape(_decode(encoded, tf.constant([1, 1]), "stretch"))[:2])
        return tf.where(_orientation(encoded) >= 5, stored[::-1], stored)

    return tf.cond(exif.is_plain_jpeg(encoded), shapes[_is_jpeg], any_shape)


def _header(encoded: tf.Tensor, count: int) -> tf.Tensor:
    """The first bytes as int32; zeros after the end of a shorter file."""
    header = tf.io.decode_raw(tf.strings.substr(encoded, 0, count), tf.uint8)
    return tf.cast(tf.pad(header, [[0, count - tf.size(header)]]), tf.int32)


def _is_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(encoded, 0, 3) == b"\xff\xd8\xff"


def _is_png(encoded: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(encoded, 0, 8) == b"\x89PNG\r\n\x1a\n"


def _is_webp(encoded: tf.Tensor) -> tf.Tensor:
    header = _header(encoded, 12)
    return tf.reduce_all(tf.gather(header, [0, 1, 2, 3, 8, 9, 10, 11]) == list(b"RIFFWEBP"))


def _is_bmp(encoded: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(encoded, 0, 2) == b"BM"


def _by_format(encoded: tf.Tensor, branches: Mapping[Test, Branch], default: Branch) -> Any:
    """The first branch whose test holds. Unlike in `tf.case`, a test costs nothing where one before it held."""
    if not branches:
        return default()
    (test, branch), *rest = branches.items()
    return tf.cond(test(encoded), branch, lambda: _by_format(encoded, dict(rest), default))


def _orientation(encoded: tf.Tensor) -> tf.Tensor:
    branches = {
        _is_jpeg: lambda: exif.jpeg_exif(encoded),
        _is_png: lambda: exif.png_exif(encoded),
        _is_webp: lambda: exif.webp_exif(encoded),
    }
    return exif.tiff_orientation(_by_format(encoded, branches, lambda: tf.constant("")))


def _decode(encoded: tf.Tensor, target: tf.Tensor, resize: Resize) -> tf.Tensor:
    """uint8 RGB as stored.

    A JPEG may come at a half, a quarter or an eighth if that is still no less than `target`.
    """

    def first_frame() -> tf.Tensor:
        pixels = tf.io.decode_image(encoded, channels=3, expand_animations=False)
        return tf.ensure_shape(pixels, (None, None, 3))

    branches = {
        _is_jpeg: lambda: _decode_jpeg(encoded, target, resize),
        _is_png: lambda: _decode_png(encoded),
        _is_webp: lambda: _decode_webp(encoded),
        _is_bmp: lambda: _decode_bmp(encoded),
    }
    return _by_format(encoded, branches, first_frame)


def _decode_jpeg(encoded: tf.Tensor, target: tf.Tensor, resize: Resize) -> tf.Tensor:
    halvings = _halvings(tf.io.extract_jpeg_shape(encoded)[:2], target, resize)
    return _halved(functools.partial(tf.io.decode_jpeg, encoded, channels=3, dct_method=_DCT), halvings)


def _decode_cropped(encoded: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """`_decode_jpeg` and `_fit` with `"crop"`, which decodes no columns that are cut away and finds the window once."""
    stored = tf.io.extract_jpeg_shape(encoded)[:2]
    decode = functools.partial(tf.raw_ops.DecodeAndCropJpeg, contents=encoded, channels=3, dct_method=_DCT)

    def cropped(shape: tf.Tensor, halvings: tf.Tensor | None = None) -> tf.Tensor:
        window, start = _window(target, shape)
        # With two columns more on each side chroma is interpolated as in the whole picture. All rows are decoded, so
        # that a file cut short is noticed.
        unseen = tf.maximum(start - 2, 0) * [0, 1]
        decode_columns = functools.partial(decode, crop_window=tf.concat([unseen, shape - 2 * unseen], 0))
        pixels = decode_columns() if halvings is None else _halved(decode_columns, halvings)
        return _cut(pixels, start - unseen, window)

    @tf.function(autograph=False, experimental_attributes={"_noinline": True})
    def large() -> tf.Tensor:
        halvings = _halvings(stored, target, "crop")
        pixels = cropped(tf.bitwise.right_shift(stored, halvings), halvings)
        return _scale(pixels, tf.shape(pixels)[:2], target)

    # By itself again: what chooses between the ways to shrink takes a twelfth of a small picture's time.
    return tf.cond(tf.reduce_any(stored < 2 * target), lambda: _bilinear(cropped(stored), target), large)


def _halved(decode: Callable[..., tf.Tensor], halvings: tf.Tensor) -> tf.Tensor:
    return tf.switch_case(halvings, [functools.partial(decode, ratio=ratio) for ratio in (1, 2, 4, 8)])


def _halvings(shape: tf.Tensor, target: tf.Tensor, resize: Resize) -> tf.Tensor:
    """How often a JPEG may be halved while it is decoded: 0 to 3."""
    ratios = tf.constant([[2], [4], [8]])
    enough = (tf.reduce_any if resize == "pad" else tf.reduce_all)(shape >= ratios * target, 1)
    # Only where it divides both sides: a partial last block would shift the picture against its mirror image.
    fits = enough & tf.reduce_all(shape % ratios == 0, 1)
    return tf.math.count_nonzero(fits, dtype=tf.int32)


def _decode_bmp(encoded: tf.Tensor) -> tf.Tensor:
    """TensorFlow gives the palette's indices of an 8-bit BMP as if they were grey; here they are looked up."""
    header = _header(encoded, 54)

    def number(at: int, count: int) -> tf.Tensor:
        return tf.reduce_sum(header[at : at + count] * [256**i for i in range(count)])

    def look_up() -> tf.Tensor:
        packed = tf.debugging.assert_equal(number(30, 4), 0, "a run-length encoded BMP")
        with tf.control_dependencies([packed]):
            indices = tf.io.decode_bmp(encoded)[..., 0]
        start, end = 14 + number(14, 4), number(10, 4)
        palette = tf.io.decode_raw(tf.strings.substr(encoded, start, end - start), tf.uint8)
        palette = tf.reshape(palette[: tf.size(palette) // 4 * 4], [-1, 4])
        return tf.gather(palette[:, 2::-1], tf.cast(indices, tf.int32))

    return tf.cond(number(28, 2) == 8, look_up, lambda: tf.io.decode_bmp(encoded, channels=3))


def _decode_webp(encoded: tf.Tensor) -> tf.Tensor:
    """The first frame, without decoding the others, which may be hundreds.

    An animation whose header promises no transparency makes the op write RGBA into memory for RGB (TensorFlow 2.21:
    heap corruption), and it refuses to add a channel: so an animation's header is made to promise it.
    Nor does the op look at the canvas before it makes room for it: up to 2^24 a side where the file is damaged.
    """
    header = _header(encoded, 30)
    animated = tf.reduce_all(header[12:16] == list(b"VP8X")) & (header[20] // 2 % 2 == 1)

    def animation() -> tf.Tensor:
        rest = tf.strings.substr(encoded, 21, tf.strings.length(encoded) - 21)
        promised = tf.strings.join([tf.strings.substr(encoded, 0, 20), b"\x12", rest])
        sides = tf.reduce_sum(tf.reshape(header[24:30], [2, 3]) * [1, 256, 256**2], 1) + 1
        possible = tf.debugging.assert_less(sides, _WEBP_LIMIT, "an animation larger than WebP can be")
        with tf.control_dependencies([possible]):
            return tf.io.decode_image(promised, channels=4, expand_animations=False)

    pixels = tf.cond(animated, animation, lambda: tf.io.decode_image(encoded, expand_animations=False))
    opaque = tf.pad(pixels, [[0, 0], [0, 0], [0, 4 - tf.shape(pixels)[-1]]], constant_values=255)
    return _on_white(tf.ensure_shape(opaque, (None, None, 4)), 255)


def _decode_png(encoded: tf.Tensor) -> tf.Tensor:
    # Below 8 bits the op gives pictures without transparency an alpha of the file's largest value, not of 255.
    depth = _header(encoded, 25)[24]
    opaque = tf.where(depth < 8, tf.bitwise.left_shift(1, tf.minimum(depth, 8)) - 1, 255)
    return _on_white(tf.io.decode_png(encoded, channels=4), tf.cast(opaque, tf.uint8))


def _on_white(pixels: tf.Tensor, opaque: tf.Tensor | int) -> tf.Tensor:
    colour, alpha = pixels[..., :3], pixels[..., 3:]

    def blend() -> tf.Tensor:
        share = tf.cast(alpha, tf.int32)
        return tf.cast((tf.cast(colour, tf.int32) * share + 255 * (255 - share) + 127) // 255, tf.uint8)

    return tf.cond(tf.reduce_all(alpha == opaque), lambda: colour, blend)


def _fit(pixels: tf.Tensor, target: tf.Tensor, resize: Resize) -> tf.Tensor:
    """uint8 pixels to float32 of the size `target`."""
    shape = tf.shape(pixels)[:2]
    if resize == "crop":
        window, start = _window(target, shape)
        return _scale(_cut(pixels, start, window), window, target)
    if resize == "pad":
        inner, margin = letterbox(shape, target)
        return tf.pad(_scale(pixels, shape, inner), [[margin[0], margin[0]], [margin[1], margin[1]], [0, 0]])
    return _scale(pixels, shape, target)


def _window(target: tf.Tensor, shape: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What `resize="crop"` takes of a picture: height and width, and the first row and column."""
    window = _largest(target, shape)
    # Both sides of a cut or a bar are kept equal, so that a mirrored picture stays the mirror image.
    window += (shape - window) % 2
    return window, (shape - window) // 2


def _cut(pixels: tf.Tensor, start: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    return tf.slice(pixels, tf.pad(start, [[0, 1]]), tf.concat([window, [3]], 0))


def letterbox(shape: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where `resize="pad"` puts a picture: its size within the target, and the bars before it, (height, width)."""
    inner = _largest(shape, target)
    inner += (target - inner) % 2
    return inner, (target - inner) // 2


def _largest(aspect: tf.Tensor, room: tf.Tensor) -> tf.Tensor:
    """The largest height and width of the proportions `aspect` within `room`, at least one pixel."""
    sides = tf.get_static_value(aspect)
    if sides is not None and sides[0] == sides[1]:
        return tf.stack([tf.reduce_min(room)] * 2)
    other = aspect[::-1]
    return tf.maximum(tf.minimum((2 * room[::-1] * aspect + other) // (2 * other), room), 1)


def _scale(pixels: tf.Tensor, shape: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    def antialiased() -> tf.Tensor:
        return tf.raw_ops.ScaleAndTranslate(
            images=pixels[None],
            size=target,
            scale=tf.cast(target, tf.float32) / tf.cast(shape, tf.float32),
            translation=[0.0, 0.0],
            kernel_type="triangle",
            antialias=True,
        )[0]

    return tf.cond(tf.reduce_any(shape >= 2 * target), antialiased, lambda: _bilinear(pixels, target))


def _bilinear(pixels: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    # The op is a third faster on floats than on bytes, the conversion included.
    images = tf.cast(pixels, tf.float32)[None]
    return tf.raw_ops.ResizeBilinear(images=images, size=target, half_pixel_centers=True)[0]


def _turn_upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Exif 2.32, table 4, orientation: the image (height, width, channels) as the photographer saw it."""

    def among(*values: int) -> tf.Tensor:
        return tf.reduce_any(orientation == list(values))

    def turn() -> tf.Tensor:
        turned = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        turned = tf.cond(among(2, 3, 6, 7), lambda: tf.reverse(turned, [1]), lambda: turned)
        return tf.cond(among(3, 4, 7, 8), lambda: tf.reverse(turned, [0]), lambda: turned)

    return tf.cond(orientation == 1, lambda: image, turn)
