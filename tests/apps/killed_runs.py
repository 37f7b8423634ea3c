"""How a test kills an application: a checkpoint at step 4, then the end of the process at step 5."""

KILL = """
import os, signal
from keras_dl.training.loop import Loop
def save_due(loop):
    if loop.state["step"] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return loop.state["step"] == 4
Loop._save_due = save_due
"""
