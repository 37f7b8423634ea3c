"""BLEU against sacreBLEU, the public measure, and against a figure worked out by hand."""

import math
import random

import pytest
import sacrebleu

from keras_dl.text.bleu import bleu, chrf

WORDS = [
    "the",
    "a",
    "cat,",
    "sat",
    "mat.",
    "The",
    "3.5",
    "dogs'",
    "Hunde;",
    "über",
    "Straße",
    "(schnell)",
    "-",
    "1,000",
]
CHARACTERS = "我你他们在吃苹果今天天气很好。，abc 12"


def corrupted(lines, seed):
    """Sentences with words left out, repeated and swapped."""
    draw = random.Random(seed)
    out = []
    for line in lines:
        words = line.split(" ")
        if len(words) > 2 and draw.random() < 0.6:
            i = draw.randrange(len(words) - 1)
            words[i], words[i + 1] = words[i + 1], words[i]
        out.append(" ".join(word for word in words if draw.random() > 0.15))
    return out


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tokenize", ["13a", "zh", "char", "none"])
def test_equals_sacrebleu(seed, tokenize):
    draw = random.Random(seed)
    alphabet, glue = (CHARACTERS, "") if tokenize in ("zh", "char") else (WORDS, " ")
    references = [glue.join(draw.choices(alphabet, k=draw.randint(1, 20))) for _ in range(30)]
    hypotheses = corrupted(references, seed)
    ours = bleu(hypotheses, references, tokenize)
    assert ours == pytest.approx(sacrebleu.corpus_bleu(hypotheses, [references], tokenize=tokenize).score, abs=1e-9)
    assert 5 < ours < 100
    second = corrupted(references, seed + 100)
    ours = bleu(hypotheses, list(zip(references, second, strict=True)), tokenize)
    theirs = sacrebleu.corpus_bleu(hypotheses, [references, second], tokenize=tokenize).score
    assert ours == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize(
    ("hypothesis", "reference"),
    [("", "a b c d"), ("a", "a"), ("x y z w", "a b c d"), ("a b x y z", "a b c d e"), ("a b c d", "a b c d e f g")],
)
def test_edges_equal_sacrebleu(hypothesis, reference):
    theirs = sacrebleu.corpus_bleu([hypothesis], [[reference]], tokenize="none").score
    assert bleu([hypothesis], [reference], "none") == pytest.approx(theirs, abs=1e-9)


def test_worked_out_by_hand():
    """Papineni et al. 2002, example 1: clipping; and the brevity penalty of 5 words for 6."""
    hypothesis, reference = "the cat is on the", "the cat is on the mat"
    assert bleu([hypothesis], [reference]) == pytest.approx(100 * math.exp(1 - 6 / 5))
    assert bleu([reference], [reference]) == pytest.approx(100)


def test_character_f_score():
    assert chrf(["ein Haus"], ["ein Haus"]) == pytest.approx(100)
    assert 20 < chrf(["ein Hut"], ["ein Haus"]) < 90


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="1 hypotheses for 2"):
        bleu(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="tokenize"):
        bleu(["a"], ["a"], "moses")
