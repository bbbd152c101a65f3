"""`sketch2ct cohort` through the real command line: what it prints, and what it refuses."""

import json
import os
import subprocess
import sys

import pytest

from fake_backend import circle, make_bundle
from sketch2ct import cli
from sketch2ct.cohort import start
from sketch2ct.cohort.folder import Cohort
from sketch2ct.request import GenerationRequest

from cohort_kit import FRAME, QuickEngine, write_spec  # isort: skip


@pytest.fixture
def spec(tmp_path, monkeypatch):
    make_bundle(tmp_path / "shelf", frame=FRAME)
    monkeypatch.setenv("SKETCH2CT_BUNDLES", str(tmp_path / "shelf"))
    GenerationRequest([circle(30)], "a mandible of 60 mL", device="cpu").write(tmp_path / "base.json")
    return write_spec(tmp_path / "spec.yaml", request="base.json", count=3, vary={"volume": [0.8, 1.2]}, gates=False)


@pytest.fixture
def cohort(monkeypatch, capsys):
    """Runs the command in this process with a quick engine: status, stdout, stderr."""

    def run(*arguments, faults=None):
        fake = QuickEngine(faults=faults)
        monkeypatch.setattr(start, "engine", lambda: fake)
        status = cli.main(["cohort", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_a_run_says_a_line_a_case_and_the_sum(cohort, spec, tmp_path):
    status, out, err = cohort(spec, "--out", tmp_path / "out", "--device", "cpu")
    assert status == 0 and out == ""
    lines = err.splitlines()
    assert len(lines) == 5 and lines[1].startswith("1/3 case-00001 pass")
    assert lines[-1].startswith("3 of 3 cases complete, 0 failed; this run made 3 (0 flagged, 0 rejected) in ")
    assert Cohort.open(tmp_path / "out").names() == ["case-00001", "case-00002", "case-00003"]
    status, _, err = cohort(spec, "--out", tmp_path / "out")
    assert status == 0 and err.splitlines()[-1] == "3 of 3 cases complete, 0 failed."


def test_events_are_one_object_a_line(cohort, spec, tmp_path):
    faults = {"case-00002": [ValueError("first"), ValueError("second")]}
    status, out, err = cohort(spec, "--out", tmp_path / "out", "--device", "cpu", "--events", faults=faults)
    events = [json.loads(line) for line in out.splitlines()]
    assert status == 1 and err == ""
    told = [event for event in events if event["type"] != "progress"]
    assert [event["type"] for event in told] == ["start", "case", "failed", "case", "failed", "done"]
    assert told[0]["folder"] == str(tmp_path / "out") and told[0]["total"] == 3 and told[0]["eta_s"] is None
    assert (told[1]["case"], told[1]["verdict"], told[1]["reasons"], told[1]["done"]) == ("case-00001", "pass", [], 1)
    assert (told[4]["case"], told[4]["attempts"], told[4]["message"], told[4]["failed"]) == ("case-00002", 2, "ValueError: second", 1)
    assert told[-1]["done"] == 2 and told[-1]["stopped"] == "" and told[-1]["rate_per_hour"] > 0
    progress = [event for event in events if event["type"] == "progress"]
    assert progress and all(event["case"].startswith("case-") and 0 <= event["fraction"] <= 1 for event in progress)
    status, out, _ = cohort(spec, "--out", tmp_path / "out", "--device", "cpu", "--events", "--retry-failed")
    assert status == 0 and json.loads(out.splitlines()[-1])["done"] == 3


def test_a_dry_run_shows_the_plan_and_makes_nothing(cohort, spec, tmp_path):
    status, out, err = cohort(spec, "--out", tmp_path / "out", "--dry-run")
    plan = json.loads(out)
    assert status == 0 and err == "" and not (tmp_path / "out").exists()
    assert (plan["total"], plan["sources"], plan["bundle"]) == (3, 1, "headneck")
    assert [case["case"] for case in plan["first"]] == ["case-00001", "case-00002", "case-00003"]
    factor = plan["first"][0]["drawn"]["volume_factor"]
    assert 0.8 <= factor <= 1.2 and f"{60 * factor:.1f}" in plan["first"][0]["description"]


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        ({"cuont": 2}, [], "unknown keys: cuont"),
        ({"bundle": "thorax"}, [], "There is no bundle 'thorax'"),
        ({}, ["--workers", "2"], "--workers is for a Ray cluster"),
        ({}, ["--device", "cuda:99"], "The device 'cuda:99' is not available"),
        ({}, ["--workers", "0"], "Invalid value for '--workers'"),
    ],
)
def test_mistakes_are_answered_in_one_line_with_status_2(cohort, spec, tmp_path, change, arguments, words):
    if change:
        write_spec(spec, request="base.json", count=3, **change)
    status, out, err = cohort(spec, "--out", tmp_path / "out", *arguments)
    assert status == 2 and out == "" and err.startswith("error: ") and err.count("\n") == 1 and words in err
    assert not (tmp_path / "out" / "cases").exists()


def test_planning_leaves_torch_alone(spec, tmp_path):
    program = (
        f"import sys\nfrom sketch2ct.cli import main\nmain(['cohort', {str(spec)!r}, '--out', {str(tmp_path / 'out')!r}, '--dry-run'])"
    )
    modules = "print([name for name in ('torch', 'monai', 'ray') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", f"{program}\n{modules}"], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.splitlines()[-1] == "[]"


def test_folder_and_gates_need_only_what_slicer_has(tmp_path):
    absent = ("torch", "monai", "skimage", "nibabel", "nrrd", "yaml", "PIL", "matplotlib", "rich", "typer", "ray", "pydicom")
    program = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent}:
            raise ImportError(name + " is not part of Slicer")
sys.meta_path.insert(0, Refuse())
from sketch2ct.cohort import folder, gates
print(gates.judge({{}}, gates.settings()).verdict, folder.Cohort.__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout == "pass Cohort\n", done.stderr
