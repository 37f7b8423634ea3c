"""What the README promises: its tables are the program's, and its Python runs."""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

import keras_dl.__main__

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def test_table_of_architectures_is_current():
    assert keras_dl.__main__.table() in README


def test_pictures_exist():
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (Path(__file__).parents[1] / path).exists(), path


@pytest.mark.parametrize(
    "code", [block for block in blocks("python") if "create_model" in block], ids=["text", "image"]
)
def test_its_python_runs(tmp_path, code):
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def commands():
    """The applications' command lines that the README names: application and arguments."""
    for line in "\n".join(blocks("bash")).splitlines():
        words = shlex.split(line, comments=True)
        module = next((word for word in words if word.startswith("apps.")), None)
        if module:
            yield module, words[words.index(module) + 1 :]


@pytest.mark.parametrize(("module", "argv"), commands())
def test_options_exist(module, argv):
    """Every option that a command of the README names is one of its application."""
    application = importlib.import_module(module)
    name, rest = (
        (argv[0], argv[1:]) if argv and argv[0] in application.COMMANDS else (next(iter(application.COMMANDS)), argv)
    )
    tyro.cli(application.COMMANDS[name].options, args=rest)
