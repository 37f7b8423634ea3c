"""Pictures for generative models: the drawn faces, and folders without classes."""

import csv
import functools
import io

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from pictures import class_folders
from PIL import Image

from keras_dl.data import tfds as reader
from keras_dl.data.faces import crop_to_boxes, hold_back, read_faces
from keras_dl.data.image_set import ImageSet
from keras_dl.data.samples.faces import CLASS_NAMES, face_pictures
from keras_dl.errors import UserError


def pixels(encoded):
    return np.stack([np.array(Image.open(io.BytesIO(one))) for one in encoded]).astype(float)


def test_faces_are_a_function_of_the_seed():
    faces, labels = face_pictures(6, seed=1)
    assert faces == face_pictures(8, seed=1)[0][:6]
    assert faces != face_pictures(6, seed=2)[0]
    assert len(set(faces)) == 6
    assert labels.tolist() == [0, 1] * 3
    assert pixels(faces).shape == (6, 32, 32, 3)


def test_faces_are_smooth_and_glasses_are_dark():
    faces, labels = face_pictures(60)
    drawn = pixels(faces)
    assert len(np.unique(drawn[0].reshape(-1, 3), axis=0)) > 60, "edges have colours between"
    eyes = drawn[:, 14:20, 8:24].mean(axis=(1, 2, 3))
    assert CLASS_NAMES[1] == "glasses"
    assert eyes[labels == 1].mean() < eyes[labels == 0].mean()


def test_a_folder_needs_no_classes(tmp_path):
    class_folders(tmp_path / "photos", 9)
    images = read_faces(str(tmp_path / "photos"))
    assert len(images) == 18
    assert images.class_names == ()
    assert read_faces(str(tmp_path / "photos"), labels=True).class_names == ("ant", "bee")


def test_held_back_pictures_are_others(tmp_path):
    class_folders(tmp_path / "photos", 10)
    images = read_faces(str(tmp_path / "photos"))
    learned, held = hold_back(images, 0.1, seed=3)
    assert (len(learned), len(held)) == (18, 2)
    assert set(learned.names) | set(held.names) == set(images.names)
    assert hold_back(images, 0.1, seed=3)[1].names == held.names
    assert hold_back(images, 0.3, seed=4)[1].names != hold_back(images, 0.3, seed=3)[1].names


def test_too_few_pictures(tmp_path):
    class_folders(tmp_path / "photos", 7)
    with pytest.raises(UserError, match="has 14 readable pictures, too few"):
        read_faces(str(tmp_path / "photos"))


def test_a_set_of_tensorflow_datasets_without_labels(monkeypatch):
    monkeypatch.setattr(reader, "_network_answers", lambda: True)
    with tfds.testing.mock_data(num_examples=17):
        images = read_faces("tfds:celeb_a")
        with pytest.raises(UserError, match="has no class label per example"):
            read_faces("tfds:celeb_a", labels=True)
    assert len(images) == 17
    assert images.class_names == ()


def test_faces_are_cut_out_at_their_boxes(tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(18):
        picture = Image.new("RGB", (40, 30))
        picture.paste((200, 0, 0), (20, 8, 32, 18))
        picture.save(photos / f"{i}.png")
    rows = ["file,x,y,width,height"] + [f"photos/{i}.png,20,8,12,10" for i in range(17)]
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    images = read_faces(str(photos), boxes=tmp_path / "boxes.csv")
    assert len(images) == 17
    assert "1 of 18 pictures have no row" in capsys.readouterr().out
    cut = pixels(images.images)
    assert cut.shape == (17, 12, 12, 3)
    assert (cut[0, 1:11, :, 0] == 200).all()
    assert (cut[0, [0, 11]] == 0).all()
    (tmp_path / "boxes.csv").write_text("file,x,y,width,height\nphotos/0.png,a,8,12,10\n")
    with pytest.raises(UserError, match="line 2: give the columns"):
        read_faces(str(photos), boxes=tmp_path / "boxes.csv")
    (tmp_path / "boxes.csv").write_text("\n".join([*rows, "photos/3.png,0,0,10,10"]))
    images = read_faces(str(photos), boxes=tmp_path / "boxes.csv")  # two faces in one picture
    assert len(images) == 18
    assert sum(not pixels([one]).any() for one in images.images) == 1
    (tmp_path / "boxes.csv").write_text(f"{rows[0]}\n0.png,20,8,12,10")
    with pytest.raises(UserError, match=r"no row of .*boxes\.csv names a picture of .*: `file` starts from "):
        read_faces(str(photos), boxes=tmp_path / "boxes.csv")
    for box in ("0,0,0,0", "0,0,-3,5", "nan,0,4,4"):
        (tmp_path / "boxes.csv").write_text(f"{rows[0]}\nphotos/0.png,{box}")
        with pytest.raises(UserError, match=r"line 2: .* is no box"):
            read_faces(str(photos), boxes=tmp_path / "boxes.csv")


@pytest.mark.parametrize("box", ["40,8,5,5", "3,-9,5,9", "-5,0,5,5"])
def test_a_box_outside_its_picture_is_named(tmp_path, box):
    name = str(tmp_path / "a.png")
    Image.new("RGB", (40, 30)).save(name)
    (tmp_path / "boxes.csv").write_text(f"file,x,y,width,height\na.png,39,8,5,5\na.png,{box}\n")
    images = ImageSet((name,), np.zeros(1, "int32"), (), "photos", (name,))
    with pytest.raises(UserError, match=r"line 3: .* lies outside .*a.png of 40x30 pixels"):
        crop_to_boxes(images, tmp_path / "boxes.csv")


def test_a_picture_that_pillow_finds_too_large_is_named(tmp_path, monkeypatch):
    name = str(tmp_path / "a.jpg")
    Image.new("RGB", (40, 30)).save(name)
    (tmp_path / "boxes.csv").write_text("file,x,y,width,height\na.jpg,9,8,5,5\n")
    images = ImageSet((name,), np.zeros(1, "int32"), (), "photos", (name,))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"a\.jpg is too large \(200 pixels at most\); reduce it"):
        crop_to_boxes(images, tmp_path / "boxes.csv")


def test_a_table_with_an_open_quotation_mark(tmp_path, request):
    request.addfinalizer(functools.partial(csv.field_size_limit, csv.field_size_limit(1000)))
    (tmp_path / "boxes.csv").write_text('file,x,y,width,height\n"a.png,1,1,5,5\n' + 100 * "b.png,1,1,5,5\n")
    images = ImageSet(("a.png",), np.zeros(1, "int32"), (), "photos", ("a.png",))
    with pytest.raises(UserError, match=r"boxes\.csv can't be read .* --boxes takes a CSV"):
        crop_to_boxes(images, tmp_path / "boxes.csv")


def test_records_without_labels(tmp_path):
    png = tf.io.encode_png(np.zeros((4, 4, 3), "uint8")).numpy()
    feature = {"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png]))}
    record = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
    with tf.io.TFRecordWriter(str(tmp_path / "faces.tfrecord")) as writer:
        for _ in range(16):
            writer.write(record)
    assert len(read_faces(str(tmp_path / "faces.tfrecord"))) == 16
    with pytest.raises(UserError, match="has no `label`"):
        read_faces(str(tmp_path / "faces.tfrecord"), labels=True)
