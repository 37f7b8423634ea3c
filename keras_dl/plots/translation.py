"""What a translation model looks at, and how well it does with long sentences."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from keras_dl.plots.fonts import drawable
from keras_dl.plots.picture import Picture
from keras_dl.plots.style import BLUE, GREY, message_figure
from keras_dl.run import write_text

CELL = 0.2  # inches a token
MOST_TOKENS = 40


class AttentionMap(NamedTuple):
    """Where the tokens of one output look in the input.

    Attributes:
        weights: `(m, n)`, rows sum to 1.
        columns: the n tokens looked at.
        rows: the m tokens that look.
    """

    weights: np.ndarray
    columns: Sequence[str]
    rows: Sequence[str]


@Picture
def attention_maps(maps: Sequence[AttentionMap], title: str = "Where each token of the output looks") -> Figure:
    """A map per sentence, dark where the weight is large; what goes beyond 40 tokens is left out."""
    if not maps:
        return message_figure(title, "The model has no attention")
    maps = [
        AttentionMap(m.weights[:MOST_TOKENS, :MOST_TOKENS], m.columns[:MOST_TOKENS], m.rows[:MOST_TOKENS]) for m in maps
    ]
    columns = min(2, len(maps))
    lines = [maps[i : i + columns] for i in range(0, len(maps), columns)]
    widths = [max(len(line[i].columns) for line in lines if i < len(line)) * CELL + 1.8 for i in range(columns)]
    heights = [max(len(m.rows) for m in line) * CELL + 1.2 for line in lines]
    figure = Figure(figsize=(sum(widths), sum(heights) + 0.4))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    grid = figure.add_gridspec(len(lines), columns, width_ratios=widths, height_ratios=heights)
    for i, one in enumerate(maps):
        axes = figure.add_subplot(grid[divmod(i, columns)])
        axes.imshow(one.weights, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        axes.set_xticks(
            range(len(one.columns)), [drawable(token) or "␣" for token in one.columns], rotation=90, fontsize=7
        )
        axes.set_yticks(range(len(one.rows)), [drawable(token) or "␣" for token in one.rows], fontsize=7)
        axes.xaxis.tick_top()
        axes.grid(False)
    return figure


def attention_html(
    maps: Sequence[AttentionMap], path: Path, title: str = "Where each token of the output looks"
) -> Path:
    """The same maps as a page, which shows every script on any machine; pointing at a cell shows its weight."""
    tables = []
    for one in maps:
        head = "".join(f"<th class=c><span>{html.escape(token)}</span></th>" for token in one.columns)
        body = "".join(
            f"<tr><th>{html.escape(token)}</th>"
            + "".join(f'<td style="background:rgba(0,114,178,{w:.3f})" title="{w:.3f}"></td>' for w in weights)
            + "</tr>"
            for token, weights in zip(one.rows, one.weights, strict=True)
        )
        tables.append(f"<table><tr><th></th>{head}</tr>{body}</table>")
    style = (
        "body{font:14px sans-serif;color:#24292f}table{display:inline-table;margin:1em;border-spacing:1px}"
        "th{font-weight:normal;text-align:right;white-space:pre}td{width:1.2em;height:1.2em;border:1px solid #d8dee4}"
        ".c{vertical-align:bottom}.c span{writing-mode:vertical-rl;transform:rotate(180deg)}"
    )
    heading = html.escape(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(
        path,
        f'<!doctype html><meta charset="utf-8"><title>{heading}</title><style>{style}</style>'
        f"<h1>{heading}</h1>{''.join(tables) or '<p>The model has no attention.</p>'}\n",
    )
    return path


@Picture
def score_by_length(
    bins: Sequence[str], scores: Sequence[float], counts: Sequence[int], metric: str = "BLEU", unit: str = "words"
) -> Figure:
    """A bar per range of lengths of the source, which are counted in `unit`, with the number of sentences over it."""
    figure = Figure(figsize=(6.5, 3.4))
    axes = figure.add_subplot()
    bars = axes.bar(range(len(bins)), scores, color=BLUE, width=0.7)
    axes.bar_label(bars, [f"{count:,}" for count in counts], fontsize=8, color=GREY, padding=2)
    axes.set_xticks(range(len(bins)), bins)
    axes.set(title=f"{metric} by length of the source", xlabel=f"{unit} in the source", ylabel=metric)
    axes.margins(y=0.12)
    axes.grid(axis="x", visible=False)
    return figure
