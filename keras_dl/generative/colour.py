"""Keeping the content's colours: Gatys et al. 2016, arXiv:1606.05897."""

import numpy as np

# ITU-R BT.601: luminance first, then two differences of colour.
RGB_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def match_colours(picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Moves a picture's colours so that their mean and covariance become those of another (section 5.1).

    Args:
        picture: `(height, width, 3)` in [0, 255].
        other: the same, of any size.

    Returns:
        float32, of the size of `picture`, cut to [0, 255].
    """
    source, target = (p.reshape(-1, 3).astype("float64") for p in (picture, other))
    matrix = _root(target) @ np.linalg.inv(_root(source))
    moved = (source - source.mean(0)) @ matrix.T + target.mean(0)
    return np.clip(moved, 0, 255).astype("float32").reshape(picture.shape)


def _root(pixels: np.ndarray) -> np.ndarray:
    """The symmetric square root of the colours' covariance."""
    values, vectors = np.linalg.eigh(np.cov(pixels.T) + 1e-2 * np.eye(3))
    return vectors * np.sqrt(values) @ vectors.T


def keep_colours(picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A picture's luminance with another's colours, both `(height, width, 3)` in [0, 255] (section 5.2)."""
    mixed = other @ RGB_TO_YCC.T
    mixed[..., 0] = picture @ RGB_TO_YCC[0]
    return np.clip(mixed @ np.linalg.inv(RGB_TO_YCC).T, 0, 255).astype("float32")


def match_luminance(picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A picture in grey whose luminance has the mean and deviation of another's (section 5.2)."""
    source, target = picture @ RGB_TO_YCC[0], other @ RGB_TO_YCC[0]
    moved = (source - source.mean()) / (source.std() + 1e-2) * target.std() + target.mean()
    return np.repeat(np.clip(moved, 0, 255)[..., None], 3, axis=-1).astype("float32")
