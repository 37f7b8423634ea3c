"""Contrastive and triplet losses against loops; siamese and triplet nets on classes that they never saw."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers, ops
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from keras_dl import create_model
from keras_dl.vision.siamese import ContrastiveLoss
from keras_dl.vision.triplet import TripletSemiHardLoss, semi_hard_negatives


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@dataclasses.dataclass
class Labelled:
    images: np.ndarray
    labels: np.ndarray


@pytest.fixture(scope="module")
def digits():
    """Digits 0 to 5 to learn from, others of the same classes, and digits 6 to 9: classes never seen.

    Each image in [0, 255] is black on white or white on black by chance. So how alike two look says nothing of
    their class, and neither pixels nor random features tell more than chance: that it does not matter must be learnt.
    """
    data = load_digits()
    images, labels = data.images[..., None].astype("float32") * (255 / 16), data.target
    negative = np.random.default_rng(1).integers(0, 2, len(labels)).astype(bool)
    images[negative] = 255 - images[negative]
    held_out = np.arange(len(labels)) % 5 == 0
    splits = {"train": (labels < 6) & ~held_out, "seen": (labels < 6) & held_out, "unseen": labels >= 6}
    return {split: Labelled(images[rows], labels[rows]) for split, rows in splits.items()}


def draw_glyph(strokes, rng):
    """24x24 grey, white on black, of three bent strokes: turned, shifted and wobbled, as by another hand each time."""
    angle = rng.normal(0, 0.15)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (strokes - 32 + rng.normal(0, 2, strokes.shape)) @ turn + 32 + rng.normal(0, 3, 2)
    image = Image.new("L", (64, 64))
    for stroke in points:
        ImageDraw.Draw(image).line([tuple(point) for point in stroke], fill=255, width=int(rng.integers(3, 7)))
    return np.asarray(image.resize((24, 24), Image.Resampling.BOX), "float32")[..., None]


@pytest.fixture(scope="module")
def glyphs():
    """Characters of a made-up alphabet, drawn ten times each: 60 to learn from, and 20 never seen."""
    rng = np.random.default_rng(0)
    strokes, labels = rng.uniform(10, 54, (80, 3, 3, 2)), np.repeat(np.arange(80), 10)
    images = np.stack([draw_glyph(strokes[label], rng) for label in labels])
    return {"train": Labelled(images[:600], labels[:600]), "unseen": Labelled(images[600:], labels[600:])}


def small_embedding(units, activation=None, side=8):
    inputs = keras.Input((side, side, 1), name="images")
    x = layers.Rescaling(1 / 127.5, -1.0)(inputs)
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    return keras.Model(inputs, layers.Dense(units, activation)(layers.Flatten()(x)))


def draw_pairs(labels, count, rng):
    """Indices of `count` pairs, half of one class, half of two."""
    first = rng.integers(0, len(labels), count)
    same = np.arange(count) % 2 == 0
    second = [rng.choice(np.flatnonzero((labels == labels[i]) == s)) for i, s in zip(first, same, strict=True)]
    return first, np.array(second), same.astype("float32")


def loop_triplet_loss(labels, embeddings, margin):
    """Equation 3 over all (a, p), the negative chosen as section 3.2 says."""
    losses = []
    for a, p in np.ndindex(len(labels), len(labels)):
        if a == p or labels[a] != labels[p]:
            continue
        d_ap = np.sum((embeddings[a] - embeddings[p]) ** 2)
        others = [np.sum((embeddings[a] - embeddings[n]) ** 2) for n in np.flatnonzero(labels != labels[a])]
        if others:
            beyond = [d for d in others if d > d_ap]
            losses.append(max(d_ap - (min(beyond) if beyond else max(others)) + margin, 0))
    return np.mean(losses) if losses else 0.0


def test_contrastive_loss_equals_a_loop(rng):
    same = rng.integers(0, 2, 50)
    distance = rng.uniform(0, 3, 50).astype("float32")
    expected = np.mean([d**2 / 2 if s else max(1.5 - d, 0) ** 2 / 2 for s, d in zip(same, distance, strict=True)])
    loss = ContrastiveLoss(margin=1.5)
    assert float(loss(same, distance)) == pytest.approx(expected, rel=1e-5)
    assert float(loss(same[:, None], distance[:, None])) == pytest.approx(expected, rel=1e-5)
    assert float(loss(same, distance[:, None])) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("margin", [0.2, 1.0])
@pytest.mark.parametrize("classes", [2, 4, 30])
def test_triplet_loss_equals_a_loop(rng, classes, margin):
    for size in (3, 8, 24):
        labels = rng.integers(0, classes, size)
        embeddings = rng.normal(size=(size, 5)).astype("float32")
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        expected = loop_triplet_loss(labels, embeddings.astype("float64"), margin)
        loss = TripletSemiHardLoss(margin)
        assert float(loss(labels, embeddings)) == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert float(loss(labels[:, None], embeddings)) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_semi_hard_negative_by_hand():
    # On a line: the anchor 0 and its positive at 2; others at -1, 3 and 5.
    places = np.array([0.0, 2, -1, 3, 5])
    distances = (places[:, None] - places) ** 2
    labels = np.array([7, 7, 1, 1, 2])
    negatives = ops.convert_to_numpy(semi_hard_negatives(distances, labels[:, None] == labels))
    assert negatives[0, 1] == 9  # of 1, 9 and 25 the nearest that is farther than 4
    assert negatives[1, 0] == 9  # of 9, 1 and 9
    assert negatives[2, 3] == 36  # from -1 to 3 it is 16; of 1, 9 and 36 the nearest beyond
    assert negatives[3, 2] == 9  # of 9, 1 and 4 none is beyond 16: the farthest
    assert negatives[4, 4] == 4  # from 5 to itself it is 0; of 25, 9, 36 and 4 the nearest beyond


@pytest.mark.parametrize("labels", [[3, 3, 3, 3], [0, 1, 2, 3], [5]])
def test_without_a_triplet_loss_and_gradient_are_zero(rng, labels):
    embeddings = keras.Variable(rng.normal(size=(len(labels), 3)))
    assert float(TripletSemiHardLoss()(np.array(labels), embeddings)) == 0
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, use_bias=False)])
    before = ops.convert_to_numpy(model.layers[0].kernel)
    model.compile(keras.optimizers.SGD(1.0), TripletSemiHardLoss())
    model.fit(ops.convert_to_numpy(embeddings), np.array(labels), batch_size=len(labels), verbose=0)
    np.testing.assert_array_equal(ops.convert_to_numpy(model.layers[0].kernel), before)


def test_triplet_gradient_step_pulls_the_positive_and_pushes_the_negative():
    # One-hot rows through a bias-free dense layer: its kernel is the table of embeddings.
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, use_bias=False)])
    model.layers[0].kernel.assign([[0.0], [1.0], [1.5]])
    model.compile(keras.optimizers.SGD(0.03), TripletSemiHardLoss(margin=2.0))
    model.fit(np.eye(3, dtype="float32"), np.array([0, 0, 1]), batch_size=3, verbose=0)
    # (a, p) = (0, 1): n = 1.5, loss 1 - 2.25 + 2. (1, 0): nothing beyond 1, so n = 1.5 again, loss 1 - 0.25 + 2.
    # d/da of both: (2(a-p) - 2(a-n)) + 2(a-p); d/dp: 2(p-a) + (2(p-a) - 2(p-n)); d/dn: -2(n-a) - 2(n-p); mean of two.
    gradient = np.array([(-2 + 3 - 2) / 2, (2 + 2 + 1) / 2, (-3 - 1) / 2])
    expected = np.array([0, 1, 1.5]) - 0.03 * gradient
    np.testing.assert_allclose(ops.convert_to_numpy(model.layers[0].kernel)[:, 0], expected, atol=1e-5)


@pytest.mark.parametrize("loss", [ContrastiveLoss(margin=0.7), TripletSemiHardLoss(margin=0.3)])
def test_losses_are_saved_with_the_model(loss, rng, tmp_path):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, activation="softplus")])
    model.compile("sgd", loss)
    x, y = rng.normal(size=(6, 3)).astype("float32"), np.array([0, 1, 0, 1, 1, 0])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is type(loss)
    assert loaded.loss.margin == loss.margin
    assert loaded.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-6)


def test_siamese_outputs_follow_their_formulas(rng):
    twin = small_embedding(6, "sigmoid")
    a, b = rng.uniform(0, 255, (2, 5, 8, 8, 1)).astype("float32")
    ea, eb = (ops.convert_to_numpy(twin(x)) for x in (a, b))
    model = create_model("siamese", embedding=twin)
    kernel, bias = (ops.convert_to_numpy(w) for w in model.get_layer("predictions").weights)
    expected = 1 / (1 + np.exp(-(np.abs(ea - eb) @ kernel + bias)))
    np.testing.assert_allclose(ops.convert_to_numpy(model([a, b])), expected, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(model([b, a])), expected, atol=1e-5)
    distance = create_model("siamese", embedding=twin, output="distance")
    expected = np.linalg.norm(ea - eb, axis=1, keepdims=True)
    np.testing.assert_allclose(ops.convert_to_numpy(distance([a, b])), expected, atol=1e-5)
    with pytest.raises(ValueError, match="got 'cosine'"):
        create_model("siamese", output="cosine")
    with pytest.raises(ValueError, match=r"returns \(batch, n\); got \(None, 8, 8, 64\): build it with pooling='avg'"):
        create_model("siamese", embedding=create_model("resnet20_cifar", include_top=False))


def test_distance_of_equal_images_has_a_finite_gradient():
    model = create_model("siamese", embedding=small_embedding(4), output="distance")
    model.compile(keras.optimizers.SGD(0.1), ContrastiveLoss())
    images = np.full((2, 8, 8, 1), 100, "float32")
    model.fit([images, images], np.array([0, 1]), verbose=0)
    assert all(np.isfinite(ops.convert_to_numpy(w)).all() for w in model.weights)


def verification_auc(score, images, rng):
    """How well `score(first, second)` ranks pairs of one class above pairs of two."""
    first, second, same = draw_pairs(images.labels, 2000, rng)
    return roc_auc_score(same, score(images.images[first], images.images[second]))


def minus_pixel_distance(first, second):
    return -np.linalg.norm((first - second).reshape(len(first), -1), axis=1)


@pytest.mark.slow
@pytest.mark.parametrize(("output", "least"), [("probability", 0.55), ("distance", 0.6)])
def test_siamese_verifies_classes_it_never_saw(digits, rng, output, least):
    keras.utils.set_random_seed(0)
    probability = output == "probability"
    twin = small_embedding(32, "sigmoid") if probability else small_embedding(16)
    model = create_model("siamese", embedding=twin, output=output)
    model.compile(keras.optimizers.Adam(2e-3), "binary_crossentropy" if probability else ContrastiveLoss())

    def score(first, second):
        answer = model.predict([first, second], batch_size=500, verbose=0)[:, 0]
        return answer if probability else -answer

    untrained = verification_auc(score, digits["unseen"], np.random.default_rng(2))
    pixels = verification_auc(minus_pixel_distance, digits["unseen"], np.random.default_rng(2))
    train = digits["train"]
    first, second, same = draw_pairs(train.labels, 8000, rng)
    model.fit([train.images[first], train.images[second]], same, batch_size=64, epochs=2, verbose=0)
    trained = verification_auc(score, digits["unseen"], np.random.default_rng(2))
    # Six classes teach little about four others. Over seeds 0 to 3: 0.59 to 0.70 by probability, 0.67 to 0.73 by
    # distance, untrained 0.46 to 0.60; the standard error of an AUC over 2,000 pairs is 0.013. New images of the six
    # classes: 0.94 to 0.99 by probability, from 0.99 by distance.
    assert trained > least
    assert trained > max(untrained, pixels)
    assert verification_auc(score, digits["seen"], rng) > 0.9


def train_triplets(train, side, batch_size, epochs):
    """A triplet embedding's score of two images, before it has learnt from these and after."""
    keras.utils.set_random_seed(0)
    model = create_model("triplet_embedding", backbone=small_embedding(64, "relu", side), embedding_size=16)
    model.compile(keras.optimizers.Adam(1e-3), TripletSemiHardLoss())

    def score(first, second):
        a, b = (model.predict(images, batch_size=500, verbose=0) for images in (first, second))
        np.testing.assert_allclose(np.linalg.norm(a, axis=1), 1, atol=1e-5)
        return -np.linalg.norm(a - b, axis=1)

    yield score
    model.fit(train.images, train.labels, batch_size=batch_size, epochs=epochs, verbose=0)
    yield score


@pytest.mark.slow
def test_triplets_separate_the_classes_of_new_images(digits):
    untrained, trained = (
        verification_auc(score, digits["seen"], np.random.default_rng(2))
        for score in train_triplets(digits["train"], side=8, batch_size=64, epochs=8)
    )
    assert untrained < 0.7
    assert trained > 0.95


@pytest.mark.slow
def test_triplets_tell_classes_apart_that_they_never_saw(glyphs):
    """Over seeds 0 and 1 it is 0.86 and 0.88, untrained 0.71 and 0.75, by pixels 0.78."""
    untrained, trained = (
        verification_auc(score, glyphs["unseen"], np.random.default_rng(2))
        for score in train_triplets(glyphs["train"], side=24, batch_size=120, epochs=8)
    )
    pixels = verification_auc(minus_pixel_distance, glyphs["unseen"], np.random.default_rng(2))
    assert trained > 0.82
    assert trained > max(untrained, pixels) + 0.04


def test_triplet_embedding_takes_any_classifier_as_backbone():
    model = create_model("triplet_embedding", backbone="vgg13_cifar", input_shape=(32, 32, 3), embedding_size=5)
    backbone = create_model("vgg13_cifar", include_top=False, pooling="avg")
    assert model.count_params() == backbone.count_params() + 256 * 5 + 5
    with pytest.raises(ValueError, match="resnet18"):
        create_model("triplet_embedding", backbone="resnet18x")
    heads = create_model("googlenet", auxiliary_heads=True)
    with pytest.raises(ValueError, match="'googlenet' has several outputs: build it with include_top=False"):
        create_model("triplet_embedding", backbone=heads)


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        (lambda: "resnet20_cifar", r"expected a model of images, e.g. create_model\(.*pooling='avg'\); got 'resnet20"),
        (lambda: create_model("googlenet", auxiliary_heads=True), "'googlenet' has several outputs: build it with inc"),
        (lambda: keras.Sequential([layers.Dense(3)], name="late"), "'late' is not functional: begin it with keras.In"),
        (lambda: create_model("siamese", input_shape=(65, 65, 1)), "'siamese' has several inputs: give a model of im"),
    ],
    ids=["name", "heads", "unbuilt", "pair"],
)
def test_siamese_refuses_what_is_no_embedding(embedding, message):
    with keras.StatelessScope(initialize_variables=False):
        embedding = embedding()
    with pytest.raises(ValueError, match=message):
        create_model("siamese", embedding=embedding)


def test_a_sequential_model_is_an_embedding_and_a_backbone(rng):
    """Until it is called, it has `inputs` and `outputs`, but in Keras no `input`."""
    net = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3)])
    model = create_model("triplet_embedding", backbone=net, embedding_size=2)
    images = rng.uniform(0, 255, (4, 8, 8, 1)).astype("float32")
    distance = create_model("siamese", embedding=net, output="distance")
    vectors = ops.convert_to_numpy(net(images))
    expected = np.linalg.norm(vectors - vectors[::-1], axis=1, keepdims=True)
    np.testing.assert_allclose(ops.convert_to_numpy(distance([images, images[::-1]])), expected, rtol=1e-5)
    projected = ops.convert_to_numpy(model.get_layer("embedding")(vectors))
    expected = projected / np.linalg.norm(projected, axis=1, keepdims=True)
    np.testing.assert_allclose(ops.convert_to_numpy(model(images)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "pooling"), [("embedding", "avg"), ("unit_embedding", "avg"), ("avg_pool", "avg"), ("flatten", None)]
)
def test_a_layer_of_ones_own_called_like_one_put_on_it_is_named(name, pooling):
    net = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3, name=name)], name="mine")
    with pytest.raises(ValueError, match=f"'mine' has a layer '{name}', as has what is put on it"):
        create_model("triplet_embedding", backbone=net, pooling=pooling)


def test_backbones_of_ones_own_are_checked():
    with pytest.raises(ValueError, match=r"'late' is not functional: begin it with keras\.Input"):
        create_model("triplet_embedding", backbone=keras.Sequential([layers.Dense(3)], name="late"))
    vectors = create_model("resnet20_cifar", include_top=False, pooling="avg")
    with pytest.raises(ValueError, match="pooling is None, 'avg' or 'max'; got 'mean'"):
        create_model("triplet_embedding", backbone=vectors, pooling="mean")
