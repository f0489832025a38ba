"""Learning curves of one or more runs, as one figure, in PNG and SVG.

One panel each for the losses (total thick, parts thin), each family of metrics (``coco/AP`` with ``coco/AP .5``, ...),
other training values (``acc_pose``), and the learning rate on a log axis.

Decisions:

- Panels are by metric, so a detector and a pose estimator share a figure; runs whose losses have different parts get
  different panels, as such losses do not compare.
- The axis counts epochs when all runs do, so that runs with different batch sizes line up; iterations otherwise.
- With one run, colors mean tags; with several, colors mean runs, and each family shows only the metric itself;
  ``--metrics`` selects others. The colors are Okabe and Ito's, safe for color-blind readers; seven of them show on
  white, so a figure takes at most seven runs.
- Figure and canvas are objects: pyplot's global state and the user's display stay untouched. The same runs give the
  same bytes, for one version of matplotlib.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posetools.core.geometry import Floats
from posetools.errors import MissingExtraError, RequestError
from posetools.files.disk import write_files
from posetools.mm.run_log import LoggedCurve, RunLog

# Okabe and Ito's palette without the yellow, which is hard to see on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", ":", "-.")
_GRAY = "#777777"

_LR = "lr"
# Logged by training, but no measure of learning; shown only with --metrics.
_NOT_SHOWN = frozenset({"base_lr", "time", "data_time", "memory", "grad_norm"})
_TAG_UNITS = {"time": "s per iteration", "data_time": "s per iteration", "memory": "MB"}
# Suffixes of metric variants: an IoU or OKS threshold, a size class, a PCK threshold.
_VARIANT = re.compile(r"(_(50|75|s|m|l)| \.(5|75)| \([SML]\)|@[\d.]+)$")

_PANEL = (5.2, 3.3)  # inches
_DPI = 120
_LONGEST_RUN_NAME = 48
# With more points than this, markers would hide the line.
_MARKED = 40


@dataclass(frozen=True, slots=True)
class CurvePanel:
    """One panel of the figure.

    Attributes:
        title: its title.
        tags: the curves in it, the main one first.
        runs: indices of the runs in it.
        log: whether its axis is logarithmic.
    """

    title: str
    tags: tuple[str, ...]
    runs: tuple[int, ...]
    log: bool = False


def draw_curves(
    runs: Sequence[RunLog], out: Path, *, metrics: Sequence[str] = (), smooth: int = 1
) -> tuple[Path, Path]:
    """Draw the curves of runs to a PNG and an SVG file.

    Args:
        runs: at least one, at most seven.
        out: the file, with suffix ``.png``, ``.svg`` or none. Both are written.
        metrics: the tags to draw; empty: the default ones.
        smooth: window of the moving mean of training curves, in logged points; the raw points are drawn pale.

    Returns:
        The PNG and the SVG file.

    Raises:
        MissingExtraError: matplotlib is not installed.
        RequestError: too many runs, a tag that no run logged, or another suffix of ``out``.
        OutputError: a file cannot be written.
    """
    png, svg = files_of(out)
    if len(runs) > len(COLORS):
        raise RequestError(
            f"runs must be at most {len(COLORS)} (one color each), got {len(runs)}",
            hint="name the work folders to compare, not the folder that holds them",
        )
    panels = plan_panels(runs, metrics)
    try:
        import matplotlib.figure
    except ModuleNotFoundError as exc:
        raise MissingExtraError("posetools plot", "plot", "matplotlib") from exc
    # The salt makes SVG ids reproducible. A name in a script that the font lacks is drawn as boxes.
    settings = {"svg.hashsalt": "posetools", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 9}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = _Drawing(runs, smooth).figure(panels)
        contents = {
            png: _rendered(figure, "png", {"Software": None}),
            svg: _rendered(figure, "svg", {"Date": None}),
        }
    write_files(contents)
    return png, svg


def files_of(out: Path) -> tuple[Path, Path]:
    """Return the PNG and the SVG file for ``out``.

    Raises:
        RequestError: it has another suffix, or is a folder.
    """
    if out.suffix.lower() not in ("", ".png", ".svg") or not out.name:
        raise RequestError(f"--out must be a file name ending in .png or .svg (both are written), got {str(out)!r}")
    stem = out.with_suffix("") if out.suffix else out
    files = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")
    if any(path.is_dir() for path in (out, *files)):
        raise RequestError(f"--out must be a file, got {str(out)!r}, a folder")
    return files


def run_names(work_dirs: Sequence[Path]) -> tuple[str, ...]:
    """Return a name for each work folder: the shortest unique end of its path."""
    parts = [path.absolute().parts for path in work_dirs]
    longest = max(len(of_path) for of_path in parts)
    for length in range(1, longest + 1):
        names = tuple("/".join(of_path[-length:]) for of_path in parts)
        if len(set(names)) == len(set(parts)):
            return names
    return tuple(str(path) for path in work_dirs)


def smoothed(values: Floats, window: int) -> Floats:
    """Return the centered moving mean of (N,) values over ``window`` of them; gaps stay gaps and are ignored.

    At the ends the window is cut.
    """
    known = np.isfinite(values)
    # Half the window on each side; an even one has its extra value on the left.
    left, right = window // 2, (window - 1) // 2
    begins = np.maximum(np.arange(len(values)) - left, 0)
    ends = np.minimum(np.arange(len(values)) + right + 1, len(values))
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    means = (sums[ends] - sums[begins]) / np.maximum(counts[ends] - counts[begins], 1)
    return np.where(known, means, np.nan)


def family_of(tag: str) -> str:
    """Return the metric of a variant: ``coco/AP`` for ``coco/AP .5``."""
    return _VARIANT.sub("", tag)


def plan_panels(runs: Sequence[RunLog], metrics: Sequence[str] = ()) -> tuple[CurvePanel, ...]:
    """Return the panels: losses, metrics, other training values, learning rate.

    Raises:
        RequestError: no run logged a requested tag.
    """
    training = _tags(run.training for run in runs)
    evaluated = _tags(run.metrics for run in runs)
    for tag in metrics:
        if tag not in (*training, *evaluated):
            raise RequestError(
                f"--metrics must be logged tags, got {tag!r}", f"logged tags: {', '.join((*training, *evaluated))}"
            )
    if metrics:
        training = tuple(tag for tag in training if tag in metrics)
        evaluated = tuple(tag for tag in evaluated if tag in metrics)
    else:
        training = tuple(tag for tag in training if tag not in _NOT_SHOWN)
    panels = [*_loss_panels(runs, [tag for tag in training if "loss" in tag], chosen=bool(metrics))]
    for family in dict.fromkeys(map(family_of, evaluated)):
        tags = sorted((tag for tag in evaluated if family_of(tag) == family), key=lambda tag: tag != family)
        measured = [tag for tag in tags if any(_has_values(run.metrics.get(tag)) for run in runs)]
        # Several runs times several variants are hard to distinguish; requested tags are drawn anyway.
        panels.append(_panel(runs, family, tuple(measured if metrics or len(runs) == 1 else measured[:1])))
    for tag in training:
        if "loss" not in tag and tag != _LR:
            panels.append(_panel(runs, f"{tag} (training)", (tag,)))
    if _LR in training:
        panels.append(_panel(runs, "learning rate", (_LR,), log=True))
    return tuple(panel for panel in panels if panel.runs)


def _tags(of_runs: Iterator[Mapping[str, LoggedCurve]] | Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag for curves in of_runs for tag in curves))


def _has_values(curve: LoggedCurve | None) -> bool:
    return curve is not None and bool(np.isfinite(curve.values).any())


def _curve(run: RunLog, tag: str) -> LoggedCurve | None:
    return run.training.get(tag) or run.metrics.get(tag)


def _panel(runs: Sequence[RunLog], title: str, tags: tuple[str, ...], *, log: bool = False) -> CurvePanel:
    shown = tuple(i for i, run in enumerate(runs) if any(_has_values(_curve(run, tag)) for tag in tags))
    return CurvePanel(title, tags, shown, log)


def _loss_panels(runs: Sequence[RunLog], tags: Sequence[str], *, chosen: bool) -> Iterator[CurvePanel]:
    """Yield a panel for each set of losses."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, run in enumerate(runs):
        own = sorted((tag for tag in tags if tag in run.training), key=lambda tag: (tag != "loss", tags.index(tag)))
        if own:
            groups.setdefault(tuple(own), []).append(i)
    for own_tags, members in groups.items():
        parts = [tag for tag in own_tags[1:] if chosen or not all(_same(runs[i], own_tags[0], tag) for i in members)]
        title = "loss" if len(groups) == 1 else f"loss ({', '.join(own_tags[1:] or own_tags)})"
        few = chosen or len(members) <= 2
        yield CurvePanel(title, (own_tags[0], *(parts if few else ())), tuple(members))


def _same(run: RunLog, total: str, part: str) -> bool:
    """Return whether a loss equals its only part."""
    return np.array_equal(run.training[total].values, run.training[part].values, equal_nan=True)


class _Drawing:
    def __init__(self, runs: Sequence[RunLog], smooth: int) -> None:
        self.runs = runs
        self.names = [_label(name) for name in run_names([run.work_dir for run in runs])]
        self.smooth = smooth
        self.by_epoch = all(run.epoch_iterations for run in runs)

    def figure(self, panels: Sequence[CurvePanel]) -> Any:
        from matplotlib.figure import Figure

        columns = 2 if len(panels) == 4 else min(len(panels), 3)
        rows = -(-len(panels) // columns)
        figure = Figure((columns * _PANEL[0], rows * _PANEL[1] + 0.4), dpi=_DPI, layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for panel, axis in zip(panels, axes, strict=False):
            self._draw(panel, axis)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        self._head(figure)
        return figure

    def _head(self, figure: Any) -> None:
        """Add the name of the one run, or the legend of several, above the panels."""
        from matplotlib.lines import Line2D

        if len(self.runs) == 1:
            figure.suptitle(self.names[0])
            return
        handles = [Line2D([], [], color=COLORS[i], linewidth=2) for i in range(len(self.runs))]
        # About 13 letters fit in an inch; the line before a name takes the space of six.
        room = int(13 * figure.get_figwidth()) // (max(map(len, self.names)) + 6)
        columns = max(1, min(len(handles), room))
        figure.legend(handles, self.names, loc="outside upper center", ncols=columns, frameon=False)

    def _x(self, run: RunLog, iterations: Any) -> Any:
        return iterations / run.epoch_iterations if self.by_epoch and run.epoch_iterations else iterations

    def _draw(self, panel: CurvePanel, axis: Any) -> None:
        handles: list[Any] = []
        for i in panel.runs:
            for place, tag in enumerate(panel.tags):
                curve = _curve(self.runs[i], tag)
                if curve is not None and _has_values(curve):
                    handles += self._line(axis, panel, i, place, curve)
            handles += self._marks(axis, panel, i)
        self._dress(axis, panel)
        if len(self.runs) > 1:
            handles = [*self._styles(panel), *(handle for handle in handles if handle.get_marker() == "*")]
        if handles and (len(handles) > 1 or len(self.runs) > 1):
            axis.legend(handles=handles, fontsize="small", framealpha=0.7)

    def _styles(self, panel: CurvePanel) -> list[Any]:
        """Return the line styles of a panel's tags where colors mean runs."""
        from matplotlib.lines import Line2D

        if len(panel.tags) == 1:
            return []
        return [
            Line2D([], [], color=_GRAY, linestyle=_STYLES[place % len(_STYLES)], label=_label(tag))
            for place, tag in enumerate(panel.tags)
        ]

    def _line(self, axis: Any, panel: CurvePanel, i: int, place: int, curve: LoggedCurve) -> list[Any]:
        run, alone = self.runs[i], len(self.runs) == 1
        tag = panel.tags[place]
        look = {
            "color": COLORS[place % len(COLORS)] if alone else COLORS[i],
            "linestyle": "-" if alone else _STYLES[place % len(_STYLES)],
            "linewidth": 1.0 if place else 2.0,
            "zorder": 2 if place else 3,
        }
        x, y = self._x(run, curve.iterations), curve.values
        if panel.log:
            y = np.where(y > 0, y, np.nan)
        if self.smooth > 1 and tag in run.training and tag != _LR:
            axis.plot(x, y, **{**look, "linewidth": 0.8, "linestyle": "-", "alpha": 0.3})
            y = smoothed(y, self.smooth)
        marker = {"marker": "o", "markersize": 3} if len(curve) <= _MARKED else {}
        return list(axis.plot(x, y, label=_label(tag), **look, **marker))

    def _marks(self, axis: Any, panel: CurvePanel, i: int) -> list[Any]:
        """Mark where a run was resumed, and its best checkpoint."""
        run, alone = self.runs[i], len(self.runs) == 1
        handles = []
        for n, iteration in enumerate(run.resumed):
            x = self._x(run, iteration)
            line = axis.axvline(x, color=_GRAY if alone else COLORS[i], linewidth=0.8, linestyle=":", label="resumed")
            handles += [line] if n == 0 else []
        best = run.best
        if best is not None and best.score is not None and best.tag in panel.tags:
            color = COLORS[panel.tags.index(best.tag)] if alone else COLORS[i]
            text = f"{best.score:.3f} at {run.when(best.iteration)}"
            label = f"best: {text}" if alone else text
            look = {"marker": "*", "markersize": 13, "markeredgecolor": "white", "linestyle": "none"}
            at = [self._x(run, best.iteration)], [best.score]
            handles += axis.plot(*at, label=label, color=color, zorder=5, clip_on=False, **look)
        return handles

    def _dress(self, axis: Any, panel: CurvePanel) -> None:
        """Set a panel's title, axes and grid."""
        from matplotlib.ticker import MaxNLocator

        axis.set_title(_label(panel.title), fontsize="medium")
        axis.set_ylabel(_TAG_UNITS.get(panel.tags[0], _label("learning rate" if panel.log else panel.tags[0])))
        runs = [self.runs[i] for i in panel.runs]
        lengths = {round(run.epoch_iterations or 0, 1) for run in runs}
        each = f" ({lengths.pop():g} iterations each)" if self.by_epoch and len(lengths) == 1 else ""
        axis.set_xlabel(f"epoch{each}" if self.by_epoch else "iteration")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=[1, 2, 5, 10]))
        # Panels of the same runs have the same axis, so that they compare vertically.
        axis.set_xlim(0, 1.03 * max(float(self._x(run, run.iterations)) for run in runs))
        if panel.log:
            axis.set_yscale("log")
        elif axis.dataLim.ymin >= 0:
            axis.set_ylim(0, max(axis.get_ylim()[1], 1.05 * axis.dataLim.ymax))
        axis.grid(True, color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)


def _label(text: str) -> str:
    """Return text that matplotlib draws literally: cut in the middle, no formula, not hidden by a legend."""
    if len(text) > _LONGEST_RUN_NAME:
        half = (_LONGEST_RUN_NAME - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


def _rendered(figure: Any, kind: str, metadata: Mapping[str, None]) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=_DPI, metadata=dict(metadata))
    return buffer.getvalue()
