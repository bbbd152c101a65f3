"""The runner killed at any moment: nothing is lost, nothing is made twice, and the bytes are those of an unbroken run."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import cohort_kit
from cohort_kit import FRAME, make, stable_bytes, write_spec
from fake_backend import circle, make_bundle
from sketch2ct.cohort.folder import Cohort
from sketch2ct.cohort.lock import LOCK
from sketch2ct.request import GenerationRequest

CASES, KILLS = 50, 5
LIMIT_S = 240


@pytest.fixture
def spec(tmp_path, monkeypatch):
    make_bundle(tmp_path / "shelf", frame=FRAME)
    monkeypatch.setenv("SKETCH2CT_BUNDLES", str(tmp_path / "shelf"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    GenerationRequest([circle(30)], "a mandible of 60 mL", device="cpu").write(tmp_path / "base.json")
    vary = {"hand": [0.5, 1.5], "volume": [0.8, 1.25]}
    return write_spec(tmp_path / "spec.yaml", request="base.json", count=CASES, vary=vary, seed=7)


def lines(log):
    return log.read_text().splitlines() if log.exists() else []


def test_fifty_cases_survive_five_kills(spec, tmp_path):
    rng = random.Random(20)
    out, log = tmp_path / "out", tmp_path / "calls"
    command = [sys.executable, cohort_kit.__file__, str(spec), str(out), str(log), "0.02"]
    # The kth kill comes after so many calls of the engine and some time more, so that it falls anywhere in a case: while it is made,
    # judged, drawn or renamed.
    moments = [(call, rng.uniform(0, 0.2)) for call in sorted(rng.sample(range(2, CASES - 3), KILLS))]
    for call, later in moments:
        runner = subprocess.Popen(command)
        end = time.monotonic() + LIMIT_S
        while len(lines(log)) < call and time.monotonic() < end:
            assert runner.poll() is None, "the runner ended by itself"
            time.sleep(0.005)
        time.sleep(later)
        os.kill(runner.pid, signal.SIGKILL)
        assert runner.wait() == -signal.SIGKILL
        assert (out / LOCK).is_file()  # nobody could tidy up
        assert Cohort.open(out).damaged() == {}
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr

    cohort = Cohort.open(out)
    assert cohort.names() == [f"case-{n:05d}" for n in range(1, CASES + 1)]
    assert len(cohort.cases()) == CASES and cohort.failed() == []
    assert sorted(path.name for path in out.iterdir()) == ["cases", "cohort.json", "failed"]
    calls = Counter(line.split()[0] for line in lines(log))
    assert set(calls) == set(cohort.names())
    assert sum(calls.values()) <= CASES + KILLS  # a kill costs the case it hits, never a complete one
    assert len({line.split()[1] for line in lines(log)}) == CASES  # a case that is made again has the seed of before

    unbroken = tmp_path / "unbroken"
    make(spec, unbroken)
    assert stable_bytes(out) == stable_bytes(unbroken)
    assert len(stable_bytes(out)) == CASES * 6


def test_a_kill_between_the_steps_of_finishing_loses_nothing(spec, tmp_path, monkeypatch):
    """Every system call that changes the folder, in turn: the process dies right before it."""
    from sketch2ct.cohort import edits, job, thumb

    class Died(BaseException):
        pass

    class Deadly:
        """Stands for a module's `os`, and dies at its nth use that changes something."""

        def __init__(self, fuse):
            self.fuse = fuse

        def __getattr__(self, name):
            if name in ("rename", "replace", "fsync"):
                self.fuse[0] -= 1
                if self.fuse[0] < 0:
                    raise Died
            return getattr(os, name)

    text = Path(spec).read_text().replace(f"count: {CASES}", "count: 2")
    spec.write_text(text)
    make(spec, tmp_path / "unbroken")
    expected = stable_bytes(tmp_path / "unbroken")
    for step in range(12):
        out = tmp_path / f"out-{step}"
        fuse = [step]
        with monkeypatch.context() as patch:
            for module in (edits, job, thumb):
                patch.setattr(module, "os", Deadly(fuse))
            try:
                make(spec, out)
            except Died:
                pass
            else:
                assert step > 6, "nothing was cut off"
        if (out / "cohort.json").exists():
            assert Cohort.open(out).damaged() == {}
        assert make(spec, out).done == 2
        assert stable_bytes(out) == expected
