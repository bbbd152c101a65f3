"""The one writer of a cohort folder: what is left to make, and where each case that comes back goes. No torch.

A runner takes numbers with `take`, makes the case in the folder `workplace` gives, and hands it to `finish` or `fail`. Whatever kills
the process, a case is in `cases`, complete, or it is made again.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..disk import created, writing
from ..errors import BadRequest, BundleCorrupt, BundleMissing, Cancelled, OutOfMemory, Sketch2CTError, WriteFailed
from ..imaging import read_ct, read_labels
from ..modality import of
from ..provenance import read_json
from . import gates
from .case import CASE, CASE_NAME, CASES, CT, FAILED, LABELS, NAMES, THUMB, WORK, case_name
from .edits import write_json
from .folder import Cohort
from .opening import Asked, ready, sync
from .plan import Planned
from .reporting import Reporter, Tally
from .thumb import thumb, write_thumb

FATAL = (OutOfMemory, WriteFailed, BundleMissing, BundleCorrupt, Cancelled)  # the next case would meet the same
ATTEMPTS = 2  # of a case in one run: once in its turn, once more at the end
HOPELESS = 10  # failures in a row, from the first case on, after which the run ends
_GOES_ON = "The complete cases are kept; the same command goes on from there."


class Job:
    """One run over a cohort folder, under its lock; see `opened`."""

    def __init__(self, asked: Asked, reporter: Reporter) -> None:
        self._asked, self._report, self._spec = asked, reporter, asked.planner.spec
        self._root, self._work = asked.out, asked.out / WORK
        complete, failed = self._survey()
        given_up = set() if asked.retry_failed else {number for number, attempts in failed.items() if attempts >= ATTEMPTS}
        self._queue = deque(n for n in range(1, asked.planner.total + 1) if n not in complete and n not in given_up)
        self._again: deque[int] = deque()
        self._attempts: dict[int, int] = {}
        self._out: set[int] = set()  # taken, and not come back yet
        self._size = sum(_size(self._root / CASES / case_name(number)) for number in complete) if self._spec.stop.gigabytes else 0
        self.tally = Tally(asked.planner.total, len(complete), failed=len(failed))

    @property
    def left(self) -> int:
        """How many cases wait."""
        return len(self._queue) + len(self._again)

    @property
    def due(self) -> int:
        """How many of those may be taken now, with what the spec's limits say and what is out already."""
        most = self._spec.stop.cases
        room = self.left if most is None else max(most - self.tally.done - len(self._out), 0)
        return 0 if self.stopped() else min(self.left, room)

    def stopped(self) -> str:
        """Why the run should end although cases are left; empty while it should go on."""
        stop, tally = self._spec.stop, self.tally
        if stop.cases is not None and tally.done >= stop.cases:
            return f"{stop.cases} cases are complete, as 'stop' asks"
        if stop.minutes is not None and tally.seconds >= 60 * stop.minutes:
            return f"{stop.minutes:g} minutes are over, as 'stop' asks"
        if stop.gigabytes is not None and self._size >= stop.gigabytes * 1e9:
            return f"the cases take {stop.gigabytes:g} GB, as 'stop' asks"
        return ""

    def take(self) -> int | None:
        """The next case's number; None when nothing is left, or the spec's limits are met."""
        queue = self._queue or self._again
        if not self.due:
            return None
        self._out.add(queue[0])
        return queue.popleft()

    def put_back(self, number: int) -> None:
        """A case that was taken and not made; it is due at once."""
        self._out.discard(number)
        self._queue.appendleft(number)

    def plan(self, number: int) -> Planned:
        """The case of a number. Raises BadRequest."""
        return self._asked.planner.case(number)

    def workplace(self, number: int) -> Path:
        """The folder, not there yet, in which the case is to be made."""
        return self._work / case_name(number)

    def progress(self, name: str, fraction: float) -> None:
        """A case is so far, 0 to 1."""
        self._report.progress(self.tally, name, fraction)

    def finish(self, planned: Planned) -> None:
        """Judge the result in the case's workplace, add what a table shows, and put it among the complete ones. Raises WriteFailed."""
        folder = self._work / planned.name
        manifest = read_json(folder / "manifest.json")
        if manifest.get("bundle_hash") != self._asked.bundle.digest:
            told = f"The bundle '{self._asked.bundle.name}' changed while the cohort was made."
            raise BundleCorrupt(told, "Install the one it began with.")
        gate = gates.judge(manifest["quality"], self._spec.gates)
        with writing(self._root):
            write_thumb(folder / THUMB, self._picture(folder, planned.facts["structure"]))
            write_json(folder / CASE, {**planned.facts, "gate": gate.to_dict()})
            self._size += _size(folder)
            os.rename(folder, self._root / CASES / planned.name)
            sync(self._root / CASES)
            failure = self._root / FAILED / f"{planned.name}.json"
            if failure.exists():
                failure.unlink()
                self.tally.failed -= 1
        self._out.discard(int(planned.name.removeprefix("case-")))
        self.tally.count(gate.verdict)
        self._report.case(self.tally, planned.name, planned.facts["source"], gate.verdict, list(gate.reasons))

    def fail(self, number: int, error: Exception, *, attempts: int = 1) -> None:
        """Note why a case could not be made, after so many `attempts`; it gets a second chance at the end unless it had it.

        Raises WriteFailed, and Sketch2CTError when every case from the first on fails.
        """
        self._out.discard(number)
        self._attempts[number] = self._attempts.get(number, 0) + attempts
        name, path = case_name(number), self._root / FAILED / f"{case_name(number)}.json"
        known = path.exists()
        tried = _attempts(path) + attempts
        code, message, hint = _said(error)
        facts = {"case": name, "attempts": tried, "code": code, "message": message, "hint": hint, "when": created()}
        with writing(self._root):
            shutil.rmtree(self._work / name, ignore_errors=True)
            half = self._work / f"{name}.json"
            write_json(half, facts)
            os.replace(half, path)
        self.tally.failed += not known
        if self._attempts[number] < ATTEMPTS:
            self._again.append(number)
        self._report.failed(self.tally, facts)
        if not self.tally.made and len(self._attempts) >= HOPELESS:
            hint = f"{hint} Mend it and run the same command with --retry-failed.".strip()
            raise Sketch2CTError(f"The first {len(self._attempts)} cases failed, the last with: {message}", hint)

    def _survey(self) -> tuple[set[int], dict[int, int]]:
        """The numbers of the complete cases, and of the failed ones with their attempts. Damaged ones go: they are made again, the same."""
        cohort = Cohort.open(self._root)
        for name, problem in cohort.damaged().items():
            self._report.note(f"{problem.partition(' Remove the folder')[0]} It is made again.")
            with writing(self._root):
                os.rename(self._root / CASES / name, self._work / f"damaged-{name}")
                shutil.rmtree(self._work / f"damaged-{name}", ignore_errors=True)
        complete = {int(name.removeprefix("case-")) for name in cohort.names()}
        noted = [path for path in (self._root / FAILED).glob("case-*.json") if CASE_NAME.fullmatch(path.stem)]
        failures = {int(path.stem.removeprefix("case-")): path for path in noted}
        for number in complete & set(failures):  # killed between the two steps
            failures.pop(number).unlink(missing_ok=True)
        return complete, {number: _attempts(path) for number, path in failures.items()}

    def _picture(self, folder: Path, structure: str) -> Any:
        names = {int(value): name for value, name in read_json(folder / NAMES).items()}
        modality = of(self._asked.bundle.metadata)
        ct = read_ct(folder / CT, modality) if (folder / CT).is_file() else None
        return thumb(read_labels(folder / LABELS, names), ct, structure, modality)


@contextmanager
def opened(asked: Asked, reporter: Reporter) -> Iterator[Job]:
    """A run over the cohort folder, which is made or taken up again, under its lock. Raises BadRequest or WriteFailed as `ready` does."""
    with ready(asked):
        job = Job(asked, reporter)
        reporter.start(job.tally, asked.out)
        yield job


def with_way_on(error: Sketch2CTError) -> Sketch2CTError:
    """A fatal error that also says how to go on after it is mended."""
    return type(error)(error.message, f"{error.hint} {_GOES_ON}".strip())


def _said(error: Exception) -> tuple[str, str, str]:
    """Code, message and hint."""
    if isinstance(error, Sketch2CTError):
        return error.code, error.message, error.hint
    return "internal", " ".join(f"{type(error).__name__}: {error}".split()), ""


def _attempts(path: Path) -> int:
    if not path.is_file():
        return 0
    try:
        found = read_json(path).get("attempts")
    except BadRequest:
        return 0
    return found if isinstance(found, int) else 0


def _size(folder: Path) -> int:
    return sum(entry.stat().st_size for entry in os.scandir(folder) if entry.is_file())
