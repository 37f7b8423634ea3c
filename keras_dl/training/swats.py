"""SWATS: Adam first, then SGD with a learning rate that Adam's own steps suggest (Keskar & Socher 2017)."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dl")
class SWATS(keras.optimizers.Optimizer):
    """Algorithm 1 of Keskar & Socher 2017, arXiv:1712.07628.

    While in Adam, each step p is projected on the gradient g: gamma = p.p / -p.g, over all weights as one vector, is
    the rate of an SGD step whose projection on p is p. Its exponential average, corrected for its bias, estimates
    the rate; once gamma comes within `tolerance` of it, training goes on with SGD at that rate, for good. With a
    schedule the SGD rate keeps its ratio to the schedule's (the paper's alpha is constant, where that changes
    nothing).

    Args:
        learning_rate: Adam's rate alpha, a float or a schedule.
        beta_1: decay of the average of gradients, and the momentum of SGD.
        beta_2: decay of the average of squared gradients, and of that of gamma.
        epsilon: added to the root in Adam's denominator.
        tolerance: how near gamma must come to its average. The paper writes epsilon for both.
        **kwargs: those of every Keras optimizer: `weight_decay`, `global_clipnorm`, `use_ema`, `name` ...
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-9,
        tolerance: float = 1e-9,
        name: str = "swats",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.tolerance = tolerance

    @property
    def switched(self) -> bool:
        """Whether SGD has taken over. In float32 the paper's tolerance asks for nearly equal bits, so it may never."""
        return bool(self._sgd_rate > 0)

    def build(self, variables: list) -> None:
        if self.built:
            return
        super().build(variables)
        # m of the paper in the Adam phase, v in the SGD phase.
        self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        self._projected_rate = self.add_variable((), name="projected_rate")  # lambda
        # 0 in the Adam phase; then the SGD rate as a multiple of the learning rate.
        self._sgd_rate = self.add_variable((), name="sgd_rate")

    def _backend_update_step(self, grads: list, trainable_variables: list, learning_rate: Any) -> None:
        variables = [getattr(variable, "value", variable) for variable in trainable_variables]
        pairs = self._all_reduce_sum_gradients(list(zip(grads, variables, strict=True)))
        grads = [tf.convert_to_tensor(grad) for grad, _ in pairs]
        steps = self._steps(grads, variables, ops.cast(learning_rate, "float32"))
        tf.__internal__.distribute.interim.maybe_merge_call(
            self._distributed_tf_update_step,
            self._distribution_strategy,
            list(zip(steps, variables, strict=True)),
            learning_rate,
        )

    def _steps(self, grads: list, variables: list, rate: Any) -> list:
        """What to subtract from each variable, in units of the learning rate; moves the averages on."""
        sgd_rate = ops.convert_to_tensor(self._sgd_rate)
        sgd = sgd_rate > 0
        k = ops.cast(self.iterations + 1, "float32")
        correction_1 = 1 - ops.power(self.beta_1, k)
        correction_2 = 1 - ops.power(self.beta_2, k)
        steps, momentums = [], []
        along, length = 0.0, 0.0  # p.g and p.p
        for grad, variable in zip(grads, variables, strict=True):
            index = self._get_variable_index(variable)
            m, a = self._momentums[index], self._velocities[index]
            grad = ops.cast(grad, m.dtype)
            new_m = self.beta_1 * m + ops.where(sgd, 1.0, 1 - self.beta_1) * grad
            new_a = ops.where(sgd, a, self.beta_2 * a + (1 - self.beta_2) * ops.square(grad))
            adam = ops.sqrt(correction_2) / correction_1 * new_m / (ops.sqrt(new_a) + self.epsilon)
            along -= rate * ops.sum(adam * grad)
            length += ops.square(rate) * ops.sum(ops.square(adam))
            steps.append(ops.where(sgd, (1 - self.beta_1) * sgd_rate * new_m, adam))
            momentums.append((m, new_m))
            a.assign(new_a)
        moves = ops.logical_and(ops.logical_not(sgd), ops.not_equal(along, 0.0))
        gamma = length / -ops.where(moves, along, 1.0)
        average = ops.where(moves, self.beta_2 * self._projected_rate + (1 - self.beta_2) * gamma, self._projected_rate)
        settled = ops.abs(average / correction_2 - gamma) < self.tolerance
        switch = ops.logical_and(ops.logical_and(moves, k > 1), settled)
        self._projected_rate.assign(average)
        self._sgd_rate.assign(ops.where(switch, average / correction_2 / rate, sgd_rate))
        for m, new_m in momentums:
            m.assign(ops.where(switch, ops.zeros_like(new_m), new_m))
        return steps

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * gradient)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "tolerance": self.tolerance,
        }
