"""How a test runs an application in a process of its own, and kills it: a checkpoint at step 4, then the end of the
process at step 5."""

import os
import subprocess
import sys
from pathlib import Path

KILL = """
import os, signal
from keras_dl.training.loop import Loop
def save_due(loop):
    if loop.state["step"] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return loop.state["step"] == 4
Loop._save_due = save_due
"""


def run_alone(code, *argv):
    """Lines of Python in a process of their own."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, argv)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
