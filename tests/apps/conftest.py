"""What every test of an application gets."""

import pytest


@pytest.fixture
def home(trained, monkeypatch):
    """The folder of the file's finished run, as the current one."""
    monkeypatch.chdir(trained)
    return trained
