import keras
import numpy as np
import pytest

from keras_dl import create_model, list_models, model_info
from keras_dl.errors import UserError
from keras_dl.layers import LocalResponseNormalization
from keras_dl.vision.alexnet import alexnet
from keras_dl.vision.googlenet import googlenet
from keras_dl.vision.lenet import lenet5
from keras_dl.vision.nin import nin
from keras_dl.vision.overfeat import overfeat
from keras_dl.vision.sppnet import sppnet

BUILDERS = [alexnet, lenet5, nin, overfeat, sppnet]


def images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, shape).astype("float32")


def without_memory(builder, **arguments):
    with keras.StatelessScope(initialize_variables=False):
        return builder(**arguments)


def sides(model, *names):
    return [model.get_layer(name).output.shape[1] for name in names]


def as_numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize(
    ("builder", "arguments", "count"),
    [
        (lenet5, {}, 61_706),
        (alexnet, {}, 60_965_224),
        (alexnet, {"groups": 1}, 62_378_344),
        (nin, {}, 966_986),
        (sppnet, {}, 77_037_672),
        (overfeat, {}, 145_920_872),
        (overfeat, {"padding": "same", "input_shape": (231, 231, 3)}, 145_920_872),
    ],
)
def test_parameter_counts(builder, arguments, count):
    assert without_memory(builder, **arguments).count_params() == count


def test_maps_have_the_sizes_that_the_papers_print():
    assert sides(without_memory(lenet5), "c1", "s2", "c3", "s4") == [28, 14, 10, 5]
    model = without_memory(alexnet)
    assert sides(model, "conv1", "pool1", "conv2", "pool2", "conv5", "pool5") == [55, 27, 27, 13, 13, 6]
    assert sides(without_memory(nin), "mlpconv1_cccp2", "mlpconv2_cccp2", "predictions") == [32, 16, 8]
    model = without_memory(sppnet, input_shape=(224, 224, 3))
    assert sides(model, "pool1", "conv5") == [55, 13]
    assert model.get_layer("pyramid").output.shape[1] == 50 * 256
    model = without_memory(overfeat, input_shape=(231, 231, 3), padding="same")
    assert sides(model, "conv2", "conv3", "conv5", "pool5", "fc6", "predictions") == [24, 12, 12, 6, 1, 1]


def test_two_towers_equal_one_tower_with_block_diagonal_kernels():
    options = {"input_shape": (67, 67, 3), "num_classes": 4, "dense_units": 16, "classifier_activation": None}
    towers, single = alexnet(groups=2, **options), alexnet(groups=1, **options)
    for layer in single.layers:
        if layer.name in ("conv2", "conv4", "conv5"):
            (first, first_bias), (second, second_bias) = (
                towers.get_layer(f"{layer.name}_{i}").get_weights() for i in (1, 2)
            )
            kernel = np.zeros(layer.kernel.shape)
            kernel[:, :, : first.shape[2], : first.shape[3]] = first
            kernel[:, :, first.shape[2] :, first.shape[3] :] = second
            layer.set_weights([kernel, np.concatenate([first_bias, second_bias])])
        else:
            layer.set_weights(towers.get_layer(layer.name).get_weights())
    x = images(2, 67, 67, 3)
    expected = single.predict(x, verbose=0)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(towers.predict(x, verbose=0), expected, atol=1e-4 * abs(expected).max())


def test_alexnet_and_sppnet_normalise_before_they_pool():
    for model in (without_memory(alexnet), without_memory(sppnet)):
        order = [layer.name for layer in model.layers]
        for i in ("1", "2"):
            norm = model.get_layer(f"norm{i}")
            assert isinstance(norm, LocalResponseNormalization)
            assert (norm.n, norm.k, norm.alpha, norm.beta) == (5, 2.0, 1e-4, 0.75)
            assert order.index(f"conv{i}") < order.index(f"norm{i}") < order.index(f"pool{i}")


def test_dropout_has_the_papers_rates():
    for builder, rates in ((alexnet, [0.5, 0.5]), (sppnet, [0.5, 0.5]), (overfeat, [0.5, 0.5]), (googlenet, [0.4])):
        model = without_memory(builder)
        assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == rates


def test_nin_logits_are_the_averages_of_its_class_maps():
    model = nin(input_shape=(12, 12, 3), num_classes=4)
    maps = keras.Model(model.input, model.get_layer("predictions").output)
    x = images(3, 12, 12, 3)
    logits = maps.predict(x, verbose=0).mean(axis=(1, 2))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-4)


def test_sppnet_of_any_size_equals_the_net_built_for_that_size():
    small = {"num_classes": 4, "dense_units": 16, "levels": (2, 1), "classifier_activation": None}
    model = sppnet(**small)
    for size in ((64, 64), (50, 83), (21, 21)):
        fixed = sppnet(input_shape=(*size, 3), **small)
        fixed.set_weights(model.get_weights())
        x = images(2, *size, 3)
        expected = fixed.predict(x, verbose=0)
        assert expected.shape == (2, 4)
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-4 * abs(expected).max())


SMALL_OVERFEAT = {"num_classes": 3, "filters": (8, 12, 12, 16, 16), "dense_units": (16, 16)}


def test_overfeat_map_equals_cropping_and_classifying_each_window():
    keras.utils.set_random_seed(0)
    model = overfeat(classifier_activation=None, **SMALL_OVERFEAT)
    x = images(1, 327 + 32, 327 + 2 * 32 + 31, 3)
    scores = model.predict(x, verbose=0)
    assert scores.shape == (1, 2, 3, 3)
    crops = np.concatenate([x[:, 32 * i : 32 * i + 327, 32 * j : 32 * j + 327] for i in range(2) for j in range(3)])
    expected = model.predict(crops, verbose=0).reshape(scores.shape)
    assert np.ptp(expected, axis=(1, 2)).min() > 1e-3 * abs(expected).max()
    np.testing.assert_allclose(scores, expected, atol=1e-5 * abs(expected).max())


def test_overfeat_classifier_equals_dense_layers_on_the_flattened_map():
    model = overfeat(input_shape=(231, 231, 3), padding="same", **SMALL_OVERFEAT)
    x = images(2, 231, 231, 3)
    features = keras.Model(model.input, model.get_layer("pool5").output).predict(x, verbose=0).reshape(2, -1)
    for name in ("fc6", "fc7", "predictions"):
        kernel, bias = model.get_layer(name).get_weights()
        features = features @ kernel.reshape(-1, kernel.shape[-1]) + bias
        features = features if name == "predictions" else np.maximum(features, 0)
    expected = np.exp(features) / np.exp(features).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(x, verbose=0).reshape(2, 3), expected, rtol=1e-3)


def test_overfeat_pools_the_scores_of_the_windows():
    options = {"padding": "same", "input_shape": (263, 263, 3), **SMALL_OVERFEAT}
    model = overfeat(classifier_activation=None, **options)
    x = images(2, 263, 263, 3)
    scores = model.predict(x, verbose=0)
    assert scores.shape == (2, 2, 2, 3)
    for pooling, function in (("max", np.max), ("avg", np.mean)):
        pooled = overfeat(pooling=pooling, **options)
        pooled.set_weights(model.get_weights())
        logits = function(scores, axis=(1, 2))
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(pooled.predict(x, verbose=0), expected, rtol=1e-3)


@pytest.mark.parametrize("builder", BUILDERS)
def test_without_top_features_are_what_the_classifier_sees(builder):
    model = without_memory(builder, include_top=False)
    channels = model.output_shape[-1]
    assert len(model.output_shape) == 4
    assert without_memory(builder, include_top=False, pooling="avg").output_shape == (None, channels)
    assert "predictions" not in [layer.name for layer in model.layers]
    full = {weight.path: tuple(weight.shape) for weight in without_memory(builder).weights}
    assert {weight.path: tuple(weight.shape) for weight in model.weights}.items() <= full.items()


@pytest.mark.parametrize(("builder", "side"), [(lenet5, 12), (alexnet, 67), (sppnet, 21), (overfeat, 327)])
def test_the_smallest_image_fits_and_one_pixel_less_is_refused(builder, side):
    channels = without_memory(builder).input_shape[-1]
    assert without_memory(builder, input_shape=(side, side, channels)).output_shape[-1] in (10, 1000)
    with pytest.raises(ValueError, match=f"needs {side} pixels"):
        builder(input_shape=(side - 1, side, channels))


def test_the_smallest_map_without_overfeats_classifier():
    for padding, side in (("valid", 167), ("same", 71)):
        model = without_memory(overfeat, include_top=False, padding=padding, input_shape=(side, side, 3))
        assert model.output_shape[1:3] == (1, 1)
        with pytest.raises(ValueError, match=f"needs {side} pixels"):
            overfeat(include_top=False, padding=padding, input_shape=(side - 1, side, 3))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="groups is 1 or 2; got 3"):
        alexnet(groups=3)
    with pytest.raises(ValueError, match="padding is 'valid' or 'same'; got 'full'"):
        overfeat(padding="full")
    with pytest.raises(ValueError, match="five widths and dense_units two; got"):
        overfeat(filters=(8, 8, 8))
    for shape in (28, (28, 28), (28, 28, 0)):
        with pytest.raises(ValueError, match=r"input_shape is \(height, width, channels\)"):
            lenet5(input_shape=shape)
    with pytest.raises(ValueError, match="pooling is None, 'avg' or 'max'; got 'mean'"):
        nin(include_top=False, pooling="mean")


@pytest.mark.parametrize("name", list_models("image classification"))
def test_an_unknown_pooling_is_refused_with_a_top_too(name):
    with pytest.raises(ValueError, match="pooling is None, 'avg' or 'max'; got 'mean'"):
        without_memory(model_info(name).builder, pooling="mean")


@pytest.mark.parametrize("name", ["alexnet", "lenet5", "vgg11", "siamese"])
def test_dense_layers_of_a_map_of_unknown_size_are_refused(name):
    with pytest.raises(UserError, match="give input_shape a height and a width"):
        create_model(name, input_shape=(None, None, 3))


@pytest.mark.parametrize(("name", "pooling"), [("nin", {}), ("darknet19", {}), ("overfeat", {"pooling": "avg"})])
def test_half_precision_does_not_round_the_scores_of_the_classes(name, pooling):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = without_memory(model_info(name).builder, **pooling)
    finally:
        keras.config.set_dtype_policy("float32")
    order = [layer.name for layer in model.layers]
    head = model.layers[order.index("predictions") :]
    assert [layer.compute_dtype for layer in head] == ["float32"] * 3


def test_nin_under_a_sigmoid_can_say_no():
    """Scores below one half need negative averages, which a ReLU on the last maps would not leave."""
    model = nin(input_shape=(16, 16, 3), num_classes=8, classifier_activation="sigmoid")
    average = keras.Model(model.input, model.get_layer("predictions").output)(images(2, 16, 16, 3))
    logits = as_numpy(average).mean((1, 2))
    assert (logits < 0).any()
    np.testing.assert_allclose(as_numpy(model(images(2, 16, 16, 3))), 1 / (1 + np.exp(-logits)), atol=1e-6)


def test_nin_gives_no_negative_logits():
    model = nin(input_shape=(16, 16, 3), num_classes=8, classifier_activation=None)
    assert as_numpy(model(images(2, 16, 16, 3))).min() >= 0
