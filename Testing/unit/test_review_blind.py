"""A blind reading: cases that only the picture tells apart, a key that cannot be tampered with, and the sums at the end."""

import json
import shutil

import numpy as np
import pytest

from review_cohorts import SMALL, make_cohort
from sketch2ct.cli import main
from sketch2ct.cohort.folder import Cohort
from sketch2ct.data.nnunet import Dataset
from sketch2ct.errors import BadRequest
from sketch2ct.imaging import read_ct, read_image, read_labels
from sketch2ct.review.blind import HIGH_HU, LOW_HU, make_blind
from sketch2ct.review.blind_result import Share, results
from sketch2ct.review.store import ReviewStore
from sketch2ct.review.verdict import Verdict

CASES = 4


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return Cohort.open(make_cohort(tmp_path_factory.mktemp("blind") / "cohort", 6, SMALL, thumbs=False))


@pytest.fixture(scope="module")
def made(cohort, toy_root, tmp_path_factory):
    return make_blind(cohort, Dataset(toy_root), "Tr", CASES, tmp_path_factory.mktemp("blind") / "reading", seed=3)


@pytest.fixture
def reading(made, tmp_path):
    """A copy that may be spoilt."""
    return shutil.copytree(made, tmp_path / "reading")


def key(folder):
    return json.loads((folder / "key.json").read_text())["cases"]


def test_it_opens_like_a_cohort_of_both_kinds_in_random_order(made):
    opened = Cohort.open(made)
    kinds = [key(made)[name]["kind"] for name in opened.names()]
    assert opened.names() == [f"case-{n:05d}" for n in range(1, 2 * CASES + 1)] and opened.facts["blind"] is True and not opened.damaged()
    assert sorted(kinds) == ["real"] * CASES + ["synthetic"] * CASES and kinds not in (sorted(kinds), sorted(kinds)[::-1])
    origins = [entry["origin"] for entry in key(made).values()]
    assert len(set(origins)) == 2 * CASES and {name[:4] for name in origins} == {"toy_", "case"}


def test_nothing_but_the_picture_tells(made):
    opened = Cohort.open(made)
    words, grids = set(), set()
    for case in opened.cases():
        array, grid = read_image(case.ct_path)
        mask, other = read_image(case.labels_path())
        grids.add((array.dtype.str, array.shape, grid.affine.tobytes(), mask.dtype.str, other.affine.tobytes()))
        assert LOW_HU <= array.min() < 0 < array.max() <= HIGH_HU and set(np.unique(mask)) == {0, 1}
        facts = {**case.facts, "case": "", "group": ""}
        texts = [(case.folder / name).read_text() for name in ("labels.json", "request.json", "manifest.json")]
        words.add((json.dumps(facts, sort_keys=True), *texts, tuple(sorted(path.name for path in case.folder.iterdir()))))
        assert case.facts["group"] == case.name and case.gate == "none"
    assert len(grids) == len(words) == 1
    everything = "".join(path.read_text() for path in made.rglob("*.json") if path.name != "key.json")
    assert not any(word in everything.lower() for word in ("real", "synthetic", "toy", "quality", "dice", 'seed": 1'))


def test_a_structure_stays_where_the_picture_shows_it(made, toy_root, cohort):
    """Bone is bright and soft tissue is not: flipped, shifted or swapped masks would not lie on bone."""
    for name, entry in key(made).items():
        case = Cohort.open(made).case(name)
        hu, labels = read_ct(case.ct_path), read_labels(case.labels_path(), {1: "mandible"})
        inside = hu.array[labels.mask("mandible")]
        assert np.median(inside) > 500 and (inside > 300).mean() > 0.8
        source = Dataset(toy_root).labels(entry["origin"]) if entry["kind"] == "real" else None
        if source is None:
            original = cohort.case(entry["origin"])
            source = read_labels(original.labels_path(), original.names())
        before, after = source.mask("mandible").sum() * source.grid.voxel_ml, labels.mask("mandible").sum() * labels.grid.voxel_ml
        assert after == pytest.approx(before, rel=0.15)


def test_the_same_seed_gives_the_same_reading_and_another_another(made, cohort, toy_root, tmp_path):
    again = make_blind(cohort, Dataset(toy_root), "Tr", CASES, tmp_path / "again", seed=3)
    other = make_blind(cohort, Dataset(toy_root), "Tr", CASES, tmp_path / "other", seed=4)
    assert key(again) == key(made) != key(other)


def test_the_result_is_the_confusion_matrix(reading):
    store, truth = ReviewStore(reading), {name: entry["kind"] for name, entry in key(reading).items()}
    synthetic = [name for name, kind in truth.items() if kind == "synthetic"]
    real = [name for name, kind in truth.items() if kind == "real"]
    for name in synthetic[:3]:
        store.add(Verdict(name, "AB", guess="synthetic"))
    store.add(Verdict(synthetic[3], "AB", guess="synthetic"))
    store.add(Verdict(synthetic[3], "AB", guess="real"))  # changed one's mind: the newest counts
    for name, guess in zip(real, ("real", "synthetic"), strict=False):
        store.add(Verdict(name, "AB", guess=guess))
    store.add(Verdict(real[0], "CD", guess="real"))
    first, second = results(reading)
    assert first.table == {"synthetic": {"synthetic": 3, "real": 1}, "real": {"synthetic": 1, "real": 1}}
    assert (first.sensitivity.value, first.specificity.value, first.accuracy.value, first.unjudged) == (0.75, 0.5, 4 / 6, 2)
    assert second.reviewer == "CD" and second.sensitivity.value is None and second.specificity == Share(1, 1) and second.unjudged == 7


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (9, 10, 0.5958, 0.9821), (81, 263, 0.2553, 0.3662)]
)
def test_wilson_intervals_of_published_examples(hits, of, low, high):
    assert Share(hits, of).interval == pytest.approx((low, high), abs=1e-4)


def test_the_interval_of_no_case_is_everything():
    assert Share(0, 0).interval == (0.0, 1.0)


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return status, output.out, output.err


def test_the_commands_make_a_reading_and_tell_its_result(cohort, toy_root, tmp_path, capsys):
    out = tmp_path / "reading"
    asked = ("review", "blind", cohort.root, "--real", toy_root, "--split", "Va", "--out", out, "--seed", 1)
    status, text, told = run(capsys, *asked, "--cases", 1)
    assert status == 0 and text.strip() == str(out) and "patients" in told
    status, _, told = run(capsys, "review", "blind-result", out)
    assert status == 2 and "Nobody has judged" in told and len(told.splitlines()) == 1
    for name, entry in key(out).items():
        ReviewStore(out).add(Verdict(name, "AB", guess=entry["kind"]))
    status, text, _ = run(capsys, "review", "blind-result", out)
    assert status == 0 and "accuracy           100 %" in text and "2 of 2" in text and "AB: 2 judged, 0 left" in text
    report = json.loads(run(capsys, "review", "blind-result", out, "--json")[1])
    assert report[0]["table"]["real"] == {"real": 1, "synthetic": 0} and report[0]["sensitivity"]["value"] == 1.0
    listed = run(capsys, "review", "list", out)[1]
    assert "toy" not in listed and all(entry["origin"] not in listed.replace(name, "") for name, entry in key(out).items())
    assert run(capsys, *asked, "--cases", 1)[0] == 2  # not over another reading
    status, _, told = run(capsys, *asked[:-4], "--out", tmp_path / "many", "--cases", 3)
    assert status == 2 and "too few cases with a contoured mandible" in told and not (tmp_path / "many").exists()
    status, _, told = run(capsys, *asked[:-4], "--out", tmp_path / "many", "--cases", 7)
    assert status == 2 and "has 6 cases with a CT" in told


def test_a_file_that_was_changed_is_noticed(reading):
    ReviewStore(reading).add(Verdict("case-00001", "AB", guess="real"))
    assert len(results(reading)) == 1
    first, second = (reading / "cases" / name / "ct.nii.gz" for name in ("case-00001", "case-00002"))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    with pytest.raises(BadRequest, match=r"case-00001.*not the file that the key was made for"):
        results(reading)
    first.write_bytes(content)
    (reading / "key.json").rename(reading / "elsewhere.json")
    with pytest.raises(BadRequest, match=r"no key\.json"):
        results(reading)
    (reading / "key.json").write_text('{"version": 1, "cases": {"case-00001": {"kind": "maybe"}}}')
    with pytest.raises(BadRequest, match="damaged"):
        results(reading)
