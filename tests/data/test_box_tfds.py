"""A detection set as TensorFlow Datasets stores it on disk."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from pictures import drawing

from keras_dl.data import box_tfds
from keras_dl.data import tfds as reader
from keras_dl.data.boxes import read_boxes
from keras_dl.errors import UserError

HEIGHT, WIDTH = 40, 60


def example(*objects):
    """A picture with objects of (ymin, xmin, ymax, xmax), label and whether it is difficult."""
    rows = [{"bbox": tfds.features.BBox(*box), "label": label, "is_difficult": hard} for box, label, hard in objects]
    return {"image": np.array(drawing(WIDTH, HEIGHT)), "objects": rows}


class DrawnShapes(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    LABEL = (("label", tfds.features.ClassLabel(names=["circle", "square"])),)

    def _info(self):
        objects = {"bbox": tfds.features.BBoxFeature(), "is_difficult": np.bool_, **dict(self.LABEL)}
        image = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
        features = tfds.features.FeaturesDict({"image": image, "objects": tfds.features.Sequence(objects)})
        return tfds.core.DatasetInfo(builder=self, features=features, description="two shapes")

    def _split_generators(self, manager):
        return {split: self._generate_examples(split) for split in ("train", "validation", "test")}

    def _generate_examples(self, split):
        if split == "train":
            yield 0, example(((0.25, 0.5, 0.75, 1.0), "square", False), ((0.0, 0.0, 0.5, 0.5), "circle", True))
            yield 1, example()
        elif split == "validation":
            yield 0, example(((0.5, 0.1, 1.0, 0.4), "circle", False))
        else:
            yield 0, example()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    DrawnShapes(data_dir=folder).download_and_prepare()
    tfds.core.add_data_dir(folder)


@pytest.fixture
def on_disk(prepared, monkeypatch):
    monkeypatch.setattr(reader, "_network_answers", lambda: False)


def by_part(boxes):
    return {part: boxes.subset([i for i, p in enumerate(boxes.part) if p == part]) for part in set(boxes.part)}


def test_boxes_classes_and_parts(on_disk):
    boxes = read_boxes("tfds:drawn_shapes")
    assert boxes.class_names == ("circle", "square") and boxes.sizes.tolist() == [[HEIGHT, WIDTH]] * 3
    parts = by_part(boxes)
    assert sorted(map(len, parts["train"].boxes)) == [0, 2]
    with_objects = next(i for i, found in enumerate(parts["train"].boxes) if len(found))
    np.testing.assert_allclose(parts["train"].boxes[with_objects], [[30, 10, 60, 30], [0, 0, 30, 20]], atol=1e-4)
    assert parts["train"].classes[with_objects].tolist() == [1, 0]
    assert parts["train"].ignore[with_objects].tolist() == [False, True]
    np.testing.assert_allclose(parts["validation"].boxes[0], [[6, 20, 24, 40]], atol=1e-4)


def test_voc_counts_pixels_from_one(on_disk, monkeypatch):
    builder = reader.prepared_builder("drawn_shapes")
    monkeypatch.setattr(builder, "name", "voc")
    monkeypatch.setattr(box_tfds, "prepared_builder", lambda name: builder)
    train = by_part(read_boxes("tfds:voc"))["train"]
    (found,) = (boxes for boxes in train.boxes if len(boxes))
    np.testing.assert_allclose(found, [[29, 9, 60, 30], [0, 0, 30, 20]], atol=1e-4)


def test_a_part_whose_answers_are_secret_is_left_out(on_disk):
    boxes = read_boxes("tfds:drawn_shapes")
    assert "test" not in boxes.part
    assert boxes.skipped == (("tfds:drawn_shapes test", "has no box"),)


def test_one_split_is_divided_anew(on_disk):
    boxes = read_boxes("tfds:drawn_shapes@validation")
    assert len(boxes) == 1 and boxes.part == ("",)


def test_no_such_split(on_disk):
    with pytest.raises(UserError, match="has no split 'night'"):
        read_boxes("tfds:drawn_shapes@night")


def test_splits_of_other_names(on_disk, monkeypatch):
    monkeypatch.setattr(box_tfds, "_PARTS", {"night": "train"})
    with pytest.raises(UserError, match=r"has no part to train on, but .*train.*: name one by"):
        read_boxes("tfds:drawn_shapes")


@pytest.mark.parametrize("label", [(), [("label", np.int64)], [("type", DrawnShapes.LABEL[0][1])]])
def test_boxes_without_the_label_of_a_class(monkeypatch, label):
    monkeypatch.setattr(DrawnShapes, "LABEL", label)
    monkeypatch.setattr(box_tfds, "prepared_builder", lambda name: DrawnShapes())
    with pytest.raises(UserError, match="has boxes without the label of a class"):
        read_boxes("tfds:drawn_shapes")


def test_a_set_without_boxes(monkeypatch):
    monkeypatch.setattr(reader, "_network_answers", lambda: True)
    with tfds.testing.mock_data(num_examples=2), pytest.raises(UserError, match="no set for object detection"):
        read_boxes("tfds:mnist")
