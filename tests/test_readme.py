"""What the README promises: its tables are the program's, and its Python runs."""

import re
import subprocess
import sys
from pathlib import Path

import keras_dl.__main__

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def test_table_of_architectures_is_current():
    assert keras_dl.__main__.table() in README


def test_pictures_exist():
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (Path(__file__).parents[1] / path).exists(), path


def test_fine_tuning_runs(tmp_path):
    code = next(block for block in blocks("python") if "create_model" in block)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_options_exist():
    """Every option that a command of the README names is one of its application."""
    import tyro

    from apps import image_classification as application

    for line in "\n".join(blocks("bash")).splitlines():
        words = re.sub(r"\s+#.*", "", line).split()
        if "apps.image_classification" in words:
            argv = words[words.index("apps.image_classification") + 1 :]
            name, rest = (argv[0], argv[1:]) if argv else ("train", [])
            tyro.cli(application.COMMANDS[name].options, args=rest)
