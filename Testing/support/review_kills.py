"""A reviewer's program that is killed right after a key press, again and again: `review_kills.py COHORT FOLDER KILLS`.

It opens the cohort in the module, on slicer-core and the stand-in desktop. For each kill it forks itself: the copy has everything that
the program had, chooses a case in the table, presses a key in a slice view, and says by one byte that the handler has returned; it is
sent SIGKILL at that byte, with nothing of Qt's event loop run in between. The file is then opened anew and must hold the verdict. A copy
has no threads but its own, so the views are not drawn between key press and kill.

After the last of them the program itself presses a key, prints the line `pressed`, and waits to be killed, with its threads and views.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from headless_slicer import bootstrap

# Key -> what it says.
KEYS: dict[str, dict[str, Any]] = {
    "A": {"status": "accepted"},
    "X": {"status": "rejected"},
    "E": {"status": "needs_edit"},
    **{str(score): {"realism": score} for score in range(1, 6)},
}
REVIEWER = "AB"
_HANGS_S, _COPY_HANGS_S = 500, 60  # then it ends, and the test fails


def expected(number: int) -> tuple[str, dict[str, Any]]:
    """The key of the nth press, counted from 1, and what it says."""
    key = list(KEYS)[(number - 1) % len(KEYS)]
    return key, {"status": None, "realism": None} | KEYS[key]


def main(root: Path, folder: Path, kills: int) -> None:
    signal.alarm(_HANGS_S)
    app = bootstrap(folder, qt=True)
    from headless_slicer.desktop import Desktop
    from module_driver import ModuleDriver
    from reviewing import Reviewing
    from Sketch2CTModuleLib.EnvironmentCheck import EnvironmentCheck

    EnvironmentCheck.run = lambda self: None
    review = Reviewing(ModuleDriver(Desktop(app), folder / "results"), root, REVIEWER)
    for number in range(1, kills + 1):
        while review.panel.viewer.tend():  # the copy has no thread that would go on reading
            pass
        _press_and_die(review, number)
        _check(review, number)
    _press(review, kills + 1)
    print("pressed", flush=True)
    signal.pause()


def _press(review: Any, number: int) -> None:
    """Choose the nth case by the table, and press its key in a slice view."""
    review.ui.cohortTable.setCurrentCell(number - 1, 1)
    view = review.desktop.widget("Red")
    view.setFocus()
    QTest.keyClick(view, getattr(Qt, f"Key_{expected(number)[0]}"))


def _press_and_die(review: Any, number: int) -> None:
    ours, theirs = os.pipe()
    copy = os.fork()
    if not copy:
        signal.alarm(_COPY_HANGS_S)
        os.close(ours)
        _press(review, number)
        os.write(theirs, b"x")
        while True:
            signal.pause()
    os.close(theirs)
    said = os.read(ours, 1)
    os.kill(copy, signal.SIGKILL)
    ended = os.waitpid(copy, 0)[1]
    os.close(ours)
    assert (said, ended) == (b"x", signal.SIGKILL), f"press {number}: the copy ended by itself, {ended}"


def _check(review: Any, number: int) -> None:
    """What was said is in the file, and nothing else is new."""
    from reviewing import case

    rows = review.store.rows()
    assert len(rows) == number, f"press {number} left {len(rows)} verdicts"
    last = rows[-1]
    assert (last.case_name, last.reviewer) == (case(number), REVIEWER)
    assert {"status": last.status, "realism": last.realism} == expected(number)[1], f"press {number}: {last}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
