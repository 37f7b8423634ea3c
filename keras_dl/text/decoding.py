"""From a model of the next token to whole sequences: greedy choice, sampling and beam search.

Every function here takes a step and a state, and knows nothing else of the model:

    logits, state = step(tokens, state, position)

`tokens` are the last ones, int32 `[batch, width]` (width is 1 outside of beam search); `state` is a structure of
tensors `[batch, width, ...]`, such as a recurrent state, or keys and values with room for `max_length` positions;
`position` is the number of the tokens, from 0, an int32 scalar; `logits` are `[batch, width, vocabulary]`, and may be
logarithms of probabilities. Whatever is the same for all hypotheses of a sentence, such as the encoder's output, is not
part of the state: the step closes over it, `[batch, ...]`, and it is neither repeated nor reordered.

A length counts the mark of the end.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

DEAD = -1e9  # the logarithm of no probability; infinities would end as NaN in a difference
Step = Callable[[Any, Any, Any], tuple[Any, Any]]
Penalty = Callable[[Any], Any]


class Hypotheses(NamedTuple):
    """Finished sequences, best first.

    Attributes:
        tokens: int32 `[batch, n, max_length]`, the end's mark included, zeros after it.
        scores: float32 `[batch, n]`, the logarithm of the probability over the length penalty; `DEAD` where there
            are fewer than n sequences.
        lengths: int32 `[batch, n]`.
    """

    tokens: Any
    scores: Any
    lengths: Any


def wu_penalty(alpha: float = 0.6) -> Penalty:
    """`((5 + length) / 6) ** alpha`: Wu et al. 2016, arXiv:1609.08144, equation 14; 0 is no penalty."""
    if alpha < 0:
        raise ValueError(f"alpha is {alpha}; a penalty that falls with the length can't be searched, give 0 or more")
    return lambda length: ((5.0 + ops.cast(length, "float32")) / 6.0) ** alpha


def mean_penalty(length: Any) -> Any:
    """The length itself: scores are means per token."""
    return ops.cast(length, "float32")


class Limits(NamedTuple):
    """Which tokens may follow.

    Attributes:
        end: the mark of the end, or None: then every sequence has the maximum length.
        max_length: an int, or a scalar tensor where the backend allows it.
        longest: int32 `[batch]` up to `max_length`, or None: the maximum of each sequence, where it ends by force.
        min_length: the mark of the end can't come before; 1 allows the empty sequence.
        forbidden: tokens that never come, such as padding, the mark of the start and the unknown.
    """

    end: int | None
    max_length: Any
    longest: Any = None
    min_length: int = 1
    forbidden: Sequence[int] = ()

    def longest_of(self, start: Any) -> Any:
        """The maximum length of each sequence."""
        whole = ops.zeros_like(start) + self.max_length
        return whole if self.longest is None else ops.minimum(ops.cast(self.longest, "int32"), whole)

    def log_probabilities(self, logits: Any, position: Any, longest: Any) -> Any:
        """`[batch, width, vocabulary]` in float32, `DEAD` where a token must not follow."""
        vocabulary = logits.shape[-1]
        free = np.zeros(vocabulary, "float32")
        free[list(self.forbidden)] = DEAD
        ban = ops.convert_to_tensor(free)
        if self.end is not None:
            is_end = np.arange(vocabulary) == self.end
            early = ops.convert_to_tensor(free + np.where(is_end, DEAD, 0.0).astype("float32"))
            last = ops.convert_to_tensor(np.where(is_end, 0.0, DEAD).astype("float32"))
            ban = ops.where(position + 1 < self.min_length, early, ban)
            ban = ops.where((position + 1 >= longest)[:, None], last[None], ban[None])[:, None]
        return ops.log_softmax(ops.cast(logits, "float32"), axis=-1) + ban


def beam_search(
    step: Step,
    state: Any,
    start: Any,
    limits: Limits,
    *,
    width: int = 5,
    n_best: int = 1,
    penalty: Penalty | None = None,
) -> Hypotheses:
    """The likeliest sequences that a search of `width` hypotheses a sentence finds.

    At each position the `width` best continuations of all live hypotheses are kept. Those that end leave them for the
    finished ones, which hold the `n_best` best scores so far; the others live on. A sentence is done when no live
    hypothesis could enter the finished ones even if all its further tokens were certain and it grew as long as it may.
    Width 1 is greedy search; a width of all sequences is an exhaustive one.

    Args:
        step: see the module's docstring.
        state: its first state, tensors `[batch, ...]`, one hypothesis a sentence.
        start: int32 `[batch]`, what precedes the first token.
        limits: lengths and forbidden tokens; `end` is needed.
        width: hypotheses per sentence.
        n_best: finished hypotheses per sentence, at most `width`.
        penalty: what scores are divided by, from lengths; must not fall with the length. `wu_penalty()` by default.

    Raises:
        ValueError: if `n_best` is not between 1 and `width`, or no end is given.
    """
    if not 1 <= n_best <= width:
        raise ValueError(f"n_best is {n_best}; a beam of {width} has 1 to {width} hypotheses to give")
    if limits.end is None:
        raise ValueError("beam search compares finished hypotheses; give the mark of the end")
    penalty = penalty or wu_penalty()
    start = ops.cast(start, "int32")
    batch, max_length = ops.shape(start)[0], limits.max_length
    longest = limits.longest_of(start)
    highest_penalty = penalty(longest)[:, None]

    def proceed(position: Any, last: Any, tokens: Any, log_probs: Any, state: Any, finished: Hypotheses) -> Any:
        logits, state = step(last, state, position)
        vocabulary = logits.shape[-1]
        totals = log_probs[..., None] + limits.log_probabilities(logits, position, longest)
        log_probs, best = ops.top_k(ops.reshape(totals, (-1, width * vocabulary)), width)
        parents, last = ops.cast(best // vocabulary, "int32"), ops.cast(best % vocabulary, "int32")
        tokens = write(pick(tokens, parents), last, position)
        state = keras.tree.map_structure(lambda leaf: pick(leaf, parents), state)

        ended = ops.equal(last, limits.end) & (log_probs > DEAD / 2)
        scores = ops.where(ended, log_probs / penalty(position + 1), DEAD)
        everything = Hypotheses(tokens, scores, ops.zeros_like(last) + position + 1)
        finished = best_of(
            Hypotheses(*(ops.concatenate(pair, 1) for pair in zip(finished, everything, strict=True))), n_best
        )
        hopeless = ended | (log_probs / highest_penalty <= finished.scores[:, -1:])
        return position + 1, last, tokens, ops.where(hopeless, DEAD, log_probs), state, finished

    def unfinished(position: Any, last: Any, tokens: Any, log_probs: Any, state: Any, finished: Hypotheses) -> Any:
        return ops.logical_and(position < max_length, ops.any(log_probs > DEAD / 2))

    first = np.where(np.arange(width) == 0, 0.0, DEAD).astype("float32")
    variables = ops.while_loop(
        unfinished,
        proceed,
        (
            ops.zeros((), "int32"),
            repeat(start, width),
            ops.zeros((batch, width, max_length), "int32"),
            ops.zeros((batch, width), "float32") + first,
            keras.tree.map_structure(lambda leaf: repeat(leaf, width), state),
            Hypotheses(
                ops.zeros((batch, n_best, max_length), "int32"),
                ops.full((batch, n_best), DEAD, "float32"),
                ops.zeros((batch, n_best), "int32"),
            ),
        ),
    )
    return variables[-1]


def greedy_search(step: Step, state: Any, start: Any, limits: Limits, *, penalty: Penalty | None = None) -> Hypotheses:
    """The likeliest token at each position; one sequence a sentence. Arguments as in `beam_search`."""
    return _follow(step, state, start, limits, penalty, lambda log_probs, position: ops.argmax(log_probs, axis=-1))


def sample(
    step: Step,
    state: Any,
    start: Any,
    limits: Limits,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: Any = None,
    penalty: Penalty | None = None,
) -> Hypotheses:
    """A random sequence a sentence, each token drawn from the model's distribution. Arguments as in `beam_search`, and

    Args:
        temperature: logits are divided by it: below 1 sharpens the distribution, above 1 flattens it.
        top_k: draw from so many of the likeliest tokens (Fan et al. 2018, arXiv:1805.04833).
        top_p: draw from the fewest likeliest tokens that together have this probability (Holtzman et al. 2019,
            arXiv:1904.09751).
        seed: an int or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: for a temperature or `top_k` that is not above 0, or a `top_p` outside of (0, 1].
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; give more than 0, or search greedily")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is {top_k}; give 1 or more")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}; give more than 0, at most 1")
    # One number a token, drawn beforehand: a generator's state can't change inside of a loop on every backend.
    draws = keras.random.uniform((limits.max_length, ops.shape(start)[0]), seed=seed)

    def draw(log_probs: Any, position: Any) -> Any:
        vocabulary = log_probs.shape[-1]
        sorted_log_probs, order = ops.top_k(log_probs / temperature, min(top_k or vocabulary, vocabulary))
        probabilities = ops.softmax(sorted_log_probs, axis=-1)
        before = ops.cumsum(probabilities, axis=-1) - probabilities
        if top_p is not None:
            probabilities = ops.where(before < top_p, probabilities, 0.0)
        reached = ops.cumsum(probabilities, axis=-1)
        threshold = ops.take(draws, position, axis=0)[:, None] * reached[:, -1:]
        chosen = ops.sum(ops.cast(reached <= threshold, "int32"), axis=-1, keepdims=True)
        chosen = ops.minimum(chosen, ops.sum(ops.cast(probabilities > 0, "int32"), axis=-1, keepdims=True) - 1)
        return ops.take_along_axis(order, chosen, axis=-1)[:, 0]

    return _follow(step, state, start, limits, penalty, draw)


def _follow(
    step: Step,
    state: Any,
    start: Any,
    limits: Limits,
    penalty: Penalty | None,
    choose: Callable[[Any, Any], Any],
) -> Hypotheses:
    """One sequence a sentence, whose next token `choose` picks from log-probabilities `[batch, vocabulary]`."""
    penalty = penalty or wu_penalty()
    start = ops.cast(start, "int32")
    longest = limits.longest_of(start)

    def proceed(position: Any, last: Any, tokens: Any, log_probs: Any, lengths: Any, live: Any, state: Any) -> Any:
        logits, state = step(last[:, None], state, position)
        candidates = limits.log_probabilities(logits, position, longest)[:, 0]
        token = ops.cast(choose(candidates, position), "int32")
        gained = ops.take_along_axis(candidates, token[:, None], axis=-1)[:, 0]
        last = ops.where(live, token, 0)
        log_probs = log_probs + ops.where(live, gained, 0.0)
        lengths = lengths + ops.cast(live, "int32")
        live = live & (ops.ones_like(live) if limits.end is None else ops.not_equal(token, limits.end))
        return position + 1, last, write(tokens, last, position), log_probs, lengths, live, state

    def unfinished(position: Any, last: Any, tokens: Any, log_probs: Any, lengths: Any, live: Any, state: Any) -> Any:
        return ops.logical_and(position < limits.max_length, ops.any(live))

    variables = ops.while_loop(
        unfinished,
        proceed,
        (
            ops.zeros((), "int32"),
            start,
            ops.zeros((ops.shape(start)[0], limits.max_length), "int32"),
            ops.zeros_like(start, "float32"),
            ops.zeros_like(start),
            ops.ones_like(start, "bool"),
            keras.tree.map_structure(lambda leaf: repeat(leaf, 1), state),
        ),
    )
    _, _, tokens, log_probs, lengths, _, _ = variables
    return Hypotheses(tokens[:, None], (log_probs / penalty(lengths))[:, None], lengths[:, None])


def best_of(hypotheses: Hypotheses, n: int) -> Hypotheses:
    """The n with the best scores, best first."""
    scores, rows = ops.top_k(hypotheses.scores, n)
    rows = ops.cast(rows, "int32")
    return Hypotheses(pick(hypotheses.tokens, rows), scores, pick(hypotheses.lengths, rows))


def repeat(leaf: Any, width: int) -> Any:
    """`[batch, ...]` -> `[batch, width, ...]`."""
    return ops.repeat(leaf[:, None], width, axis=1)


def pick(leaf: Any, rows: Any) -> Any:
    """`[batch, m, ...]` and rows `[batch, k]` below m -> `[batch, k, ...]`."""
    shape = ops.shape(leaf)
    offsets = ops.arange(shape[0], dtype="int32")[:, None] * shape[1]
    return ops.take(ops.reshape(leaf, (-1, *shape[2:])), offsets + rows, axis=0)


def write(tokens: Any, last: Any, position: Any) -> Any:
    """`tokens` `[..., max_length]` with `last` `[...]` at a position."""
    here = ops.equal(ops.arange(ops.shape(tokens)[-1], dtype="int32"), position)
    return ops.where(here, last[..., None], tokens)
