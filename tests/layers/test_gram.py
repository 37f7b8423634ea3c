"""Gram matrices and reflection against NumPy."""

import keras
import numpy as np
import pytest

from keras_dl.layers import GramMatrix, ReflectionPadding2D

RNG = np.random.default_rng(0)
MAPS = RNG.normal(size=(2, 4, 6, 3)).astype("float32")


def inner_products(maps):
    flat = maps.reshape(len(maps), -1, maps.shape[-1]).astype("float64")
    return np.stack([positions.T @ positions / len(positions) for positions in flat])[:, None]


def test_gram_is_the_mean_of_outer_products():
    np.testing.assert_allclose(GramMatrix()(MAPS), inner_products(MAPS), rtol=1e-5)


def test_gram_of_constant_channels_is_known():
    maps = np.ones((1, 5, 7, 2), "float32") * (2.0, -3.0)
    np.testing.assert_allclose(GramMatrix()(maps)[0, 0], [[4, -6], [-6, 9]], rtol=1e-6)


def test_gram_does_not_see_where_things_are():
    flat = MAPS.reshape(2, -1, 3)
    moved = flat[:, RNG.permutation(flat.shape[1])].reshape(MAPS.shape)
    np.testing.assert_allclose(GramMatrix()(moved), GramMatrix()(MAPS), rtol=1e-5)


def test_regions_are_those_of_the_cut_out_parts():
    regions = np.zeros((2, 8, 12, 2), "float32")  # twice the size of the maps
    regions[:, :, :4, 0] = 1
    regions[:, :, 4:, 1] = 1
    grams = GramMatrix()([MAPS, regions])
    np.testing.assert_allclose(grams[:, :1], inner_products(MAPS[:, :, :2]), rtol=1e-5)
    np.testing.assert_allclose(grams[:, 1:], inner_products(MAPS[:, :, 2:]), rtol=1e-5)


def test_a_region_smaller_than_a_cell_of_the_map_is_seen_in_full():
    regions = np.zeros((2, 40, 60, 1), "float32")
    regions[:, 12, 23] = 1  # in the cell of row 1 and column 2, off its middle
    np.testing.assert_allclose(GramMatrix()([MAPS, regions]), inner_products(MAPS[:, 1:2, 2:3]), rtol=1e-4)


def test_each_cell_takes_the_mean_of_what_it_covers():
    """The rows of a region are no multiple of the map's: 5 to 4, so that cells share them."""
    regions = np.zeros((2, 5, 1, 1), "float32")
    regions[:, 1] = 1
    shares = np.array([0.2, 0.6, 0, 0]) / 0.8  # cell 0 ends at row 1.25, cell 1 at row 2.5
    rows = np.concatenate([inner_products(MAPS[:, i : i + 1]) for i in range(4)], 1)
    np.testing.assert_allclose(GramMatrix()([MAPS, regions])[:, 0], np.einsum("r,brij->bij", shares, rows), rtol=1e-4)


def test_an_empty_region_is_finite():
    assert np.all(np.array(GramMatrix()([MAPS, np.zeros((2, 4, 6, 1), "float32")])) == 0)


@pytest.mark.parametrize("with_regions", [False, True])
def test_gram_in_a_model_of_any_size(with_regions):
    maps, regions = keras.Input((None, None, 3)), keras.Input((None, None, 2))
    inputs = [maps, regions] if with_regions else maps
    outputs = GramMatrix()(inputs)
    assert outputs.shape == (None, 2 if with_regions else 1, 3, 3)
    model = keras.Model(inputs, outputs)
    whole = np.ones((2, 1, 1, 2), "float32")
    result = model.predict_on_batch([MAPS, whole] if with_regions else MAPS)
    np.testing.assert_allclose(result[:, :1], inner_products(MAPS), rtol=1e-5)


@pytest.mark.parametrize("with_regions", [False, True])
def test_half_precision_sums_a_large_map(with_regions):
    """65,536 squares of up to 16: their sum is beyond float16, as are the squares of activations from 256 on."""
    maps = RNG.uniform(0, 4, (1, 256, 256, 2)).astype("float16") * np.array([1, 200], "float16")
    regions = np.ones((1, 256, 256, 1), "float32")
    layer = GramMatrix(dtype="mixed_float16")
    outputs = layer([keras.Input((256, 256, 2), dtype="float16"), keras.Input((256, 256, 1))])
    assert outputs.dtype == "float32"
    gram = layer([maps, regions] if with_regions else maps)
    np.testing.assert_allclose(gram, inner_products(maps), rtol=1e-4)


def test_reflection_is_numpys():
    padded = ReflectionPadding2D(2)(MAPS)
    np.testing.assert_array_equal(padded, np.pad(MAPS, ((0, 0), (2, 2), (2, 2), (0, 0)), "reflect"))
    assert ReflectionPadding2D(2)(keras.Input((None, 6, 3))).shape == (None, None, 10, 3)
