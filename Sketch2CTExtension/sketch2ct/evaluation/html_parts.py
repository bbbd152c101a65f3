"""What the page of a report is made of: cells, tables, pictures and sections, and how a figure becomes a cell."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from . import forest
from .tables import spoken

MEAN = "mean_of_five"
LAST = (MEAN, "overall", "all", "mean")  # rows that sum the others up

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """`text` is the mean or a word; `interval` and `note` stand below it; `key` is what a column is sorted by; `strong` is
    the first cell of a row that sums the others up."""

    text: str
    interval: str = ""
    note: str = ""
    key: float | None = None
    strong: bool = False


@dataclass(frozen=True)
class Column:
    """A figure of every row: the `path` to it in the row's entry, and how it is written."""

    head: str
    path: tuple[str, ...]
    digits: int = 3
    percent: bool = False


@dataclass
class Table:
    """Rows of cells under a head; the first cell of a row names it."""

    caption: str
    head: list[str]
    rows: list[list[Cell]]
    kind: str = "table"


@dataclass
class Picture:
    """An image that is part of the page: `source` is a data address. A `sheet` shows slices of patients."""

    source: str
    alt: str
    caption: str = ""
    sheet: bool = False
    kind: str = "picture"


@dataclass
class Section:
    """One part of the evaluation: how its figures are `made`, how to `read` them, tables and pictures, parts of its own."""

    key: str
    title: str
    made: str
    read: str = ""
    blocks: list[Table | Picture] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    parts: list[Section] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether nothing was measured."""
        return not self.blocks and not any(not part.empty for part in self.parts)


def figure(entry: Any, digits: int = 3, *, percent: bool = False, n: int | None = None) -> Cell:
    """A figure as a cell; its n is noted where it is not the row's, and how many values were undefined. One value has no interval."""
    if not isinstance(entry, Mapping) or entry.get("mean") is None:
        return Cell("-")
    low, high = (number(end, digits, percent=percent) for end in entry["ci95"])
    span = f"{low} to {high}" if entry["n"] > 1 else ""
    notes = [f"n = {entry['n']}"] if n is not None and entry["n"] != n else []
    notes += [f"{entry['undefined']} undefined"] if entry.get("undefined") else []
    return Cell(number(entry["mean"], digits, percent=percent), span, ", ".join(notes), float(entry["mean"]))


def number(value: float | None, digits: int = 3, *, percent: bool = False) -> str:
    """A number as text, or a dash; percentages have one digit."""
    if value is None:
        return "-"
    return f"{100 * value:.1f}" if percent else f"{value:.{digits}f}"


def at(entry: Any, path: Sequence[str]) -> Any:
    """What lies at a path of keys, or None."""
    for key in path:
        entry = entry.get(key) if isinstance(entry, Mapping) else None
    return entry


def table(caption: str, first: str, columns: Sequence[Column], rows: Iterable[tuple[str, Any]], extra: str = "") -> list[Table]:
    """(name, entry) as rows, with a column n; none without a row. `extra` names a last column, whose text is `entry[extra]`."""
    body = []
    for name, entry in rows:
        found = [at(entry, column.path) for column in columns]
        n = next((f["n"] for f in found if isinstance(f, Mapping) and f.get("n")), None)
        cells = [figure(f, c.digits, percent=c.percent, n=n) for f, c in zip(found, columns, strict=True)]
        last = [Cell(str(entry.get(extra, "-")))] if extra else []
        body.append([Cell(label(name), strong=name in LAST), Cell("-" if n is None else str(n), key=n), *cells, *last])
    head = [first, "n", *(column.head + (", %" if column.percent else "") for column in columns), *([extra] if extra else [])]
    return [Table(caption, head, body)] if body else []


def label(name: str) -> str:
    """The name of a row as a sentence has it."""
    return {MEAN: "mean of five structures", "overall": "all", "mean": "mean of the planes"}.get(name) or spoken(name)


def plot(drawn: Figure, alt: str, caption: str) -> Picture:
    """A plot as part of the page."""
    return Picture("data:image/svg+xml;base64," + base64.b64encode(forest.svg(drawn).encode()).decode(), alt, caption)


def forest_plot(
    rows: Iterable[tuple[str, Any]],
    series: Sequence[tuple[forest.Series, tuple[str, ...]]],
    axis: forest.Axis,
    what: str,
    band: tuple[str, tuple[str, ...]] | None = None,
) -> list[Picture]:
    """Plot of `what` over (name, entry): one mark for every series, found at its path; none where nothing is known.

    `band` is the name of a shading and the path to its two ends.
    """
    made = []
    for name, entry in rows:
        numbers = [at(entry, path) for _, path in series]
        ends = at(entry, band[1]) if band else None
        made.append(forest.Row(label(name), numbers, tuple(ends) if ends else None, name in LAST))
    made = [row for row in made if any(forest.known(figure) for figure in row.figures)]
    used = [n for n in range(len(series)) if any(forest.known(row.figures[n]) for row in made)]
    if not made:
        return []
    shown = [forest.Row(row.label, [row.figures[n] for n in used], row.band, row.strong) for row in made]
    drawn = forest.forest(shown, [series[n][0] for n in used], axis, band[0] if band else "")
    names = ", ".join(series[n][0].label for n in used if series[n][0].label)
    alt = f"Plot of {what}{f' ({names})' if names else ''}: a mark for each mean, a line for its interval. The numbers stand in the table."
    return [plot(drawn, alt, f"{what[0].upper()}{what[1:]}. Marks are means, lines 95 % intervals.")]


def known_rows(entries: Mapping[str, Any], keys: Sequence[str]) -> list[tuple[str, Any]]:
    """The entries in which at least one of the figures is known."""
    return [(name, entry) for name, entry in entries.items() if any(forest.known(entry.get(key)) for key in keys)]
