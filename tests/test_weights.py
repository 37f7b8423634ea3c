"""Weights from keras.applications, from the package and from files, and all that can go wrong with them."""

import contextlib
import functools
import json
import operator
import re
import socket
import time
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

import keras_dl.weights
from keras_dl import create_model, list_models, model_info
from keras_dl.data.samples.photos import photograph
from keras_dl.errors import UserError
from keras_dl.vision.auxiliary import inference_model

PATH = operator.attrgetter("path")
TINY = {"input_shape": (32, 32, 3), "num_classes": 4, "dense_units": 8}


def build(name="vgg11", **arguments):
    return create_model(name, **{**TINY, **arguments})


def arrays(model):
    return [np.array(weight) for weight in model.weights]


def assert_equal_layers(a, b, names):
    for name in names:
        for x, y in zip(a.get_layer(name).weights, b.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(np.array(x), np.array(y))


def conv_names(model):
    return [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


def save(model, path):
    if path.suffix == ".npz":
        np.savez(path, **{weight.path: np.array(weight) for weight in model.weights})
    elif path.suffix == ".keras":
        model.save(path)
    else:
        model.save_weights(path)
    return path


@contextlib.contextmanager
def one_line_error(match):
    with pytest.raises(UserError, match=match) as caught:
        yield caught
    assert "\n" not in str(caught.value)


@pytest.fixture(params=["w.keras", "w.weights.h5", "w.npz"])
def file(request, tmp_path):
    return tmp_path / request.param


# ---- files that fit


def test_file_round_trip(file):
    model = build()
    again = build(weights=str(save(model, file)))
    for x, y in zip(arrays(model), arrays(again), strict=True):
        np.testing.assert_array_equal(x, y)


def test_trained_model_with_optimizer_and_batch_statistics(file):
    model = create_model("vgg13_cifar", num_classes=3, batch_norm=True)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
    model.fit(np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)), np.array([0, 1]), verbose=0)
    again = create_model("vgg13_cifar", num_classes=3, batch_norm=True, weights=save(model, file))
    for x, y in zip(arrays(model), arrays(again), strict=True):
        np.testing.assert_array_equal(x, y)


def test_another_number_of_classes_keeps_its_own_classifier(file):
    model = build()
    keras.utils.set_random_seed(1)
    own = np.array(build(num_classes=7).get_layer("predictions").kernel)
    keras.utils.set_random_seed(1)
    again = build(num_classes=7, weights=str(save(model, file)))
    assert_equal_layers(model, again, [*conv_names(model), "fc1", "fc2"])
    np.testing.assert_array_equal(np.array(again.get_layer("predictions").kernel), own)


def test_a_model_without_top_takes_what_is_below_it(file):
    model = build()
    again = build(include_top=False, weights=str(save(model, file)))
    assert_equal_layers(model, again, conv_names(again))
    assert len(conv_names(again)) == 8


def test_a_file_without_top_fits_below_a_new_classifier(file):
    body = create_model("resnet20_cifar", include_top=False)
    whole = create_model("resnet20_cifar", weights=str(save(body, file)))
    assert_equal_layers(body, whole, conv_names(body))


def test_auxiliary_heads_take_no_part(tmp_path):
    model = create_model("googlenet", input_shape=(65, 65, 3), num_classes=3)
    path = save(model, tmp_path / "w.npz")
    heads = create_model("googlenet", input_shape=(65, 65, 3), num_classes=3, auxiliary_heads=True, weights=path)
    assert_equal_layers(model, heads, [*conv_names(model), "predictions"])
    back = create_model(
        "googlenet", input_shape=(65, 65, 3), num_classes=3, weights=save(heads, tmp_path / "heads.weights.h5")
    )
    assert_equal_layers(heads, back, [*conv_names(back), "predictions"])


def test_half_precision_file(tmp_path):
    model = build()
    path = tmp_path / "w.npz"
    np.savez(path, **{weight.path: np.array(weight, "float16") for weight in model.weights})
    for x, y in zip(arrays(model), arrays(build(weights=path)), strict=True):
        np.testing.assert_array_equal(x.astype("float16").astype("float32"), y)


def test_order_of_the_arrays_in_a_file_does_not_matter(tmp_path):
    """Gains, shifts, means and variances of a batch normalisation are alike in shape: no error would tell."""
    model = create_model("vgg13_cifar", batch_norm=True)
    for i, weight in enumerate(model.weights):
        weight.assign(np.full(weight.shape, i))
    np.savez(tmp_path / "w.npz", **{weight.path: np.array(weight) for weight in sorted(model.weights, key=PATH)})
    again = create_model("vgg13_cifar", batch_norm=True, weights=tmp_path / "w.npz")
    for x, y in zip(arrays(model), arrays(again), strict=True):
        np.testing.assert_array_equal(x, y)


def nested(units=3):
    """A model within a model, and layers without names of their own."""
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units), keras.layers.Dense(4)])
    inputs = keras.Input((5, 4))
    x = keras.layers.Bidirectional(keras.layers.LSTM(2))(inputs)
    return keras.Model(inputs, keras.layers.Dense(2)(inner(keras.layers.Dropout(0.5)(x))))


def test_layers_without_names_are_matched_by_position(file):
    info = model_info("vgg11")
    model, again = nested(), nested()
    assert {w.path for w in model.weights} != {w.path for w in again.weights}
    keras_dl.weights.load_weights(again, info, save(model, file))
    for x, y in zip(arrays(model), arrays(again), strict=True):
        np.testing.assert_array_equal(x, y)

    other = nested(units=5)
    before = arrays(other)
    with one_line_error("does not fit"):
        keras_dl.weights.load_weights(other, info, file)
    for x, y in zip(before, arrays(other), strict=True):
        np.testing.assert_array_equal(x, y)


def test_more_than_ten_layers_of_one_shape_without_names_keep_their_order(file):
    """Sorted by name, dense_10 comes before dense_2, and no shape tells."""

    def stack(name):
        inputs = x = keras.Input((2,))
        for i in range(11):
            x = keras.layers.Dense(2, name=f"{name}_{i}")(x)
        return keras.Model(inputs, x)

    model, again = stack("dense"), stack("layer")
    keras_dl.weights.load_weights(again, model_info("vgg11"), save(model, file))
    for x, y in zip(arrays(model), arrays(again), strict=True):
        np.testing.assert_array_equal(x, y)


# ---- files that don't


def test_weights_of_another_architecture_are_named_and_nothing_changes(file):
    save(build("vgg13"), file)
    model = build("vgg11")
    before = arrays(model)
    with one_line_error(r"block1_conv2|block2_conv1") as caught:
        keras_dl.weights.load_weights(model, model_info("vgg11"), file)
    if file.suffix != ".npz":
        assert "it is of vgg13, use create_model('vgg13'), or --model vgg13 on" in str(caught.value)
    for x, y in zip(before, arrays(model), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_late_disagreement_changes_nothing_either(file):
    save(build(dense_units=9), file)
    model = build()
    before = arrays(model)
    with one_line_error(r"layer 'fc1' has weights 512x9 and 9 in .*, but 512x8 and 8 in this model"):
        keras_dl.weights.load_weights(model, model_info("vgg11"), file)
    for x, y in zip(before, arrays(model), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_deeper_net_is_no_source_for_its_first_layers(file):
    save(create_model("resnet32_cifar", include_top=False), file)
    with one_line_error(r"has a layer .conv2_block[45]"):
        create_model("resnet20_cifar", include_top=False, weights=str(file))


def test_missing_file(file):
    with one_line_error(f"no weights file {file}"):
        build(weights=str(file))


@pytest.mark.parametrize("source", ["imagnet", "weights.pt"])
def test_unknown_kind_of_weights(source):
    with one_line_error(rf"{source} is no weights file: .*'imagenet', 'builtin'.*\.keras, \.weights\.h5, \.npz"):
        build(weights=source)


@pytest.mark.parametrize("source", [True, 3, "", b"w.npz"])
def test_what_is_no_source_of_weights(source):
    with one_line_error(rf"weights are None, 'imagenet', .*\.npz; got {re.escape(repr(source))}$"):
        build(weights=source)


def test_existing_file_of_another_type(tmp_path):
    path = tmp_path / "weights.ckpt"
    path.write_bytes(b"x")
    with one_line_error(r"weights\.ckpt is no weights file"):
        build(weights=str(path))


@pytest.mark.parametrize("damage", ["text", "half", "empty"])
def test_damaged_file(file, damage):
    save(build(), file)
    data = file.read_bytes()
    file.write_bytes({"text": b"not weights at all", "half": data[: len(data) // 2], "empty": b""}[damage])
    with one_line_error(r"can't be read .*damaged"):
        build(weights=str(file))


@pytest.mark.parametrize("name", ["w.weights.h5", "w.npz"])
def test_flipped_bytes_are_said_in_one_line_too(name, tmp_path):
    """What the libraries raise of them is of many types; some bytes change a number only."""
    model, path = create_model("lenet5"), tmp_path / name
    if path.suffix == ".npz":
        np.savez_compressed(path, **{weight.path: np.array(weight) for weight in model.weights})
    else:
        model.save_weights(path)
    data, refused = np.fromfile(path, "uint8"), 0
    for seed in range(30):
        random = np.random.default_rng(seed)
        damaged = data.copy()
        damaged[random.integers(0, len(data), 200)] = random.integers(0, 256, 200)
        damaged.tofile(path)
        try:
            keras_dl.weights.load_weights(model, model_info("lenet5"), path)
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 10


def test_an_array_that_is_no_archive(tmp_path):
    np.save(tmp_path / "w.npy", np.zeros(3))
    (tmp_path / "w.npy").rename(tmp_path / "w.npz")
    with one_line_error("can't be read"):
        build(weights=tmp_path / "w.npz")


def test_pickled_arrays_are_refused(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, **{"block1_conv1/kernel": np.array([print], dtype=object)})
    with one_line_error("can't be read"):
        build(weights=path)


def test_file_that_carries_code_is_refused(tmp_path):
    path = tmp_path / "evil.keras"
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x + 1)(inputs)).save(path)
    with pytest.raises(ValueError, match="Lambda"):
        keras.models.load_model(path)  # Keras refuses the same file
    with one_line_error(r"evil\.keras carries Python code \(a Lambda layer\), which is refused"):
        build(weights=str(path))


def test_keras_archive_without_weights(tmp_path):
    path = tmp_path / "w.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({}))
    with one_line_error("can't be read"):
        build(weights=path)


def test_a_classifier_of_another_shape_alone_is_nothing_to_load(tmp_path):
    inputs = keras.Input((4,))

    def classifier(units):
        return keras.Model(inputs, keras.layers.Dense(units, name="predictions")(inputs))

    path = save(classifier(3), tmp_path / "w.npz")
    with one_line_error("nothing but a classifier of another shape"):
        keras_dl.weights.load_weights(classifier(5), model_info("vgg11"), path)


def test_layers_of_other_names_fit_the_same_form_only(file):
    """Inception v3 of keras.applications numbers its layers: with a top they don't fit below another."""

    def build_form(include_top, *names):
        inputs = keras.Input((8,))
        x = keras.layers.BatchNormalization(name=names[1])(keras.layers.Dense(4, name=names[0])(inputs))
        return keras.Model(inputs, keras.layers.Dense(3, name="predictions")(x) if include_top else x)

    save(build_form(True, "dense_7", "batch_normalization_7"), file)
    same = build_form(True, "first", "first_bn")
    keras_dl.weights.load_weights(same, model_info("vgg11"), file)
    body = build_form(False, "first", "first_bn")
    if file.suffix == ".npz":  # the one kind of file that keeps the layers' order
        keras_dl.weights.load_weights(body, model_info("vgg11"), file)
        np.testing.assert_array_equal(arrays(body)[0], arrays(same)[0])
        return
    with one_line_error("has no layer 'first'.*; layers of other names fit only the same form, with the top"):
        keras_dl.weights.load_weights(body, model_info("vgg11"), file)


# ---- weights of the package


def test_builtin_weights_are_read_by_name(tmp_path, monkeypatch):
    model = create_model("resnet20_cifar")
    np.savez(tmp_path / "resnet20_cifar.npz", **{w.path: np.array(w, "float16") for w in model.weights})
    monkeypatch.setattr(keras_dl.weights, "__file__", str(tmp_path / "__init__.py"))
    again = create_model("resnet20_cifar", weights="builtin", include_top=False)
    for weight, other in zip(model.weights, again.weights, strict=False):
        np.testing.assert_array_equal(np.array(other), np.array(weight).astype("float16"))


def test_every_builtin_file_fits_its_model():
    for name in list_models():
        if model_info(name).builtin:
            create_model(name, weights="builtin")


def test_builtin_nets_know_the_same_classes():
    random = np.random.default_rng(0)
    photos = [Image.fromarray(photograph(name)) for name in ("china", "flower")]
    corners = random.integers(0, (640 - 64, 427 - 64), (200, 2))
    boxes = [(left, top, left + 64, top + 64) for left, top in corners]
    pictures = [photos[i % 2].resize((32, 32), Image.Resampling.LANCZOS, box) for i, box in enumerate(boxes)]
    batch = np.stack(pictures).astype("float32")
    nets = [create_model(name, weights="builtin") for name in ("resnet20_cifar", "vgg13_cifar")]
    one, other = (np.array(net(batch, training=False)).argmax(-1) for net in nets)
    # Trained apart, on other pictures than these: in any other order of the classes they agree by chance only.
    agreement = [np.mean((one + shift) % 10 == other) for shift in range(10)]
    assert agreement[0] > 0.4 and max(agreement[1:]) < 0.25, agreement


@pytest.mark.parametrize(
    ("name", "arguments"), [("resnet20_cifar", {"input_shape": (32, 32, 1)}), ("vgg13_cifar", {"batch_norm": True})]
)
def test_builtin_weights_say_what_they_are_for(name, arguments):
    with one_line_error(f"; the built-in weights of {name} are for three channels and its default layers$"):
        create_model(name, weights="builtin", **arguments)


def test_architecture_without_builtin_weights():
    with one_line_error("no weights for vgg11; it does for .*resnet20_cifar"):
        build(weights="builtin")


# ---- weights of keras.applications


@pytest.fixture
def published(monkeypatch):
    """Stands in for the download: random weights, kept for comparison."""
    made = []

    def replace(name):
        real = getattr(keras.applications, name)

        @functools.wraps(real)
        def fake(weights, **arguments):
            assert weights == "imagenet"
            made.append(real(weights=None, **arguments))
            return made[-1]

        monkeypatch.setattr(keras.applications, name, fake)
        return made

    return replace


def test_imagenet_weights_with_the_published_classifier(published):
    made = published("DenseNet121")
    model = create_model("densenet121", weights="imagenet")
    for x, y in zip(arrays(made[0]), arrays(model), strict=True):
        np.testing.assert_array_equal(x, y)


def test_imagenet_weights_below_a_classifier_of_ones_own(published):
    made = published("ResNet50")
    model = create_model("resnet50", input_shape=(40, 40, 3), num_classes=3, weights="imagenet")
    assert_equal_layers(made[0], model, conv_names(made[0]))


@pytest.mark.parametrize("arguments", [{"num_classes": 3}, {}], ids=["classes", "dense layers"])
def test_imagenet_weights_below_a_top_that_does_not_fit(published, capsys, arguments):
    """The file without top is a ninth of the other; what stays random is said."""
    made = published("VGG16")
    model = create_model("vgg16", input_shape=(48, 40, 3), dense_units=8, weights="imagenet", **arguments)
    assert "fc1" not in [layer.name for layer in made[0].layers]
    assert_equal_layers(made[0], model, conv_names(made[0]))
    assert len(conv_names(made[0])) == 13
    assert "vgg16: ImageNet weights below the top; fc1, fc2, predictions start at random" in capsys.readouterr().out


def test_imagenet_weights_below_a_convolution_that_does_not_fit_change_nothing(published):
    published("VGG16")
    model = create_model("vgg16", input_shape=(32, 32, 1), dense_units=8)
    before = arrays(model)
    with one_line_error(r"block1_conv1.*3x3x3x64 .*3x3x1x64 .*three channels"):
        keras_dl.weights.load_weights(model, model_info("vgg16"), "imagenet")
    for x, y in zip(before, arrays(model), strict=True):
        np.testing.assert_array_equal(x, y)


def test_imagenet_weights_without_top_of_unnamed_layers_beside_an_auxiliary_head(published):
    """Inception v3's layers have no lasting names; an auxiliary head must not disturb their order."""
    made = published("InceptionV3")
    images = np.random.default_rng(0).uniform(0, 255, (1, 107, 107, 3)).astype("float32")
    model = create_model(
        "inception_v3", input_shape=(107, 107, 3), auxiliary_heads=True, weights="imagenet", num_classes=3
    )
    ours = keras.Model(model.input, inference_model(model).get_layer("avg_pool").output)
    theirs = keras.applications.InceptionV3.__wrapped__(
        weights=None, include_top=False, pooling="avg", input_shape=(107, 107, 3)
    )
    theirs.set_weights(made[0].get_weights())
    expected = np.array(theirs(images / 127.5 - 1))
    np.testing.assert_allclose(np.array(ours(images)), expected, atol=1e-4 * np.abs(expected).max())


def test_imagenet_weights_do_not_fit_grey_pictures(published):
    published("ResNet50")
    with one_line_error(r"conv1_conv.*7x7x3x64 .*7x7x1x64 .*three channels"):
        create_model("resnet50", input_shape=(32, 32, 1), include_top=False, weights="imagenet")


def test_architecture_without_imagenet_weights():
    with one_line_error("no ImageNet weights are published for vgg11; they are for densenet121, .*vgg19"):
        build(weights="imagenet")


def test_no_network(monkeypatch):
    """The real download of keras.applications, where no name resolves and no proxy answers."""

    def refuse(*args, **kwargs):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("keras.src.utils.file_utils.os.path.exists", lambda path: False)
    before = socket.getdefaulttimeout()
    with one_line_error(r"ImageNet weights of densenet121 can't be downloaded \(.*URL fetch failure.*connect"):
        create_model("densenet121", include_top=False, weights="imagenet")
    assert socket.getdefaulttimeout() == before


def test_a_firewall_that_drops_packets_is_noticed_at_the_first_address(monkeypatch):
    """Sixteen addresses that never answer: one of each family is tried, then little patience is left."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    filler = socket.create_connection(full.getsockname())  # the queue is full: further connections hang
    fillers = [filler]
    for _ in range(3):
        extra = socket.socket()
        extra.setblocking(False)
        extra.connect_ex(full.getsockname())
        fillers.append(extra)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", full.getsockname())] * 16
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    start = time.monotonic()
    assert keras_dl.weights._patience() == 0.5
    assert time.monotonic() - start < 6
    for connection in (full, *fillers):
        connection.close()


def test_a_server_that_answers_is_given_time(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", server.getsockname())]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
        monkeypatch.setattr("urllib.request.getproxies", dict)
        assert keras_dl.weights._patience() == 30


def test_an_error_that_is_no_failed_download_is_not_hidden(monkeypatch):
    def broken(**arguments):
        raise TypeError("a defect")

    monkeypatch.setattr(keras.applications, "DenseNet121", broken)
    with pytest.raises(TypeError, match="a defect"):
        create_model("densenet121", weights="imagenet")


def test_every_published_model_exists():
    for name in list_models():
        info = model_info(name)
        if info.imagenet:
            assert callable(getattr(keras.applications, info.imagenet))
