"""What every test file gets."""

import sys

import pytest


@pytest.fixture(scope="module", autouse=True)
def memory_given_back():
    """Otherwise the models of all files that one process tests add up, to gigabytes."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session()
