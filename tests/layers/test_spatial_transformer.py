"""The affine grid and the bilinear sampler against loops, SciPy and finite differences."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from keras_dl.layers import AffineGrid, BilinearSampler
from keras_dl.layers.spatial_transformer import pixel_centres

IDENTITY = np.array([[1, 0, 0, 0, 1, 0]], "float32")
SCIPY_MODE = {"zeros": "grid-constant", "border": "nearest"}


def to_numpy(x):
    return ops.convert_to_numpy(x)


def transform(images, theta, size=None, padding="zeros"):
    height, width = size or images.shape[1:3]
    return to_numpy(BilinearSampler(padding)(images, AffineGrid(height, width)(theta)))


def gradient(function, x):
    """The derivative of a scalar function of one array, by the backend in use."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(ops.convert_to_tensor(x)))
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x).numpy()


def to_pixels(coordinate, side):
    return (coordinate + 1) * side / 2 - 0.5


def papers_sum(image, x, y):
    """Equation 5 as printed: every pixel of the image, weighted by two tents, for one place in pixels."""
    total = np.zeros(image.shape[-1])
    for n in range(image.shape[0]):
        for m in range(image.shape[1]):
            total += image[n, m] * max(0, 1 - abs(x - m)) * max(0, 1 - abs(y - n))
    return total


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_affine_grid_equals_a_loop_over_equation_1(rng):
    theta = rng.normal(size=(3, 6)).astype("float32")
    grid = to_numpy(AffineGrid(4, 5)(theta))
    for b in range(3):
        a = theta[b].reshape(2, 3)
        for i in range(4):
            for j in range(5):
                target = np.array([(j + 0.5) / 5 * 2 - 1, (i + 0.5) / 4 * 2 - 1, 1])
                np.testing.assert_allclose(grid[b, i, j], a @ target, atol=1e-6)
    np.testing.assert_array_equal(grid, to_numpy(AffineGrid(4, 5)(theta.reshape(3, 2, 3))))


def test_sampler_equals_a_loop_over_equation_5(rng):
    images = rng.normal(size=(2, 4, 6, 3)).astype("float32")
    grid = rng.uniform(-1.6, 1.6, (2, 3, 5, 2)).astype("float32")
    sampled = to_numpy(BilinearSampler()(images, grid))
    for b, i, j in np.ndindex(2, 3, 5):
        x, y = to_pixels(grid[b, i, j, 0], 6), to_pixels(grid[b, i, j, 1], 4)
        np.testing.assert_allclose(sampled[b, i, j], papers_sum(images[b], x, y), atol=1e-5)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_affine_transform_equals_scipy(rng, padding):
    image = rng.normal(size=(9, 7)).astype("float32")
    theta = (IDENTITY + 0.4 * rng.normal(size=(1, 6))).astype("float32")
    # Rows and columns of pixels to normalised coordinates (x first), through theta, and back.
    to_normal = np.array([[0, 2 / 7, 1 / 7 - 1], [2 / 9, 0, 1 / 9 - 1], [0, 0, 1]])
    matrix = np.linalg.inv(to_normal) @ np.vstack([theta.reshape(2, 3), [0, 0, 1]]) @ to_normal
    expected = ndimage.affine_transform(
        image.astype("float64"), matrix[:2, :2], matrix[:2, 2], order=1, mode=SCIPY_MODE[padding]
    )
    np.testing.assert_allclose(
        transform(image[None, ..., None], theta, padding=padding)[0, ..., 0], expected, atol=1e-5
    )


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_sampling_anywhere_equals_scipy(rng, padding):
    image = rng.normal(size=(5, 8)).astype("float32")
    grid = rng.uniform(-2, 2, (1, 6, 6, 2)).astype("float32")
    places = [to_pixels(grid[0, ..., 1], 5), to_pixels(grid[0, ..., 0], 8)]
    expected = ndimage.map_coordinates(image.astype("float64"), places, order=1, mode=SCIPY_MODE[padding])
    np.testing.assert_allclose(BilinearSampler(padding)(image[None, ..., None], grid)[0, ..., 0], expected, atol=1e-5)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_identity_returns_the_image(rng, padding):
    images = rng.uniform(0, 255, (2, 31, 17, 3)).astype("float32")
    np.testing.assert_allclose(transform(images, IDENTITY.repeat(2, 0), padding=padding), images, atol=1e-2)


def test_identity_on_a_finer_grid_is_bilinear_resizing(rng):
    images = rng.normal(size=(2, 6, 5, 2)).astype("float32")
    expected = to_numpy(ops.image.resize(images, (12, 15), interpolation="bilinear", data_format="channels_last"))
    result = transform(images, IDENTITY.repeat(2, 0), size=(12, 15), padding="border")
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_translation_by_whole_pixels_shifts(rng):
    images = rng.normal(size=(1, 6, 8, 2)).astype("float32")
    theta = np.array([[1, 0, 2 * 3 / 8, 0, 1, -2 * 2 / 6]], "float32")  # 3 pixels to the right, 2 up
    shifted = transform(images, theta)
    np.testing.assert_allclose(shifted[:, 2:, :-3], images[:, :-2, 3:], atol=1e-5)
    np.testing.assert_allclose(shifted[:, :2], 0, atol=1e-5)
    np.testing.assert_allclose(shifted[:, :, -3:], 0, atol=1e-5)
    kept = transform(images, theta, padding="border")
    np.testing.assert_allclose(kept[0, 2:, -3:], np.repeat(images[0, :-2, -1:], 3, axis=1), atol=1e-5)


def test_quarter_turn_is_rot90(rng):
    images = rng.normal(size=(1, 7, 7, 1)).astype("float32")
    turn = np.array([[0, -1, 0, 1, 0, 0]], "float32")
    np.testing.assert_allclose(transform(images, turn)[0], np.rot90(images[0], 1), atol=1e-5)


def test_each_image_has_its_own_transform(rng):
    images = rng.normal(size=(3, 5, 5, 1)).astype("float32")
    theta = (IDENTITY + 0.3 * rng.normal(size=(3, 6))).astype("float32")
    alone = np.concatenate([transform(images[i : i + 1], theta[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(transform(images, theta), alone, atol=1e-6)


@pytest.mark.parametrize(("images", "grids"), [(3, 1), (1, 3)])
def test_one_grid_serves_all_images_and_one_image_all_grids(rng, images, grids):
    images = rng.normal(size=(images, 5, 5, 2)).astype("float32")
    theta = (IDENTITY + 0.3 * rng.normal(size=(grids, 6))).astype("float32")
    every = transform(np.broadcast_to(images, (3, 5, 5, 2)), np.broadcast_to(theta, (3, 6)), size=(3, 3))
    np.testing.assert_allclose(transform(images, theta, size=(3, 3)), every, atol=1e-6)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_gradient_in_theta_equals_finite_differences(rng, padding):
    image = rng.normal(size=(6, 5)).astype("float64")
    weights = rng.normal(size=(4, 4))
    theta = (IDENTITY[0] + 0.3 * rng.normal(size=6)).astype("float64")
    x, y = np.meshgrid((np.arange(4) + 0.5) / 2 - 1, (np.arange(4) + 0.5) / 2 - 1)
    target = np.stack([x, y, np.ones_like(x)])

    def loss_in_float64(theta):
        source = np.tensordot(theta.reshape(2, 3), target, 1)
        places = [to_pixels(source[1], 6), to_pixels(source[0], 5)]
        return np.sum(weights * ndimage.map_coordinates(image, places, order=1, mode=SCIPY_MODE[padding]))

    def loss(theta):
        sampled = BilinearSampler(padding)(image[None, ..., None].astype("float32"), AffineGrid(4, 4)(theta))
        return ops.sum(sampled[0, ..., 0] * weights.astype("float32"))

    step = 1e-6 * np.eye(6)
    expected = [(loss_in_float64(theta + h) - loss_in_float64(theta - h)) / 2e-6 for h in step]
    assert np.min(np.abs(expected)) > 1e-3
    np.testing.assert_allclose(gradient(loss, theta[None].astype("float32"))[0], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_gradient_on_pixels_centres_is_that_to_the_right_and_downwards(rng, padding):
    """Eight and four pixels a side: their centres are whole numbers to the last bit, as an identity's places are."""
    image = rng.normal(size=(4, 8)).astype("float32")
    grid = np.stack(np.meshgrid(pixel_centres(8), pixel_centres(4)), axis=-1)[None]
    beyond = np.pad(image, ((0, 1), (0, 1)), mode="constant" if padding == "zeros" else "edge")
    slopes = np.stack([(beyond[:-1, 1:] - image) * 8 / 2, (beyond[1:, :-1] - image) * 4 / 2], axis=-1)
    found = gradient(lambda places: ops.sum(BilinearSampler(padding)(image[None, ..., None], places)), grid)
    # At the rim the backends differ in what a clip passes on.
    np.testing.assert_allclose(found[0, 1:-1, 1:-1], slopes[1:-1, 1:-1], atol=1e-5)
    if keras.backend.backend() == "tensorflow":
        np.testing.assert_allclose(found[0], slopes, atol=1e-5)


def test_gradient_in_the_images_is_the_adjoint(rng):
    images, other = rng.normal(size=(2, 2, 5, 6, 2)).astype("float32")
    grid = rng.uniform(-1.3, 1.3, (2, 4, 4, 2)).astype("float32")
    weights = rng.normal(size=(2, 4, 4, 2)).astype("float32")
    sampler = BilinearSampler()
    slope = gradient(lambda u: ops.sum(sampler(u, grid) * weights), images)
    assert np.sum(slope * other) == pytest.approx(np.sum(to_numpy(sampler(other, grid)) * weights), rel=1e-4)


@pytest.mark.parametrize(("padding", "outside"), [("zeros", 0.0), ("border", 7.0)])
def test_places_far_outside(padding, outside):
    grid = np.array([-1e30, -1e9, 1e9, 1e30], "float32")[None, None, :, None].repeat(2, -1)
    sampled = to_numpy(BilinearSampler(padding)(np.full((1, 3, 3, 1), 7.0, "float32"), grid))
    np.testing.assert_array_equal(sampled.ravel(), outside)


def test_float16_keeps_coordinates_exact(rng):
    # 4,001 columns: in float16, which has 11 bits, the right half's places would be off by up to a pixel.
    images = rng.normal(size=(1, 2, 4001, 1)).astype("float16")
    inputs = keras.Input((2, 4001, 1), dtype="float16")
    theta = keras.Input((6,))
    grid = AffineGrid(2, 4001, dtype="mixed_float16")(theta)
    model = keras.Model([inputs, theta], BilinearSampler(dtype="mixed_float16")(inputs, grid))
    moved = to_numpy(model([images, np.array([[1, 0, 2 / 4001, 0, 1, 0]], "float32")]))
    assert moved.dtype == "float16"
    np.testing.assert_allclose(moved[:, :, :-1], images[:, :, 1:], atol=5e-3)


def test_sizes_may_be_unknown_and_the_file_keeps_all(rng, tmp_path):
    images = keras.Input((None, None, 2))
    theta = keras.Input((6,))
    outputs = BilinearSampler("border")(images, AffineGrid(3, 4)(theta))
    assert outputs.shape == (None, 3, 4, 2)
    model = keras.Model([images, theta], outputs)
    model.save(tmp_path / "sampler.keras")
    loaded = keras.models.load_model(tmp_path / "sampler.keras")
    for height, width in ((5, 6), (8, 3)):
        arrays = [rng.normal(size=(2, height, width, 2)), IDENTITY.repeat(2, 0) * 1.1]
        arrays = [a.astype("float32") for a in arrays]
        expected = transform(*arrays, size=(3, 4), padding="border")
        np.testing.assert_allclose(loaded.predict(arrays, verbose=0), expected, atol=1e-6)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="'zeros' or 'border'; got 'reflect'"):
        BilinearSampler("reflect")
    with pytest.raises(ValueError, match="positive integers; got 0 and 8"):
        AffineGrid(0, 8)
