"""Recurrent cells that Keras lacks; `keras.layers.RNN` runs them."""

from typing import Any

import keras
from keras import ops


class _GatedCell(keras.layers.Layer):
    """A cell with a memory: what the LSTM's relatives share.

    Args:
        units: width of the output and of the memory.

    Call:
        inputs: one step, `(batch, features)`.
        states: the last output h and memory c, each `(batch, units)`.

    Returns:
        The new h, and the pair of new h and c.
    """

    gates: tuple[str, ...]

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"units is a positive integer; got {units}")
        self.units = units
        self.state_size = [units, units]
        self.output_size = units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        width = len(self.gates) * self.units
        self.kernel = self.add_weight((input_shape[-1], width), "glorot_uniform", name="kernel")
        self.recurrent_kernel = self.add_weight((self.units, width), "orthogonal", name="recurrent_kernel")
        self.bias = self.add_weight((width,), self._remember, name="bias")

    def _remember(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        """Zeros, but ones at the forget gate: a new cell keeps its memory (Jozefowicz et al. 2015)."""
        return ops.repeat(ops.cast([gate == "forget" for gate in self.gates], dtype), shape[0] // len(self.gates))

    def sums(self, inputs: Any, h: Any) -> Any:
        """What enters each gate, in the order of `gates`: `W x + R h + b`."""
        total = ops.matmul(inputs, self.kernel) + ops.matmul(h, self.recurrent_kernel) + self.bias
        return ops.split(total, len(self.gates), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="keras_dl")
class PeepholeLSTMCell(_GatedCell):
    """The gates see the memory: Gers & Schmidhuber 2000, "Recurrent nets that time and count".

        i = sigmoid(W_i x + R_i h + p_i * c + b_i)        f = sigmoid(W_f x + R_f h + p_f * c + b_f)
        c' = f * c + i * tanh(W_g x + R_g h + b_g)
        o = sigmoid(W_o x + R_o h + p_o * c' + b_o)       h' = o * tanh(c')

    The peepholes p start at zero: the cell begins as Keras' LSTM, whose weights fit.
    """

    gates = ("input", "forget", "candidate", "output")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.peepholes = self.add_weight((3, self.units), "zeros", name="peepholes")

    def call(self, inputs: Any, states: Any) -> tuple[Any, list[Any]]:
        h, c = states
        i, f, g, o = self.sums(inputs, h)
        # Indexed, since `ops.unstack` takes no variable on JAX.
        peep_i, peep_f, peep_o = (self.peepholes[gate] for gate in range(3))
        c_new = ops.sigmoid(f + peep_f * c) * c + ops.sigmoid(i + peep_i * c) * ops.tanh(g)
        h_new = ops.sigmoid(o + peep_o * c_new) * ops.tanh(c_new)
        return h_new, [h_new, c_new]


@keras.saving.register_keras_serializable(package="keras_dl")
class CoupledLSTMCell(_GatedCell):
    """The memory takes in what it forgets: Greff et al. 2015, arXiv:1503.04069, the variant CIFG.

    f = sigmoid(W_f x + R_f h + b_f)        c' = f * c + (1 - f) * tanh(W_g x + R_g h + b_g)
    o = sigmoid(W_o x + R_o h + b_o)        h' = o * tanh(c')
    """

    gates = ("forget", "candidate", "output")

    def call(self, inputs: Any, states: Any) -> tuple[Any, list[Any]]:
        h, c = states
        f, g, o = self.sums(inputs, h)
        keep = ops.sigmoid(f)
        c_new = keep * c + (1 - keep) * ops.tanh(g)
        h_new = ops.sigmoid(o) * ops.tanh(c_new)
        return h_new, [h_new, c_new]
