"""The wheel: small, complete, and at work outside the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("keras_dl", "apps"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_wheel_is_small_and_complete(wheel):
    assert wheel.stat().st_size < 10e6
    names = set(zipfile.ZipFile(wheel).namelist())
    for pattern in ("keras_dl/**/*.py", "apps/*.py", "keras_dl/weights/*.npz", "keras_dl/serving/templates/*"):
        for path in ROOT.glob(pattern):
            assert str(path.relative_to(ROOT)) in names
    assert any(name.endswith("LICENSE") for name in names)
    assert not any(name.startswith(("tests", "benchmarks", "runs")) for name in names)


def test_wheel_works_outside_the_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import keras_dl, numpy as np; from apps import image_classification;"
        "print(keras_dl.__file__);"
        "model = keras_dl.create_model('resnet20_cifar', weights='builtin');"
        "print(model(np.zeros((1, 32, 32, 3), 'float32')).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "site" / "keras_dl" / "__init__.py"), "(1,", "10)"]
