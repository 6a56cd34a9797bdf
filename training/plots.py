"""Pictures of a training and of a model's answers, as matplotlib figures; the same bytes for the same figures.

Blue is what was measured, orange what to look at: the two are told apart by the colour-blind too (Okabe, Ito 2008).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from ics.artifact import Kind
from ics.measures import wilson
from ics.routing import DEFAULT_THRESHOLD
from training.calibrate import expected_calibration_error
from training.measures import (
    Answers,
    character_confusions,
    chosen_by,
    confusion,
    reliability,
    risk_coverage,
)

INK, FAINT, GRID = "#1f2933", "#6b7785", "#e3e7eb"
BLUE, ORANGE = "#0072b2", "#d55e00"
BLUES = LinearSegmentedColormap.from_list("blues", ["#ffffff", "#cfe3f1", "#6fb1d8", "#0072b2", "#003a5c"])

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, and has Cyrillic
    "font.size": 10,
    "text.parse_math": False,  # a label may hold dollars
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9aa5b1",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "white",
    "figure.dpi": 120,
    "figure.constrained_layout.h_pad": 0.18,
    "figure.constrained_layout.w_pad": 0.18,
    "legend.frameon": False,
}

MOST_CLASSES = 60
"""Classes that a confusion matrix has room for; of more, those with the most mistakes are shown."""

MOST_CONFUSIONS = 20
"""Character confusions shown."""


def _styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    @wraps(draw)
    def styled(*args: Any, **options: Any) -> Figure:
        with mpl.rc_context({**mpl.rcParamsDefault, **STYLE, "backend": "agg"}):
            figure = draw(*args, **options)
            FigureCanvasAgg(figure).draw()  # laid out while the style holds
            return figure

    return styled


def write_pictures(
    folder: Path,
    kind: Kind,
    labels: Sequence[str],
    answers: Answers,
    *,
    history: Sequence[Mapping[str, float]] = (),
    threshold: float = DEFAULT_THRESHOLD,
) -> list[Path]:
    """Write what can be shown of these answers, and of the training where there is a `history`: the PNGs' paths."""
    figures = {"curves": curves(history)} if history else {}
    if kind == "text":
        figures["characters"] = characters(answers)
    else:
        figures["confusion"] = matrix(answers, labels)
    figures |= {"reliability": diagram(answers), "risk-coverage": tradeoff(answers, threshold)}
    return [save(figure, folder / f"{name}.png") for name, figure in figures.items()]


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, without a word of what wrote it."""
    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE, "backend": "agg"}):
        figure.savefig(path, format="png", metadata={"Software": None})
    return path


@_styled
def curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Loss and validation loss by epoch above, the metric below; the epoch that was kept is marked."""
    figure = Figure(figsize=(7.2, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    epochs = [int(each["epoch"]) for each in history]
    (metric,) = history[0].keys() - {"epoch", "loss", "validation loss"}
    losses = [each["validation loss"] for each in history]
    kept = int(np.nanargmin([each[chosen_by(metric)] for each in history]))
    for axes, name, colour, width in (
        (above, "loss", FAINT, 1.5),
        (above, "validation loss", BLUE, 2),
        (below, metric, BLUE, 2),
    ):
        values = [each[name] for each in history]
        axes.plot(epochs, values, color=colour, linewidth=width, label=name, marker="o", markersize=3)
        if name != "loss":
            axes.plot(epochs[kept], values[kept], "o", color=ORANGE, markersize=8, zorder=5)
    for axes in (above, below):
        axes.axvline(epochs[kept], color=ORANGE, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
        axes.margins(x=0.03, y=0.12)
    above.set_title("Learning, epoch by epoch")
    above.set_ylabel("loss, nats")
    if max(losses) > 20 * max(min(losses), 1e-9):
        above.set_yscale("log")
        above.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    above.legend(loc="upper right")
    value = history[kept][metric]
    below.set_title(
        f"{metric}: {value:.4f} at epoch {epochs[kept]}, which was kept",
        fontsize=10,
        fontweight="normal",
        pad=6,
    )
    below.set_ylabel(metric)
    below.set_xlabel("epoch")
    below.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    return figure


@_styled
def matrix(answers: Answers, labels: Sequence[str]) -> Figure:
    """The confusion matrix: true labels in rows, said ones in columns, in the same order, coloured by share of the row.

    The colour rises with the square root of the share, so that rare mistakes are seen. The number in a cell is how
    many pictures; up to 12 classes have the share below it.
    """
    counts, shown = confusion(answers, labels), np.arange(len(labels))
    if len(labels) > MOST_CLASSES:
        mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diagonal(counts)
        shown = np.sort(np.argsort(-mistakes, kind="stable")[:MOST_CLASSES])
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    counts, shares, names = counts[np.ix_(shown, shown)], shares[np.ix_(shown, shown)], [labels[one] for one in shown]
    size = len(names)
    large = size <= 12
    cell = 1.5 if size <= 3 else 0.62 if large else 0.31
    figure = Figure(figsize=(2.7 + cell * size, 2.2 + cell * size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap=BLUES, norm=PowerNorm(0.5, 0, 1))
    number = 15 if size <= 3 else 9 if large else 6.5
    for row, column in zip(*np.nonzero(counts), strict=True):
        ink = "white" if shares[row, column] > 0.35 else INK
        text = _short(int(counts[row, column])) if not large else f"{counts[row, column]:,}"
        below = f"\n{shares[row, column]:.1%}" if large else ""
        weight = "bold" if row == column else "normal"
        if large:
            axes.text(column, row, text, color=ink, fontsize=number, ha="center", va="bottom", fontweight=weight)
            axes.text(column, row, below.strip(), color=ink, fontsize=number * 0.72, ha="center", va="top")
        else:
            axes.text(column, row, text, color=ink, fontsize=number, ha="center", va="center", fontweight=weight)
    axes.set_xticks(range(size), [_clipped(name) for name in names], fontsize=10 if large else 9)
    axes.set_yticks(range(size), [_clipped(name) for name in names], fontsize=10 if large else 9)
    if max(map(len, names)) > (12 if size <= 3 else 3):
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.grid(False)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(True, which="minor", color=GRID, linewidth=0.8)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("said by the model")
    axes.set_ylabel("true")
    some = f"The {size} most often confused of {len(labels)} classes" if size < len(labels) else "Confusion"
    wrong = len(answers) - int(answers.right.sum())
    axes.set_title(some)
    _aside(axes, f"{len(answers):,} pictures, {wrong:,} wrong")
    bar = figure.colorbar(image, ax=axes, shrink=min(0.75, 3.2 / (cell * size)), pad=0.02, aspect=24)
    bar.set_ticks([0, 0.01, 0.05, 0.2, 0.5, 1], labels=["0", "1%", "5%", "20%", "50%", "100%"])
    bar.outline.set_visible(False)
    bar.set_label("share of the row")
    return figure


@_styled
def diagram(answers: Answers) -> Figure:
    """The reliability diagram: the share that was right in each bin of confidence, its 95% interval, and counts."""
    figure = Figure(figsize=(6.4, 6.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    bins = [bin_ for bin_ in reliability(answers) if bin_.images]
    above.plot([0, 1], [0, 1], color=FAINT, linewidth=1.2, linestyle=(0, (4, 3)), label="right as often as said")
    sure = [bin_.confidence for bin_ in bins]
    right = np.array([bin_.right / bin_.images for bin_ in bins])
    ends = np.array([wilson(bin_.right, bin_.images) for bin_ in bins])
    above.errorbar(
        sure,
        right,
        yerr=np.abs(ends.T - right),
        fmt="o",
        color=BLUE,
        markersize=6,
        elinewidth=1.4,
        capsize=2.5,
        label="measured, with 95% interval",
    )
    above.set_ylim(-0.02, 1.04)
    above.set_xlim(-0.01, 1.01)
    above.set_ylabel("share that was right")
    for axis in (above.xaxis, above.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    above.set_title("Does confidence mean what it says?", pad=26)
    error = expected_calibration_error(answers.confidence, answers.right)
    above.annotate(f"ECE {error:.4f}, {len(answers):,} answers", (0, 1), (0, 9), **_OVER, color=FAINT)
    above.legend(loc="best")
    for bin_ in reliability(answers):
        middle = (bin_.low + bin_.high) / 2
        below.bar(middle, bin_.images, width=0.9 * (bin_.high - bin_.low), color=BLUE, alpha=0.85)
        if bin_.images:
            below.annotate(
                _short(bin_.images),
                (middle, bin_.images),
                (0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=7.5,
                color=INK,
            )
    # a sure model has nearly all of its answers in the last bin: only on such a scale the others are seen at all
    below.set_yscale("symlog", linthresh=1)
    below.set_ylim(0, 4 * max(bin_.images for bin_ in bins))
    below.set_yticks([])
    below.set_yticks([], minor=True)
    below.spines["left"].set_visible(False)
    below.set_ylabel("answers")
    below.set_xlabel("confidence")
    return figure


@_styled
def tradeoff(answers: Answers, threshold: float = DEFAULT_THRESHOLD) -> Figure:
    """Risk and coverage: of the answers that each possible threshold accepts, how many are wrong."""
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.subplots()
    share, error = risk_coverage(answers)
    axes.plot(share, error, color=BLUE, drawstyle="steps-post")
    accepted = answers.confidence >= threshold
    at, wrong = float(accepted.mean()), float((~answers.right[accepted]).mean()) if accepted.any() else 0.0
    # the first few answers make a share of wrong ones that means nothing: they do not set the scale
    meaningful = error[share >= min(0.05, share[-1])]
    top = max(1e-3, float(meaningful.max()) * 1.25, wrong * 1.6)
    axes.plot([at, at, 0], [0, wrong, wrong], color=ORANGE, linewidth=1, linestyle=(0, (3, 3)))
    axes.plot(at, wrong, "o", color=ORANGE, markersize=9, zorder=5, clip_on=False)
    axes.set_ylim(0, top)
    axes.set_xlim(0, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.{2 if top < 0.02 else 1}%}"))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.set_xlabel("share accepted, the surest first")
    axes.set_ylabel("wrong among the accepted")
    axes.set_title("What a threshold buys", pad=26)
    said = f"threshold {threshold:g} accepts {at:.1%}, {wrong:.2%} of them wrong"
    axes.annotate(said, (0, 1), (0, 9), **_OVER, color=ORANGE, fontweight="bold")
    _aside(axes, f"accepting all: {error[-1]:.2%} wrong", 28)
    return figure


@_styled
def characters(answers: Answers) -> Figure:
    """What was read instead of which character, the most frequent first."""
    found = character_confusions(answers)
    most = found[:MOST_CONFUSIONS]
    figure = Figure(figsize=(6.4, 1.6 + 0.28 * max(5, len(most))), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(most))
    axes.barh(places, [count for _, count in most], color=BLUE, height=0.72)
    for place, (_, count) in zip(places, most, strict=True):
        axes.annotate(f"{count:,}", (count, place), (4, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(places, [f"{_named(true, '+')}  →  {_named(read, 'missed')}" for (true, read), _ in most])
    axes.set_ylim(max(5, len(most)) - 0.5, -0.6)  # a few bars are no fatter than many
    axes.grid(False)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.margins(x=0.12)
    total = sum(count for _, count in found)
    axes.set_title("Characters, true  →  read")
    axes.set_xlabel(
        f"{sum(count for _, count in most):,} of {total:,} mistakes; + is a character where none is"
        if most
        else "no mistake"
    )
    return figure


_OVER: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}


def _aside(axes: Axes, text: str, points: float = 10) -> None:
    """A remark so far above the right end of the axes, where no data can be."""
    axes.annotate(text, (1, 1), (0, points), **_OVER, ha="right", color=FAINT)


@_styled
def contact_sheet(pictures: Sequence[tuple[NDArray[np.uint8], str, str, float]], kind: Kind, wrong: int) -> Figure:
    """The surest mistakes: each picture [height, width, channels], its truth, what was said, how sure; of all `wrong`.

    Nothing to show is said.
    """
    columns = 2 if kind == "text" else 6
    rows = max(1, -(-len(pictures) // columns))
    height, width = pictures[0][0].shape[:2] if pictures else (1, 1)
    cell = 4.6 if kind == "text" else 1.55
    shown = cell * min(height / width, 2)
    of_all = f"The {len(pictures)} surest of {wrong:,}" if len(pictures) < wrong else f"All {wrong:,}"
    title = f"{of_all} mistakes, true  →  said" if pictures else "No mistake"
    figure = Figure(figsize=(columns * cell + 0.6, rows * (shown + 0.5) + 0.9), layout="constrained")
    figure.suptitle(
        title,
        x=0.02,
        y=1 - 0.15 / figure.get_figheight(),
        va="top",
        ha="left",
        fontweight="bold",
        fontsize=12.5,
    )
    figure.get_layout_engine().set(
        w_pad=0.06, h_pad=0.04, rect=(0.015, 0.01, 0.97, 0.99 - 0.5 / figure.get_figheight())
    )
    for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if place >= len(pictures):
            continue
        pixels, true, said, confidence = pictures[place]
        axes.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=255)
        most = 46 if kind == "text" else 12
        parts = [_clipped(part, most) or "(nothing)" for part in (true, said)]
        apart = "\n→ " if kind == "text" or sum(map(len, parts)) > 14 else "  →  "
        axes.set_title(apart.join(parts), fontsize=9.5, fontweight="normal", loc="left", pad=4)
        axes.text(0, -0.04, f"{confidence:.1%} sure", transform=axes.transAxes, va="top", fontsize=8, color=ORANGE)
    return figure


def _named(character: str, nothing: str) -> str:
    return "space" if character == " " else character or nothing


def _clipped(name: str, most: int = 24) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _short(count: int) -> str:
    return f"{count:,}" if count < 10_000 else f"{count / 1000:.0f}k"
