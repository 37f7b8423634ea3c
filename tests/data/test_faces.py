"""Pictures for generative models: the drawn faces, and folders without classes."""

import io

import numpy as np
import pytest
from PIL import Image
from pictures import class_folders

from keras_dl.data.faces import hold_back, read_faces
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
