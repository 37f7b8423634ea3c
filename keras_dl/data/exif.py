"""The EXIF orientation of encoded pictures, read by TensorFlow string ops so that it works inside a SavedModel.

Formats: JPEG (segment APP1), PNG (chunk eXIf before the pixels) and WebP (chunk EXIF). Sources: CIPA DC-008
(Exif 2.32), sections 4.5 and 4.6; TIFF 6.0, section 2.
"""

from collections.abc import Callable

import tensorflow as tf

ORIENTATION_TAG = 0x0112
SHORT, LONG = 3, 4
_EXIF_HEADER = b"Exif\0\0"
# Each block costs a loop step, and a file may be made of nothing but tiny blocks: a server must not follow them all.
_MAXIMUM_BLOCKS = 128


def is_plain_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    """Whether a JPEG's quantisation tables follow its start, or its JFIF header of the usual length: bool scalar.

    Such a file has no Exif segment where `jpeg_exif` would find it.
    """
    start = tf.strings.substr(encoded, 0, 22)
    after_header = tf.strings.substr(start, tf.minimum(tf.strings.length(start), 20), 2)
    jfif = (tf.strings.substr(start, 0, 6) == b"\xff\xd8\xff\xe0\0\x10") & (after_header == b"\xff\xdb")
    return jfif | (tf.strings.substr(start, 0, 4) == b"\xff\xd8\xff\xdb")


def jpeg_exif(encoded: tf.Tensor) -> tf.Tensor:
    """The TIFF structure of a JPEG's Exif segment, scalar string; empty if there is none."""

    def parse(at: tf.Tensor) -> tuple[tf.Tensor, ...]:
        head = _bytes(encoded, at, 10)
        marker, length = head[1], _big_endian(head[2:4])
        is_exif = (marker == 0xE1) & tf.reduce_all(head[4:10] == list(_EXIF_HEADER))
        fill = marker == 0xFF
        metadata = (head[0] == 0xFF) & (((marker >= 0xE0) & (marker <= 0xEF)) | (marker == 0xFE) | fill)
        following = tf.where(fill, at + 1, at + 2 + length)
        return is_exif & metadata, ~metadata, at + 10, length - 8, following

    return _find_block(encoded, 2, 10, parse)


def png_exif(encoded: tf.Tensor) -> tf.Tensor:
    """The TIFF structure of a PNG's eXIf chunk, scalar string; empty if none stands before the pixels."""

    def parse(at: tf.Tensor) -> tuple[tf.Tensor, ...]:
        head = _bytes(encoded, at, 8)
        length = _big_endian(head[0:4])
        return _is(head[4:8], b"eXIf"), _is(head[4:8], b"IDAT"), at + 8, length, at + 12 + length

    return _find_block(encoded, 8, 8, parse)


def webp_exif(encoded: tf.Tensor) -> tf.Tensor:
    """The TIFF structure of a WebP's EXIF chunk, scalar string; empty if there is none."""

    def parse(at: tf.Tensor) -> tuple[tf.Tensor, ...]:
        head = _bytes(encoded, at, 8)
        length = _little_endian(head[4:8])
        return _is(head[0:4], b"EXIF"), tf.constant(False), at + 8, length, at + 8 + length + length % 2

    block = _find_block(encoded, 12, 8, parse)
    prefixed = tf.strings.substr(block, 0, 6) == _EXIF_HEADER
    return tf.cond(prefixed, lambda: tf.strings.substr(block, 6, tf.strings.length(block) - 6), lambda: block)


def tiff_orientation(tiff: tf.Tensor) -> tf.Tensor:
    """The orientation that a TIFF structure gives.

    Args:
        tiff: scalar string, in either byte order; empty, cut short or garbage is allowed.

    Returns:
        int32 scalar, 1 (upright) to 8; 1 where there is none.
    """
    return tf.cond(tf.strings.length(tiff) >= 8, lambda: _first_directory_orientation(tiff), lambda: tf.constant(1))


def _first_directory_orientation(tiff: tf.Tensor) -> tf.Tensor:
    header = _bytes(tiff, 0, 8)
    little = _is(header[:4], b"II*\0")
    valid = little | _is(header[:4], b"MM\0*")

    def number(digits: tf.Tensor) -> tf.Tensor:
        return tf.where(little, _little_endian(digits), _big_endian(digits))

    size = tf.cast(tf.strings.length(tiff), tf.int64)
    directory = number(header[4:8])
    valid &= (directory >= 8) & (directory + 2 <= size)
    directory = tf.where(valid, directory, 0)
    entries = number(_bytes(tiff, directory, 2))
    entries = tf.where(valid, tf.minimum(entries, (size - directory - 2) // 12), 0)
    table = tf.reshape(_bytes(tiff, tf.where(entries > 0, directory + 2, 0), 12 * entries), [-1, 12])
    tags, types = number(table[:, 0:2]), number(table[:, 2:4])
    values = tf.where(types == LONG, number(table[:, 8:12]), number(table[:, 8:10]))
    given = (tags == ORIENTATION_TAG) & ((types == SHORT) | (types == LONG)) & (values >= 1) & (values <= 8)
    orientation = tf.reduce_max(tf.where(given, values, 1), axis=0)
    return tf.where(tf.reduce_any(given), tf.cast(tf.clip_by_value(orientation, 1, 8), tf.int32), 1)


def _find_block(
    encoded: tf.Tensor, start: int, head: int, parse: Callable[[tf.Tensor], tuple[tf.Tensor, ...]]
) -> tf.Tensor:
    """Walks the blocks from `start`; `parse(at)` gives found, last, payload's place and length, the next block."""
    size = tf.cast(tf.strings.length(encoded), tf.int64)

    def unread(at: tf.Tensor, end: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        return ~end & (at + head <= size)

    def step(at: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor, ...]:
        found, last, payload, length, following = parse(at)
        # A payload that starts past the end of a cut file holds nothing.
        length = tf.where(found, tf.clip_by_value(length, 0, tf.maximum(size - payload, 0)), 0)
        return following, found | last, tf.where(length > 0, payload, 0), length

    zero = tf.constant(0, tf.int64)
    loop = (tf.constant(start, tf.int64), tf.constant(False), zero, zero)
    _, _, payload, length = tf.while_loop(unread, step, loop, maximum_iterations=_MAXIMUM_BLOCKS, parallel_iterations=1)
    return tf.strings.substr(encoded, payload, length)


def _bytes(text: tf.Tensor, at: tf.Tensor | int, count: tf.Tensor | int) -> tf.Tensor:
    part = tf.strings.substr(text, tf.cast(at, tf.int64), tf.cast(count, tf.int64))
    digits = tf.cast(tf.io.decode_raw(part, tf.uint8), tf.int64)
    # Graph mode forgets the length of a string, and the weights of the digits need it.
    return tf.ensure_shape(digits, [count]) if isinstance(count, int) else digits


def _is(digits: tf.Tensor, name: bytes) -> tf.Tensor:
    return tf.reduce_all(digits == list(name))


def _big_endian(digits: tf.Tensor) -> tf.Tensor:
    return _number(digits, range(digits.shape[-1] - 1, -1, -1))


def _little_endian(digits: tf.Tensor) -> tf.Tensor:
    return _number(digits, range(digits.shape[-1]))


def _number(digits: tf.Tensor, powers: range) -> tf.Tensor:
    return tf.reduce_sum(digits * tf.constant([256**power for power in powers], tf.int64), axis=-1)
