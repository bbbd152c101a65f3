"""No verdict is lost when the program dies right after a key press."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import review_kills
from review_cohorts import lengthen, make_cohort
from reviewing import case
from sketch2ct.review.store import FILE, ReviewStore

KILLS = 200


def test_no_verdict_is_lost_when_the_program_is_killed_right_after_a_key_press(tmp_path):
    """200 kills of copies of the program (see `review_kills`), each looked at when it has died, and then one of the program itself."""
    root = make_cohort(tmp_path / "cohort", 4, thumbs=False)
    lengthen(root, KILLS + 1)
    (tmp_path / "slicer").mkdir()
    command = [sys.executable, review_kills.__file__, str(root), str(tmp_path / "slicer"), str(KILLS)]
    with (tmp_path / "errors").open("w") as errors:
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, "PYTHONPATH": _path()})
    assert program.stdout is not None
    said = program.stdout.readline()
    program.send_signal(signal.SIGKILL)
    assert (said, program.wait()) == ("pressed\n", -signal.SIGKILL), (tmp_path / "errors").read_text()

    rows = ReviewStore(root).rows()
    assert [row.case_name for row in rows] == [case(n) for n in range(1, KILLS + 2)]
    for number, row in enumerate(rows, start=1):
        assert {"status": row.status, "realism": row.realism} == review_kills.expected(number)[1]
    assert [path.name for path in root.iterdir() if path.name.startswith(FILE)] == [FILE]  # no journal is left behind


def _path() -> str:
    return os.pathsep.join(path for path in sys.path if path)
