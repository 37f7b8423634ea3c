import errno
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from pictures import drawing, encoded
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from keras_dl.data import tfds as reader
from keras_dl.data.images import evaluation_batches, read_images
from keras_dl.errors import UserError


def test_a_set_within_reach(monkeypatch):
    monkeypatch.setattr(reader, "_network_answers", lambda: True)
    with tfds.testing.mock_data(num_examples=7):
        images = read_images("tfds:mnist")
        whole = tfds.load("mnist", split="train", as_supervised=True)
        expected = [(image.numpy(), int(label)) for image, label in whole]
    assert len(images) == 7 and images.common_size == 28
    assert [images.class_names[label] for label in images.labels] == [str(label) for _, label in expected]
    (found, _), *_ = evaluation_batches(images, 28, 7)
    assert np.array_equal(found[..., :1], [image for image, _ in expected])


def test_a_set_out_of_reach(monkeypatch, tmp_path):
    monkeypatch.setattr(reader, "_network_answers", lambda: False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(UserError, match=r"not prepared in .* the network does not answer"):
        read_images("tfds:mnist")


def test_unknown_sets_and_other_tasks(monkeypatch):
    monkeypatch.setattr(reader, "_network_answers", lambda: True)
    with pytest.raises(UserError, match="no data set 'no_such_set'"):
        read_images("tfds:no_such_set")
    with tfds.testing.mock_data(num_examples=2), pytest.raises(UserError, match="has no image per example"):
        read_images("tfds:imdb_reviews")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            AssertionError("Manual directory /m is empty. Use instructions:\nfetch a.zip"),
            "instructions: fetch a.zip; see",
        ),
        (NonMatchingChecksumError("a.zip has wrong checksum:\n* Expected: 1"), "wrong checksum: .* delete that file"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; make room, or set TFDS_DATA_DIR"),
        (OSError("Not enough disk space. Needed: 9 GiB"), "Needed: 9 GiB; make room"),
        (RuntimeError(), "can't be prepared: RuntimeError; see tensorflow.org/datasets/catalog/mnist"),
    ],
)
def test_a_set_that_can_not_be_prepared(monkeypatch, tmp_path, error, words):
    def fail(builder):
        raise error

    monkeypatch.setattr(reader, "_network_answers", lambda: True)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(UserError, match=words) as caught:
        read_images("tfds:mnist")
    assert "\n" not in str(caught.value)


def with_labels(monkeypatch, labels):
    """Reads a set of white pictures whose labels are given."""

    class Digits:
        info = SimpleNamespace(
            features={"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=["zero", "one", "two"])}
        )

        def as_dataset(self, **options):
            return tf.data.Dataset.from_tensor_slices(
                {"image": [encoded(drawing(), "PNG")] * len(labels), "label": labels}
            )

    monkeypatch.setattr(reader, "prepared_builder", lambda name: Digits())
    return read_images("tfds:digits@test")


def test_examples_without_a_label(monkeypatch):
    with pytest.raises(UserError, match="tfds:digits: the split 'test' has examples without a label"):
        with_labels(monkeypatch, [2, -1])


def test_classes_without_an_example_are_left_out(monkeypatch):
    images = with_labels(monkeypatch, [2, 1, 2])
    assert images.class_names == ("one", "two") and images.labels.tolist() == [1, 0, 1]
