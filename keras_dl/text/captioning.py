"""Image captioning: Xu et al. 2015, "Show, attend and tell", arXiv:1502.03044."""

import keras
from keras import layers, ops

from keras_dl.registry import create_model, register
from keras_dl.text.seq2seq import ATTENTIONS, embeddings


@register(
    paper="Xu et al. 2015, arXiv:1502.03044",
    task="image captioning",
    parameters=29_781_248,
    small={
        "backbone": "resnet20_cifar",
        "input_shape": (32, 32, 3),
        "vocabulary": 20,
        "embedding": 8,
        "units": 12,
    },
)
def image_captioning(
    backbone: str = "resnet50",
    input_shape: tuple[int, int, int] = (224, 224, 3),
    vocabulary: int = 8000,
    embedding: int = 256,
    units: int = 512,
    attention: str = "additive",
    dropout: float = 0.2,
    backbone_weights: str | None = None,
    name: str | None = None,
) -> keras.Model:
    """A decoder that looks at the places of a feature map (Xu et al. 2015, section 3, soft attention).

    The decoder is that of `seq2seq_attention` with one layer; it starts from the mean of all places (section 3.1.2).

    Args:
        backbone: an architecture of the vision wing whose body gives a feature map.
        input_shape: `(height, width, channels)`.
        vocabulary: tokens; 0 is padding.
        embedding: features of a token; the embeddings are the output's weights too.
        units: width of the recurrent layer.
        attention: `"additive"` or `"scaled_dot"`.
        dropout: rate, at the input of the recurrent layer and of the output.
        backbone_weights: as `create_model` takes them.
        name: by default `image_captioning`.

    Returns:
        From `image` `(batch, height, width, channels)` in [0, 255] and `target` int32 `(batch, m)`, which is what
        precedes each token, to logits float32 `(batch, m, vocabulary)`. `keras_dl.text.seq2seq.decoder` gives the step
        for `keras_dl.text.decoding`, `attention_maps` shows where it looks.

    Raises:
        ValueError: for an unknown backbone or attention.

    Trainable parameters: 29,781,248.
    """
    if attention not in ATTENTIONS:
        raise ValueError(f"attention is {attention!r}; choose from {', '.join(ATTENTIONS)}")
    body = create_model(backbone, include_top=False, input_shape=input_shape, weights=backbone_weights)
    target = keras.Input((None,), dtype="int32", name="target")
    _, target_embedding = embeddings(vocabulary, None, embedding)

    memory = layers.Reshape((-1, body.output.shape[-1]), name="memory")(body.output)
    start = layers.Dense(units, activation="tanh", name="start")(ops.mean(memory, axis=1))
    x = layers.Dropout(dropout, name="decoder1_dropout")(target_embedding(target))
    x = layers.GRU(units, return_sequences=True, name="decoder1")(x, initial_state=[start])
    look = ATTENTIONS[attention](units, name="attention")
    context, _ = look(x, memory, return_attention_scores=True)
    x = layers.Concatenate(name="decoder1_output")([x, context])
    x = layers.Dropout(dropout, name="output_dropout")(x)
    x = layers.Dense(embedding, activation="tanh", name="output")(x)
    logits = layers.Identity(dtype="float32", name="logits")(target_embedding(x, reverse=True))
    return keras.Model({"image": body.input, "target": target}, logits, name=name or "image_captioning")


def attention_maps(model: keras.Model) -> keras.Model:
    """From the model's inputs to where it looks for each token: `(batch, m, height, width)` of the feature map."""
    weights = model.get_layer("attention").output[1]
    height, width = model.get_layer("memory").input.shape[1:3]
    return keras.Model(model.input, layers.Reshape((-1, height, width))(weights))
