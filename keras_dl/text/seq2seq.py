"""Recurrent encoder and decoder: Sutskever et al. 2014, arXiv:1409.3215; Cho et al. 2014, arXiv:1406.1078; with
attention: Bahdanau et al. 2014, arXiv:1409.0473."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from keras_dl.layers.attention import AdditiveAttention, ScaledDotAttention
from keras_dl.registry import register

CELLS = {"gru": layers.GRU, "lstm": layers.LSTM}
ATTENTIONS = {"additive": AdditiveAttention, "scaled_dot": ScaledDotAttention}
PAD = 0
SMALL = {"vocabulary": 20, "embedding": 8, "units": 12, "num_layers": 2}


def embeddings(vocabulary: int, target_vocabulary: int | None, width: int) -> tuple[Any, Any]:
    """Source's and target's; one for both without a vocabulary of the target's own. The target's projects back."""

    def embedding(tokens: int, name: str) -> Any:
        initial = keras.initializers.RandomNormal(stddev=width**-0.5)
        return layers.ReversibleEmbedding(
            tokens, width, embeddings_initializer=initial, reverse_dtype="float32", name=name
        )

    target = embedding(target_vocabulary or vocabulary, "target_embedding")
    return (embedding(vocabulary, "source_embedding") if target_vocabulary else target), target


@register(
    paper="Sutskever et al. 2014, arXiv:1409.3215; Cho et al. 2014, arXiv:1406.1078",
    task="translation",
    parameters=8_483_072,
    small=SMALL,
)
def seq2seq(
    vocabulary: int = 8000,
    target_vocabulary: int | None = None,
    embedding: int = 256,
    units: int = 512,
    num_layers: int = 2,
    cell: str = "gru",
    dropout: float = 0.2,
    name: str | None = None,
) -> keras.Model:
    """A deep encoder whose last state is all that the decoder knows of the source.

    Each layer of the decoder starts from the last state of the encoder's (Sutskever et al. 2014, section 2), and the
    top one, the context vector, is an input of every step (Cho et al. 2014, equation 10).

    Args:
        vocabulary: source tokens; 0 is padding.
        target_vocabulary: target tokens; None if both languages share one vocabulary and one matrix of embeddings.
        embedding: features of a token; the target's embeddings are the output's weights too.
        units: width of each recurrent layer.
        num_layers: layers of the encoder, and of the decoder.
        cell: a key of `CELLS`.
        dropout: rate, at the input of each layer and of the output.
        name: by default `seq2seq`.

    Returns:
        From `source` int32 `(batch, n)` and `target` int32 `(batch, m)`, which is what precedes each token, to logits
        float32 `(batch, m, target_vocabulary)`. `decoder` gives the step for `keras_dl.text.decoding`.

    Raises:
        ValueError: for an unknown cell.

    Trainable parameters: 8,483,072.
    """
    recurrent = _row(CELLS, cell, "cell")
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    real = ops.not_equal(source, PAD)
    source_embedding, target_embedding = embeddings(vocabulary, target_vocabulary, embedding)

    x, states = source_embedding(source), []
    for i in range(1, num_layers + 1):
        x = layers.Dropout(dropout, name=f"encoder{i}_dropout")(x)
        layer = recurrent(units, return_sequences=True, return_state=True, name=f"encoder{i}")
        x, *state = layer(x, mask=real)
        states.append(state)
    context = layers.Identity(name="context")(states[-1][0])

    x = target_embedding(target)
    repeated = ops.zeros_like(x[:, :, :1]) + context[:, None]
    x = layers.Concatenate(name="decoder_input")([x, repeated])
    for i in range(1, num_layers + 1):
        x = layers.Dropout(dropout, name=f"decoder{i}_dropout")(x)
        x = recurrent(units, return_sequences=True, name=f"decoder{i}")(x, initial_state=states[i - 1])
    x = layers.Dropout(dropout, name="output_dropout")(x)
    x = layers.Dense(embedding, activation="tanh", name="output")(x)
    logits = layers.Identity(dtype="float32", name="logits")(target_embedding(x, reverse=True))
    return keras.Model({"source": source, "target": target}, logits, name=name or "seq2seq")


@register(
    paper="Bahdanau et al. 2014, arXiv:1409.0473; Wu et al. 2016, arXiv:1609.08144",
    task="translation",
    parameters=8_352_512,
    small=SMALL,
)
def seq2seq_attention(
    vocabulary: int = 8000,
    target_vocabulary: int | None = None,
    embedding: int = 256,
    units: int = 512,
    num_layers: int = 2,
    cell: str = "gru",
    attention: str = "additive",
    copy: bool = False,
    dropout: float = 0.2,
    name: str | None = None,
) -> keras.Model:
    """A decoder that looks at all of the encoder's outputs (Bahdanau et al. 2014, section 3).

    The encoder reads both ways. The decoder's first layer asks, and what it sees is an input of the layers above and
    of the output (Wu et al. 2016, section 3): the question doesn't depend on the answer to the one before, so training
    computes the attention of all steps at once.

    Args:
        vocabulary, target_vocabulary, embedding, num_layers, cell, dropout, name: as for `seq2seq`.
        units: width of each recurrent layer, even: each direction of the encoder has half of it.
        attention: a key of `ATTENTIONS`.
        copy: also let it copy tokens of the source: a gate mixes the distribution over the vocabulary with the
            attention (See et al. 2017, arXiv:1704.04368, equations 8 and 9). Needs a shared vocabulary.

    Returns:
        As `seq2seq`; with `copy`, the logits are logarithms of probabilities.

    Raises:
        ValueError: for an unknown cell or attention, odd units, or copying between vocabularies.

    Trainable parameters: 8,352,512.
    """
    recurrent, scores = _row(CELLS, cell, "cell"), _row(ATTENTIONS, attention, "attention")
    if units % 2:
        raise ValueError(f"units is {units}; each direction of the encoder has half of it, so give an even number")
    if copy and target_vocabulary:
        raise ValueError("copying needs one vocabulary for both languages; leave out target_vocabulary")
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    real = ops.not_equal(source, PAD)
    source_embedding, target_embedding = embeddings(vocabulary, target_vocabulary, embedding)

    x, states = source_embedding(source), []
    for i in range(1, num_layers + 1):
        x = layers.Dropout(dropout, name=f"encoder{i}_dropout")(x)
        layer = layers.Bidirectional(
            recurrent(units // 2, return_sequences=True, return_state=True), name=f"encoder{i}"
        )
        x, *both = layer(x, mask=real)
        forward, backward = both[: len(both) // 2], both[len(both) // 2 :]
        states.append([layers.Concatenate()(pair) for pair in zip(forward, backward, strict=True)])
    memory = layers.Identity(name="memory")(x)

    x = target_embedding(target)
    for i in range(1, num_layers + 1):
        x = layers.Dropout(dropout, name=f"decoder{i}_dropout")(x)
        x = recurrent(units, return_sequences=True, name=f"decoder{i}")(x, initial_state=states[i - 1])
        if i == 1:
            look = scores(units, name="attention")
            context, weights = look(x, memory, value_mask=real, return_attention_scores=True)
        x = layers.Concatenate(name=f"decoder{i}_output")([x, context])
    x = layers.Dropout(dropout, name="output_dropout")(x)
    gate = layers.Dense(1, activation="sigmoid", dtype="float32", name="gate")(x) if copy else None
    x = layers.Dense(embedding, activation="tanh", name="output")(x)
    logits = target_embedding(x, reverse=True)
    if copy:
        logits = mix_with_copies(logits, gate, weights, ops.one_hot(source, vocabulary, dtype="float32"))
    logits = layers.Identity(dtype="float32", name="logits")(logits)
    return keras.Model({"source": source, "target": target}, logits, name=name or "seq2seq_attention")


def mix_with_copies(logits: Any, gate: Any, weights: Any, source: Any) -> Any:
    """The logarithm of `gate * softmax(logits) + (1 - gate) * attention`: See et al. 2017, equation 9.

    Args:
        logits: `(batch, m, vocabulary)`.
        gate: `(batch, m, 1)`, the share of the generated.
        weights: `(batch, m, n)`, attention over the source.
        source: one-hot, `(batch, n, vocabulary)`.
    """
    generated = ops.softmax(ops.cast(logits, "float32"), axis=-1)
    copied = ops.matmul(weights, source)
    return ops.log(gate * generated + (1.0 - gate) * copied + 1e-9)


def decoder(model: keras.Model, source: Any, max_length: Any) -> tuple[Callable[[Any, Any, Any], tuple[Any, Any]], Any]:
    """The step and the first state with which `keras_dl.text.decoding` runs a model of this file or of `captioning`.

    Args:
        model: the model.
        source: int32 `(batch, n)`, or images.
        max_length: not needed; the recurrent state has one size.
    """
    layer = model.get_layer
    names = [layer.name for layer in model.layers]
    num_layers = sum(name.startswith("decoder") and name[7:].isdecimal() for name in names)
    with_attention = "attention" in names
    starts = [
        layer(f"decoder{i}")._inbound_nodes[0].arguments.kwargs["initial_state"] for i in range(1, num_layers + 1)
    ]
    seen = layer("memory" if with_attention else "context").output
    given = next(tensor for name, tensor in model.input.items() if name != "target")
    seen, state = keras.Model(given, [seen, starts])(source, training=False)
    cells = [layer(f"decoder{i}").cell for i in range(1, num_layers + 1)]
    embedding = layer("target_embedding")
    to_logits = ops.transpose(ops.cast(embedding.embeddings, "float32"))
    real = ops.not_equal(source, PAD) if "source" in model.input else None
    if with_attention:
        attention = layer("attention")
        keys = attention.key(seen)
    copies = ops.one_hot(source, to_logits.shape[-1], dtype="float32") if "gate" in names else None

    def step(tokens: Any, state: Any, position: Any) -> tuple[Any, Any]:
        beams = ops.shape(tokens)[1]
        x = embedding(ops.reshape(tokens, (-1,)))
        if not with_attention:
            x = ops.concatenate([x, ops.repeat(seen, beams, axis=0)], axis=-1)
        new_state = []
        for i, (cell, kept) in enumerate(zip(cells, state, strict=True)):
            x, new = cell(x, [ops.reshape(part, (-1, part.shape[-1])) for part in kept], training=False)
            new_state.append([ops.reshape(part, (-1, beams, part.shape[-1])) for part in new])
            if with_attention:
                x = ops.reshape(x, (-1, beams, x.shape[-1]))
                if i == 0:
                    context, weights = attention.attend(x, keys, seen, real)
                x = ops.concatenate([x, context], axis=-1)
                x = ops.reshape(x, (-1, x.shape[-1]))
        features = ops.reshape(x, (-1, beams, x.shape[-1]))
        x = layer("output")(features)
        logits = ops.matmul(ops.cast(x, "float32"), to_logits)
        if copies is not None:
            logits = mix_with_copies(logits, layer("gate")(features), weights, copies)
        return logits, new_state

    return step, state


def attention_maps(model: keras.Model) -> keras.Model:
    """From the model's inputs to where each target token looks in the source, `(batch, m, n)`.

    Raises:
        ValueError: if the model has no attention.
    """
    return keras.Model(model.input, model.get_layer("attention").output[1])


def _row(table: dict[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise ValueError(f"{what} is {name!r}; choose from {', '.join(table)}")
    return table[name]
