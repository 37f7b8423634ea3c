"""Muon for convolutions: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon."""

import re
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dl")
class ConvMuon(keras.optimizers.Muon):
    """Keras's Muon, which orthogonalises the momentum of dense kernels only, for the kernels of convolutions.

    A kernel `(height, width, inputs, outputs)` is taken as a matrix of `height * width * inputs` rows. All else moves
    as there: dense kernels by Muon too, and by Adam what is neither or whose path matches one of `exclude_layers`.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        path = self._trainable_variables[index].path
        if len(variable.shape) != 4 or any(re.search(layer, path) for layer in self.exclude_layers):
            super().update_step(gradient, variable, learning_rate)
            return
        momentum = self.momentums[index]
        self.assign(momentum, self.momentum * momentum + gradient)
        matrix = ops.reshape(gradient + self.momentum * momentum, (-1, variable.shape[-1]))
        update = self.lr_adjust(self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * ops.reshape(update, variable.shape))
