"""The command 'sketch2ct export': complete or absent, never over foreign files, with a data card that tells what it is."""

import errno
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from export_cases import NAMES, add_case, add_edit, damage, make_cohort, organs, plain_grid, start_cohort
from sketch2ct import cli, results
from sketch2ct.errors import BadRequest, Cancelled, WriteFailed
from sketch2ct.export import nnunet
from sketch2ct.export.options import Options
from sketch2ct.export.run import export
from sketch2ct.generation import Progress
from sketch2ct.review.store import ReviewStore
from sketch2ct.review.verdict import Verdict

FORMATS = ("nnunet", "monai", "totalsegmentator", "dicom")


@pytest.fixture
def root(tmp_path):
    return make_cohort(tmp_path / "cohort")


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def command(capsys, *arguments):
    """Status, lines on stdout and on stderr."""
    status = cli.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out.splitlines(), said.err.splitlines()


@pytest.mark.parametrize("to", FORMATS)
def test_every_format_lays_a_card_beside_the_cases_and_leaves_the_cohort_alone(root, tmp_path, to):
    before = everything(root)
    export(root, tmp_path / "out", Options(to, "all"))
    assert everything(root) == before
    card = json.loads((tmp_path / "out" / "data_card.json").read_text())
    assert card["format"] == to and card["cases"] == 4 and card["groups"] == 2 and card["synthetic"] is True
    assert (tmp_path / "out" / "DATA_CARD.md").is_file()
    assert names(tmp_path) == ["cohort", "out"]


def test_the_card_tells_what_was_made_by_what_and_who_looked_at_it(root, tmp_path):
    store = ReviewStore(root)
    for number, reviewer, status in (
        (1, "Dr. Ada", "accepted"),
        (2, "Dr. Ada", "accepted"),
        (2, "Bob", "accepted"),
        (3, "Bob", "rejected"),
    ):
        store.add(Verdict(f"case-{number:05d}", reviewer, status))
    add_edit(root, "case-00002", organs(plain_grid(), (7,)), NAMES)
    damage(root / "cases" / "case-00004" / "ct.nii.gz")
    report = export(root, tmp_path / "out", Options("totalsegmentator"))
    card, text = report.card, (tmp_path / "out" / "DATA_CARD.md").read_text()
    assert card["model"]["bundle"] == "headneck" and card["model"]["hashes"] == {"ab" * 32: 2}
    assert card["model"]["versions"] == [{"sketch2ct": "0.1.0"}]
    assert card["seeds"] == {"count": 2, "smallest": 41, "largest": 42, "list": [41, 42]}
    assert card["reviews"]["standings"] == {"accepted": 2, "rejected": 1, "unreviewed": 1}
    assert card["reviews"]["left_out"] == {"rejected": 1, "unreviewed": 1} and card["reviews"]["verdicts"] == [2, 1]
    assert card["gates"] == {"verdicts": {"pass": 2}, "settings": {"pieces": True}}
    assert card["masks_used"] == {"generated": 1, "edited": 1, "given": 0, "other_than_accepted": 1, "resampled": 0}
    small, large = sorted(float((organs(plain_grid(), values) == 7).sum()) * plain_grid().voxel_ml for values in ((7, 4), (7,)))
    spread = {"min": round(small, 3), "median": round((small + large) / 2, 3), "max": round(large, 3)}
    assert card["structures"]["mandible"] == {"cases": 2, "volume_ml": spread}
    assert card["structures"]["parotid_gland_left"]["cases"] == 1
    assert card["grids"] == {"1.5 x 2 x 3 mm, 24 x 20 x 16": 2}
    for words in ("SYNTHETIC", "Not for diagnosis", "Do not test on it", "Cite as", "ab" * 32, "41, 42", "base request"):
        assert words in text, words
    everywhere = json.dumps(card) + text
    assert "Ada" not in everywhere and "Bob" not in everywhere


def test_masks_that_were_given_are_told_apart_from_generated_ones(root, tmp_path):
    import pydicom

    path = root / "cases" / "case-00002" / "request.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mask_generator": "none", "context": "patient.nii.gz"}))
    card = export(root, tmp_path / "out", Options("dicom", "all")).card
    assert card["masks_used"]["given"] == 1 and any("1 masks, or parts of them, were given" in note for note in card["notes"])
    given, made = (pydicom.dcmread(tmp_path / "out" / f"case-0000{n}" / "seg.dcm") for n in (2, 1))
    assert [one.SegmentSequence[0].SegmentAlgorithmType for one in (given, made)] == ["SEMIAUTOMATIC", "AUTOMATIC"]
    assert "No patient" in made.DeidentificationMethod and "No patient" not in given.DeidentificationMethod


def test_no_path_of_the_machine_goes_along(root, tmp_path):
    (tmp_path / "results").mkdir()
    for number in (1, 2):
        (root / "cases" / f"case-0000{number}").rename(tmp_path / "results" / f"result-{number}")
    for to in FORMATS:
        export(tmp_path / "results", tmp_path / to, Options(to, "all"))
        for name, content in everything(tmp_path / to).items():
            assert str(tmp_path).encode() not in content, name
    assert "result-1" in (tmp_path / "monai" / "DATA_CARD.md").read_text()


def test_reviewers_are_named_only_on_demand(root, tmp_path):
    ReviewStore(root).add(Verdict("case-00001", "Dr. Ada", "accepted"))
    export(root, tmp_path / "out", Options("monai", reviewers=True))
    assert "Dr. Ada (1 case)" in (tmp_path / "out" / "DATA_CARD.md").read_text()


def test_an_unknown_bundle_has_an_unknown_licence_and_an_installed_one_its_own(root, tmp_path):
    from sketch2ct.bundle import load

    export(root, tmp_path / "one", Options("monai", "all"))
    assert "unknown" in json.loads((tmp_path / "one" / "data_card.json").read_text())["licence"]
    assert not (tmp_path / "one" / "LICENSE-of-the-weights").exists()
    installed = load("headneck", check=False)
    for case in (root / "cases").iterdir():
        manifest = json.loads((case / "manifest.json").read_text())
        (case / "manifest.json").write_text(json.dumps(manifest | {"bundle_hash": installed.digest}))
    export(root, tmp_path / "two", Options("monai", "all"))
    assert json.loads((tmp_path / "two" / "data_card.json").read_text())["licence"] == installed.metadata["licence"]
    assert (tmp_path / "two" / "LICENSE-of-the-weights").read_text() == (installed.folder / "LICENSE").read_text()


def test_many_seeds_are_given_as_a_range(tmp_path):
    from sketch2ct.export import card_text

    root = make_cohort(tmp_path / "cohort")
    card = export(root, tmp_path / "out", Options("monai", "all")).card
    card["seeds"] = {"count": 500, "smallest": 3, "largest": 900, "list": None}
    assert "500 from 3 to 900" in card_text.text(card)


def test_what_is_there_is_not_overwritten(root, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    for replace in (False, True):
        with pytest.raises(BadRequest, match=r"not empty|holds other things"):
            export(root, tmp_path / "out", Options("monai", "all"), replace=replace)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine" and names(tmp_path / "out") == ["thesis.txt"]


def test_a_result_is_not_replaced_by_an_export(root, tmp_path):
    (root / "cases" / "case-00001").rename(tmp_path / "result")
    with pytest.raises(BadRequest, match="holds other things"):
        export(root, tmp_path / "result", Options("monai", "all"), replace=True)
    assert (tmp_path / "result" / "ct.nii.gz").is_file()


def test_an_earlier_export_is_replaced_on_demand_only(root, tmp_path):
    export(root, tmp_path / "out", Options("nnunet", "all"))
    before = everything(tmp_path / "out")
    with pytest.raises(BadRequest, match="--replace"):
        export(root, tmp_path / "out", Options("monai", "all"))
    assert everything(tmp_path / "out") == before
    export(root, tmp_path / "out", Options("monai", "all"), replace=True)
    assert names(tmp_path / "out") == ["DATA_CARD.md", "data_card.json", "dataset.json", "dataset_folds.json", "imagesTr", "labelsTr"]


def test_an_export_into_its_own_cohort_is_refused(root):
    with pytest.raises(BadRequest, match="lie in one another"):
        export(root, root / "export", Options("monai", "all"))
    assert not (root / "export").exists()


def test_too_little_disk_space_is_said_before_anything_is_written(root, tmp_path, monkeypatch):
    class Usage:
        free = 2**20

    monkeypatch.setattr(results.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(WriteFailed, match="the disk is full"):
        export(root, tmp_path / "out", Options("nnunet", "all"))
    assert names(tmp_path) == ["cohort"]


@pytest.mark.parametrize("to", FORMATS)
def test_a_disk_that_fills_up_on_the_way_leaves_nothing(root, tmp_path, monkeypatch, to):
    from sketch2ct.export import data_card

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    export(root, tmp_path / "out", Options(to, "all"))
    before = everything(tmp_path / "out")
    monkeypatch.setattr(data_card, "write", full)
    for out, replace in ((tmp_path / "new", False), (tmp_path / "out", True)):
        with pytest.raises(WriteFailed, match="the disk is full"):
            export(root, out, Options(to, "all"), replace=replace)
    assert names(tmp_path) == ["cohort", "out"] and everything(tmp_path / "out") == before


def test_a_folder_that_cannot_be_written_is_said(root, tmp_path, monkeypatch):
    def denied(self, *arguments, **more):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(results.Path, "mkdir", denied)
    with pytest.raises(WriteFailed, match=r"permission was denied\. Choose a folder that you may write to"):
        export(root, tmp_path / "out", Options("monai", "all"))


def test_a_read_only_cohort_can_be_exported(root, tmp_path):
    ReviewStore(root).add(Verdict("case-00001", "AB", "accepted"))
    for path in (root / "cases", root):
        path.chmod(0o555)
    try:
        assert export(root, tmp_path / "out", Options("monai")).cases == 1
    finally:
        for path in (root, root / "cases"):
            path.chmod(0o755)


@pytest.mark.parametrize("at", [1, 3, 5, 7])
def test_cancel_ends_between_cases_and_leaves_nothing(root, tmp_path, at):
    progress, seen = Progress(), []

    def report(stage, step, steps, fraction, eta):
        seen.append((stage, step, fraction))
        if len(seen) == at:
            progress.cancel.set()

    progress.report = report
    with pytest.raises(Cancelled, match=r"The export was cancelled\. Nothing was written"):
        export(root, tmp_path / "out", Options("nnunet", "all"), progress)
    assert len(seen) == at and names(tmp_path) == ["cohort"]


def test_progress_goes_from_reading_to_writing_and_never_back(root, tmp_path):
    seen = []
    export(root, tmp_path / "out", Options("dicom", "all"), Progress(report=lambda *facts: seen.append(facts)))
    assert [(stage, step) for stage, step, *_ in seen] == [("Reading", n) for n in range(1, 5)] + [("Writing", n) for n in range(1, 5)]
    fractions = [fraction for *_, fraction, _ in seen]
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1)


def test_the_command_says_what_it_did_and_what_it_left(root, tmp_path, capsys):
    add_case(root, 5, plain_grid(), ct=False)
    ReviewStore(root).add(Verdict("case-00002", "AB", "rejected"))
    status, said, _ = command(
        capsys, "export", root, "--to", "nnunet", "--out", tmp_path / "out", "--include", "unrejected", "--name", "jaws"
    )
    assert status == 0
    assert said[0] == f"3 cases in {tmp_path / 'out'}"
    assert said[1] == "Dataset801_jaws: 3 cases, parotid_gland_left = 1, mandible = 2"
    assert "1 left out: rejected" in said and "skipped case-00005: It has a mask alone, and this format needs a CT." in said


def test_a_thousand_skipped_cases_do_not_flood_the_terminal(root, tmp_path):
    from dataclasses import replace

    report = export(root, tmp_path / "out", Options("monai", "all"))
    lines = replace(report, skipped={f"case-{n:05d}": "It has no CT." for n in range(1000)}).lines()
    assert len(lines) < 30 and "skipped 980 more, see data_card.json" in lines


def test_events_are_one_json_object_a_line_from_start_to_done(root, tmp_path, capsys):
    status, said, _ = command(capsys, "export", root, "--to", "monai", "--out", tmp_path / "out", "--include", "all", "--events")
    events = [json.loads(line) for line in said]
    assert status == 0 and [event["type"] for event in events] == ["start", *["progress"] * 8, "done"]
    assert events[-1]["out"] == str(tmp_path / "out") and events[-1]["cases"] == 4
    assert events[-2] == {"type": "progress", "stage": "Writing", "step": 4, "steps": 4, "fraction": 1.0, "eta_s": events[-2]["eta_s"]}


def test_an_error_is_one_line_and_an_event(root, tmp_path, capsys):
    status, said, errors = command(capsys, "export", root, "--to", "monai", "--out", tmp_path / "out", "--events")
    assert status == 2 and len(errors) == 1 and "none is accepted" in errors[0] and "--include all" in errors[0]
    last = json.loads(said[-1])
    assert last["type"] == "error" and last["code"] == "bad_request" and "--include all" in last["hint"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "zip"], "Unknown format 'zip'. Use one of: nnunet, monai, dicom, totalsegmentator."),
        (["--to", "monai", "--include", "some"], "Unknown include 'some'"),
        (["--to", "nnunet", "--dataset-id", "1000"], "cannot be 1000"),
    ],
)
def test_a_wrong_option_is_one_line_with_the_status_2(root, tmp_path, capsys, arguments, said):
    status, _, errors = command(capsys, "export", root, "--out", tmp_path / "out", *arguments)
    assert status == 2 and len(errors) == 1 and said in errors[0]
    assert names(tmp_path) == ["cohort"]


def test_a_folder_without_cases_is_refused(tmp_path, capsys):
    status, _, errors = command(capsys, "export", tmp_path, "--to", "monai", "--out", tmp_path.with_name("out"))
    assert status == 2 and "holds neither a cohort nor a result" in errors[0]


def test_help_tells_the_formats():
    text = CliRunner().invoke(cli.app, ["export", "--help"], env={"COLUMNS": "200"}).output
    assert all(name in text for name in FORMATS)


def test_mr_is_not_written_as_if_it_were_ct(root, tmp_path, monkeypatch):
    from sketch2ct.bundle import Bundle, load
    from sketch2ct.export import model

    installed = load("headneck", check=False)
    monkeypatch.setattr(model, "load", lambda *_, **__: Bundle(installed.folder, installed.metadata | {"modality": "MR"}))
    for to in ("dicom", "totalsegmentator"):
        with pytest.raises(BadRequest, match=r"These images are MR.*Export to nnunet or monai"):
            export(root, tmp_path / "out", Options(to, "all"))
    export(root, tmp_path / "out", Options("nnunet", "all"))
    assert json.loads(next((tmp_path / "out").glob("*/dataset.json")).read_text())["channel_names"] == {"0": "MR"}


def test_cases_of_two_models_are_told(root, tmp_path):
    path = root / "cases" / "case-00001" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bundle_hash": "cd" * 32}))
    card = export(root, tmp_path / "out", Options("monai", "all")).card
    assert card["model"]["hashes"] == {"ab" * 32: 3, "cd" * 32: 1} and any("2 different models" in note for note in card["notes"])


def test_the_export_leaves_torch_alone():
    modules = ("run", "selection", "data_card", "card_text", "nnunet", "monai_list", "totalsegmentator", "dicom", "contours", "options")
    lines = "".join(f"import sketch2ct.export.{name}\n" for name in modules)
    program = (
        f"{lines}import sketch2ct.cli_export, sys; print([m for m in sys.modules if m.split('.')[0] in ('torch', 'monai', 'highdicom')])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_nothing_is_written_when_a_case_vanishes_on_the_way(root, tmp_path, monkeypatch):
    def vanishing(*arguments):
        (root / "cases" / "case-00003" / "ct.nii.gz").unlink()
        return write(*arguments)

    write = nnunet.write
    monkeypatch.setattr(nnunet, "write", vanishing)
    with pytest.raises(BadRequest, match="There is no file"):
        export(root, tmp_path / "out", Options("nnunet", "all"))
    assert names(tmp_path) == ["cohort"]


def test_an_empty_cohort_is_refused(tmp_path):
    with pytest.raises(BadRequest, match="has no complete case"):
        export(start_cohort(tmp_path / "cohort"), tmp_path / "out", Options("monai", "all"))
    assert names(tmp_path) == ["cohort"]


def test_a_cohort_that_was_run_and_reviewed_goes_all_the_way(tmp_path, monkeypatch):
    from cohort_kit import FRAME, make, write_spec
    from fake_backend import circle, make_bundle
    from sketch2ct.data.nnunet import Dataset
    from sketch2ct.imaging import read_labels
    from sketch2ct.naming import names_beside
    from sketch2ct.request import GenerationRequest

    make_bundle(tmp_path / "shelf", frame=FRAME)
    monkeypatch.setenv("SKETCH2CT_BUNDLES", str(tmp_path / "shelf"))
    GenerationRequest([circle(30)], "a mandible", device="cpu").write(tmp_path / "base.json")
    made = tmp_path / "made"
    make(write_spec(tmp_path / "spec.yaml", request="base.json", count=3, vary={"hand": [0.5, 1]}), made)
    for number in (1, 3):
        ReviewStore(made).add(Verdict(f"case-{number:05d}", "AB", "accepted"))
    report = export(made, tmp_path / "out", Options("nnunet"))
    assert report.cases == 2 and report.card["licence"] == "CC0" and sum(report.left_out.values()) == 1
    dataset = Dataset(tmp_path / "out" / "Dataset801_Sketch2CT")
    assert dataset.cases("Tr") == ["case-00001", "case-00003"] and dataset.names == {1: "mandible"}
    path = made / "cases" / "case-00003" / "labels.nii.gz"
    given = read_labels(path, names_beside(path) or {})
    assert given.mask("mandible").any() and (dataset.labels("case-00003").mask("mandible") == given.mask("mandible")).all()
    assert dataset.labels("case-00003").grid.matches(given.grid, 1e-6)
