"""The rows of an evaluation that take two bundles: whole regions from text, and every pairing of mask and volume generators."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from fake_backend import FlatVolumes, make_bundle
from sketch2ct import bundle as bundles
from sketch2ct import describe
from sketch2ct.cli import main
from sketch2ct.data.nnunet import Dataset
from sketch2ct.describe.region import Statement
from sketch2ct.describe.relations import Relation
from sketch2ct.describe.sentences import Written
from sketch2ct.errors import BadRequest
from sketch2ct.evaluation import region_facts, region_sheet, region_statements
from sketch2ct.evaluation.ct import frame_for, on_frame
from sketch2ct.evaluation.paired import place
from sketch2ct.evaluation.pairings import contours
from sketch2ct.evaluation.region_masks import RegionKnown, told
from sketch2ct.evaluation.region_validity import RegionLimits
from sketch2ct.evaluation.run import evaluate
from sketch2ct.geometry import Grid
from sketch2ct.imaging import CTVolume, LabelVolume

STRUCTURES = ("brainstem", "mandible")
PLACEMENT = {"brainstem": (0.0, -10.0, 10.0), "mandible": (0.0, 35.0, -15.0)}
FRAME = {"shape": [36, 36, 30], "spacing": [4.0, 4.0, 4.0]}
RADII = {"brainstem": (14.0, 12.0, 24.0), "mandible": (24.0, 12.0, 9.0)}


def ellipsoid(grid, centre, radii):
    return ((((grid.voxel_centres() - centre) / radii) ** 2).sum(-1)) <= 1


class Heads:
    """A body with both structures, larger where the text says so; keeps what is given, as a whole-region generator does."""

    broken = False

    def generate(self, condition, rng, progress):
        grid, context = condition.grid, condition.context
        size = 1 + 0.15 * float(torch.rand(1, generator=rng)) - 0.07
        stated = describe.region.read(condition.description).volumes()
        names = {1: "brainstem", 2: "mandible", 3: "body"}
        array = np.where(ellipsoid(grid, grid.centre, (60, 62, 60)), 3, 0).astype(np.uint8)
        for value, name in enumerate(STRUCTURES, start=1):
            radii = np.array(RADII[name]) * size
            if name in stated:
                radii = radii * (stated[name] * 1000 / (4 / 3 * np.pi * radii.prod())) ** (1 / 3)
            if context is None or not context.has(name):
                array[ellipsoid(grid, grid.centre + PLACEMENT[name], radii)] = value
        for value, name in context.names.items() if context is not None else ():
            array[context.array == value] = list(names.values()).index(name) + 1
        if self.broken:
            array[np.random.default_rng(0).random(grid.shape) < 0.1] = 1
        progress("mask", 1, 1)
        return LabelVolume(array, grid, names)


class Organs:
    """The sketched structure alone: a ball through its strokes."""

    def generate(self, condition, rng, progress):
        (name,) = condition.structures
        points = condition.sketches[0].points()
        middle = (points.min(0) + points.max(0)) / 2
        array = ellipsoid(condition.grid, middle, np.full(3, np.ptp(points, axis=0).max() / 2)).astype(np.uint8)
        return LabelVolume(array, condition.grid, {1: name})


class Seer:
    """Finds in a CT what is brighter than 300 HU and calls it all a mandible; its features are blocks of the CT."""

    structures = STRUCTURES

    def segment(self, ct):
        return LabelVolume((ct.array > 300).astype(np.uint8) * 2, ct.grid, dict(enumerate(STRUCTURES, start=1)))

    def features(self, ct):
        padded = np.pad(ct.array.astype(np.float32) / 1000, [(0, -n % 4) for n in ct.array.shape])
        a, b, c = (n // 4 for n in padded.shape)
        blocks = padded.reshape(a, 4, b, 4, c, 4)
        return np.stack([blocks.mean((1, 3, 5)), blocks.std((1, 3, 5))]), 4

    def about(self):
        return {"split": "Tr"}


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("region_facts", "realism"):
            patch.setattr(f"sketch2ct.evaluation.{name}.DRAWS", 4)
        yield


@pytest.fixture(scope="module")
def known_cases(toy_root):
    """Facts, middles and volumes of the training cases on the frame."""
    dataset = Dataset(toy_root)
    metadata = {"frame": FRAME, "placement": PLACEMENT, "structures": list(STRUCTURES)}
    found = []
    for case in dataset.cases("Tr"):
        labels = on_frame(dataset.labels(case), frame_for(dataset.labels(case), metadata), list(STRUCTURES))
        found.append(region_facts.facts_of(labels, STRUCTURES))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory, known_cases):
    """The bundles `organs` and `heads`."""
    folder = tmp_path_factory.mktemp("bundles")
    limits = RegionLimits.fit(
        (({n: np.asarray(f.centroid_ras) for n, f in own.items()}, {n: f.volume_ml for n, f in own.items()}) for own in known_cases),
        PLACEMENT,
    )
    ranges = {n: describe.Ranges.fit([own[n] for own in known_cases]).to_dict() for n in STRUCTURES}
    facts = {"structures": list(STRUCTURES), "placement": PLACEMENT, "frame": FRAME, "ranges": ranges, "hu": {}}
    make_bundle(folder, "organs", **facts)
    region = {"pairs": [], "limits": limits.to_dict(), "sampling": {"steps": 3}}
    make_bundle(folder, "heads", **facts, derived=["body"], region=region, region_volume={"sampling": {"steps": 3}})
    return folder


def loaders(folder, regions=None):
    regions = regions or Heads()
    return {
        "load_bundle": lambda name: bundles.load(str(folder / name)),
        "load_masks": lambda name, *_: regions if name == "guidegen" else Organs(),
        "load_volumes": lambda *_: FlatVolumes(),
    }


def evaluated(folder, toy_root, out, **more):
    names = {"images": "imagesVa", "labels": "labelsVa", "device": "cpu", "only": "ct", "ct_samples": 1, "surroundings": "heads"}
    return evaluate("organs", toy_root, names.pop("images"), names.pop("labels"), out, **(names | loaders(folder) | more))


@pytest.fixture(scope="module")
def report(folder, toy_root, tmp_path_factory):
    """A whole evaluation; and its folder."""
    out = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sketch2ct.evaluation.run.Segmenter.load", lambda *_: Seer())
        patch.setattr("sketch2ct.evaluation.run._check_segmenter", lambda *_: None)
        evaluated(folder, toy_root, out, segmenter=out, region_samples=4)
    return json.loads((out / "report.json").read_text()), out


def test_the_report_holds_every_row(report):
    found, out = report
    regions = found["regions"]
    assert regions["about"]["bundle"]["name"] == "heads" and regions["about"]["samples"] == 4 and regions["about"]["baseline"] == {}
    masks, pairings = regions["masks"], regions["pairings"]
    assert set(masks["validity"]) == {"told", "silent", "real"} and masks["validity"]["silent"]["n"] == 4
    assert set(masks["fid"]) == {"made", "floor", "features"} and masks["fid"]["made"]["mean"] > 0
    assert {"followed", "number", "word", "relation", "by_structure"} == set(masks["obedience"])
    assert set(pairings["ways"]) == {"contours", "single", "completed", "text"}
    for way, generators in pairings["ways"].items():
        assert set(generators) == {"organs/sketch2ct", "heads/guidegen"}
        for entry in generators.values():
            assert set(entry["fid"]) == {"generated", "floor", "ratio"} and entry["obedience"]["ratio"]["n"] == 3
            per = entry["obedience"]["by_structure"]
            assert per and all(set(own) == {"generated", "real", "ratio"} for own in per.values())
            assert ("fid_to_single" in entry) == (way == "completed")
    assert pairings["kept"]["voxels"] > 0 and pairings["kept"]["changed"] == 0
    assert set(pairings["seconds"]["whole"]) == {"organs/sketch2ct", "heads/guidegen"}
    assert len(found["records"]["regions"]["told"]) == 4 and found["records"]["regions"]["told"][0]["verdicts"]
    text = (out / "report.md").read_text()
    assert "## Whole regions of heads" in text and "### Pairings" in text and "changed 0" in text
    page = (out / "report.html").read_text()
    assert "Every mask generator with every CT generator" in page and "Whole regions of heads" in page
    assert "--surroundings heads" in found["command"] and "--region-samples 4" in found["command"]


def test_the_contours_of_a_case_lie_over_what_thresholds_tell(toy_root, folder):
    metadata = bundles.load(str(folder / "heads")).metadata
    dataset = Dataset(toy_root)
    placed = place(dataset, dataset.cases("Va")[0], metadata)
    found = contours(placed, metadata)
    assert set(found.names.values()) == {"body", *placed.labels.names.values()}
    for name in placed.labels.names.values():
        assert np.array_equal(found.mask(name), placed.labels.mask(name))
    assert not (found.mask("body") & ~placed.body).any()


def test_without_a_second_bundle_a_report_is_as_it_was(folder, toy_root, tmp_path):
    found = evaluated(folder, toy_root, tmp_path, surroundings=None, cases=1)
    assert "regions" not in found and "regions" not in found["records"] and "surroundings" not in found["command"]
    assert "regions" not in found["seconds"]["parts"]
    assert "Whole regions" not in (tmp_path / "report.md").read_text() + (tmp_path / "report.html").read_text()


def test_a_bundle_without_regions_is_refused(folder, toy_root, tmp_path):
    with pytest.raises(BadRequest, match="no whole regions"):
        evaluated(folder, toy_root, tmp_path, surroundings="organs", cases=1)


def test_a_broken_generator_is_farther_from_the_training_cases(known_cases, folder):
    metadata = bundles.load(str(folder / "heads")).metadata
    known = RegionKnown.of(metadata)
    reference = [region_facts.features(own, known.ranges, PLACEMENT) for own in known_cases]
    sets, valid = {}, {}
    for name, broken in (("made", False), ("gaussian", True)):
        maker = Heads()
        maker.broken = broken
        rng, maps = torch.Generator().manual_seed(0), []
        for _ in range(4):
            condition = type("Condition", (), {"grid": known.frame, "context": None, "description": ""})
            maps.append(maker.generate(condition, rng, lambda *_: None))
        facts = [region_facts.facts_of(labels, STRUCTURES) for labels in maps]
        sets[name] = [region_facts.features(own, known.ranges, PLACEMENT) for own in facts]
        valid[name] = np.mean([list(known.limits.judge(labels).values()) for labels in maps])
    found = region_facts.distances(sets, reference, STRUCTURES, 0)
    assert found["ratio"]["mean"] < 0.5 and found["made"]["mean"] < found["gaussian"]["mean"]
    assert valid["made"] > valid["gaussian"]


def test_what_is_missing_counts_as_far_off():
    given = {"brainstem": np.zeros(3)}
    whole = region_facts.with_missing(given, STRUCTURES)
    assert (whole["brainstem"] == 0).all() and (whole["mandible"] == -region_facts.LIMIT).all()


def test_statements_are_judged_one_by_one(known_cases, folder):
    known = RegionKnown.of(bundles.load(str(folder / "heads")).metadata)
    facts = known_cases[0]
    volume = facts["brainstem"].volume_ml
    said = Statement(
        "",
        {"brainstem": Written("", {"volume_ml": volume * 1.1}, {}), "mandible": Written("", {"volume_ml": 1000.0}, {"extent_lr_mm": 50.0})},
        (Relation("above", "brainstem", "mandible"), Relation("above", "mandible", "brainstem")),
    )
    verdicts = region_statements.judge(said, facts, known.ranges)
    assert [(v.kind, v.structure, v.followed) for v in verdicts if v.kind != "word"] == [
        ("number", "brainstem", True),
        ("number", "mandible", False),
        ("relation", "brainstem", True),
        ("relation", "mandible", False),
    ]
    missing = region_statements.judge(said, {}, known.ranges)
    assert missing and not any(v.followed for v in missing)
    summary = region_statements.summarise([verdicts, missing], 0)
    assert summary["relation"]["mean"] == pytest.approx(0.25) and summary["relation"]["n"] == 2


def test_texts_are_true_of_unseen_cases_and_seeded(known_cases, folder):
    known = RegionKnown.of(bundles.load(str(folder / "heads")).metadata)
    first, again = (told(known_cases, known, 3, 0) for _ in range(2))
    assert [[s.text for s in own] for own in first] == [[s.text for s in own] for own in again]
    for n, own in enumerate(first):
        for statement in own:
            assert all(v.followed for v in region_statements.judge(statement, known_cases[n], known.ranges)), statement.text


def test_a_sheet_shows_samples_from_words_alone(folder, tmp_path):
    grid = Grid.centred((0, 0, 0), FRAME["spacing"], tuple(FRAME["shape"]))
    metadata = bundles.load(str(folder / "heads")).metadata
    texts = [region_sheet.words(metadata, seed) for seed in range(3)]
    assert len(set(texts)) == 3 and texts == [region_sheet.words(metadata, seed) for seed in range(3)]
    condition = type("Condition", (), {"grid": grid, "context": None, "description": ""})
    labels = Heads().generate(condition, torch.Generator().manual_seed(0), lambda *_: None)
    ct = CTVolume(np.where(labels.array > 0, 40, -1000).astype(np.int16), grid)
    path = region_sheet.draw([region_sheet.Shown(text, labels, ct) for text in texts], tmp_path / "sheet.png")
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 20_000


def test_the_sheet_is_made_by_the_engine(folder, tmp_path, monkeypatch):
    from sketch2ct.engine import Engine

    monkeypatch.setenv(bundles.ENVIRONMENT_VARIABLE, str(folder))
    engine = Engine(lambda *_: Heads(), lambda *_: FlatVolumes())
    path = region_sheet.sheet("heads", tmp_path / "new" / "sheet.png", count=2, device="cpu", engine=engine)
    assert path.is_file()
    assert main(["samples", "--bundle", "nobody", "--out", str(tmp_path / "x.png")]) == 2
