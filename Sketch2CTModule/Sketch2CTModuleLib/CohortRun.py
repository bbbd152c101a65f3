"""One run that makes a cohort: what its events come to, in numbers and words."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from .GeneratePanel import duration


class CohortRun:
    """Feed it events of `sketch2ct cohort --events`. `isUp`: the folder is this run's; `made`: cases of this run."""

    def __init__(self, folder: Path, total: int, withCt: bool) -> None:
        self.folder, self.withCt = folder, withCt
        self.isUp = False
        self.done = 0
        self._total, self._before = total, 0
        self._facts: dict[str, Any] = {}
        self._fraction = 0.0
        self._failure = ""

    @property
    def made(self) -> int:
        """How many cases this run has completed."""
        return self.done - self._before

    @property
    def secondsPerCase(self) -> float | None:
        """Of this run; None before its first case."""
        rate = self._facts.get("rate_per_hour")
        return 3600 / rate if isinstance(rate, int | float) and rate > 0 else None

    @property
    def fraction(self) -> float:
        """0 to 1, the case at hand included."""
        return (self.done + self._fraction) / max(self._total, 1)

    def feed(self, event: dict[str, Any]) -> None:
        """Take an event."""
        kind = event.get("type")
        if isinstance(event.get("done"), int):
            self._facts, self.done = event, event["done"]
            self._total = event.get("total") or self._total
        if kind == "start":
            self.isUp, self._before = True, self.done
        elif kind == "failed":
            self._failure = f"{event.get('case')}: {event.get('message')} {event.get('hint')}".strip()
        self._fraction = float(event.get("fraction") or 0.0) if kind == "progress" else 0.0

    def barText(self) -> str:
        """For the bar: `12 of 50, 57 min left`."""
        left = self._facts.get("eta_s")
        text = _("{done} of {total}").format(done=self.done, total=self._total)
        return text + (_(", {time} left").format(time=duration(left)) if left else "")

    def below(self) -> str:
        """For the line under the bar: rate, what the gates said, and the last failure. Rich text."""
        rate = self._facts.get("rate_per_hour")
        parts = [_("{n} an hour").format(n=f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}")] if rate else []
        counted = {"flagged": _("{n} flagged"), "rejected": _("{n} rejected by a gate"), "failed": _("<b>{n} failed</b>")}
        parts += [text.format(n=self._facts[key]) for key, text in counted.items() if self._facts.get(key)]
        text = ", ".join(parts) + "." if parts else ""
        return f"{text} {escape(self._failure)}".strip() if self._facts.get("failed") else text

    def summary(self) -> str:
        """How it ended. Rich text."""
        text = _("{done} of {total} complete, {made} of them new.").format(done=self.done, total=self._total, made=self.made)
        stopped = str(self._facts.get("stopped") or "")
        text += " " + _("Stopped: {why}.").format(why=escape(stopped.rstrip("."))) if stopped else ""
        return f"{text} {self.below()}".strip()
