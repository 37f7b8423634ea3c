"""Text models: one file per architecture."""

ARCHITECTURES = (
    "count_embedding",
    "embedding_average",
    "language_model",
    "recurrent",
    "self_attention",
    "text_cnn",
    "wide_recurrent",
    "word2vec",
)
