"""Verdicts on disk: one row each, only ever added, the newest of a reviewer counts. Standard library only."""

from __future__ import annotations

import sqlite3
import tempfile
import uuid
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ..errors import BadRequest
from . import database
from .verdict import DISPUTED, UNREVIEWED, Verdict

FILE = "reviews.sqlite"
_PLACES = ", ".join("?" for _ in database.COLUMNS)
_INSERT = f"INTO verdict ({', '.join(database.COLUMNS)}) VALUES ({_PLACES})"
_SELECT = f"SELECT {', '.join(database.COLUMNS)} FROM verdict"
_ORDER = "ORDER BY at, id"
_CLOCK = "%Y-%m-%dT%H:%M:%S.%fZ"  # sorts as text


@dataclass(frozen=True)
class MergeReport:
    """How many verdicts of another copy were `new` here, and how many were `known` already."""

    new: int
    known: int


class ReviewStore:
    """The verdicts of a cohort. `path` is its folder or the file itself, which is made with the first verdict.

    Every method opens the file and closes it again, so that copies, other reviewers and other programs are never in the way.
    All raise WriteFailed (locked, read-only, disk full) or BadRequest (damaged, newer than this program); nothing is lost then.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path).expanduser()
        self.path = path / FILE if path.is_dir() else path
        self._checked = False

    @property
    def writable(self) -> bool:
        """Whether verdicts could be added, as far as permissions tell."""
        return database.is_writable(self.path)

    def add(self, verdict: Verdict) -> Verdict:
        """Append a verdict; as it was stored, with `id` and `at`. It is on the disk when this returns."""
        return self._append([verdict])[0]

    def latest(self, case: str | None = None, reviewer: str | None = None) -> dict[tuple[str, str], Verdict]:
        """(case, reviewer) -> the verdict that counts; of one case or reviewer if given. What was taken back is not there."""
        newest = {(row.case_name, row.reviewer): row for row in self._rows(case, reviewer)}
        return {key: row for key, row in newest.items() if not row.says_nothing}

    def history(self, case: str) -> list[Verdict]:
        """Every verdict on a case, oldest first, those that were taken back included."""
        return self._rows(case, None)

    def rows(self) -> list[Verdict]:
        """Every verdict on every case, oldest first."""
        return self._rows(None, None)

    def reviewers(self) -> list[str]:
        """Who has reviewed, by name."""
        return sorted({reviewer for _, reviewer in self.latest()})

    def undo(self, reviewer: str) -> Verdict | None:
        """Take a reviewer's newest verdict back: appends a row like the one before it; None when there is nothing to take back.

        Again and again, it goes further back. The row says which one it `undoes`.
        """
        rows = self._rows(None, reviewer)
        undone = {row.undoes for row in rows if row.undoes}
        standing = [row for row in rows if row.undoes is None and row.id not in undone]
        if not standing:
            return None
        last = standing[-1]
        before = next((row for row in reversed(standing[:-1]) if row.case_name == last.case_name), None)
        before = before or Verdict(last.case_name, reviewer, bundle_hash=last.bundle_hash)
        return self.add(replace(before, id="", at="", undoes=last.id))

    def merge(self, other: str | Path) -> MergeReport:
        """Add the verdicts of another copy of the file, which stays as it is. Twice is the same as once."""
        rows = self.read_copy(other)
        with database.opened(self.path, write=True) as open_database:
            before = open_database.total_changes
            open_database.executemany(f"INSERT OR IGNORE {_INSERT}", [_values(row) for row in rows])
            new = open_database.total_changes - before
        return MergeReport(new, len(rows) - new)

    @staticmethod
    def read_copy(other: str | Path) -> list[Verdict]:
        """The verdicts of a file, or of a cohort's folder, that must not be changed, of whatever version it is. Raises BadRequest."""
        other = Path(other).expanduser()
        return _read_copy(other / FILE if other.is_dir() else other)

    def status_of(self, case: str) -> str:
        """`accepted`, `rejected`, `needs_edit`, `unreviewed`, or `disputed` when reviewers disagree."""
        return self.statuses(case).get(case, UNREVIEWED)

    def statuses(self, case: str | None = None) -> dict[str, str]:
        """Case -> status, as `status_of` gives it, at one look; cases that nobody has reviewed are left out."""
        return statuses(self.latest(case).values())

    def _append(self, verdicts: list[Verdict]) -> list[Verdict]:
        stored = []
        with database.opened(self.path, write=True) as open_database:
            for verdict in verdicts:
                # A clock that is set back, or too coarse, must not put a verdict before an earlier one of the same reviewer.
                last = open_database.execute("SELECT max(at) FROM verdict WHERE reviewer = ?", (verdict.reviewer,)).fetchone()[0]
                stored.append(replace(verdict, id=str(uuid.uuid4()), at=_after(last)))
                open_database.execute(f"INSERT {_INSERT}", _values(stored[-1]))
        return stored

    def _rows(self, case: str | None, reviewer: str | None) -> list[Verdict]:
        if not self.path.is_file() or not self.path.stat().st_size:  # the file of a first verdict that did not fit on the disk
            return []
        if not self._checked:
            database.check(self.path)
            self._checked = True
        wanted = {"case_name": case, "reviewer": reviewer}
        given = {name: value for name, value in wanted.items() if value is not None}
        where = f"WHERE {' AND '.join(f'{name} = ?' for name in given)}" if given else ""
        with database.opened(self.path) as open_database:
            found = open_database.execute(f"{_SELECT} {where} {_ORDER}", tuple(given.values())).fetchall()
        return [Verdict(**dict(row)) for row in found]


def statuses(verdicts: Iterable[Verdict]) -> dict[str, str]:
    """Case -> status of the verdicts that count, one of each reviewer; cases without a status are left out."""
    said: dict[str, set[str]] = {}
    for verdict in verdicts:
        if verdict.status is not None:
            said.setdefault(verdict.case_name, set()).add(verdict.status)
    return {case: next(iter(different)) if len(different) == 1 else DISPUTED for case, different in said.items()}


def _values(verdict: Verdict) -> tuple:
    values = asdict(verdict)
    return tuple(values[name] for name in database.COLUMNS)


def _after(last: str | None) -> str:
    now = datetime.now(timezone.utc)
    if last is not None and last >= now.strftime(_CLOCK):
        now = datetime.strptime(last, _CLOCK).replace(tzinfo=timezone.utc) + timedelta(microseconds=1)
    return now.strftime(_CLOCK)


def _read_copy(path: Path) -> list[Verdict]:
    """The verdicts of a file that must not be changed, of whatever version it is."""
    if not path.is_file():
        raise BadRequest(f"There is no file {path}.", f"Name the {FILE} of a copy of the cohort.")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / FILE
        try:
            source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
            with closing(source), closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        except sqlite3.Error as error:
            raise BadRequest(f"{path} cannot be read as a database of reviews: {error}.", "Give an unharmed copy.") from error
        try:
            return ReviewStore(copy).rows()
        except BadRequest as error:
            raise BadRequest(error.message.replace(str(copy), str(path)), error.hint) from error
