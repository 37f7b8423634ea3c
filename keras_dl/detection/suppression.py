"""Non-maximum suppression of whole batches, in graph: the score threshold first, then the overlap.

Nothing here is compiled with XLA, no shape but `max_detections` need be known, and thresholds may be tensors, one
for the batch or one per picture. The result is a dictionary:

    boxes       (batch, max_detections, 4), float32; zeros behind the last detection
    class_ids   (batch, max_detections), int32; -1 behind the last detection
    scores      (batch, max_detections), float32, the highest first; 0 behind the last detection
    count       (batch,), int32: how many there are
"""

from typing import Any

from keras import ops

from keras_dl.detection.boxes import iou, pairwise_iou

FIRST, FURTHER = 256, 2048  # candidates that a pass over all scores finds: with a usual threshold the first suffice
BLOCK = 128  # candidates that are compared with one another at once


def non_max_suppression(
    boxes: Any,
    scores: Any,
    score_threshold: Any = 0.6,
    iou_threshold: Any = 0.5,
    max_detections: int = 100,
    class_agnostic: bool = False,
) -> dict[str, Any]:
    """Greedy suppression: of two boxes of one class that overlap more than the threshold the better stays.

    The result is exactly that of going through all candidates (a box with a class) by falling score; of equals
    the earlier comes first. Only as many candidates are looked at as it takes to fill `max_detections`.

    Args:
        boxes: `(batch, n, 4)`, corners.
        scores: `(batch, n, classes)`.
        score_threshold: candidates must be above it: a number, or `(batch,)`.
        iou_threshold: a box that overlaps a better one more than this is suppressed: a number, or `(batch,)`.
        max_detections: at most so many per picture, over all classes.
        class_agnostic: each box stands for its best class alone, and suppresses boxes of any class.

    Returns:
        The dictionary that is described above.
    """
    candidates = _Candidates(boxes, scores, class_agnostic)
    score_threshold, iou_threshold = _per_picture(score_threshold), _per_picture(iou_threshold)
    batch = ops.shape(boxes)[0]
    rank = ops.arange(BLOCK)
    slots_and_block = ops.arange(max_detections + BLOCK, dtype="float32")[None]

    def keep_block(kept: Any, kept_scores: Any, block: Any, block_scores: Any) -> tuple[Any, Any]:
        """Adds those of the next candidates that no better one suppresses."""
        boxes, classes = candidates.boxes_of(block), candidates.compared_class(block)

        def suppressed_by(others: Any) -> Any:
            overlap = pairwise_iou(candidates.boxes_of(others), boxes) > iou_threshold[..., None]
            return overlap & (candidates.compared_class(others)[:, :, None] == classes[:, None])

        by_kept = ops.any(suppressed_by(kept) & (kept >= 0)[:, :, None], axis=1)
        alive = (block_scores > score_threshold) & ~by_kept
        better = suppressed_by(block) & (rank[:, None] < rank[None]) & alive[:, :, None]
        flags = ops.concatenate([kept >= 0, _greedy(better, alive)], axis=1)
        # Both parts are in order, so the first that are flagged are the best.
        chosen, slot = ops.top_k(ops.where(flags, -slots_and_block, float("-inf")), max_detections)
        joined = _gather(ops.concatenate([kept, block], axis=1), slot)
        joined_scores = _gather(ops.concatenate([kept_scores, block_scores], axis=1), slot)
        real = chosen > float("-inf")
        return ops.where(real, joined, -1), ops.where(real, joined_scores, 0.0)

    def unfinished(kept: Any, next_score: Any) -> Any:
        return ops.any((kept[:, -1] < 0) & (next_score > score_threshold[:, 0]))

    def keep_fetched(fetched: Any, fetched_scores: Any, kept: Any, kept_scores: Any) -> tuple[Any, Any]:
        length = ops.shape(fetched)[1]
        padded = ops.pad(fetched, ((0, 0), (0, BLOCK)))
        padded_scores = ops.pad(fetched_scores, ((0, 0), (0, BLOCK)), constant_values=float("-inf"))

        def next_block(start: Any, kept: Any, kept_scores: Any) -> tuple:
            places = start + ops.arange(BLOCK, dtype="int32")
            block, block_scores = ops.take(padded, places, axis=1), ops.take(padded_scores, places, axis=1)
            return start + BLOCK, *keep_block(kept, kept_scores, block, block_scores)

        def more(start: Any, kept: Any, kept_scores: Any) -> Any:
            return (start < length) & unfinished(kept, ops.take(padded_scores, ops.minimum(start, length), axis=1))

        return ops.while_loop(more, next_block, (ops.cast(0, "int32"), kept, kept_scores))[1:]

    def fetch_and_keep(last: Any, last_score: Any, kept: Any, kept_scores: Any) -> tuple:
        fetched, fetched_scores = candidates.fetch(FURTHER, candidates.behind(last, last_score))
        kept, kept_scores = keep_fetched(fetched, fetched_scores, kept, kept_scores)
        return fetched[:, -1:], fetched_scores[:, -1:], kept, kept_scores

    def more(last: Any, last_score: Any, kept: Any, kept_scores: Any) -> Any:
        return unfinished(kept, last_score[:, 0])

    none = ops.full((batch, max_detections), -1, dtype="int32"), ops.zeros((batch, max_detections))
    fetched, fetched_scores = candidates.fetch(FIRST, candidates.scores)
    kept = keep_fetched(fetched, fetched_scores, *none)
    *_, kept, kept_scores = ops.while_loop(more, fetch_and_keep, (fetched[:, -1:], fetched_scores[:, -1:], *kept))
    return candidates.detections(kept, kept_scores)


def soft_non_max_suppression(
    boxes: Any,
    scores: Any,
    score_threshold: Any = 0.6,
    sigma: float = 0.5,
    max_detections: int = 100,
    class_agnostic: bool = False,
    max_candidates: int = 1000,
) -> dict[str, Any]:
    """Suppression that lowers scores in place of removing boxes (Bodla et al. 2017, arXiv:1704.04503, equation 3).

    The best box is taken, the scores of the others of its class are multiplied by `exp(-iou**2 / sigma)`, and so
    on, until no score is above the threshold.

    Args:
        boxes: `(batch, n, 4)`, corners.
        scores: `(batch, n, classes)`.
        score_threshold: scores must be above it, lowered ones as well: a number, or `(batch,)`.
        sigma: how gently overlap lowers the score.
        max_detections: at most so many per picture, over all classes.
        class_agnostic: each box stands for its best class alone, and lowers boxes of any class.
        max_candidates: so many of the best candidates take part.

    Returns:
        The dictionary that is described above, with the lowered scores.
    """
    candidates = _Candidates(boxes, scores, class_agnostic)
    score_threshold = _per_picture(score_threshold)
    index, scores = candidates.fetch(max_candidates, candidates.scores)
    boxes, classes = candidates.boxes_of(index), candidates.compared_class(index)
    batch, size = ops.shape(index)
    slots, places = ops.arange(max_detections, dtype="int32")[None], ops.arange(size, dtype="int32")[None]

    def take_best(step: Any, scores: Any, kept: Any, kept_scores: Any) -> tuple:
        best = ops.cast(ops.argmax(scores, axis=1), "int32")[:, None]
        taken, score = _gather(index, best), _gather(scores, best)
        here = (slots == step) & (score > score_threshold)
        rival = classes == candidates.compared_class(taken)
        overlap = ops.where(rival, iou(boxes, candidates.boxes_of(taken)), 0.0)
        scores = ops.where(places == best, float("-inf"), scores * ops.exp(-ops.square(overlap) / sigma))
        return step + 1, scores, ops.where(here, taken, kept), ops.where(here, score, kept_scores)

    def more(step: Any, scores: Any, kept: Any, kept_scores: Any) -> Any:
        return (step < max_detections) & ops.any(scores > score_threshold)

    none = ops.full((batch, max_detections), -1, dtype="int32"), ops.zeros((batch, max_detections))
    _, _, kept, kept_scores = ops.while_loop(more, take_best, (ops.cast(0, "int32"), scores, *none))
    return candidates.detections(kept, kept_scores)


class _Candidates:
    """What may be detected: each box with each class, or with its best class alone; known by its index."""

    def __init__(self, boxes: Any, scores: Any, class_agnostic: bool) -> None:
        self.boxes, self.class_scores = ops.cast(boxes, "float32"), ops.cast(scores, "float32")
        if not self.boxes.shape[1]:
            # Unknown, and so perhaps none: there must be one to point at.
            self.boxes = ops.pad(self.boxes, ((0, 0), (0, 1), (0, 0)))
            self.class_scores = ops.pad(self.class_scores, ((0, 0), (0, 1), (0, 0)), constant_values=float("-inf"))
        self.class_agnostic = class_agnostic
        self.scores = ops.max(self.class_scores, axis=-1, keepdims=True) if class_agnostic else self.class_scores
        self.per_box = self.scores.shape[-1]

    def fetch(self, most: int, scores: Any) -> tuple[Any, Any]:
        """The best candidates by falling score, of equals the earlier first: index and score `(batch, k)`.

        The best k candidates are among the k boxes whose best class scores highest, which are fewer to search.
        """
        boxes = _at_most(most, ops.shape(scores)[1])
        rows = ops.sort(ops.cast(ops.top_k(ops.max(scores, axis=-1), boxes)[1], "int32"), axis=1)
        of_rows = ops.reshape(_gather(scores, rows), (ops.shape(rows)[0], -1))
        found, place = ops.top_k(of_rows, _at_most(most, boxes * self.per_box))
        place = ops.cast(place, "int32")
        return _gather(rows, place // self.per_box) * self.per_box + place % self.per_box, found

    def behind(self, last: Any, last_score: Any) -> Any:
        """The scores of candidates that come after the last one fetched; minus infinity for the others."""
        places = ops.arange(ops.shape(self.scores)[1] * self.per_box, dtype="int32")
        places = ops.reshape(places, (1, -1, self.per_box))
        last, last_score = last[..., None], last_score[..., None]
        later = (self.scores < last_score) | ((self.scores == last_score) & (places > last))
        return ops.where(later, self.scores, float("-inf"))

    def boxes_of(self, index: Any) -> Any:
        return _gather(self.boxes, ops.maximum(index, 0) // self.per_box)

    def compared_class(self, index: Any) -> Any:
        """Boxes suppress others of the same; one for all where classes don't matter."""
        return index % self.per_box

    def detections(self, kept: Any, scores: Any) -> dict[str, Any]:
        real = kept >= 0
        if self.class_agnostic:
            class_ids = ops.cast(ops.argmax(_gather(self.class_scores, ops.maximum(kept, 0)), axis=-1), "int32")
        else:
            class_ids = self.compared_class(kept)
        return {
            "boxes": ops.where(real[..., None], self.boxes_of(kept), 0.0),
            "class_ids": ops.where(real, class_ids, -1),
            "scores": scores,
            "count": ops.sum(ops.cast(real, "int32"), axis=1),
        }


def _greedy(better: Any, alive: Any) -> Any:
    """Who stays: the living whom nobody that stays suppresses.

    Args:
        better: `(batch, n, n)`: whether i suppresses j, for i before j.
        alive: `(batch, n)`.
    """
    better = ops.cast(better, "float32")

    def step(before: Any, staying: Any) -> tuple[Any, Any]:
        suppressors = ops.matmul(ops.cast(staying, "float32")[:, None], better)[:, 0]
        return staying, alive & (suppressors == 0)

    def changing(before: Any, staying: Any) -> Any:
        return ops.any(before != staying)

    # After k steps the first k are as in a loop from the best to the worst, so it ends, mostly after a few.
    _, staying = ops.while_loop(changing, step, step(alive, alive))
    return staying


def _gather(array: Any, index: Any) -> Any:
    """`(batch, n, ...)` at `(batch, m)` to `(batch, m, ...)`."""
    batch, length = ops.shape(array)[:2]
    first = ops.arange(batch, dtype="int32")[:, None] * length
    return ops.take(ops.reshape(array, (-1, *array.shape[2:])), first + index, axis=0)


def _at_most(most: int, length: Any) -> Any:
    return min(most, length) if isinstance(length, int) else ops.minimum(most, length)


def _per_picture(threshold: Any) -> Any:
    return ops.reshape(ops.cast(threshold, "float32"), (-1, 1))
