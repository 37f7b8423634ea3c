"""Subwords by SentencePiece (Kudo & Richardson 2018, arXiv:1808.06226): rare words fall into frequent pieces."""

import io
import re
from collections.abc import Sequence
from typing import Any

from keras_dl.errors import UserError

# Pieces that SentencePiece can choose from this many sentences are as good as from all.
_SENTENCES = 200_000
_TOO_FEW = re.compile(r"required_chars\. \d+ vs (\d+)")


def train_subwords(texts: Sequence[str], size: int, *, flag: str = "--vocabulary-size", **options: Any) -> bytes:
    """A unigram language model of pieces (Kudo 2018, arXiv:1804.10959), serialised.

    Args:
        texts: normalised already; the model changes nothing in them but spaces. Of very many it sees every n-th.
        size: pieces at most.
        flag: what sets the size, for the message about one that is too small.
        **options: of SentencePiece's trainer, beside or instead of what is set here.

    Raises:
        UserError: if there are fewer pieces than different characters, or no text.
    """
    import sentencepiece

    model = io.BytesIO()
    # Not the first ones: of two languages in a row these would all be of one.
    seen = texts[:: max(1, -(-len(texts) // _SENTENCES))]
    settings = {
        "hard_vocab_limit": False,
        "character_coverage": 0.9995,
        "normalization_rule_name": "identity",
        "num_threads": 1,
        "minloglevel": 2,
    }
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(seen), model_writer=model, vocab_size=size, **(settings | options)
        )
    except RuntimeError as error:
        short = _TOO_FEW.search(str(error))
        if short:
            raise UserError(
                f"{flag} {size} is too small to spell every character of these texts: give {flag} {short[1]} or more"
            ) from error
        raise UserError("no subwords can be found in these texts: give more of them, or --unit words") from error
    return model.getvalue()


def piece_tokenizer(model: bytes) -> Any:
    """TensorFlow Text's tokenizer: `.tokenize(texts)` gives the pieces as strings."""
    import tensorflow as tf
    import tensorflow_text

    return tensorflow_text.SentencepieceTokenizer(model=model, out_type=tf.string)
