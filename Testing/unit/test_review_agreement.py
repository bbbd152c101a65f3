"""Agreement of reviewers against figures worked out by hand, and what the commands print of it."""

import json

import pytest

from sketch2ct.cli import main
from sketch2ct.review.agreement import between, between_all, cohen
from sketch2ct.review.store import ReviewStore
from sketch2ct.review.verdict import Verdict


def lists(table):
    """Two lists of judgements with the given counts."""
    pairs = [(i, j) for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)]
    return [i for i, _ in pairs], [j for _, j in pairs]


def test_kappa_of_a_worked_example():
    found = cohen(*lists([[20, 5], [10, 15]]), [0, 1])
    assert found.kappa == pytest.approx(0.4) and (found.cases, found.equal, found.percent) == (50, 35, 70.0)
    assert found.table == [[20, 5], [10, 15]]


def test_kappa_of_three_categories():
    # observed 0.70; expected (20*25 + 40*35 + 40*40) / 100^2 = 0.35
    found = cohen(*lists([[15, 5, 0], [5, 25, 10], [5, 5, 30]]), [0, 1, 2])
    assert found.kappa == pytest.approx((0.70 - 0.35) / (1 - 0.35))


def test_quadratic_weights_punish_far_disagreement_more():
    # four cases, scores 1, 2, 3, 5 against 1, 3, 3, 3: observed 0 + 1 + 0 + 4 = 5
    # by chance: the squared distances of all pairs over four, (12 + 4 + 4 + 28) / 4 = 12
    first, second = [1, 2, 3, 5], [1, 3, 3, 3]
    chance = sum((a - b) ** 2 for a in first for b in second) / 4
    assert chance == 12
    assert cohen(first, second, range(1, 6), quadratic=True).kappa == pytest.approx(1 - 5 / 12)
    near, far = ([1, 2, 3, 4, 5], [2, 2, 3, 4, 5]), ([1, 2, 3, 4, 5], [5, 2, 3, 4, 5])
    assert cohen(*near, range(1, 6), quadratic=True).kappa > cohen(*far, range(1, 6), quadratic=True).kappa + 0.5
    assert cohen(*near, range(1, 6)).kappa == pytest.approx(cohen(*far, range(1, 6)).kappa, abs=0.01)


@pytest.mark.parametrize(("table", "kappa"), [([[3, 0], [0, 4]], 1.0), ([[0, 3], [3, 0]], -1.0), ([[4, 4], [4, 4]], 0.0)])
def test_kappa_at_its_ends(table, kappa):
    assert cohen(*lists(table), [0, 1]).kappa == pytest.approx(kappa)
    assert cohen(*lists(table), [0, 1], quadratic=True).kappa == pytest.approx(kappa)


def test_kappa_is_not_defined_without_cases_or_with_one_category():
    assert cohen([], [], [0, 1]).kappa is None and cohen([], [], [0, 1]).percent is None
    assert cohen([1, 1], [1, 1], [0, 1]).kappa is None and cohen([1, 1], [1, 1], [0, 1]).percent == 100.0
    with pytest.raises(ValueError, match="not among"):
        cohen([2], [0], [0, 1])


@pytest.fixture
def reviewed(tmp_path):
    """Two cases on which AB and CD agree, one on which not, one that CD has not seen."""
    from result_folders import turned_grid, two_blocks, write_result

    grid = turned_grid()
    for number in range(1, 5):
        write_result(tmp_path / f"run-{number}", grid, two_blocks(grid), names={7: "mandible", 4: "parotid_gland_left"}, seed=number)
    store = ReviewStore(tmp_path)
    said = {"run-1": ("accepted", "accepted"), "run-2": ("rejected", "rejected"), "run-3": ("accepted", "rejected")}
    for case, pair in said.items():
        for reviewer, status in zip(("AB", "CD"), pair, strict=True):
            store.add(Verdict(case, reviewer, status, realism=4 if reviewer == "AB" else 3))
    store.add(Verdict("run-4", "AB", "needs_edit", note="thin"))
    return tmp_path


def test_only_cases_that_both_judged_are_compared(reviewed):
    found = between(ReviewStore(reviewed), "AB", "CD")
    # observed 2/3; expected (2/3 * 1/3 + 1/3 * 2/3) = 4/9
    assert found["status"]["cases"] == 3 and found["status"]["kappa"] == pytest.approx((2 / 3 - 4 / 9) / (5 / 9))
    assert found["realism"]["kappa"] == pytest.approx(0.0) and found["realism"]["equal"] == 0 and found["anatomy"]["cases"] == 0
    assert [(report["first"], report["second"]) for report in between_all(ReviewStore(reviewed))] == [("AB", "CD")]


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return status, output.out, output.err


def test_the_list_tells_every_status(reviewed, capsys):
    status, out, _ = run(capsys, "review", "list", reviewed)
    lines = [line.split("\t") for line in out.splitlines()]
    assert status == 0 and [line[:2] for line in lines[:4]] == [
        ["run-1", "accepted"],
        ["run-2", "rejected"],
        ["run-3", "disputed"],
        ["run-4", "needs_edit"],
    ]
    assert lines[3][-1] == "AB needs edit thin" and lines[4] == ["1 accepted, 1 rejected, 1 needs edit, 1 disputed, 0 unreviewed"]
    report = json.loads(run(capsys, "review", "list", reviewed, "--json")[1])
    assert report["cases"][2]["verdicts"][1]["reviewer"] == "CD" and report["counts"]["disputed"] == 1


def test_agreement_is_printed_for_a_pair(reviewed, capsys):
    status, out, _ = run(capsys, "review", "agreement", reviewed, "--reviewers", "CD", "AB")
    assert status == 0 and out.splitlines()[0] == "CD and AB" and "3 cases,  67 % equal, kappa 0.40" in out and "not defined" in out
    assert json.loads(run(capsys, "review", "agreement", reviewed, "--json")[1])[0]["status"]["table"][0] == [1, 1, 0]
    status, _, err = run(capsys, "review", "agreement", reviewed, "--reviewers", "AB", "XY")
    assert status == 2 and "'XY' has reviewed nothing" in err and "AB, CD" in err and len(err.splitlines()) == 1


def test_verdicts_on_other_cases_are_not_merged(reviewed, capsys, tmp_path_factory):
    other = ReviewStore(tmp_path_factory.mktemp("copy"))
    other.add(Verdict("run-2", "EF", "accepted", bundle_hash="ab" * 32))
    status, out, _ = run(capsys, "review", "merge", reviewed, other.path)
    assert status == 0 and out.strip() == "1 new verdicts, 0 known already" and ReviewStore(reviewed).status_of("run-2") == "disputed"
    foreign = ReviewStore(tmp_path_factory.mktemp("foreign"))
    foreign.add(Verdict("case-00007", "EF", "accepted"))
    status, _, err = run(capsys, "review", "merge", reviewed, foreign.path)
    assert status == 2 and "another cohort" in err and "case-00007" in err
    bundle = ReviewStore(tmp_path_factory.mktemp("bundle"))
    bundle.add(Verdict("run-1", "EF", "rejected", bundle_hash="cd" * 32))
    assert run(capsys, "review", "merge", reviewed, bundle.path)[0] == 2 and ReviewStore(reviewed).status_of("run-1") == "accepted"
    status, _, err = run(capsys, "review", "merge", reviewed, "none.sqlite")
    assert status == 2 and "There is no file none.sqlite" in err


@pytest.mark.parametrize("arguments", [["list", "nowhere"], ["agreement", "nowhere"], ["blind-result", "nowhere"]])
def test_a_folder_that_is_no_cohort_is_refused_in_one_line(arguments, capsys):
    status, _, err = run(capsys, "review", *arguments)
    assert status == 2 and "nowhere" in err and len(err.splitlines()) == 1
