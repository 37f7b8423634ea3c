"""From raw strings to the ids that text models take, in core TensorFlow ops: the same in training and in an export."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import tensorflow as tf

from keras_dl.errors import UserError
from keras_dl.run import write_bytes, write_json, write_text
from keras_dl.text.sentencepieces import piece_tokenizer, train_subwords

UNITS = ("words", "segmented", "characters", "subwords")
PADDING, UNKNOWN = 0, 1  # ids
FIRST = 2  # the most frequent token's id
BEGINNING = "~"  # marks the beginning of a word among n-grams; a sign of its own among tokens

# Written without spaces between words, so that each character is a token.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_TYPOGRAPHIC = {0x2018: 0x27, 0x2019: 0x27, 0x201C: 0x22, 0x201D: 0x22, 0x3000: 0x20, 0xA0: 0x20}
_CHUNK = 1024
# SentencePiece leaves out lines of more than 4,192 bytes; a character has four at most.
_LINE = re.compile(r".{1,1000}(?: |$)|.{1,1000}")


def normalise(texts: tf.Tensor, lower: bool = True) -> tf.Tensor:
    """Valid UTF-8 in one line: full-width letters, digits and signs become plain ones, letters small, and the spaces of
    all scripts single plain ones, with none at the ends.

    Args:
        texts: strings of any shape; bytes that are not UTF-8 become U+FFFD.
        lower: fold the case too.
    """
    flat = tf.reshape(texts, [-1])
    codes = tf.strings.unicode_decode(flat, "UTF-8", errors="replace")
    plain = tf.ragged.map_flat_values(_fold_width, codes)
    flat = tf.strings.unicode_encode(plain, "UTF-8")
    if lower:
        flat = tf.strings.lower(flat, encoding="utf-8")
    # As Python's `str.strip` and `str.split` have it, so that texts that were stripped before give the same.
    flat = tf.strings.strip(tf.strings.regex_replace(flat, r"[\p{Z}\x{85}\x{feff}\s]+", " "))
    return tf.reshape(flat, tf.shape(texts))


def _fold_width(codes: tf.Tensor) -> tf.Tensor:
    """U+FF01 to U+FF5E repeat ASCII at full width; curly quotation marks become straight, control characters spaces.

    Spaces also stand for U+FE00 to U+FE0F: behind an emoji, they would stick to the word that follows.
    """
    codes = tf.where((codes >= 0xFF01) & (codes <= 0xFF5E), codes - 0xFEE0, codes)
    for curly, plain in _TYPOGRAPHIC.items():
        codes = tf.where(codes == curly, plain, codes)
    return tf.where((codes < 0x20) | ((codes >= 0xFE00) & (codes <= 0xFE0F)), 0x20, codes)


def split_words(texts: tf.Tensor, segmented: bool = False) -> tf.RaggedTensor:
    """Words of normalised texts `(n,)`: `(n, None)`. Signs are tokens of their own, and so is each Chinese character.

    An apostrophe or hyphen within a word belongs to it.

    Args:
        texts: as `normalise` returns them.
        segmented: Chinese has spaces between its words: keep them whole.
    """
    alone = r"[^\pL\pM\pN\s'-]" if segmented else rf"[{_UNSPACED}]|[^\pL\pM\pN\s'-]"
    spaced = tf.strings.regex_replace(texts, f"({alone})", r" \1 ")
    spaced = tf.strings.regex_replace(spaced, r"(^|\s)(['-]+)", r" \2 ")
    spaced = tf.strings.regex_replace(spaced, r"(['-]+)(\s|$)", r" \1 ")
    return tf.strings.split(spaced)


def split_characters(texts: tf.Tensor) -> tf.RaggedTensor:
    """Characters of normalised texts `(n,)`, spaces left out: `(n, None)`."""
    return tf.strings.unicode_split(tf.strings.regex_replace(texts, r"\s", ""), "UTF-8")


def split_ngrams(tokens: tf.RaggedTensor, width: int, beginnings: Sequence[int] = ()) -> tf.RaggedTensor:
    """Groups of one to `width` neighbouring tokens, joined by spaces, and the beginnings of longer tokens.

    A beginning, written with "~" before it, stands for the stem: a form of a word that never occurred is known by it.

    Args:
        tokens: `(n, None)`.
        width: tokens in the longest group.
        beginnings: how many characters the beginnings have.
    """
    groups = [tf.strings.ngrams(tokens, list(range(1, width + 1)), separator=" ")]
    lengths = tf.ragged.map_flat_values(tf.strings.length, tokens, unit="UTF8_CHAR")
    for size in beginnings:
        longer = tf.ragged.boolean_mask(tokens, lengths > size)
        groups.append(tf.ragged.map_flat_values(_beginning, longer, size))
    return tf.concat(groups, axis=1)


def _beginning(words: tf.Tensor, size: int) -> tf.Tensor:
    return tf.strings.join([BEGINNING, tf.strings.substr(words, 0, size, unit="UTF8_CHAR")])


class Vocabulary(tf.Module):
    """Tokens by number, frequent ones first; 0 is padding, 1 stands for whatever is not among them.

    Args:
        tokens: those with a number of their own, from 2 on.
        unit: `"words"`, `"segmented"` (words too, Chinese ones as spaces part them), `"characters"` or `"subwords"`.
        lower: fold the case.
        subword_model: a SentencePiece model, for subwords, which need TensorFlow Text.
        ngrams: groups of neighbouring tokens, joined by spaces, numbered from 1 for `wide_recurrent`.
        ngram_width: tokens in the longest of these.
        beginnings: how many characters the beginnings of words have that are among the n-grams, see `split_ngrams`.
        max_tokens: of longer texts the first and the last half of as many are kept; n-grams are taken from all.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        *,
        unit: str = "words",
        lower: bool = True,
        subword_model: bytes | None = None,
        ngrams: Sequence[str] = (),
        ngram_width: int = 0,
        beginnings: Sequence[int] = (),
        max_tokens: int | None = None,
    ) -> None:
        super().__init__(name="vocabulary")
        if unit not in UNITS:
            raise UserError(f"a vocabulary is one of {', '.join(UNITS)}; got {unit!r}")
        self.tokens, self.ngram_list = list(tokens), list(ngrams)
        self.unit, self.lower, self.ngram_width, self.max_tokens = unit, lower, ngram_width, max_tokens
        self.beginnings = list(beginnings)
        self.subword_model = subword_model
        self._pieces = piece_tokenizer(subword_model) if unit == "subwords" else None
        self._token_ids = _table(tokens, FIRST, UNKNOWN)
        self._ngram_ids = _table(ngrams, 1, PADDING) if ngram_width else None

    def __len__(self) -> int:
        """Ids that there are, padding and out-of-vocabulary included."""
        return FIRST + len(self.tokens)

    def split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The tokens `(n, None)` of raw texts `(n,)`."""
        texts = normalise(texts, self.lower)
        if self._pieces is not None:
            try:
                return self._pieces.tokenize(texts)
            except tf.errors.NotFoundError:
                # A new seed or session clears TensorFlow's cache of kernels, one of which owns the SentencePiece model.
                self._pieces = piece_tokenizer(self.subword_model)
                return self._pieces.tokenize(texts)
        return split_characters(texts) if self.unit == "characters" else split_words(texts, self.unit == "segmented")

    def cut(self, tokens: tf.RaggedTensor) -> tf.RaggedTensor:
        """Long texts without their middle."""
        if self.max_tokens is None:
            return tokens
        head = self.max_tokens // 2
        return tf.concat([tokens[:, :head], tokens[:, head:][:, head - self.max_tokens :]], axis=1)

    def ids(self, tokens: tf.RaggedTensor) -> tf.RaggedTensor:
        """int32 ids of tokens, long texts cut. A text without any is one unknown token: cuDNN refuses the whole batch
        of a text that is nothing but padding."""
        tokens = self.cut(tokens)
        empty = tf.cast(tokens.row_lengths() == 0, tf.int64)
        unknown = tf.RaggedTensor.from_row_lengths(tf.fill([tf.reduce_sum(empty)], UNKNOWN), empty, validate=False)
        return tf.concat([tf.ragged.map_flat_values(self._token_ids.lookup, tokens), unknown], axis=1)

    def ngram_ids(self, tokens: tf.RaggedTensor) -> tf.RaggedTensor:
        """int32 ids of the n-grams that are known, each once, in the order in which they first occur."""
        groups = split_ngrams(tokens, self.ngram_width, self.beginnings)
        ids = tf.ragged.map_flat_values(self._ngram_ids.lookup, groups)
        ids = tf.ragged.boolean_mask(ids, ids != PADDING)
        size = 1 + len(self.ngram_list)
        unique, _ = tf.unique(ids.value_rowids() * size + tf.cast(ids.flat_values, tf.int64))
        return tf.RaggedTensor.from_value_rowids(
            tf.cast(unique % size, tf.int32), unique // size, ids.nrows(), validate=False
        )

    def ragged(self, texts: tf.Tensor) -> dict[str, tf.RaggedTensor]:
        """int32 ids of raw texts `(n,)` by the name of the model's input: `tokens`, and `ngrams` if there are any."""
        tokens = self.split(texts)
        inputs = {"tokens": self.ids(tokens)}
        if self.ngram_width:
            inputs["ngrams"] = self.ngram_ids(tokens)
        return inputs

    def __call__(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """`ragged` with 0 behind the shorter ones, one column at least."""
        return {name: padded(ids) for name, ids in self.ragged(texts).items()}

    def save(self, folder: Path) -> None:
        """Writes `vocabulary.txt` (a token on each line, from id 2 on), `vocabulary.json` (how texts are split), and
        `ngrams.txt` and `subwords.model` where there are any."""
        write_text(folder / "vocabulary.txt", "".join(f"{token}\n" for token in self.tokens))
        if self.ngram_width:
            write_text(folder / "ngrams.txt", "".join(f"{ngram}\n" for ngram in self.ngram_list))
        if self.subword_model is not None:
            write_bytes(folder / "subwords.model", self.subword_model)
        settings = {name: getattr(self, name) for name in ("unit", "lower", "ngram_width", "max_tokens")}
        settings["beginnings"] = list(self.beginnings)
        write_json(folder / "vocabulary.json", settings)  # last: where it stands, the others do


def load_vocabulary(folder: Path) -> Vocabulary:
    """What `Vocabulary.save` wrote.

    Raises:
        UserError: if a file is missing or damaged.
    """

    def lines(name: str) -> list[str]:
        return (folder / name).read_text(encoding="utf-8").split("\n")[:-1]

    try:
        settings = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        ngrams = lines("ngrams.txt") if settings["ngram_width"] else ()
        model = (folder / "subwords.model").read_bytes() if settings["unit"] == "subwords" else None
        return Vocabulary(lines("vocabulary.txt"), ngrams=ngrams, subword_model=model, **settings)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"can't read the vocabulary in {folder} ({error}); train again") from error


def as_taken(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor] | tf.Tensor:
    """Inputs as a model takes them: the tensor alone where there is one."""
    return inputs if len(inputs) > 1 else inputs["tokens"]


def padded(ids: tf.RaggedTensor) -> tf.Tensor:
    """Ids `(n, None)` as a rectangle of at least one column."""
    rectangle = ids.to_tensor(PADDING)
    return tf.pad(rectangle, [[0, 0], [0, tf.cast(tf.shape(rectangle)[1] == 0, tf.int32)]])


def learn_vocabulary(
    texts: Sequence[str],
    *,
    unit: str = "words",
    lower: bool = True,
    size: int = 20_000,
    min_count: int = 2,
    ngram_width: int = 0,
    ngram_size: int = 200_000,
    beginnings: Sequence[int] = (),
    max_tokens: int | None = None,
    advance: Callable[[int], object] = lambda count: None,
) -> Vocabulary:
    """The tokens, and n-grams, that texts hold.

    Args:
        texts: what to learn from.
        unit: see `Vocabulary`; subwords are found by SentencePiece's unigram model.
        lower: fold the case.
        size: ids at most, padding and out-of-vocabulary included.
        min_count: a token or n-gram that is rarer has no id.
        ngram_width: tokens in the longest n-gram; 0 for none.
        ngram_size: n-grams at most, 0 included.
        beginnings: see `Vocabulary`.
        max_tokens: see `Vocabulary`.
        advance: is told how many more texts have been counted.

    Raises:
        UserError: if no token is left, or the size has no room for one.
    """
    if size <= FIRST:
        raise UserError(
            f"a vocabulary of {size} has no room for a token beside padding and unknown ones: "
            f"give {FIRST + 1} or more, by --vocabulary-size"
        )
    model = None
    if unit == "subwords":
        plain = (normalise(tf.constant(chunk), lower).numpy() for chunk in chunks(texts))
        model = train_subwords(
            [line for chunk in plain for text in chunk for line in _LINE.findall(text.decode("utf-8"))], size
        )
    splitter = Vocabulary((), unit=unit, lower=lower, subword_model=model)
    counts: Counter[bytes] = Counter()
    ngram_counts: Counter[bytes] = Counter()
    for chunk in chunks(texts):
        tokens = splitter.split(tf.constant(chunk))
        counts.update(tokens.flat_values.numpy().tolist())
        if ngram_width:
            groups = split_ngrams(tokens, ngram_width, beginnings)
            ngram_counts.update(groups.flat_values.numpy().tolist())
        advance(len(chunk))
    tokens = _frequent(counts, size - FIRST, min_count)
    if not tokens:
        raise UserError(
            f"no word occurs {min_count} times in the {len(texts):,} training texts: "
            "give more of them, or lower --min-count"
        )
    ngrams = _frequent(ngram_counts, ngram_size - 1, min_count)
    return Vocabulary(
        tokens,
        unit=unit,
        lower=lower,
        subword_model=model,
        ngrams=ngrams,
        ngram_width=ngram_width,
        beginnings=beginnings,
        max_tokens=max_tokens,
    )


def chunks(texts: Sequence[str], size: int = _CHUNK) -> Iterator[list[str]]:
    """The texts, `size` at a time."""
    for start in range(0, len(texts), size):
        yield list(texts[start : start + size])


def _frequent(counts: Counter[bytes], most: int, min_count: int) -> list[str]:
    """Tokens by descending count, of equals the alphabetically first: the same for any order of the texts."""
    kept = sorted((-count, token) for token, count in counts.items() if count >= min_count)
    return [token.decode("utf-8") for _, token in kept[: max(0, most)]]


def _table(tokens: Sequence[str], first: int, default: int) -> tf.lookup.StaticHashTable:
    # An empty table is refused; no token is the empty string.
    keys, values = tf.constant(["", *tokens]), tf.constant([default, *range(first, first + len(tokens))], tf.int32)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), default)
