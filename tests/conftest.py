"""What every test file gets."""

import gc
import os
import sys

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each core has a worker already: more threads of one only take turns with those of the others.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish():
    """What was imported stays: clearing a Keras session would look for cycles among half a million objects of it."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def memory_given_back():
    """Otherwise the models of all files that one process tests add up, to gigabytes."""
    if "tensorflow" in sys.modules:
        # What runs once need not be optimised first; the processes that tests start keep TensorFlow's default.
        sys.modules["tensorflow"].config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session()
