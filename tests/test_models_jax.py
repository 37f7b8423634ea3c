"""Every architecture's file runs on the JAX backend, which a process chooses when it starts: a second pytest."""

import os
import re
import subprocess
import sys
from pathlib import Path

from harness import FAMILIES

LAYERS = {  # what no smallest of a family has, and how many tests there are of it
    "layers/test_positions.py::test_the_file_keeps_them_and_the_mask_goes_through": 1,
    "layers/test_recurrent_cells.py::test_steps_equal_the_papers": 2,
}


def test_the_smallest_of_each_family_builds_and_runs_on_jax():
    tests = Path(__file__).parent
    chosen = [f"{tests}/{test}" for test in ("test_models.py::test_runs", *LAYERS)]
    command = [sys.executable, "-m", "pytest", *chosen, "-p", "no:cacheprovider"]
    # What runs once need not be optimised first.
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    backend = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    environment = {**os.environ, **backend, "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, env=environment, cwd=tests.parent, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert re.search(rf"\b{len(FAMILIES) + sum(LAYERS.values())} passed", done.stdout)
