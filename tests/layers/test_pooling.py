import keras
import numpy as np
import pytest

from keras_dl.layers import L2Pooling, NetVLAD, SpatialPyramidPooling, StochasticPooling

numpy = keras.ops.convert_to_numpy


def activations(*shape, seed=0):
    """Rectified: about half of them are zero."""
    return np.maximum(np.random.default_rng(seed).normal(size=shape), 0).astype("float32")


def windows(x, pool, strides, padding):
    """Each window of each image, as TensorFlow's "same" lays it, with the place of its result."""
    starts = []
    for size, width, step in zip(x.shape[1:3], pool, strides, strict=True):
        if padding == "same":
            out = -(-size // step)
            before = max((out - 1) * step + width - size, 0) // 2
        else:
            out, before = (size - width) // step + 1, 0
        starts.append([i * step - before for i in range(out)])
    for row, top in enumerate(starts[0]):
        for column, left in enumerate(starts[1]):
            yield row, column, x[:, max(top, 0) : top + pool[0], max(left, 0) : left + pool[1]]


def pooled(x, pool, strides, padding, function):
    results = {
        (r, c): function(window.reshape(len(x), -1, x.shape[-1])) for r, c, window in windows(x, pool, strides, padding)
    }
    rows, columns = (max(place[axis] for place in results) + 1 for axis in (0, 1))
    return np.stack([np.stack([results[r, c] for c in range(columns)], 1) for r in range(rows)], 1)


def root_of_squares(window):
    return np.sqrt((window.astype("float64") ** 2).sum(1))


def weighted_mean(window):
    """Section 3.2: the sum of p * a where p = a / sum(a); 0 if nothing is active."""
    total = window.sum(1)
    return (window**2).sum(1) / np.where(total == 0, 1, total)


GRIDS = [
    ((2, 2), (2, 2), "valid", (6, 8)),
    ((3, 3), (2, 2), "valid", (7, 8)),
    ((3, 2), (1, 3), "same", (5, 7)),
    ((3, 3), (2, 2), "same", (6, 7)),
    ((2, 2), (3, 3), "same", (7, 7)),
]


@pytest.mark.parametrize(("pool", "strides", "padding", "size"), GRIDS)
@pytest.mark.parametrize(("layer", "function"), [(L2Pooling, root_of_squares), (StochasticPooling, weighted_mean)])
def test_equals_a_loop_over_windows(layer, function, pool, strides, padding, size):
    x = activations(2, *size, 3)
    y = layer(pool, strides, padding)(x)
    np.testing.assert_allclose(numpy(y), pooled(x, pool, strides, padding, function), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [L2Pooling, StochasticPooling])
def test_same_padding_of_a_map_of_unknown_size(layer):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layer(3, 2, "same")(inputs))
    assert model.output_shape == (None, None, None, 3)
    for size in ((5, 8), (6, 7)):
        x = activations(2, *size, 3)
        expected = layer(3, 2, "same")(x)
        np.testing.assert_allclose(model.predict(x, verbose=0), numpy(expected), rtol=1e-6)


def test_l2_of_negative_activations_counts_their_squares():
    x = np.array([[-3.0, 0.0], [0.0, 4.0]], "float32").reshape(1, 2, 2, 1)
    assert numpy(L2Pooling()(x)).item() == pytest.approx(5.0)


def test_stochastic_pooling_draws_each_activation_as_often_as_it_is_large():
    draws = 20_000
    window = np.array([0.0, 1.0, 2.0, 5.0], "float32")
    x = np.broadcast_to(window.reshape(1, 2, 2, 1), (draws, 2, 2, 1))
    y = numpy(StochasticPooling(seed=1)(x, training=True)).ravel()
    values, counts = np.unique(y, return_counts=True)
    np.testing.assert_array_equal(values, [1.0, 2.0, 5.0])
    p = values / 8
    assert (abs(counts / draws - p) < 4 * np.sqrt(p * (1 - p) / draws)).all()


def test_stochastic_pooling_draws_from_its_own_window_and_each_window_by_itself():
    x = activations(16, 6, 6, 4) + 0.1
    layer = StochasticPooling(3, 2, "same", seed=2)
    y = numpy(layer(x, training=True))
    for row, column, window in windows(x, (3, 3), (2, 2), "same"):
        own = window.reshape(16, -1, 4)
        assert (own == y[:, row, column, None]).any(axis=1).all()
    assert (numpy(layer(x, training=True)) != y).mean() > 0.5


def test_stochastic_pooling_repeats_with_its_seed():
    x = activations(4, 8, 8, 4)
    first, second, other = (numpy(StochasticPooling(seed=seed)(x, training=True)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@pytest.mark.parametrize("training", [False, True])
def test_stochastic_pooling_never_draws_what_is_not_positive(training):
    x = np.array([[-9.0, -1.0], [0.0, 2.0]], "float32").reshape(1, 2, 2, 1)
    layer = StochasticPooling()
    assert numpy(layer(x, training=training)).item() == pytest.approx(2.0)
    assert numpy(layer(np.minimum(x, 0), training=training)).item() == 0


@pytest.mark.parametrize("layer", [L2Pooling, StochasticPooling])
def test_windows_of_zeros_leave_the_gradients_finite(layer):
    keras.utils.set_random_seed(0)  # of a kernel without a positive number stochastic pooling would learn nothing
    model = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Conv2D(3, 1), layer(), keras.layers.Flatten()])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = model.get_weights()[0]
    model.fit(np.zeros((4, 4, 4, 2)), np.ones((4, 12)), verbose=0)
    model.fit(activations(4, 4, 4, 2), np.ones((4, 12)), verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert (model.get_weights()[0] != before).any()


def vlad_by_loop(x, kernel, bias, centers):
    """Equation 4, then the norms of section 3.1, descriptor by descriptor."""
    vlad = np.zeros((len(x), *centers.shape))
    for n, descriptors in enumerate(x):
        for descriptor in descriptors:
            score = np.exp(descriptor @ kernel + bias)
            for k in range(len(centers)):
                vlad[n, k] += score[k] / score.sum() * (descriptor - centers[k])
        vlad[n] /= np.linalg.norm(vlad[n], axis=1, keepdims=True)
        vlad[n] /= np.linalg.norm(vlad[n])
    return vlad.reshape(len(x), -1)


def test_netvlad_equals_a_loop_over_descriptors():
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 3, 4, 5)).astype("float32")
    layer = NetVLAD(6)
    layer.build(x.shape)
    weights = [random.normal(size=weight.shape) for weight in layer.get_weights()]
    layer.set_weights(weights)
    expected = vlad_by_loop(x.reshape(2, 12, 5), *weights)
    assert expected.shape == (2, 30)
    np.testing.assert_allclose(numpy(layer(x)), expected, atol=1e-6)
    np.testing.assert_allclose(numpy(layer(x.reshape(2, 12, 5)[:, ::-1])), expected, atol=1e-6)


def test_netvlad_with_sharp_given_centres_is_vlad_with_hard_assignment():
    centers = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    x = np.array([[[1.0, 0.0], [9.0, 1.0], [11.0, 2.0], [0.0, 9.0]]], "float32")
    layer = NetVLAD(3)
    layer.build(x.shape)
    layer.set_centers(centers, alpha=10.0)
    # Residual sums are (1, 0), (0, 3) and (0, -1): each becomes a unit vector, the whole is one too.
    np.testing.assert_allclose(numpy(layer(x)), [np.array([1, 0, 0, 1, 0, -1]) / np.sqrt(3)], atol=1e-6)


def test_netvlad_trains_each_of_its_weights():
    model = keras.Sequential([keras.Input((3, 3, 4)), NetVLAD(2)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    before = model.get_weights()
    model.fit(activations(8, 3, 3, 4), np.ones((8, 8)), verbose=0)
    assert all((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))


def pyramid_by_loop(x, levels):
    features = []
    for bins in levels:
        for i in range(bins):
            for j in range(bins):
                top, left = (int(np.floor(k * side / bins)) for k, side in ((i, x.shape[1]), (j, x.shape[2])))
                bottom, right = (int(np.ceil((k + 1) * side / bins)) for k, side in ((i, x.shape[1]), (j, x.shape[2])))
                features.append(x[:, top:bottom, left:right].max(axis=(1, 2)))
    return np.concatenate(features, axis=1)


def test_spatial_pyramid_of_any_size_has_one_length_and_equals_a_loop_over_bins():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, SpatialPyramidPooling((6, 3, 2, 1))(inputs))
    assert model.output_shape == (None, 50 * 3)
    for size in ((13, 13), (10, 17), (4, 5)):
        x = np.random.default_rng(1).normal(size=(2, *size, 3)).astype("float32")
        y = model.predict(x, verbose=0)
        assert y.shape == (2, 150)
        np.testing.assert_array_equal(y, pyramid_by_loop(x, (6, 3, 2, 1)))


LAYERS = [
    L2Pooling((3, 2), 2, "same"),
    StochasticPooling(2, (1, 2), seed=5),
    NetVLAD(3),
    SpatialPyramidPooling((3, 1)),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_reload_gives_the_same_layer(layer, tmp_path):
    inputs = keras.Input((7, 8, 4))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    x = activations(2, 7, 8, 4)
    y = model.predict(x, verbose=0)
    assert y.shape[1:] == model.output_shape[1:]
    np.testing.assert_array_equal(again.predict(x, verbose=0), y)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_half_precision_gives_what_single_gives(layer, training):
    half = type(layer).from_config({**layer.get_config(), "dtype": "mixed_float16"})
    single = type(layer).from_config(layer.get_config() | {"dtype": "float32"})
    x = activations(2, 7, 8, 4).astype("float16") * 300
    half.build(x.shape)
    single.build(x.shape)
    single.set_weights(half.get_weights())
    options = {"training": training} if isinstance(layer, StochasticPooling) else {}
    y = half(x, **options)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    np.testing.assert_allclose(numpy(y), numpy(single(x, **options)), rtol=2e-3, atol=1e-3)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="padding is 'valid' or 'same'; got 'full'"):
        L2Pooling(padding="full")
    with pytest.raises(ValueError, match="positive integers"):
        StochasticPooling((2, 0))
    with pytest.raises(ValueError, match="clusters is a positive integer"):
        NetVLAD(0)
    with pytest.raises(ValueError, match="positive whole numbers of bins"):
        SpatialPyramidPooling(())


def test_netvlad_takes_centres_once_it_is_built():
    with pytest.raises(ValueError, match="'vlad' has no weights yet: call it on descriptors before set_centers"):
        NetVLAD(2, name="vlad").set_centers(np.zeros((2, 3)), alpha=1.0)


def test_a_pyramid_has_whole_bins():
    with pytest.raises(ValueError, match=r"positive whole numbers of bins a side, e.g. \(6, 3, 2, 1\); got \(2.5,\)"):
        SpatialPyramidPooling((2.5,))
