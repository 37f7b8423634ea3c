"""Transformer: Vaswani et al. 2017, arXiv:1706.03762."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from keras_dl.layers.attention import MultiHeadAttention
from keras_dl.layers.positions import SinusoidalPositions
from keras_dl.registry import register

VARIANTS = {  # table 3: blocks on each side, width, width of the hidden layer, heads, dropout
    "transformer_base": (6, 512, 2048, 8, 0.1),
    "transformer_big": (6, 1024, 4096, 16, 0.3),
}
PAD = 0


def residual(x: Any, sublayer: Callable[[Any], Any], norm: Any, dropout: Any, pre_norm: bool) -> Any:
    """Section 3.1: the sum is normalised; pre-norm (Xiong et al. 2020, arXiv:2002.04745) normalises the branch."""
    if pre_norm:
        return x + dropout(sublayer(norm(x)))
    return norm(x + dropout(sublayer(x)))


@register(
    paper="Vaswani et al. 2017, arXiv:1706.03762",
    task="translation",
    parameters={"transformer_base": 63_082_496, "transformer_big": 214_245_376},
    small={"vocabulary": 20, "num_blocks": 1, "width": 16, "hidden": 32, "num_heads": 2},
)
def transformer(
    variant: str = "transformer_base",
    vocabulary: int = 37_000,
    target_vocabulary: int | None = None,
    num_blocks: int | None = None,
    width: int | None = None,
    hidden: int | None = None,
    num_heads: int | None = None,
    dropout: float | None = None,
    pre_norm: bool = False,
    name: str | None = None,
) -> keras.Model:
    """The encoder-decoder of Vaswani et al. 2017, figure 1, table 3.

    Args:
        variant: a key of `VARIANTS`, which gives what isn't given here.
        vocabulary: source tokens; 0 is padding.
        target_vocabulary: target tokens; None if both languages share one vocabulary and one matrix of embeddings.
            The target's embeddings are the output's weights in either case (section 3.4).
        num_blocks: blocks of the encoder, and of the decoder.
        width: features of a token.
        hidden: features between the two dense layers of a block.
        num_heads: attention heads; must divide the width.
        dropout: rate, after the embeddings and after every sublayer.
        pre_norm: normalise the input of each sublayer instead of the sum; trains without a long warm-up.
        name: by default the variant.

    Returns:
        From `source` int32 `(batch, n)` and `target` int32 `(batch, m)`, which is what precedes each token, to logits
        float32 `(batch, m, target_vocabulary)`. `decoder` gives the step for `keras_dl.text.decoding`.

    Raises:
        ValueError: if the heads don't divide the width.

    Trainable parameters: 63,082,496 (base) and 214,245,376 (big), with 37,000 shared tokens.
    """
    given = (num_blocks, width, hidden, num_heads, dropout)
    num_blocks, width, hidden, num_heads, dropout = (
        default if value is None else value for value, default in zip(given, VARIANTS[variant], strict=True)
    )
    if width % num_heads:
        raise ValueError(f"width {width} is not a multiple of {num_heads} heads")

    def embedding(tokens: int, name: str) -> Any:
        initial = keras.initializers.RandomNormal(stddev=width**-0.5)
        return layers.ReversibleEmbedding(
            tokens, width, embeddings_initializer=initial, reverse_dtype="float32", name=name
        )

    def embed(tokens: Any, matrix: Any, side: str) -> Any:
        x = layers.Rescaling(width**0.5, name=f"{side}_scale")(matrix(tokens))
        x = SinusoidalPositions(name=f"{side}_positions")(x)
        return layers.Dropout(dropout, name=f"{side}_dropout")(x)

    def add_and_norm(x: Any, sublayer: Callable[[Any], Any], name: str) -> Any:
        norm = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm")
        return residual(x, sublayer, norm, layers.Dropout(dropout, name=f"{name}_dropout"), pre_norm)

    def attention(name: str, causal: bool = False) -> Any:
        return MultiHeadAttention(num_heads, width // num_heads, causal=causal, name=name)

    def feed_forward(x: Any, name: str) -> Any:
        inner = layers.Dense(hidden, activation="relu", name=f"{name}_inner")
        outer = layers.Dense(width, name=f"{name}_outer")
        return add_and_norm(x, lambda x: outer(inner(x)), name)

    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    real = ops.not_equal(source, PAD)
    target_embedding = embedding(target_vocabulary or vocabulary, "target_embedding")
    source_embedding = embedding(vocabulary, "source_embedding") if target_vocabulary else target_embedding

    x = embed(source, source_embedding, "encoder")
    for i in range(1, num_blocks + 1):
        look = attention(f"encoder{i}_attention")
        x = add_and_norm(x, lambda x, look=look: look(x, x, value_mask=real), f"encoder{i}_attention")
        x = feed_forward(x, f"encoder{i}_feed_forward")
    if pre_norm:
        x = layers.LayerNormalization(epsilon=1e-6, name="encoder_norm")(x)
    memory = layers.Identity(name="memory")(x)

    x = embed(target, target_embedding, "decoder")
    for i in range(1, num_blocks + 1):
        look_back = attention(f"decoder{i}_self_attention", causal=True)
        x = add_and_norm(x, look_back, f"decoder{i}_self_attention")
        look = attention(f"decoder{i}_attention")
        x = add_and_norm(
            x,
            lambda x, look=look: look(x, memory, value_mask=real, return_attention_scores=True)[0],
            f"decoder{i}_attention",
        )
        x = feed_forward(x, f"decoder{i}_feed_forward")
    if pre_norm:
        x = layers.LayerNormalization(epsilon=1e-6, name="decoder_norm")(x)
    logits = layers.Identity(dtype="float32", name="logits")(target_embedding(x, reverse=True))
    return keras.Model({"source": source, "target": target}, logits, name=name or variant)


def decoder(model: keras.Model, source: Any, max_length: Any) -> tuple[Callable[[Any, Any, Any], tuple[Any, Any]], Any]:
    """The step and the first state with which `keras_dl.text.decoding` runs a model that `transformer` built.

    The keys and values of the tokens so far are the state; those of the source are computed once, and all hypotheses
    of a sentence look at them together.

    Args:
        model: the model.
        source: int32 `(batch, n)`.
        max_length: tokens that the state has room for.
    """
    names = [layer.name for layer in model.layers]
    blocks = range(1, 1 + sum(name.endswith("_self_attention") for name in names))
    pre_norm = "decoder_norm" in names
    layer = model.get_layer
    embedding = layer("target_embedding")
    width = embedding.output_dim
    to_logits = ops.transpose(ops.cast(embedding.embeddings, "float32"))

    memory = keras.Model(model.input["source"], layer("memory").output)(source, training=False)
    real = ops.not_equal(source, PAD)[:, None, None]
    seen = [tuple(layer(f"decoder{i}_attention").heads(part, memory) for part in ("key", "value")) for i in blocks]

    def add_and_norm(x: Any, sublayer: Callable[[Any], Any], name: str) -> Any:
        return residual(x, sublayer, layer(f"{name}_norm"), layer(f"{name}_dropout"), pre_norm)

    def block(i: int, x: Any, cache: Any, memory: Any, position: Any, beams: int) -> tuple[Any, Any]:
        """Block i for one token of each hypothesis, `(batch * beams, 1, width)`, and the cache with it."""
        own, other = layer(f"decoder{i}_self_attention"), layer(f"decoder{i}_attention")
        inner, outer = layer(f"decoder{i}_feed_forward_inner"), layer(f"decoder{i}_feed_forward_outer")
        places = ops.arange(ops.shape(cache[0])[3], dtype="int32")
        kept = []

        def look_back(x: Any) -> Any:
            query, *new = (own.heads(part, x) for part in ("query", "key", "value"))
            here = ops.equal(places, position)[:, None]
            new = [ops.reshape(part, (-1, beams, *part.shape[1:])) for part in new]
            kept.extend(ops.where(here, part, old) for part, old in zip(new, cache, strict=True))
            flat = [ops.reshape(part, (-1, part.shape[2], *ops.shape(part)[3:])) for part in kept]
            return own.attend(query, *flat, places <= position)[0]

        def look(x: Any) -> Any:
            query = other.heads("query", ops.reshape(x, (-1, beams, width)))
            return ops.reshape(other.attend(query, *memory, real)[0], (-1, 1, width))

        x = add_and_norm(x, look_back, f"decoder{i}_self_attention")
        x = add_and_norm(x, look, f"decoder{i}_attention")
        return add_and_norm(x, lambda x: outer(inner(x)), f"decoder{i}_feed_forward"), tuple(kept)

    def step(tokens: Any, state: Any, position: Any) -> tuple[Any, Any]:
        beams = ops.shape(tokens)[1]
        x = layer("decoder_scale")(embedding(ops.reshape(tokens, (-1, 1))))
        x = layer("decoder_positions")(x, start=position)
        new_state = []
        for i, cache, memory in zip(blocks, state, seen, strict=True):
            x, cache = block(i, x, cache, memory, position, beams)
            new_state.append(cache)
        if pre_norm:
            x = layer("decoder_norm")(x)
        logits = ops.matmul(ops.cast(x, "float32"), to_logits)
        return ops.reshape(logits, (-1, beams, to_logits.shape[-1])), new_state

    attention = layer("decoder1_self_attention")
    shape = (ops.shape(source)[0], attention.num_heads, max_length, attention.head_dim)
    empty = ops.zeros(shape, attention.compute_dtype)
    return step, [(empty, empty) for _ in blocks]


def attention_maps(model: keras.Model) -> keras.Model:
    """From the model's inputs to where each target token looks in the source, `(batch, m, n)`: the mean over the heads
    of the last block."""
    last = max(int(layer.name[7:-10]) for layer in model.layers if layer.name[7:-10].isdecimal())
    weights = model.get_layer(f"decoder{last}_attention").output[1]
    return keras.Model(model.input, ops.mean(weights, axis=1))
