"""A cohort read from disk: its cases, what is damaged, edits of masks, and plain results read as a cohort."""

import gzip
import json
import shutil
import threading
import time

import pytest

from cohort_kit import FRAME, make, write_spec
from fake_backend import circle, make_bundle
from result_folders import turned_grid, two_blocks, write_result
from sketch2ct import bundle
from sketch2ct.cohort.folder import Cohort
from sketch2ct.errors import BadRequest, WriteFailed
from sketch2ct.imaging import read_image
from sketch2ct.request import GenerationRequest


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """Three cases of a request, made by a run."""
    folder = tmp_path_factory.mktemp("made")
    make_bundle(folder / "shelf", frame=FRAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKETCH2CT_BUNDLES", str(folder / "shelf"))
        GenerationRequest([circle(30)], "a mandible").write(folder / "base.json")
        make(write_spec(folder / "spec.yaml", request="base.json", count=3, vary={"hand": [1, 1]}), folder / "out")
        digest = bundle.load("headneck").digest
    return folder / "out", digest


@pytest.fixture
def root(made_once, tmp_path):
    """A copy that a test may harm."""
    return shutil.copytree(made_once[0], tmp_path / "cohort")


def test_a_cohort_tells_what_it_is(root, made_once):
    cohort = Cohort.open(root)
    assert (cohort.total, cohort.bundle, cohort.bundle_hash) == (3, "headneck", made_once[1])
    assert cohort.spec["count"] == 3 and cohort.spec["vary"]["hand"] == [1.0, 1.0]
    assert cohort.names() == ["case-00001", "case-00002", "case-00003"]
    assert [case.name for case in cohort.cases()] == cohort.names() and not cohort.damaged() and not cohort.failed()
    assert json.loads((root / "cohort.json").read_text())["synthetic"] is True


def test_a_case_gives_its_parts(root):
    case = Cohort.open(root).case("case-00002")
    assert (case.group, case.source, case.structure, case.structures) == ("g0001", "base.json", "mandible", ("mandible",))
    assert case.gate in ("pass", "flag", "reject") and isinstance(case.reasons, list)
    assert case.request().seed == case.manifest()["seed"]
    assert case.labels_path() == root / "cases" / "case-00002" / "labels.nii.gz" and case.ct_path.is_file()
    assert case.facts["drawn"] == {"hand": 1.0}
    assert case.thumb_path.read_bytes()[:4] == b"\x89PNG"


def test_a_thousand_names_are_listed_at_once(root):
    for number in range(4, 1001):
        (root / "cases" / f"case-{number:05d}").mkdir()
    (root / "cases" / "case-00001.tmp").mkdir()
    (root / "cases" / "notes.txt").write_text("")
    cohort = Cohort.open(root)
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        names = cohort.names()
        taken.append(time.perf_counter() - start)
    assert len(names) == 1000 and names == sorted(names) and min(taken) < 0.05


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cohort.json"),
        ("[]", "must hold a JSON object"),
        ('{"version": 9}', "has version 9. This program reads version 1"),
        ('{"version": 1, "spec": {}, "bundle": "headneck", "bundle_hash": 3}', "is damaged: it lacks a valid total, bundle_hash"),
    ],
)
def test_a_damaged_cohort_file_is_named_with_what_to_do(root, text, words):
    (root / "cohort.json").write_text(text)
    with pytest.raises(BadRequest) as caught:
        Cohort.open(root)
    assert words in str(caught.value) and "Restore cohort.json from a copy" in str(caught.value)


def test_a_folder_that_is_no_cohort_is_refused(tmp_path):
    with pytest.raises(BadRequest, match=r"is no cohort: it has no cohort\.json"):
        Cohort.open(tmp_path)
    with pytest.raises(BadRequest, match="holds neither a cohort nor a result"):
        Cohort.find(tmp_path)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda case: (case / "case.json").write_text('{"case": '), "case.json"),
        (lambda case: (case / "case.json").write_text('{"group": "g1"}'), "lacks a valid source, structure, drawn, gate"),
        (lambda case: (case / "labels.nii.gz").unlink(), "labels.nii.gz is missing or empty"),
        (lambda case: (case / "manifest.json").write_text(""), "manifest.json is missing or empty"),
    ],
)
def test_a_damaged_case_is_listed_and_does_not_hide_the_others(root, harm, words):
    harm(root / "cases" / "case-00002")
    cohort = Cohort.open(root)
    assert [case.name for case in cohort.cases()] == ["case-00001", "case-00003"]
    assert list(cohort.damaged()) == ["case-00002"]
    assert words in cohort.damaged()["case-00002"] and "makes the same case once more" in cohort.damaged()["case-00002"]
    with pytest.raises(BadRequest, match="is damaged"):
        cohort.case("case-00002")


@pytest.mark.parametrize("name", ["case-00009", "../cases/case-00001", "", "case-1"])
def test_an_unknown_case_is_refused(root, name):
    with pytest.raises(BadRequest, match="has no complete case"):
        Cohort.open(root).case(name)


def test_failures_are_listed_even_a_damaged_one(root):
    (root / "failed" / "case-00007.json").write_text('{"case": "case-00007", "attempts": 2, "code": "internal"}')
    (root / "failed" / "case-00005.json").write_text("{")
    found = Cohort.open(root).failed()
    assert [item["case"] for item in found] == ["case-00005", "case-00007"]
    assert found[0]["code"] == "internal" and found[1]["attempts"] == 2


def test_an_edit_is_the_next_version_and_the_newest_counts(root, tmp_path):
    cohort = Cohort.open(root)
    case = cohort.case("case-00001")
    generated = case.labels_path().read_bytes()
    edited = tmp_path / "edited.nii.gz"
    edited.write_bytes(cohort.case("case-00003").labels_path().read_bytes())
    assert cohort.add_edit("case-00001", edited, "Dr. A") == 1
    assert cohort.add_edit("case-00001", lambda path: path.write_bytes(gzip.compress(b"second")), "Dr. B", names={3: "mandible"}) == 2
    assert case.versions() == [1, 2]
    assert case.labels_path(0).read_bytes() == generated
    assert case.labels_path(1).read_bytes() == edited.read_bytes()
    assert case.labels_path() == case.labels_path(2) == root / "edits" / "case-00001" / "v002" / "labels.nii.gz"
    assert case.names(1) == case.names(0) == {1: "mandible"} and case.names() == {3: "mandible"}
    first, second = case.edit(1), case.edit(2)
    assert (first["case"], first["version"], first["reviewer"], first["base"]) == ("case-00001", 1, "Dr. A", 0)
    assert (second["reviewer"], second["base"]) == ("Dr. B", 1) and second["when"].endswith("Z")
    assert not list((root / "edits").glob("*/.*")) and cohort.case("case-00002").versions() == []
    with pytest.raises(BadRequest, match="has no edited mask 3"):
        case.labels_path(3)


def test_reviewers_who_save_at_once_get_a_version_each(root):
    def save(n):
        numbers[n] = Cohort.open(root).add_edit("case-00001", lambda path: path.write_bytes(gzip.compress(b"%d" % n)), f"reviewer {n}")

    numbers = {}
    threads = [threading.Thread(target=save, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers.values()) == list(range(1, 9))
    case = Cohort.open(root).case("case-00001")
    for n, number in numbers.items():
        assert gzip.decompress(case.labels_path(number).read_bytes()) == b"%d" % n
        assert case.edit(number)["version"] == number and case.edit(number)["reviewer"] == f"reviewer {n}"


@pytest.mark.parametrize("labels", ["nowhere.nii.gz", lambda path: None, lambda path: path.write_bytes(b"no gzip")])
def test_an_edit_that_comes_to_nothing_leaves_nothing(root, labels):
    with pytest.raises(BadRequest):
        Cohort.open(root).add_edit("case-00001", labels, "Dr. A")
    assert Cohort.open(root).case("case-00001").versions() == []
    assert not list((root / "edits").rglob("*.nii.gz"))


def test_an_edit_that_cannot_be_written_says_why(root):
    (root / "edits").write_text("in the way")
    with pytest.raises(WriteFailed, match="a part of that path is a file"):
        Cohort.open(root).add_edit("case-00001", lambda path: path.write_bytes(b"\x1f\x8b"), "Dr. A")


def test_results_are_read_as_a_cohort(tmp_path):
    grid = turned_grid()
    for place, seed in (("one/sample-001", 1), ("one/sample-002", 2), ("other", 3), ("half", 4)):
        changes = {"description": "another mandible"} if place == "other" else {}
        write_result(tmp_path / "all" / place, grid, two_blocks(grid), seed=seed, **changes)
    (tmp_path / "all" / "half" / "manifest.json").unlink()
    (tmp_path / "all" / "notes").mkdir()
    cohort = Cohort.find(tmp_path / "all")
    assert cohort.names() == ["one-sample-001", "one-sample-002", "other"] and cohort.total == 3
    groups = [case.group for case in cohort.cases()]
    assert groups[0] == groups[1] != groups[2]
    case = cohort.case("one-sample-002")
    assert (case.gate, case.reasons, case.structure) == ("none", [], "mandible")
    assert case.request().seed == 2 and read_image(case.labels_path())[0].shape == grid.shape
    assert cohort.add_edit("one-sample-002", case.labels_path(), "Dr. A") == 1
    assert case.labels_path() == tmp_path / "all" / "edits" / "one-sample-002" / "v001" / "labels.nii.gz"
    assert Cohort.find(tmp_path / "all").names() == cohort.names()
    assert cohort.bundle_hash == "ab" * 32


def test_a_single_result_is_a_cohort_of_one(tmp_path):
    grid = turned_grid()
    write_result(tmp_path / "result", grid, two_blocks(grid))
    cohort = Cohort.find(tmp_path / "result")
    assert cohort.names() == ["result"] and cohort.case("result").folder == tmp_path / "result"
