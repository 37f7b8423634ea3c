"""Recurrent nets over words: vanilla, LSTM with and without peepholes or coupled gates, GRU."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from keras_dl.errors import UserError
from keras_dl.layers.recurrent_cells import CoupledLSTMCell, PeepholeLSTMCell
from keras_dl.registry import register
from keras_dl.text.common import embed, predictions, token_input, variational_dropout

VARIANTS: dict[str, Callable[..., keras.layers.Layer]] = {
    "vanilla_rnn": layers.SimpleRNN,  # Elman 1990
    "lstm": layers.LSTM,  # Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000
    "peephole_lstm": lambda units, **arguments: layers.RNN(PeepholeLSTMCell(units), **arguments),
    "coupled_lstm": lambda units, **arguments: layers.RNN(CoupledLSTMCell(units), **arguments),
    "gru": layers.GRU,  # Cho et al. 2014
}
TASKS = ("many_to_one", "many_to_many", "one_to_many")


def recurrent_stack(
    x: Any, variant: str, units: int, num_layers: int, bidirectional: bool, return_sequences: bool
) -> Any:
    """Recurrent layers over `(batch, time, n)`: the last one's outputs, or its last output alone.

    In both directions each layer reads the text forwards and backwards and joins the two outputs.
    """
    for number in range(1, num_layers + 1):
        sequences = return_sequences or number < num_layers
        layer = VARIANTS[variant](units, return_sequences=sequences, name=f"{variant}{number}")
        x = layers.Bidirectional(layer, name=f"bidirectional{number}")(x) if bidirectional else layer(x)
    return x


@register(
    paper="Elman 1990; Hochreiter & Schmidhuber 1997; Gers & Schmidhuber 2000; Greff et al. 2015, arXiv:1503.04069; "
    "Cho et al. 2014, arXiv:1406.1078",
    task="text classification",
    parameters={
        "vanilla_rnn": 1_313_154,
        "lstm": 1_411_842,
        "peephole_lstm": 1_412_226,
        "coupled_lstm": 1_378_946,
        "gru": 1_379_330,
    },
    small={"vocabulary_size": 20, "num_classes": 3, "embedding_dim": 8, "units": 8, "bidirectional": True},
)
def recurrent(
    variant: str = "lstm",
    vocabulary_size: int = 10_000,
    num_classes: int = 2,
    sequence_length: int | None = None,
    embedding_dim: int = 128,
    units: int = 128,
    num_layers: int = 1,
    bidirectional: bool = False,
    task: str = "many_to_one",
    dropout: float = 0.2,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
) -> keras.Model:
    """A recurrent net reads a text, word by word.

    - many to one: the last output is classified; a text has one label.
    - many to many: every output is classified; each word has its label.
    - one to many: a single id enters at the first step and nothing but the state at the later ones; every output is
      classified, which unrolls a sequence of `sequence_length` labels from the id.

    LSTM and GRU are Keras' layers, with its cuDNN kernels on a GPU, which need the padding behind the text.

    Args:
        variant: a key of `VARIANTS`.
        vocabulary_size: ids that there are, padding (0) and out-of-vocabulary (1) included.
        num_classes: labels.
        sequence_length: fixed number of steps, or None for any; needed for one to many.
        embedding_dim: width of the word vectors.
        units: width of the state, in each direction.
        num_layers: recurrent layers, one upon the other.
        bidirectional: read backwards too.
        task: `"many_to_one"`, `"many_to_many"` or `"one_to_many"`.
        dropout: variational on the recurrent input, and plain before the classifier.
        classifier_activation: `"softmax"`, or None for logits.
        name: the model's name, by default the variant's.

    Returns:
        Ids `(batch, time)`, int32, to probabilities `(batch, num_classes)`, or `(batch, time, num_classes)` for many
        to many; one to many takes `(batch, 1)` to `(batch, sequence_length, num_classes)`. Reference
        count: 1,411,842 for the LSTM.

    Raises:
        ValueError: for an unknown variant or task, or one to many without a `sequence_length`.
    """
    if task not in TASKS:
        raise UserError(f"task is one of {', '.join(TASKS)}; got {task!r}")
    if task == "one_to_many" and sequence_length is None:
        raise UserError("one_to_many needs sequence_length: how many steps follow from the one input")
    tokens = token_input(1 if task == "one_to_many" else sequence_length)
    x = variational_dropout(embed(tokens, vocabulary_size, embedding_dim), dropout)
    if task == "one_to_many":
        x = ops.pad(x, ((0, 0), (0, sequence_length - 1), (0, 0)))
    x = recurrent_stack(x, variant, units, num_layers, bidirectional, return_sequences=task != "many_to_one")
    x = predictions(x, num_classes, classifier_activation, dropout)
    return keras.Model(tokens, x, name=name or variant)
