"""Self-attention over words, to one label per word or one per text: the encoder of Vaswani et al. 2017."""

from typing import Any

import keras
from keras import layers

from keras_dl.errors import UserError
from keras_dl.layers.attention import MultiHeadAttention
from keras_dl.layers.positions import LearnedPositions, SinusoidalPositions
from keras_dl.registry import register
from keras_dl.text.common import embed, masked_mean, predictions, real_words, token_input

PAPER = "Vaswani et al. 2017, arXiv:1706.03762"
SMALL = {
    "vocabulary_size": 20,
    "num_classes": 3,
    "embedding_dim": 8,
    "units": 12,
    "num_heads": 2,
    "positions": "learned",
    "sequence_length": 6,
}
ATTENTION = ("full", "masked", "truncated")
POSITIONS = ("sinusoidal", "learned", None)
LONGEST = 512  # learned positions where the length of the texts isn't fixed


def encoder_block(x: Any, num_heads: int, units: int, dropout: float, reach: dict[str, Any], name: str) -> Any:
    """Section 3.1: attention, then a net of two layers at each word; each with a shortcut and layer normalisation."""
    width = x.shape[-1]
    attention = MultiHeadAttention(num_heads, width // num_heads, dropout, name=f"{name}_attention", **reach)
    seen, _ = attention(x, return_attention_scores=True)  # the scores are for `attention_maps`
    seen = layers.Dropout(dropout, name=f"{name}_dropout1")(seen)
    x = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm1")(layers.Add(name=f"{name}_add1")([x, seen]))
    y = layers.Dense(units, activation="relu", name=f"{name}_dense1")(x)
    y = layers.Dense(width, name=f"{name}_dense2")(y)
    y = layers.Dropout(dropout, name=f"{name}_dropout2")(y)
    return layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm2")(layers.Add(name=f"{name}_add2")([x, y]))


def encode(
    tokens: Any,
    vocabulary_size: int,
    embedding_dim: int,
    units: int,
    num_layers: int,
    num_heads: int,
    attention: str,
    window: int,
    positions: str | None,
    dropout: float,
) -> Any:
    """Ids to one vector per word that knows the other words."""
    if attention not in ATTENTION:
        raise UserError(f"attention is one of {', '.join(ATTENTION)}; got {attention!r}")
    if positions not in POSITIONS:
        raise UserError(f"positions is 'sinusoidal', 'learned' or None; got {positions!r}")
    if embedding_dim % num_heads:
        raise UserError(f"embedding_dim {embedding_dim} does not split evenly over {num_heads} heads")
    reach = {"causal": attention == "masked", "window": window if attention == "truncated" else None}
    x = embed(tokens, vocabulary_size, embedding_dim)
    if positions == "sinusoidal":
        x = layers.Rescaling(embedding_dim**0.5, name="scale")(x)  # section 3.4
        x = SinusoidalPositions(name="positions")(x)
    elif positions == "learned":
        x = LearnedPositions(tokens.shape[1] or LONGEST, name="positions")(x)
    x = layers.Dropout(dropout, name="input_dropout")(x)
    for number in range(1, num_layers + 1):
        x = encoder_block(x, num_heads, units, dropout, reach, f"block{number}")
    return x


@register(paper=PAPER, task="sequence tagging", parameters=1_677_834, small=SMALL)
def self_attention_tagger(
    vocabulary_size: int = 10_000,
    num_classes: int = 10,
    sequence_length: int | None = None,
    embedding_dim: int = 128,
    units: int = 512,
    num_layers: int = 2,
    num_heads: int = 4,
    attention: str = "full",
    window: int = 2,
    positions: str | None = "sinusoidal",
    dropout: float = 0.1,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
) -> keras.Model:
    """N vectors to N labels: each word is labelled in the light of the words that it attends to.

    Args:
        vocabulary_size: ids that there are, padding (0) and out-of-vocabulary (1) included.
        num_classes: labels.
        sequence_length: fixed number of words, or None for any (learned positions: up to 512).
        embedding_dim: width of the word vectors.
        units: width of the hidden layer at each word.
        num_layers: blocks of attention and dense layers.
        num_heads: heads; `embedding_dim` splits evenly over them.
        attention: `"full"`, `"masked"` (no word sees a later one) or `"truncated"` (only near words are seen).
        window: how many words away truncated attention sees.
        positions: `"sinusoidal"`, `"learned"`, or None: then the order of the words is not seen.
        dropout: rate in the blocks and before the classifier.
        classifier_activation: `"softmax"`, or None for logits.
        name: the model's name.

    Returns:
        Ids `(batch, time)`, int32, to probabilities `(batch, time, num_classes)`. Reference count: 1,677,834.

    Raises:
        ValueError: for other attention, positions or heads than these.
    """
    tokens = token_input(sequence_length)
    size = (vocabulary_size, embedding_dim, units, num_layers, num_heads)
    x = encode(tokens, *size, attention, window, positions, dropout)
    x = predictions(x, num_classes, classifier_activation, dropout)
    return keras.Model(tokens, x, name=name or "self_attention_tagger")


@register(paper=PAPER, task="text classification", parameters=1_478_530, small=SMALL)
def self_attention_classifier(
    vocabulary_size: int = 10_000,
    num_classes: int = 2,
    sequence_length: int | None = None,
    embedding_dim: int = 128,
    units: int = 512,
    num_layers: int = 1,
    num_heads: int = 4,
    attention: str = "full",
    window: int = 2,
    positions: str | None = "sinusoidal",
    dropout: float = 0.2,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
) -> keras.Model:
    """N vectors to one label: the mean of what attention makes of the words is classified.

    Arguments are those of `self_attention_tagger`.

    Returns:
        Ids `(batch, time)`, int32, to probabilities `(batch, num_classes)`. Reference count: 1,478,530.

    Raises:
        ValueError: as `self_attention_tagger`.
    """
    tokens = token_input(sequence_length)
    size = (vocabulary_size, embedding_dim, units, num_layers, num_heads)
    x = encode(tokens, *size, attention, window, positions, dropout)
    x = predictions(masked_mean(x, real_words(tokens)), num_classes, classifier_activation, dropout)
    return keras.Model(tokens, x, name=name or "self_attention_classifier")


def attention_maps(model: keras.Model) -> keras.Model:
    """A model with the same input that returns what each attention layer looks at.

    Args:
        model: a self-attention classifier or tagger.

    Returns:
        A `keras.Model` that shares the weights of `model`, to `{layer: (batch, heads, queries, keys)}`; rows sum
        to 1 over the keys.

    Raises:
        ValueError: if the model has no such layer.
    """
    attending = [layer for layer in model.layers if isinstance(layer, MultiHeadAttention)]
    if not attending:
        raise UserError(f"{model.name!r} has no attention layers to look into")
    maps = {layer.name: layer.output[1] for layer in attending}
    return keras.Model(model.input, maps, name="attention_maps")
