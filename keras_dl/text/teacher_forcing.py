"""Training a decoder on what precedes each token: the loss, and what softens its exposure to its own mistakes."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dl")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of integer targets with label smoothing (Szegedy et al. 2015, arXiv:1512.00567, section 7).

    The target is 1 - s at the true token plus s spread over the vocabulary; no one-hot tensor is made. Padding is
    left to the sample weights.

    Args:
        label_smoothing: s.

    Call:
        y_true: int, `(batch, m)`.
        y_pred: logits or logarithms of probabilities, `(batch, m, vocabulary)`.
    """

    def __init__(
        self,
        label_smoothing: float = 0.1,
        reduction: str = "sum_over_batch_size",
        name: str = "cross_entropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_pred = ops.cast(y_pred, "float32")
        normaliser = ops.logsumexp(y_pred, axis=-1)
        true = ops.take_along_axis(y_pred, ops.cast(y_true, "int32")[..., None], axis=-1)[..., 0]
        smoothing = self.label_smoothing
        return normaliser - (1.0 - smoothing) * true - smoothing * ops.mean(y_pred, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def schedule_sampling(model: keras.Model, probability: Callable[[Any], Any] | float, seed: int = 0) -> None:
    """Trains the model on some tokens of its own in place of the true ones (Bengio et al. 2015, arXiv:1506.03099).

    In two passes, as Mihaylova & Martins 2019 (arXiv:1906.07651): the first, on true tokens, gives a distribution for
    each position, from which the second pass's inputs are drawn with the given probability. Training takes twice the
    time, and works for every decoder.

    Args:
        model: compiled; takes `source` and `target`. Changed in place.
        probability: of a token of its own, a number or a function of the optimizer's step.
        seed: of the draws.
    """
    plain = model.compute_loss
    generator = keras.random.SeedGenerator(seed)
    model._tracker.unlock()  # a built model takes no new state, but checkpoints must hold this one
    model.sampling_seed = generator
    model._tracker.lock()

    def compute_loss(
        x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        if training:
            share = probability(model.optimizer.iterations) if callable(probability) else probability
            target = x["target"]
            drawn = keras.random.categorical(
                ops.reshape(y_pred, (-1, y_pred.shape[-1])), 1, dtype="int32", seed=generator
            )
            drawn = ops.reshape(drawn, ops.shape(target))
            own = ops.concatenate([target[:, :1], drawn[:, :-1]], axis=1)  # the first token is the mark of the start
            replaced = keras.random.uniform(ops.shape(target), seed=generator) < share
            y_pred = model({**x, "target": ops.where(replaced, own, target)}, training=True)
        return plain(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)

    model.compute_loss = compute_loss
