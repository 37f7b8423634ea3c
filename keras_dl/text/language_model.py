"""A recurrent language model: Mikolov et al. 2010 ("Recurrent neural network based language model")."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_dl.errors import UserError
from keras_dl.registry import register
from keras_dl.text.decoding import Limits, Step, sample
from keras_dl.text.recurrent import VARIANTS


@register(
    paper="Mikolov et al. 2010, Interspeech; Graves 2013, arXiv:1308.0850",
    task="language modelling",
    parameters=5_655_312,
    small={"vocabulary_size": 20, "embedding_dim": 8, "units": 8, "num_layers": 2},
)
def language_model(
    vocabulary_size: int = 10_000,
    embedding_dim: int | None = 256,
    recurrent: str = "lstm",
    units: int = 256,
    num_layers: int = 1,
    dropout: float = 0.0,
    name: str | None = None,
) -> keras.Model:
    """Foretells the next word, or character, from all before it.

    The state is an input and an output: a text may be cut into segments, each given the state that the one before
    left, with the same answers as from the text in one piece. `TruncatedBackpropagation` trains it so,
    `continue_text` writes on.

    Args:
        vocabulary_size: ids that there are. There is no padding: 0 is a word like the others.
        embedding_dim: width of the word vectors; None for one-hot input, e.g. of characters.
        recurrent: a variant of `keras_dl.text.recurrent`.
        units: width of the state.
        num_layers: recurrent layers, one upon the other.
        dropout: rate between the layers and before the classifier.
        name: the model's name.

    Returns:
        A list of tensors: ids `(batch, time)`, int32, and the state, `(batch, units)` once or twice per layer
        (`zero_state` at the beginning), to a list of logits `(batch, time, vocabulary_size)` and the new state.
        Reference count: 5,655,312.

    Raises:
        ValueError: for an unknown recurrent net.
    """
    if recurrent not in VARIANTS:
        raise UserError(f"recurrent is one of {', '.join(VARIANTS)}; got {recurrent!r}")
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    if embedding_dim is None:
        x = ops.one_hot(tokens, vocabulary_size)
    else:
        x = layers.Embedding(vocabulary_size, embedding_dim, name="embedding")(tokens)
    before, after = [], []
    for number in range(1, num_layers + 1):
        layer = VARIANTS[recurrent](units, return_sequences=True, return_state=True, name=f"{recurrent}{number}")
        states = 2 if "lstm" in recurrent else 1
        initial = [keras.Input((units,), name=f"state{number}_{part}") for part in range(states)]
        x, *final = layer(layers.Dropout(dropout, name=f"dropout{number}")(x), initial_state=initial)
        before += initial
        after += [ops.cast(state, "float32") for state in final]
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(vocabulary_size, dtype="float32", name="logits")(x)
    return keras.Model([tokens, *before], [x, *after], name=name or "language_model")


def zero_state(model: keras.Model, batch_size: int) -> list[Any]:
    """The state at the beginning of a text."""
    return [ops.zeros((batch_size, state.shape[-1])) for state in model.inputs[1:]]


def step_function(model: keras.Model) -> Step:
    """The step with which `keras_dl.text.decoding` runs a language model; the state is the model's own."""

    def step(tokens: Any, state: list[Any], position: Any) -> tuple[Any, list[Any]]:
        batch, width = ops.shape(tokens)
        rows = [ops.reshape(part, (-1, part.shape[-1])) for part in state]
        logits, *rows = model([ops.reshape(tokens, (-1, 1)), *rows], training=False)
        state = [ops.reshape(part, (batch, width, part.shape[-1])) for part in rows]
        return ops.reshape(logits, (batch, width, logits.shape[-1])), state

    return step


def continue_text(model: keras.Model, prompt: Any, length: int, temperature: float = 1.0, seed: Any = None) -> Any:
    """Goes on with a text, each word drawn from what the model foretells.

    Args:
        model: what `language_model` built.
        prompt: int32 `(batch, time)`, at least one word each.
        length: words to add.
        temperature: below 1 the likely words become likelier, above 1 all become alike.
        seed: an int or a `keras.random.SeedGenerator`.

    Returns:
        The words added, int32 `(batch, length)`.

    Raises:
        ValueError: for a temperature that is not above 0.
    """
    prompt = ops.convert_to_tensor(prompt, "int32")
    state = zero_state(model, prompt.shape[0])
    if prompt.shape[1] > 1:
        _, *state = model([prompt[:, :-1], *state], training=False)
    limits = Limits(end=None, max_length=length)
    drawn = sample(step_function(model), state, prompt[:, -1], limits, temperature=temperature, seed=seed)
    return drawn.tokens[:, 0]


@keras.saving.register_keras_serializable(package="keras_dl")
class TruncatedBackpropagation(keras.Model):
    """Trains a language model on a long text, segment by segment (Williams & Peng 1990).

    In training the state of each segment is that which the segment before left; no gradient goes back to it. Other
    calls begin at zero. Fit it on the rows of `segments`, in order, by sparse cross-entropy from logits.

    Args:
        network: what `language_model` built; the training changes its weights.
        batch_size: texts read side by side.

    Call:
        tokens: `(batch_size, time)`, int32; any batch outside training.

    Returns:
        Logits `(batch_size, time, vocabulary_size)`.
    """

    def __init__(self, network: keras.Model, batch_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.network, self.batch_size = network, batch_size
        self.carried = [
            self.add_weight((batch_size, state.shape[-1]), "zeros", trainable=False, name=state.name)
            for state in network.inputs[1:]
        ]

    def call(self, tokens: Any, training: bool = False) -> Any:
        carried = [ops.convert_to_tensor(variable) for variable in self.carried]
        state = carried if training else zero_state(self.network, ops.shape(tokens)[0])
        logits, *state = self.network([tokens, *state], training=training)
        if training:
            for variable, value in zip(self.carried, state, strict=True):
                variable.assign(ops.stop_gradient(value))
        return logits

    def reset_state(self) -> None:
        """Begins a text anew."""
        for variable in self.carried:
            variable.assign(ops.zeros_like(variable))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "batch_size": self.batch_size,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "TruncatedBackpropagation":
        network = keras.saving.deserialize_keras_object(config.pop("network"), custom_objects)
        return cls(network, **config)


def segments(ids: np.ndarray, batch_size: int, length: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cuts a text into `batch_size` rows that are read side by side, `length` words at a time.

    Row r of a segment goes on where row r of the one before ended.

    Yields:
        Words and the words that follow them, `(batch_size, length)` each; what doesn't fill a segment is left out.
    """
    steps = (len(ids) - 1) // (batch_size * length) * length
    words = np.reshape(ids[: batch_size * steps], (batch_size, steps))
    following = np.reshape(ids[1 : batch_size * steps + 1], (batch_size, steps))
    for start in range(0, steps, length):
        yield words[:, start : start + length], following[:, start : start + length]
