"""BLEU of a corpus: Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation"."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

from sacrebleu.metrics import CHRF
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
from sacrebleu.tokenizers.tokenizer_char import TokenizerChar
from sacrebleu.tokenizers.tokenizer_none import NoneTokenizer
from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

# A figure can be compared with others only if its words were told apart alike: these are sacreBLEU's.
TOKENIZERS: dict[str, Callable[[], Callable[[str], str]]] = {
    "13a": Tokenizer13a,
    "zh": TokenizerZh,
    "char": TokenizerChar,
    "none": NoneTokenizer,
}
ORDER = 4


def bleu(hypotheses: Sequence[str], references: Sequence[str | Sequence[str]], tokenize: str = "13a") -> float:
    """The geometric mean of the clipped n-gram precisions, n from 1 to 4, times the brevity penalty; 0 to 100.

    Equal to sacreBLEU's (Post 2018, arXiv:1804.08771), with its exponential smoothing: the first order without a match
    counts half a match, the next a quarter, and so on.

    Args:
        hypotheses: detokenised, cased translations.
        references: for each, one reference or several.
        tokenize: a key of `TOKENIZERS`: `"13a"` for European languages, `"zh"` for Chinese by characters, `"char"`,
            or `"none"` for text that is split by spaces already.

    Raises:
        ValueError: for unequal counts, or an unknown tokeniser.
    """
    if len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses for {len(references)} references")
    if tokenize not in TOKENIZERS:
        raise ValueError(f"tokenize is {tokenize!r}; choose from {', '.join(TOKENIZERS)}")
    split = TOKENIZERS[tokenize]()
    matches, totals, length, reference_length = [0] * ORDER, [0] * ORDER, 0, 0
    for hypothesis, several in zip(hypotheses, references, strict=True):
        words = split(hypothesis.rstrip()).split()
        others = [split(one.rstrip()).split() for one in ([several] if isinstance(several, str) else several)]
        length += len(words)
        # The closest reference; of two as close, the shorter.
        reference_length += min((abs(len(other) - len(words)), len(other)) for other in others)[1]
        for n in range(1, ORDER + 1):
            found = ngrams(words, n)
            clipped = Counter()
            for other in others:
                clipped |= ngrams(other, n)
            matches[n - 1] += (found & clipped).total()
            totals[n - 1] += found.total()
    if not any(matches) or not all(totals):
        return 0.0
    logarithms, halved = 0.0, 1
    for matched, total in zip(matches, totals, strict=True):
        if not matched:
            halved *= 2
        logarithms += math.log((matched or 1 / halved) / total)
    brevity = min(0.0, 1 - reference_length / length)
    return 100.0 * math.exp(logarithms / ORDER + brevity)


def ngrams(words: Sequence[str], n: int) -> Counter:
    """How often each run of n words occurs."""
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """The F-score of character n-grams, recall weighted twice (Popovic 2015), by sacreBLEU; 0 to 100."""
    return CHRF().corpus_score(list(hypotheses), [list(references)]).score
