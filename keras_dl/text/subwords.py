"""Text to ids and back again: subwords, characters or words that join to the text they came from."""

import base64
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_dl.errors import UserError
from keras_dl.run import write_text
from keras_dl.text.sentencepieces import train_subwords

UNITS = ("subwords", "characters", "words")
PAD, START, END, UNKNOWN = 0, 1, 2, 3
MARKS = ("<pad>", "<s>", "</s>", "<unk>")
PIECES = (1000, 6000)  # at least and at most, where the user names no number
TEXT_PER_PIECE = 300  # characters
_CUT = "\x01"
# A word takes the space before it along, so that joining needs no rule; a Chinese character is a word, also between
# letters and digits, whose classes have it too: `[^\PL\p{Han}]` is every letter but those.
_WORD = r"( ?(?:\p{Han}|(?:[^\PL\p{Han}]|[^\PM\p{Han}]|[^\PN\p{Han}])+|\S))"
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff]")


class Pieces(tf.Module):
    """Numbers the pieces of texts, in TensorFlow's ops: the same in training and in an export.

    0 is padding, 1 and 2 are the marks of start and end, 3 is what was never seen. Spaces in a row count as one.

    Args:
        unit: `"characters"`, `"words"`, or `"subwords"`, which need TensorFlow Text wherever they run.
        pieces: all pieces by number, the four marks first; for subwords the model has them.
        model: a SentencePiece model with these marks, for subwords.
    """

    def __init__(self, unit: str, pieces: Sequence[str] = (), model: bytes | None = None) -> None:
        super().__init__(name="pieces")
        self.unit, self.model = unit, model
        if unit == "subwords":
            import tensorflow_text
            from sentencepiece import SentencePieceProcessor

            processor = SentencePieceProcessor(model_proto=model)
            self.pieces = tuple(processor.id_to_piece(i) for i in range(len(processor)))
            self._tokenizer = tensorflow_text.SentencepieceTokenizer(model=model, out_type=tf.int32)
        else:
            self.pieces = tuple(pieces)
            known = tf.constant(self.pieces[len(MARKS) :], tf.string)
            numbers = tf.range(len(MARKS), len(self.pieces), dtype=tf.int32)
            initial = tf.lookup.KeyValueTensorInitializer(known, numbers)
            self._numbers = tf.lookup.StaticHashTable(initial, UNKNOWN)
        self.starts_word = np.array([piece[0] in "▁ " or bool(_HAN.match(piece)) for piece in self.pieces])

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """int32 `(n, None)` for strings `(n,)`, without marks. Only subwords bring the strings into NFC: the
        op for that is TensorFlow Text's."""
        texts = plain(texts)
        if self.unit == "subwords":
            import tensorflow_text

            return self._tokenizer.tokenize(tensorflow_text.normalize_utf8(texts, "NFC"))
        return tf.ragged.map_flat_values(self._numbers.lookup, split(texts, self.unit))

    def decode(self, ids: tf.Tensor) -> tf.Tensor:
        """Strings `(n,)` for int32 `(n, m)`, each up to its first mark of the end or padding."""
        ended = tf.cumsum(tf.cast((ids == END) | (ids == PAD), tf.int32), axis=1) > 0
        kept = tf.ragged.boolean_mask(ids, ~ended)
        if self.unit == "subwords":
            return self._tokenizer.detokenize(kept)
        pieces = tf.ragged.map_flat_values(lambda flat: tf.gather(tf.constant(self.pieces), flat), kept)
        return tf.strings.strip(tf.strings.reduce_join(pieces, axis=1))

    def save(self, path: Path) -> None:
        """Writes a JSON file that `load_pieces` reads."""
        model = base64.b64encode(self.model).decode("ascii") if self.model else None
        content = {"unit": self.unit, "pieces": self.pieces, "sentencepiece": model}
        write_text(path, json.dumps(content, ensure_ascii=False, indent=0) + "\n")


def load_pieces(path: Path) -> Pieces:
    """The pieces that `Pieces.save` wrote.

    Raises:
        UserError: if the file is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        model = base64.b64decode(content["sentencepiece"]) if content["sentencepiece"] else None
        return Pieces(content["unit"], content["pieces"], model)
    except (OSError, ValueError, TypeError, LookupError, RuntimeError) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"can't read the vocabulary {path} ({cause}): restore it, or train again") from error


def usual_size(texts: Sequence[str], unit: str) -> int:
    """How many pieces to learn from these texts where nobody says it.

    Of subwords as many as spell every character, and one more for every 300 characters of text, between 1,000 and
    6,000: a piece that is rarely seen is learned badly (Sennrich & Zhang 2019, arXiv:1905.11901).
    """
    if unit != "subwords":
        return PIECES[1]
    spelling = len(MARKS) + len({" "}.union(*texts))
    return min(max(spelling + sum(map(len, texts)) // TEXT_PER_PIECE, PIECES[0]), PIECES[1])


def learn_pieces(texts: Sequence[str], unit: str, size: int | None = None) -> Pieces:
    """The pieces of training texts: subwords by SentencePiece, otherwise the most frequent characters or words.

    Args:
        texts: of one language, or of both for a joint vocabulary.
        unit: one of `UNITS`.
        size: pieces at most, the four marks included; fewer where the texts don't have as many. By default
            `usual_size`.

    Raises:
        UserError: for an unknown unit, or a size without room for every character as a subword.
    """
    if unit not in UNITS:
        raise UserError(f"--unit {unit}: choose from {', '.join(UNITS)}")
    size = size or usual_size(texts, unit)
    if unit == "subwords":
        characters = len(set().union(*texts))
        marks = {"pad_id": PAD, "bos_id": START, "eos_id": END, "unk_id": UNKNOWN, "unk_surface": MARKS[UNKNOWN]}
        # Of thousands of Chinese characters the rarest occur once: they are left unknown.
        coverage = 1.0 if characters < 500 else 0.9995
        flags = {"flag": "--vocabulary", "character_coverage": coverage, "split_digits": True}
        model = train_subwords(texts, size, **flags, **marks)
        return Pieces(unit, model=model)
    counts: Counter[bytes] = Counter()
    for start in range(0, len(texts), 4096):
        counts.update(split(plain(tf.constant(list(texts[start : start + 4096]))), unit).flat_values.numpy().tolist())
    # Of equals the alphabetically first: the same for any order of the texts.
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: max(size - len(MARKS), 1)]
    return Pieces(unit, [*MARKS, *(piece.decode("utf-8") for piece, _ in frequent)])


def plain(texts: tf.Tensor) -> tf.Tensor:
    """One line of valid UTF-8 without spaces at its ends: bytes that are none become U+FFFD, and the spaces of all
    scripts, like control characters, plain ones."""
    codes = tf.strings.unicode_decode(texts, "UTF-8", errors="replace")
    valid = tf.strings.unicode_encode(codes, "UTF-8")
    return tf.strings.strip(tf.strings.regex_replace(valid, r"[\p{Z}\x00-\x1f\x{85}]+", " "))


def split(texts: tf.Tensor, unit: str) -> tf.RaggedTensor:
    """Strings `(n, None)`: the characters, or the words with the spaces before them."""
    if unit == "characters":
        return tf.strings.unicode_split(texts, "UTF-8")
    marked = tf.strings.regex_replace(texts, _WORD, rf"\1{_CUT}")
    pieces = tf.strings.split(marked, _CUT)
    return tf.ragged.boolean_mask(pieces, pieces != "")
