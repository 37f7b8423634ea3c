"""The built-in sample: scikit-learn's 1,797 handwritten digits, real scans of 8x8 pixels (Alpaydin and Kaynak 1998)."""

import io

import numpy as np

SIDE = 32
CLASS_NAMES = tuple("0123456789")


def digit_pictures() -> tuple[list[bytes], np.ndarray]:
    """The digits enlarged to 32x32 grey PNGs, white on black.

    Returns:
        1,797 encoded pictures, and their int32 labels.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    encoded = []
    for pixels in digits.images:
        grey = Image.fromarray(np.rint(pixels * (255 / 16)).astype("uint8"))
        image = grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=1)
        encoded.append(buffer.getvalue())
    return encoded, digits.target.astype("int32")
