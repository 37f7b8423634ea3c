"""The wheel: small, complete, and at work outside the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from keras_dl import list_models

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
    assert sum(path.stat().st_size for path in ROOT.glob("keras_dl/weights/*.npz")) < 6e6
    names = set(zipfile.ZipFile(wheel).namelist())
    for pattern in ("keras_dl/**/*.py", "apps/*.py", "keras_dl/weights/*.npz", "keras_dl/serving/templates/*"):
        for path in ROOT.glob(pattern):
            assert str(path.relative_to(ROOT)) in names
    assert any(name.endswith("LICENSE") for name in names)
    assert not any(name.startswith(("tests", "benchmarks", "runs")) for name in names)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs Python outside the checkout, in an environment that has the wheel and borrows what it depends on."""
    home = tmp_path_factory.mktemp("home")
    venv.create(home / "env")
    python = home / "env" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Packages in a folder that a .pth file names are found, but not the checkout that a .pth file of theirs names.
    (site,) = (home / "env").glob("lib/python*/site-packages")
    borrowed = dict.fromkeys(sysconfig.get_path(scheme) for scheme in ("purelib", "platlib"))
    (site / "borrowed.pth").write_text("\n".join(borrowed))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*arguments):
        done = subprocess.run([python, *arguments], cwd=home, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_installed_wheel_lists_the_architectures(installed):
    listed = installed("-m", "keras_dl")
    assert all(f"`{name}`" in listed for name in list_models())


def test_installed_wheel_has_the_applications(installed):
    assert "python -m apps.image_classification" in installed("-m", "apps")
    assert "--transfer" in installed("-m", "apps.image_classification", "--help")


def test_installed_wheel_has_its_weights(installed):
    code = (
        "import keras_dl, numpy as np;"
        "print(keras_dl.__file__);"
        "model = keras_dl.create_model('resnet20_cifar', weights='builtin');"
        "print(model(np.zeros((1, 32, 32, 3), 'float32')).shape)"
    )
    file, *shape = installed("-c", code).split()
    assert "/env/lib/" in file and shape == ["(1,", "10)"]


@pytest.mark.slow
def test_installed_wheel_trains_exports_and_serves_the_built_in_sample(installed):
    printed = installed("-m", "apps.image_classification", "--epochs", "1")
    places = dict(
        line.split(": ") for line in printed.splitlines() if line.startswith(("run: ", "pictures: ", "export: "))
    )
    root = Path(installed("-c", "import os; print(os.getcwd())").strip())
    assert (root / places["run"] / "model.keras").exists()
    assert len(list((root / places["pictures"]).glob("*.png"))) >= 10
    assert (root / places["export"] / "saved_model.pb").exists()
    written = installed("-m", "keras_dl.serving").splitlines()
    assert "saved_models/compose.yaml" in written and all((root / path).exists() for path in written)
