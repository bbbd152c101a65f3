"""A cohort under review by one person: its cases in the order of the table, and what was said of them. No Qt, no MRML."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sketch2ct.cohort.folder import Cohort
from sketch2ct.errors import BadRequest
from sketch2ct.review.blind_result import BLIND
from sketch2ct.review.store import MergeReport, ReviewStore, statuses
from sketch2ct.review.verdict import SCORES, UNREVIEWED, Verdict

from .ReviewRow import ReviewRow

FILTERS = ("all", "todo", "flagged", "accepted", "rejected", "needs_edit", "disputed")
BLIND_FILTERS = ("all", "todo")
_STATUS_ORDER = ("unreviewed", "disputed", "needs_edit", "rejected", "accepted")


class ReviewSession:
    """`shown` are the names of the cases that the filter lets through, in the order of the sorting; `current` is one of them or None.

    Everything that writes raises WriteFailed or BadRequest, and has then changed nothing.
    """

    def __init__(self, folder: Path, reviewer: str = "") -> None:
        self.cohort = Cohort.find(folder)
        self.reviewer = reviewer
        self.store = ReviewStore(self.cohort.root)
        self.isBlind = bool(self.cohort.facts.get(BLIND))
        self.names = self.cohort.names()
        self._failures = len(self.cohort.failed())
        self.current: str | None = None
        self._filter, self._column, self._descending = "all", "case", False
        self._rows: dict[str, ReviewRow] = {}
        self._latest: dict[tuple[str, str], Verdict] = {}
        self._statuses: dict[str, str] = {}
        self.shown: list[str] = []
        self.refresh()

    @property
    def isWritable(self) -> bool:
        """Whether verdicts and edits can be kept."""
        return self.store.writable

    def refresh(self) -> None:
        """Read the verdicts anew: others may have written. Raises BadRequest, also when the folder is gone."""
        if not self.cohort.root.is_dir():
            raise BadRequest(f"The folder {self.cohort.root} is gone.", "Connect the drive again, or open another cohort.")
        self._take(self.store.latest())
        self.arrange()

    # Cases

    def lookForCases(self) -> bool:
        """Whether a run has made cases, or taken damaged ones away, since the last look. Lists the folder, opens nothing."""
        names = self.cohort.names()
        if names == self.names or not names:  # a drive that is gone for a while takes nothing away
            return False
        for gone in set(self.names) - set(names):
            self.forgetRow(gone)
        self.names, self._failures = names, len(self.cohort.failed())
        self.arrange()
        return True

    def row(self, name: str) -> ReviewRow:
        """What the files say of a case; read once."""
        if name not in self._rows:
            self._rows[name] = ReviewRow.read(self.cohort, name, blind=self.isBlind)
        return self._rows[name]

    def thumbnail(self, name: str) -> Path | None:
        """The picture of a case's three planes, if there is one."""
        try:
            path = self.cohort.case(name).thumb_path
        except BadRequest:
            return None
        return path if path.is_file() else None

    def forgetRow(self, name: str) -> None:
        """Read a case's files again next time."""
        self._rows.pop(name, None)

    def markDamaged(self, name: str, problem: str) -> None:
        """The images of a case cannot be read."""
        self._rows[name] = ReviewRow(name, problem=problem)

    def failures(self) -> int:
        """How many cases could not be made, at the last look."""
        return self._failures

    def readSome(self, seconds: float) -> bool:
        """Read rows that are not read yet for about so long; whether all are read now."""
        end = time.monotonic() + seconds
        for name in self.names:
            if name not in self._rows:
                if time.monotonic() > end:
                    return False
                self.row(name)
        return True

    # Order

    def setFilter(self, chosen: str) -> None:
        """Show all cases, or those of one kind. Which are to do is asked of the reviewer's own verdicts, else of everybody's."""
        self._filter = chosen
        self.arrange()

    def sortBy(self, column: str, descending: bool) -> None:
        """Order by a column: case, status, scores, structure, volume, dice, flags or description."""
        self._column, self._descending = column, descending
        self.arrange()

    def arrange(self) -> list[str]:
        """Bring `shown` up to date; it."""
        names = [name for name in self.names if self._passes(name)] if self._filter != "all" else list(self.names)
        if self._column != "case" or self._descending:
            keys = {name: self._key(name) for name in names}
            valued = sorted((n for n in names if not keys[n][0]), key=lambda n: keys[n][1], reverse=self._descending)
            names = valued + [n for n in names if keys[n][0]]
        self.shown = names
        return names

    def neighbour(self, by: int, name: str | None = None) -> str | None:
        """The case so many places after (before) a shown one, by default the current one; None beyond the ends."""
        name = self.current if name is None else name
        if name not in self.shown:
            return self.shown[0] if self.shown else None
        place = self.shown.index(name) + by
        return self.shown[place] if 0 <= place < len(self.shown) else None

    def firstToDo(self) -> str | None:
        """The first shown case that the reviewer has not done, else the first one; None when none is shown."""
        first = self.shown[0] if self.shown else None
        return next((name for name in self.shown if not self.isDone(name)), first)

    # Verdicts

    def verdict(self, name: str) -> Verdict | None:
        """The reviewer's own verdict that counts."""
        return self._latest.get((name, self.reviewer))

    def verdictsByCase(self) -> dict[str, list[Verdict]]:
        """Case -> the verdict of each reviewer that counts; cases without one are left out."""
        found: dict[str, list[Verdict]] = {}
        for (name, _reviewer), verdict in self._latest.items():
            found.setdefault(name, []).append(verdict)
        return found

    def status(self, name: str) -> str:
        """What everybody together says; of a blind reading, the reviewer's own guess or `unreviewed`."""
        if self.isBlind:
            own = self.verdict(name)
            return own.guess if own and own.guess else UNREVIEWED
        return self._statuses.get(name, UNREVIEWED)

    def isDone(self, name: str) -> bool:
        """Whether the reviewer has given a status, in a blind reading a guess."""
        own = self.verdict(name)
        return own is not None and (own.guess if self.isBlind else own.status) is not None

    def say(self, name: str, version: int, **changes: Any) -> Verdict:
        """Keep a verdict like the reviewer's last one on the case, with `changes`, on mask `version`. On disk when this returns."""
        if not self.reviewer.strip():
            raise BadRequest("Who is reviewing?", "Enter your name or initials first.")
        if self.row(name).problem:
            raise BadRequest(self.row(name).problem)
        last = self.verdict(name) or Verdict(name, self.reviewer)
        made = replace(last, mask_version=version, bundle_hash=self.cohort.bundle_hash, id="", at="", undoes=None, **changes)
        return self._note(self.store.add(made))

    def undo(self) -> str | None:
        """Take the reviewer's newest verdict back; its case, None when there is nothing to take back."""
        taken = self.store.undo(self.reviewer)
        return self._note(taken).case_name if taken is not None else None

    def merge(self, other: Path) -> MergeReport:
        """Add the verdicts that were made on a copy."""
        from sketch2ct.review.summary import merge

        report = merge(self.cohort, other)
        self.refresh()
        return report

    def counts(self) -> tuple[int, int]:
        """How many cases the reviewer has done, and how many there are."""
        known = set(self.names)
        own = (name for (name, reviewer) in self._latest if reviewer == self.reviewer)  # asking every case would take longer
        return sum(name in known and self.isDone(name) for name in own), len(known)

    # Masks

    def addEdit(self, name: str, write: Any, names: dict[int, str], base: int) -> int:
        """Keep an edited mask, which `write(path)` writes, as a new version; its number. `names` are its values'."""
        made = self.cohort.add_edit(name, write, self.reviewer.strip() or "unnamed", names=names, base=base)
        self.forgetRow(name)
        return made

    def _note(self, verdict: Verdict) -> Verdict:
        latest = dict(self._latest)
        latest[verdict.case_name, verdict.reviewer] = verdict
        self._take({key: value for key, value in latest.items() if not value.says_nothing})
        return verdict

    def _take(self, latest: dict[tuple[str, str], Verdict]) -> None:
        self._latest, self._statuses = latest, statuses(latest.values())

    def _passes(self, name: str) -> bool:
        if self._filter == "todo":
            return not self.isDone(name)
        if self._filter == "flagged":
            row = self.row(name)
            return bool(row.problem) or row.gate in ("flag", "reject")
        return self.status(name) == self._filter

    def _key(self, name: str) -> tuple[bool, Any]:
        if self._column == "status":
            status = self.status(name)
            return False, (_STATUS_ORDER.index(status) if status in _STATUS_ORDER else len(_STATUS_ORDER), status)
        if self._column == "scores":
            own = self.verdict(name)
            given = [score for score in (getattr(own, key) for key in SCORES) if score is not None] if own else []
            return not given, sum(given) / max(len(given), 1)
        return self.row(name).sortKey(self._column)
