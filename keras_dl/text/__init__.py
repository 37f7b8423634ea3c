"""Text models: one file per architecture."""

ARCHITECTURES = (
    "captioning",
    "count_embedding",
    "embedding_average",
    "language_model",
    "recurrent",
    "self_attention",
    "seq2seq",
    "text_cnn",
    "transformer",
    "wide_recurrent",
    "word2vec",
)
