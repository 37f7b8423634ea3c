"""A model's file is read in another process than the one that built it."""

import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_dl
from keras_dl.vision.triplet import TripletSemiHardLoss

OWN_CLASSES = ("alexnet", "sppnet", "spatial_transformer", "attention_cnn", "video_classifier", "triplet_embedding")
LOAD = """
import sys
import keras_dl
for file in sys.argv[1:]:
    print(keras_dl.load_model(file).count_params())
"""


def test_classes_of_the_package_are_known_in_a_fresh_process(tmp_path):
    models = {name: keras_dl.create_model(name, **keras_dl.model_info(name).small) for name in OWN_CLASSES}
    models["triplet_embedding"].compile("adam", TripletSemiHardLoss())
    for name, model in models.items():
        assert any(type(layer).__module__.startswith("keras_dl") for layer in model.layers) or model.compiled, name
        model.save(tmp_path / f"{name}.keras")
    command = [sys.executable, "-c", LOAD, *(str(tmp_path / f"{name}.keras") for name in models)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [int(line) for line in done.stdout.split()] == [model.count_params() for model in models.values()]


def test_optimizer_comes_along_unless_it_is_not_wanted(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    model.save(tmp_path / "model.keras")
    assert keras_dl.load_model(tmp_path / "model.keras").optimizer.iterations == 1
    assert not keras_dl.load_model(tmp_path / "model.keras", compile=False).compiled


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"can't load .*model\.keras"):
        keras_dl.load_model(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"gone\.keras is missing: give a \.keras file"):
        keras_dl.load_model(tmp_path / "gone.keras")
