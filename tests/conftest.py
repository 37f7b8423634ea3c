"""What every test file gets."""

import os
import sys

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each core has a worker already: more threads of one only take turns with those of the others.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module", autouse=True)
def memory_given_back():
    """Otherwise the models of all files that one process tests add up, to gigabytes."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session()
