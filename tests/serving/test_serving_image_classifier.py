"""The image classifier's own export, EXIF, WebP and resizing included, gives every loader the same answers."""

import io
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from loaders import assert_same, run_program, run_saved_model_cli, run_tensorflow_alone
from PIL import Image

import keras_dl
from apps.image_classification import Train, export_classifier
from keras_dl import run
from keras_dl.data.decode import decode_image

pytestmark = pytest.mark.slow
LABELS = ("猫", "dog", "newt")


def picture(form, width, height, seed, **options):
    """A smooth picture without symmetry."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3)).astype("uint8")
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """The version folder, pictures, and what the run's model says of their pixels in this process."""
    folder = tmp_path_factory.mktemp("run")
    keras.utils.set_random_seed(0)
    model = keras_dl.create_model("resnet20_cifar", num_classes=len(LABELS))
    turned = Image.Exif()
    turned[0x0112] = 6
    pictures = [
        picture("JPEG", 96, 64, 0, exif=turned),  # antialiased, after a turn by 90 degrees
        picture("PNG", 40, 50, 1),  # plainly resized
        picture("WEBP", 80, 60, 2, lossless=True),
    ]
    pixels = decode(pictures)
    # Each class's score is centred and scaled, so that an untrained net tells these pictures apart. Not each
    # feature: one that is dead has no scale.
    head = model.get_layer("predictions")
    features = keras.Model(model.input, head.input)(pixels).numpy()
    kernel = np.random.default_rng(0).normal(size=head.kernel.shape)
    kernel /= (features @ kernel).std(0)
    head.set_weights([kernel, -features.mean(0) @ kernel])
    model.save(folder / "model.keras")
    run.write_text(folder / "labels.txt", "\n".join(LABELS) + "\n")
    run.save_config(folder, Train(model="resnet20_cifar", weights="none", image_size=32))
    run.write_json(folder / "metrics.json", {})
    path = export_classifier(folder, tmp_path_factory.mktemp("saved_models"), top_k=2)

    scores, best = tf.math.top_k(model(pixels, training=False), 2)
    classes = np.array([[LABELS[i].encode() for i in row] for row in best.numpy()], object)
    wanted = {"classes": classes, "scores": scores.numpy()}
    return SimpleNamespace(path=path, pictures=pictures, wanted=wanted, model=model)


def decode(pictures):
    return tf.stack([decode_image(data, (32, 32)) for data in pictures])


def test_pictures_tell_the_branches_apart(classifier):
    """Otherwise the comparisons below would hold for a loader that labels every picture alike or ignores EXIF."""
    scores = classifier.model(decode([*classifier.pictures, picture("JPEG", 96, 64, 0)])).numpy()
    distances = np.abs(scores[:, None] - scores).max(-1)
    assert (distances[~np.eye(4, dtype=bool)] > 0.01).all()


def test_with_tensorflow_alone(classifier, tmp_path):
    outputs = run_tensorflow_alone(classifier.path, classifier.pictures, (1, 3), tmp_path)
    for n, found in outputs.items():
        assert_same(found, {name: value[:n] for name, value in classifier.wanted.items()}, atol=1e-4)


def test_with_saved_model_cli(classifier, tmp_path):
    assert_same(run_saved_model_cli(classifier.path, classifier.pictures, tmp_path), classifier.wanted, atol=1e-4)


def test_without_python(classifier, program, tmp_path):
    inputs = {"image_bytes": np.array(classifier.pictures, object)}
    outputs = run_program(program, classifier.path, "serving_default", inputs, tmp_path)
    assert_same(outputs, classifier.wanted, atol=1e-4)
