"""How a test runs an application in a process of its own, with two devices, or killed: a checkpoint at step 4, then the
end of the process at step 5."""

import os
import subprocess
import sys
from pathlib import Path

# As in conftest.py: what runs once need not be optimised first.
UNOPTIMISED = """
import tensorflow as tf
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
"""

TWO_DEVICES = f"""{UNOPTIMISED}
cpu, device = tf.config.list_physical_devices("CPU")[0], tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [device, device])
"""

KILL = f"""{UNOPTIMISED}
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
