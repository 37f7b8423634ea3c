"""The built-in sample: reviews in English and Chinese from a grammar with negation, contrast and intensity.

The order of the words decides: many adjectives are negated, of two opposite clauses the contrast or the
intensity tells which one counts, and a report may be called wrong at its end.
"""

import dataclasses
import random

LABELS = ("negative", "positive")
NEGATED = 1 / 4  # of the clauses that may be
KINDS = {"one": 3, "both": 3, "second": 2, "first": 2, "stronger": 2, "right": 1, "wrong": 1}  # how often each is drawn


@dataclasses.dataclass(frozen=True)
class Language:
    """Words and sentences of one language: `{a}` in a frame is an adjective, `{x}` and `{y}` in a sentence are clauses.

    Attributes:
        things: what is judged.
        adjectives: negative ones and positive ones.
        plain, strong, weak: frames of a clause that says what its adjective says, by intensity.
        negated: frames that say the opposite.
        one: sentences of one clause.
        both: sentences of two clauses that agree.
        second: sentences of two opposite clauses whose second counts.
        first: those whose first counts.
        stronger: those in which the stronger clause counts.
        right: reports that are confirmed.
        wrong: reports that are denied.
        clause: how a thing and what is said of it are joined.
    """

    things: tuple[str, ...]
    adjectives: tuple[tuple[str, ...], tuple[str, ...]]
    plain: tuple[str, ...]
    strong: tuple[str, ...]
    weak: tuple[str, ...]
    negated: tuple[str, ...]
    one: tuple[str, ...]
    both: tuple[str, ...]
    second: tuple[str, ...]
    first: tuple[str, ...]
    stronger: tuple[str, ...]
    right: tuple[str, ...]
    wrong: tuple[str, ...]
    clause: str


ENGLISH = Language(
    things=(
        "acting",
        "plot",
        "ending",
        "dialogue",
        "soundtrack",
        "camera work",
        "breakfast",
        "room",
        "service",
        "view",
    ),
    adjectives=(
        ("dull", "clumsy", "tedious", "shallow", "messy", "dreary", "awful", "lifeless", "bland", "tiresome"),
        ("superb", "charming", "moving", "clever", "graceful", "fresh", "lovely", "vivid", "brilliant", "delightful"),
    ),
    plain=("was {a}", "seemed {a} to me", "turned out {a}", "felt {a}"),
    strong=("was utterly {a}", "was incredibly {a}", "was {a} beyond words"),
    weak=("was slightly {a}", "was a little {a}", "was {a} in places"),
    negated=(
        "was not {a}",
        "was never really {a}",
        "was anything but {a}",
        "was far from {a}",
        "was hardly what I call {a}",
    ),
    one=("{x}.", "in short, {x}.", "{x}!"),
    both=("{x}, and {y} too.", "not only that {x}, {y} as well.", "{x}. Besides, {y}."),
    second=("{x}, but {y}.", "although {x}, {y}.", "{x}. However, {y}.", "even if {x}, in the end {y}."),
    first=("{x}, even though {y}.", "{x}, although {y}.", "{x}, never mind that {y}."),
    stronger=("{x}, and {y}.", "{x} while {y}.", "{x}; {y}."),
    right=("my friends said that {x}, and they were right.", "I had heard that {x}, which is quite true."),
    wrong=("my friends said that {x}, and they were wrong.", "I had heard that {x}, which is simply untrue."),
    clause="the {thing} {said}",
)
CHINESE = Language(
    things=("演员", "剧情", "结尾", "对白", "配乐", "摄影", "早餐", "房间", "服务", "风景"),
    adjectives=(
        ("乏味", "拙劣", "冗长", "肤浅", "混乱", "沉闷", "糟糕", "呆板", "平淡", "无聊"),
        ("精彩", "迷人", "感人", "巧妙", "优雅", "新鲜", "可爱", "生动", "出色", "舒服"),
    ),
    plain=("很{a}", "让人觉得{a}", "是{a}的", "显得{a}"),
    strong=("{a}极了", "非常{a}", "简直{a}得没话说"),
    weak=("有点{a}", "稍微{a}了一些", "偶尔{a}"),
    negated=("并不{a}", "一点也不{a}", "谈不上{a}", "绝对说不上有多{a}", "哪里{a}了"),
    one=("{x}。", "总之{x}。", "{x}！"),
    both=("{x}，{y}也一样。", "不但{x}，而且{y}。", "{x}。此外，{y}。"),
    second=("{x}，但是{y}。", "虽然{x}，{y}。", "{x}。不过{y}。", "尽管{x}，可是{y}。"),
    first=("{x}，虽然{y}。", "{x}，尽管{y}。", "{x}，哪怕{y}。"),
    stronger=("{x}，{y}。", "{x}，同时{y}。", "{x}；{y}。"),
    right=("朋友说{x}，他说得对。", "听说{x}，确实如此。"),
    wrong=("朋友说{x}，他说错了。", "听说{x}，其实不然。"),
    clause="{thing}{said}",
)


def sample_reviews(per_language: int = 3000, seed: int = 0) -> tuple[list[str], list[str]]:
    """Different reviews, as many positive as negative in each language, in random order.

    Args:
        per_language: reviews in each of the two languages; an even number.
        seed: of the choice.

    Returns:
        Texts and labels.
    """
    rng = random.Random(seed)
    reviews: dict[str, int] = {}
    for language in (ENGLISH, CHINESE):
        for positive in (0, 1):
            enough = len(reviews) + per_language // 2
            while len(reviews) < enough:
                reviews.setdefault(_review(rng, language, positive), positive)
    order = rng.sample(sorted(reviews), len(reviews))
    return order, [LABELS[reviews[text]] for text in order]


def _review(rng: random.Random, language: Language, positive: int) -> str:
    """A review of that sentiment."""
    things = rng.sample(language.things, 2)

    def clause(number: int, positive: int, frames: tuple[str, ...]) -> str:
        frame = rng.choice(frames)
        adjective = rng.choice(language.adjectives[positive ^ (frame in language.negated)])
        return language.clause.format(thing=things[number], said=frame.format(a=adjective))

    def either() -> tuple[str, ...]:
        return language.negated if rng.random() < NEGATED else language.plain

    (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
    sentence, second = rng.choice(getattr(language, kind)), ""
    if kind in ("one", "right", "wrong"):
        first = clause(0, positive ^ (kind == "wrong"), either())
    elif kind == "stronger":
        first, second = clause(0, positive, language.strong), clause(1, 1 - positive, language.weak)
        if rng.random() < 0.5:
            first, second = second, first
    else:
        first = clause(0, positive ^ (kind == "second"), either())
        second = clause(1, positive ^ (kind == "first"), either())
    text = sentence.format(x=first, y=second)
    return text[0].upper() + text[1:]
