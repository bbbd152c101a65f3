"""Which cases leave a cohort: by default what a reviewer accepted, with the newest mask, and nothing that is damaged."""

import json

import numpy as np
import pytest

from export_cases import NAMES, add_case, add_edit, damage, make_cohort, organs, plain_grid, start_cohort
from result_folders import write_result
from sketch2ct.cohort.folder import Cohort
from sketch2ct.errors import BadRequest
from sketch2ct.export.options import Options
from sketch2ct.export.selection import select
from sketch2ct.review.store import ReviewStore
from sketch2ct.review.verdict import Verdict


@pytest.fixture
def root(tmp_path):
    return make_cohort(tmp_path / "cohort")


def say(root, number, status, reviewer="AB", version=0):
    ReviewStore(root).add(Verdict(f"case-{number:05d}", reviewer, status, mask_version=version))


def chosen(root, **options):
    selection = select(Cohort.find(root), Options("nnunet", **options))
    return [one.case.name for one in selection.cases]


def test_only_accepted_cases_leave_by_default(root):
    say(root, 2, "accepted")
    say(root, 3, "rejected")
    assert chosen(root) == ["case-00002"]


def test_with_nothing_accepted_it_says_how_many_wait_and_what_to_type(root):
    say(root, 3, "rejected")
    with pytest.raises(BadRequest, match=r"Of the 4 cases .* none is accepted: 1 rejected, 3 waiting for review\..*--include all"):
        select(Cohort.open(root), Options("nnunet"))


def test_unrejected_leaves_out_what_anybody_rejected_and_what_a_gate_rejected(root):
    say(root, 1, "accepted")
    say(root, 1, "rejected", "CD")
    say(root, 2, "rejected")
    add_case(root, 5, plain_grid(), gate="reject")
    add_case(root, 6, plain_grid(), gate="flag")
    assert chosen(root, include="unrejected") == ["case-00003", "case-00004", "case-00006"]


def test_a_reviewers_acceptance_overrules_the_gate(root):
    add_case(root, 5, plain_grid(), gate="reject")
    say(root, 5, "accepted")
    assert chosen(root) == ["case-00005"]


def test_a_mask_that_was_to_be_edited_goes_only_when_it_was(root):
    say(root, 1, "needs_edit")
    say(root, 2, "needs_edit")
    add_edit(root, "case-00002", organs(plain_grid()), NAMES)
    assert chosen(root, include="unrejected") == ["case-00002", "case-00003", "case-00004"]
    assert chosen(root, include="unrejected", masks="generated") == ["case-00003", "case-00004"]


def test_all_means_all(root):
    say(root, 1, "rejected")
    add_case(root, 5, plain_grid(), gate="reject")
    assert len(chosen(root, include="all")) == 5


def test_the_newest_mask_goes_unless_the_generated_one_is_asked_for(root):
    edited = np.roll(organs(plain_grid()), 1, axis=1)
    assert add_edit(root, "case-00001", organs(plain_grid()), NAMES) == 1
    assert add_edit(root, "case-00001", edited, NAMES) == 2
    newest, generated = (select(Cohort.open(root), Options("nnunet", "all", masks)).cases[0] for masks in ("newest", "generated"))
    assert np.array_equal(newest.labels().array, edited)
    assert np.array_equal(generated.labels().array, organs(plain_grid()))


def test_another_mask_than_the_accepted_one_is_counted(root):
    say(root, 1, "accepted")
    say(root, 2, "accepted", version=1)
    add_edit(root, "case-00001", organs(plain_grid()), NAMES)
    add_edit(root, "case-00002", organs(plain_grid()), NAMES)
    assert [one.other_mask_accepted for one in select(Cohort.open(root), Options("nnunet")).cases] == [True, False]


def spoil_labels(root, folder):
    damage(folder / "labels.nii.gz")


def spoil_ct(root, folder):
    damage(folder / "ct.nii.gz")


def spoil_manifest(root, folder):
    (folder / "manifest.json").write_text("{")


def spoil_facts(root, folder):
    (folder / "case.json").unlink()


def foreign_segment(root, folder):
    add_edit(root, folder.name, organs(plain_grid()), {7: "Segment_1", 4: "parotid_gland_left"})


def nameless_value(root, folder):
    (folder / "labels.json").write_text(json.dumps({"4": "parotid_gland_left"}))


def empty_mask(root, folder):
    add_edit(root, folder.name, np.zeros(plain_grid().shape, np.uint8), NAMES)


SPOILERS = {
    "cut mask": (spoil_labels, "Cannot read labels.nii.gz"),
    "cut CT": (spoil_ct, "Cannot read ct.nii.gz"),
    "broken manifest": (spoil_manifest, "manifest.json"),
    "no case.json": (spoil_facts, "damaged"),
    "unknown segment": (foreign_segment, "Unknown structure 'Segment_1'"),
    "value without name": (nameless_value, "the value 7, which has no name"),
    "empty mask": (empty_mask, "Its mask is empty"),
}


@pytest.mark.parametrize("what", SPOILERS)
def test_a_damaged_case_is_skipped_and_said(root, what):
    spoil, reason = SPOILERS[what]
    spoil(root, root / "cases" / "case-00003")
    selection = select(Cohort.open(root), Options("nnunet", "all"))
    assert [one.case.name for one in selection.cases] == ["case-00001", "case-00002", "case-00004"]
    assert list(selection.skipped) == ["case-00003"] and reason in selection.skipped["case-00003"]


def test_what_is_not_known_to_be_synthetic_never_leaves_as_synthetic(root):
    path = root / "cases" / "case-00002" / "manifest.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "synthetic"}))
    selection = select(Cohort.open(root), Options("dicom", "all"))
    assert len(selection.cases) == 3 and "does not say that it is synthetic" in selection.skipped["case-00002"]


def test_a_blind_reading_which_holds_patients_is_refused(root):
    path = root / "cohort.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"holds_patients": True}))
    with pytest.raises(BadRequest, match="is a blind reading and holds patients"):
        select(Cohort.open(root), Options("dicom", "all"))


def test_a_mask_without_a_ct_is_skipped_and_said(root):
    add_case(root, 5, plain_grid(), ct=False)
    selection = select(Cohort.open(root), Options("nnunet", "all"))
    assert len(selection.cases) == 4
    assert selection.skipped == {"case-00005": "It has a mask alone, and this format needs a CT."}


def test_with_nothing_but_masks_it_says_why(tmp_path):
    root = start_cohort(tmp_path / "cohort")
    add_case(root, 1, plain_grid(), ct=False)
    with pytest.raises(BadRequest, match=r"None of the 1 chosen cases .* case-00001: It has a mask alone"):
        select(Cohort.open(root), Options("nnunet", "all"))


def test_an_empty_cohort_says_so(tmp_path):
    with pytest.raises(BadRequest, match=r"has no complete case.*Run 'sketch2ct cohort'"):
        select(Cohort.open(start_cohort(tmp_path / "cohort")), Options("nnunet", "all"))


def test_structures_chooses_the_cases_that_have_them(tmp_path):
    root = start_cohort(tmp_path / "cohort")
    add_case(root, 1, plain_grid())
    add_case(root, 2, plain_grid(), organs(plain_grid(), (7,)))
    selection = select(Cohort.open(root), Options("nnunet", "all", structures=("left parotid",)))
    assert [one.structures for one in selection.cases] == [("parotid_gland_left",)]
    assert selection.skipped == {"case-00002": "It has no parotid_gland_left."}


def test_a_structure_that_came_out_empty_is_not_among_the_labelled(root):
    assert {one.structures for one in select(Cohort.open(root), Options("nnunet", "all")).cases} == {("parotid_gland_left", "mandible")}


def test_plain_results_are_taken_too_and_seeds_of_a_request_share_a_group(tmp_path):
    grid = plain_grid()
    for name, seed, words in (("one", 1, "a"), ("two", 2, "a"), ("a b/ü".replace("/", "-"), 3, "b")):
        write_result(tmp_path / "results" / name, grid, organs(grid), NAMES, seed=seed, description=f"{words} mandible")
    cases = select(Cohort.find(tmp_path / "results"), Options("nnunet", "all")).cases
    assert {one.case.name: one.key for one in cases} == {"a b-ü": "a-b", "one": "one", "two": "two"}
    group = {one.key: one.case.group for one in cases}
    assert group["one"] == group["two"] != group["a-b"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"to": "zip"}, "Unknown format 'zip'"),
        ({"include": "some"}, "Unknown include 'some'"),
        ({"masks": "old"}, "Unknown masks 'old'"),
        ({"structures": ("elbow",)}, "Unknown structure 'elbow'"),
        ({"name": "../x"}, "cannot be that of a data set"),
        ({"dataset_id": 0}, "number cannot be 0"),
        ({"dataset_id": 1000}, "number cannot be 1000"),
        ({"folds": 1}, "'folds' cannot be 1"),
        ({"seed": -1}, "'seed' cannot be -1"),
    ],
)
def test_a_wrong_option_is_refused(wrong, said):
    with pytest.raises(BadRequest, match=said):
        Options(**{"to": "nnunet", **wrong})
