"""The average of a text's word vectors, classified: Joulin et al. 2016 (fastText), arXiv:1607.01759."""

import keras

from keras_dl.registry import register
from keras_dl.text.common import embed, masked_mean, predictions, real_words, token_input, variational_dropout


@register(
    paper="Joulin et al. 2016, arXiv:1607.01759",
    task="text classification",
    parameters=1_280_258,
    small={"vocabulary_size": 20, "num_classes": 3, "embedding_dim": 8},
)
def embedding_average(
    vocabulary_size: int = 10_000,
    num_classes: int = 2,
    sequence_length: int | None = None,
    embedding_dim: int = 128,
    dropout: float = 0.2,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
) -> keras.Model:
    """The mean of the word vectors and a softmax (figure 1): fast, and blind to the order of the words.

    Args:
        vocabulary_size: ids that there are, padding (0) and out-of-vocabulary (1) included.
        num_classes: labels.
        sequence_length: fixed number of words, or None for any.
        embedding_dim: width of the word vectors.
        dropout: rate at which features of the vectors, and of their mean, are dropped in training.
        classifier_activation: `"softmax"`, or None for logits.
        name: the model's name.

    Returns:
        Ids `(batch, time)`, int32, to probabilities `(batch, num_classes)`. Reference count: 1,280,258.
    """
    tokens = token_input(sequence_length)
    x = variational_dropout(embed(tokens, vocabulary_size, embedding_dim), dropout)
    x = masked_mean(x, real_words(tokens))
    x = predictions(x, num_classes, classifier_activation, dropout)
    return keras.Model(tokens, x, name=name or "embedding_average")
