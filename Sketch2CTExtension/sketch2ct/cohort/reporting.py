"""What is heard of a cohort run: a bar on a terminal, lines elsewhere, or events for a program. No torch.

Events, one JSON object a line on stdout; every one holds `total`, `done`, `failed`, `flagged`, `rejected`, `rate_per_hour`, `eta_s`:
    {"type": "start", "folder"}      {"type": "case", "case", "source", "verdict", "reasons"}      {"type": "failed", "case", "code", ...}
    {"type": "progress", "case", "fraction"}, at most twice a second      {"type": "done", "stopped"}: why, empty when nothing is left
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

_EVERY_S = 0.5


@dataclass
class Tally:
    """How a run stands. `done` counts all complete cases of the folder; `made`, `flagged` and `rejected` those of this run."""

    total: int
    done: int = 0
    failed: int = 0
    made: int = 0
    flagged: int = 0
    rejected: int = 0
    _start: float = field(default_factory=time.monotonic)

    def count(self, verdict: str) -> None:
        """One more case is complete."""
        self.done += 1
        self.made += 1
        self.flagged += verdict == "flag"
        self.rejected += verdict == "reject"

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._start

    @property
    def rate_per_hour(self) -> float | None:
        """Cases an hour, over this run; None before the first."""
        return 3600 * self.made / max(self.seconds, 1e-3) if self.made else None

    @property
    def eta_s(self) -> float | None:
        """Seconds until every case has had its turn; None before the first is made."""
        return max(self.total - self.done - self.failed, 0) * self.seconds / self.made if self.made else None

    def to_dict(self) -> dict[str, Any]:
        """As events have it."""
        rate, left = (None if x is None else round(x, 1) for x in (self.rate_per_hour, self.eta_s))
        counts = {key: getattr(self, key) for key in ("total", "done", "failed", "flagged", "rejected")}
        return {**counts, "rate_per_hour": rate, "eta_s": left}

    def __str__(self) -> str:
        parts = f"{self.done} of {self.total} cases complete, {self.failed} failed"
        if self.made:
            parts += f"; this run made {self.made} ({self.flagged} flagged, {self.rejected} rejected)"
            parts += f" in {duration(self.seconds)}, {self.rate_per_hour:.0f} an hour"
        return parts + "."


class Reporter:
    """Hears of everything and says nothing."""

    def start(self, tally: Tally, folder: Path) -> None:
        """The run begins, or goes on."""

    def case(self, tally: Tally, name: str, source: str, verdict: str, reasons: list[str]) -> None:
        """A case is complete."""

    def failed(self, tally: Tally, facts: dict[str, Any]) -> None:
        """A case could not be made; `facts` are those of its file in `failed`."""

    def progress(self, tally: Tally, name: str, fraction: float) -> None:
        """A case is so far, 0 to 1."""

    def note(self, text: str) -> None:
        """Something worth knowing."""

    def done(self, tally: Tally, stopped: str) -> None:
        """The run ends; `stopped` says why cases are left, if any are."""


class Lines(Reporter):
    """A line a case on stderr, and a summary."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def start(self, tally: Tally, folder: Path) -> None:
        """As Reporter."""
        self._say(f"{folder}: {tally}")

    def case(self, tally: Tally, name: str, source: str, verdict: str, reasons: list[str]) -> None:
        """As Reporter."""
        left = f", {duration(tally.eta_s)} left" if tally.eta_s else ""
        self._say(f"{tally.done}/{tally.total} {name} {verdict}{left} {' '.join(reasons)}".rstrip())

    def failed(self, tally: Tally, facts: dict[str, Any]) -> None:
        """As Reporter."""
        self._say(f"{facts['case']} failed ({facts['code']}): {facts['message']} {facts['hint']}".rstrip())

    def note(self, text: str) -> None:
        """As Reporter."""
        self._say(f"note: {text}")

    def done(self, tally: Tally, stopped: str) -> None:
        """As Reporter."""
        self._say(str(tally) + (f" Stopped: {stopped}." if stopped else ""))


class Events(Reporter):
    """One JSON object a line on stdout; notes go to stderr."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream, self._last = stream or sys.stdout, 0.0

    def _send(self, kind: str, tally: Tally, **values: Any) -> None:
        print(json.dumps({"type": kind, **values, **tally.to_dict()}, ensure_ascii=False), file=self._stream, flush=True)

    def start(self, tally: Tally, folder: Path) -> None:
        """As Reporter."""
        self._send("start", tally, folder=str(folder))

    def case(self, tally: Tally, name: str, source: str, verdict: str, reasons: list[str]) -> None:
        """As Reporter."""
        self._send("case", tally, case=name, source=source, verdict=verdict, reasons=reasons)

    def failed(self, tally: Tally, facts: dict[str, Any]) -> None:
        """As Reporter."""
        self._send("failed", tally, **facts)

    def progress(self, tally: Tally, name: str, fraction: float) -> None:
        """As Reporter."""
        if time.monotonic() - self._last >= _EVERY_S:
            self._last = time.monotonic()
            self._send("progress", tally, case=name, fraction=round(fraction, 3))

    def note(self, text: str) -> None:
        """As Reporter."""
        print(f"note: {text}", file=sys.stderr, flush=True)

    def done(self, tally: Tally, stopped: str) -> None:
        """As Reporter."""
        self._send("done", tally, stopped=stopped)


class Bar(Lines):
    """A bar with rate and time left at the foot of a terminal; failures and gated cases stay above it."""

    def __init__(self, bar: Any) -> None:
        super().__init__()
        self._bar, self._task = bar, bar.add_task("Starting", total=None)

    def _say(self, text: str) -> None:
        self._bar.console.print(text, highlight=False, markup=False)

    def _show(self, tally: Tally, fraction: float = 0.0) -> None:
        rate = f"{tally.rate_per_hour:.0f}/h" if tally.rate_per_hour else ""
        left = f"{duration(tally.eta_s)} left" if tally.eta_s else ""
        said = " ".join(x for x in (f"{tally.done}/{tally.total}", f"{tally.failed} failed", f"{tally.flagged} flagged", rate, left) if x)
        self._bar.update(self._task, completed=tally.done + fraction, total=tally.total, description=said)

    def start(self, tally: Tally, folder: Path) -> None:
        """As Reporter."""
        super().start(tally, folder)
        self._show(tally)

    def case(self, tally: Tally, name: str, source: str, verdict: str, reasons: list[str]) -> None:
        """As Reporter."""
        if verdict != "pass":
            self._say(f"{name} {verdict}: {' '.join(reasons)}")
        self._show(tally)

    def failed(self, tally: Tally, facts: dict[str, Any]) -> None:
        """As Reporter."""
        super().failed(tally, facts)
        self._show(tally)

    def progress(self, tally: Tally, name: str, fraction: float) -> None:
        """As Reporter."""
        self._show(tally, fraction)


@contextmanager
def reporter(*, events: bool) -> Iterator[Reporter]:
    """Events when asked for, a bar on a terminal, else lines."""
    if events or not sys.stderr.isatty():
        yield Events() if events else Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(BarColumn(), TextColumn("{task.description}"), console=Console(stderr=True), transient=True) as bar:
        yield Bar(bar)


def duration(seconds: float | None) -> str:
    """As people say it: `45 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds or 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
