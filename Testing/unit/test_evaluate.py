"""The evaluation with stand-ins for the generators, on a data set made on the spot."""

import json
import math
from functools import cache

import numpy as np
import pytest
import torch

from sketch2ct import bundle as bundles
from sketch2ct import cli, describe
from sketch2ct.data.nnunet import Dataset
from sketch2ct.errors import BadRequest, BundleCorrupt
from sketch2ct.evaluation import case, conditions, diversity, parts, probes, report
from sketch2ct.evaluation.paired import place
from sketch2ct.evaluation.run import evaluate
from sketch2ct.geometry import Grid, inside, outlines
from sketch2ct.imaging import CTVolume, LabelVolume

STRUCTURES = ["brainstem", "mandible"]


@cache
def centres(shape, affine):
    """RAS positions (voxels, 3) of a grid given by what can be looked up: the grids of all calls are a few."""
    return Grid(shape, np.frombuffer(affine).reshape(4, 4)).voxel_centres().reshape(-1, 3)


class Extruder:
    """Extrudes the sketch by half its width; from text alone, a ball of the volume it names or implies.

    Without clean-up a mandible has a stray voxel in the corner.
    """

    clean_up = False

    def generate(self, condition, rng, progress):
        (name,) = condition.structures
        grid = condition.grid
        ras = centres(grid.shape, grid.affine.tobytes())
        if condition.sketches:
            sketch = condition.sketches[0]
            uvw = sketch.plane.to_plane(ras)
            polygons = outlines([sketch.plane.to_plane(s)[:, :2] for s in sketch.strokes])
            deep = np.abs(uvw[:, 2]) < np.ptp(polygons[0], axis=0).min() / 3
            mask = np.zeros(len(ras), bool)
            mask[deep] = inside(polygons, uvw[deep, :2])
        else:
            text = describe.read(condition.description)
            words = {"small": 8.0, "large": 16.0}
            volume = text.values.get("volume_ml") or next((v for w, v in words.items() if w in condition.description), 12.0)
            noise = float(torch.rand(1, generator=rng)) - 0.5
            radius = (volume * (1 + 0.1 * noise) * 3000 / (4 * math.pi)) ** (1 / 3)
            mask = ((ras - grid.centre) ** 2).sum(-1) < radius**2
        mask = mask.reshape(grid.shape)
        if name == "mandible" and not self.clean_up:
            mask[0, 0, 0] = True
        return LabelVolume(mask.astype(np.uint8), grid, {1: name})


class Painter:
    """The labels' HU in a ball of soft tissue; the mandible is far too soft."""

    def generate(self, labels, text, rng, progress, *, steps=None):
        ball = ((labels.grid.voxel_centres() / (60, 62, 80)) ** 2).sum(-1) < 1
        hu = np.where(ball, 40, -1000)
        hu[labels.array == 1], hu[labels.array == 2] = 31, 100
        return CTVolume(hu.astype(np.int16), labels.grid)


@pytest.fixture(scope="module")
def toy_bundle(toy_root, tmp_path_factory):
    dataset = Dataset(toy_root)
    facts = {name: [] for name in STRUCTURES}
    for name in dataset.cases("Tr"):
        labels = dataset.labels(name)
        for structure in STRUCTURES:
            facts[structure].append(describe.measure(labels.mask(structure), labels.grid.affine))
    metadata = {
        "structures": STRUCTURES,
        "frame": {"shape": [48, 48, 56], "spacing": [3.0, 3.0, 3.0]},
        "placement": {"brainstem": [0, -10, 10], "mandible": [0, 35, -15]},
        "ranges": {name: describe.Ranges.fit(values).to_dict() for name, values in facts.items()},
        "hu": {"brainstem": [-20, 80], "mandible": [200, 1800]},
    }
    folder = tmp_path_factory.mktemp("bundles") / "toy"
    return bundles.save(folder, metadata, {"mask": {"w": torch.zeros(1)}}, "card", "licence")


@pytest.fixture(scope="module")
def run(toy_root, toy_bundle, tmp_path_factory):
    def evaluated(**changes):
        out = tmp_path_factory.mktemp("report")
        arguments = {"images": "imagesVa", "labels": "labelsVa", "device": "cpu", "draws": 4}
        stand_ins = {
            "load_bundle": lambda name: toy_bundle,
            "load_masks": lambda name, bundle, device: Extruder(),
            "load_volumes": lambda name, bundle, device: Painter(),
        }
        return evaluate(bundle="toy", data=toy_root, out=out, **{**stand_ins, **arguments, **changes}), out

    return evaluated


@pytest.fixture(scope="module")
def whole(run):
    return run()


def test_the_report_has_the_published_keys(whole):
    made, out = whole
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(made))
    assert made["cases"] == 3
    assert list(made["masks"]) == [*STRUCTURES, "mean_of_five"]
    for entry in made["masks"].values():
        for key in (*case.METRICS, *report.BASELINES):
            assert set(entry[key]) >= {"mean", "ci95", "n"}
    assert set(made) >= {"probes", "seconds", "hardware", "seed", "command", "bundle"}
    assert made["command"].startswith("sketch2ct evaluate --bundle toy --data ")


def test_only_contoured_structures_are_counted(whole):
    made, _ = whole
    assert made["masks"]["brainstem"]["dice_3d"]["n"] == 3
    assert made["masks"]["mandible"]["dice_3d"]["n"] == 2
    assert made["masks"]["mean_of_five"]["dice_3d"]["n"] == 3


def test_figures_are_those_of_the_single_masks(whole):
    made, _ = whole
    dice = [r["values"]["dice_3d"] for r in made["records"]["masks"] if r["structure"] == "brainstem"]
    assert made["masks"]["brainstem"]["dice_3d"]["mean"] == pytest.approx(np.mean(dice), abs=1e-3)
    means = [made["masks"][name]["dice_3d"]["mean"] for name in STRUCTURES]
    assert made["masks"]["mean_of_five"]["dice_3d"]["mean"] == pytest.approx(np.mean(means), abs=1e-3)
    assert made["masks"]["brainstem"]["dice_plane"]["mean"] > 0.9
    assert made["masks"]["brainstem"]["retrieval_dice_3d"]["mean"] > 0.85


def test_clean_up_is_measured_beside_the_raw_masks(whole):
    raw, clean = whole[0]["masks"]["mandible"], whole[0]["masks"]["mandible"]["clean"]
    assert raw["components"]["mean"] == 2 and clean["components"]["mean"] == 1
    assert clean["dice_3d"]["mean"] > raw["dice_3d"]["mean"]
    assert clean["hd95_mm"]["mean"] <= raw["hd95_mm"]["mean"]


def test_probes_see_that_the_text_is_followed(whole):
    found = whole[0]["probes"]
    assert found["volume_within_20"]["text_only"] == {"mean": 1.0, "ci95": [1.0, 1.0], "n": 8}
    assert found["small_large_obeyed"]["mean"] == 1 and found["small_large_obeyed"]["n"] == 8
    assert found["by_structure"]["brainstem"]["one_component"]["mean"] == 1
    assert found["by_structure"]["mandible"]["one_component"]["mean"] == 0
    asked = [v["asked_ml"] for v in whole[0]["records"]["volume_in_numbers"]]
    assert len(set(asked)) > 4


def test_hu_medians_are_held_against_the_range_of_the_training_voxels(whole):
    found = whole[0]["ct"]
    assert found["brainstem"]["hu_median_inside"] == {"mean": 1.0, "ci95": [1.0, 1.0], "n": 3}
    assert found["mandible"]["hu_median_inside"] == {"mean": 0.0, "ci95": [0.0, 0.0], "n": 2}
    assert found["brainstem"]["hu_median"]["mean"] == 31
    assert found["brainstem"]["hu_median_real"]["mean"] == 30
    assert 0 < found["overall"]["histogram_difference"]["mean"] < 0.2
    assert found["overall"]["hu_median_inside"] == {"mean": 0.5, "ci95": [0.5, 1.0], "n": 3}  # toy_09 alone has no mandible


def test_pictures_and_tables_are_written(whole):
    made, out = whole
    assert made["figures"] == ["figures/dice.png", "figures/masks.png", *(f"figures/ct-toy_{n:02d}.png" for n in (7, 8, 9))]
    assert all((out / name).stat().st_size > 10_000 for name in made["figures"])
    text = (out / "report.md").read_text()
    assert "| brainstem | 3 |" in text and "retrieval" in text and "figures/masks.png" in text


def test_the_same_seed_gives_the_same_figures_and_another_one_others(run, whole):
    again, other = run()[0], run(seed=1, hand=1.0, only="masks")[0]
    for key in ("masks", "probes", "ct"):
        assert again[key] == whole[0][key]
    assert other["masks"] != whole[0]["masks"]


def test_a_case_has_the_same_figures_when_fewer_are_evaluated(run, whole):
    few = run(cases=1, ct_cases=0, draws=None)[0]
    assert few["cases"] == 1 and few["ct"] == {}
    first = {r["structure"]: r["values"] for r in whole[0]["records"]["masks"] if r["case"] == "toy_07"}
    assert {r["structure"]: r["values"] for r in few["records"]["masks"]} == first
    assert few["probes"]["small_large_obeyed"]["n"] == 4


@pytest.fixture(scope="module")
def kit(run):
    return run(only="all", cases=2, ct_cases=1)


def test_every_part_has_its_keys_figures_and_tables(kit):
    made, out = kit
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(made, allow_nan=False))
    assert made["parts"] == list(parts.PARTS) and made["command"].endswith("--cases 2 --parts all --draws 4 --ct-cases 1")
    assert list(made["conditions"]) == list(conditions.CONDITIONS)
    assert set(made["conditions"]["two_sketches"]["mean_of_five"]) == {*case.METRICS, "dice_3d_gain"}
    assert set(made["obedience"]) == {"share_followed", "words", "numbers"}
    assert list(made["plausibility"]) == [*STRUCTURES, "overall"] and list(made["diversity"]) == list(diversity.REQUESTS)
    assert list(made["neighbours"]) == ["brainstem", "overall"]  # the toy mandibles are smaller than any that training uses
    assert set(made["records"]) > {"conditions", "obedience", "plausibility", "diversity", "neighbours"}
    assert {"figures/conditions.png", "figures/obedience.png"} < set(made["figures"])
    assert set(made["seconds"]["parts"]) >= {*parts.PARTS, "baselines", "training masks"}
    text = (out / "report.md").read_text()
    for head in ("other requests", "Words and numbers", "Plausibility", "several seeds", "Nearest training mask"):
        assert f"{head}" in text
    assert "| two sketches on two planes | 0." in text


def test_parts_do_not_change_one_another(kit, whole, run):
    made = kit[0]
    first = [r for r in whole[0]["records"]["masks"] if r["case"] in ("toy_07", "toy_08")]
    assert [r["values"] for r in made["records"]["masks"]] == [r["values"] for r in first]
    alone = run(only="conditions,diversity", cases=2)[0]
    assert alone["parts"] == ["masks", "conditions", "diversity"]
    assert alone["conditions"] == made["conditions"] and alone["diversity"] == made["diversity"]
    assert alone["ct"] == alone["probes"] == alone["obedience"] == alone["neighbours"] == {}


def test_cheap_parts_belong_to_every_evaluation(whole):
    made, out = whole
    assert made["plausibility"]["overall"]["volume"]["real"]["n"] == 3
    assert made["neighbours"]["brainstem"]["ratio"]["n"] == 3 and made["neighbours"]["overall"]["copies"] == []
    assert made["conditions"] == made["obedience"] == made["diversity"] == {}
    assert "several seeds" not in (out / "report.md").read_text()


def test_cts_alone_need_no_masks(run):
    def refused(name, bundle, device):
        raise AssertionError("no mask is asked for")

    made, out = run(only="ct", cases=1, load_masks=refused)
    assert made["masks"] == {} and made["ct"]["brainstem"]["hu_median"]["mean"] == 31
    assert made["figures"] == ["figures/ct-toy_07.png"] and "## CT" in (out / "report.md").read_text()


def test_without_a_segmenter_cts_are_held_against_the_training_scans_only_when_asked(run, whole):
    kit = whole[0]["ct_kit"]
    assert kit["obedience"] == kit["fid"] == kit["segmenter"] == whole[0]["usefulness"] == {}
    assert kit["tissue"]["structures"]["mandible"]["median"]["generated"]["mean"] == 100
    assert kit["counts"] == {"cases": 3, "training": 6, "training_held": 6, "samples": 2, "seed": 0}
    assert kit["neighbours"]["real"]["n"] == 3 and kit["neighbours"]["copies"] == []
    alone, out = run(only="ct")
    assert alone["parts"] == ["ct"] and alone["ct"] == whole[0]["ct"]
    assert alone["ct_kit"]["neighbours"] == {} and alone["ct_kit"]["counts"]["training"] == 0
    for part in ("tissue", "noise", "edges", "continuity"):
        assert alone["ct_kit"][part] == kit[part]
    text = (out / "report.md").read_text()
    assert "Nearest training scan" not in text and "Noise, sharpness" in text and "3 cases, seed 0." in text


def test_a_copied_training_scan_is_named_in_the_report(run, toy_root, toy_bundle):
    class Copier:
        def generate(self, labels, text, rng, progress, *, steps=None):
            return CTVolume(place(Dataset(toy_root), "toy_03", toy_bundle.metadata).ct.array, labels.grid)

    made, out = run(only="realism", cases=1, load_volumes=lambda name, bundle, device: Copier())
    (copy,) = made["ct_kit"]["neighbours"]["copies"]
    assert (copy["case"], copy["training"]) == ("toy_07", "toy_03") and made["ct_kit"]["neighbours"]["ratio"]["mean"] < 0.1
    assert "toy_07 (of toy_03)" in (out / "report.md").read_text()


def test_several_samples_of_a_patient_count_as_one(run):
    made = run(cases=2, samples=2, ct_cases=0)[0]
    assert len(made["records"]["masks"]) == 8
    assert made["masks"]["brainstem"]["dice_3d"]["n"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": "imagesTr"}, "not of the same split"),
        ({"images": "imagesTs", "labels": "labelsTs"}, "labelsTs"),
        ({"cases": 0}, "number of cases"),
        ({"only": "masks,pictures"}, "no part 'pictures'"),
    ],
)
def test_wrong_arguments_are_refused(run, changes, message):
    with pytest.raises(BadRequest, match=message):
        run(**changes)


def test_the_command_line_refuses_an_unknown_part(toy_root, tmp_path, capsys):
    assert cli.main(["evaluate", "--data", str(toy_root), "--out", str(tmp_path / "out"), "--parts", "masks,hats"]) == 2
    assert "no part 'hats'" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_bundle_without_ranges_is_refused(run, toy_bundle):
    bare = bundles.Bundle(toy_bundle.folder, {"structures": STRUCTURES})
    with pytest.raises(BundleCorrupt, match="ranges"):
        run(load_bundle=lambda name: bare)


def test_a_volume_is_within_20_percent_or_not():
    class Fixed:
        def generate(self, condition, rng, progress):
            mask = np.zeros(condition.grid.shape, np.uint8)
            mask[:10, :10, :10] = 1
            return LabelVolume(mask, condition.grid, {1: condition.structures[0]})

    grid = Grid.centred((0, 0, 0), (2, 2, 2), (20, 20, 20))  # 8 mL
    flat = describe.Ranges({"volume_ml": np.linspace(5, 15, 21).tolist()})
    found = probes.volume_in_numbers(Fixed(), ["brainstem"], {"brainstem": flat}, grid, 0, 40)
    assert [v["within"] for v in found] == [abs(8 - v["asked_ml"]) / v["asked_ml"] <= 0.2 for v in found]
    assert 0 < np.mean([v["within"] for v in found]) < 1
    assert not any(p["obeyed"] for p in probes.small_against_large(Fixed(), ["brainstem"], grid, 0, 2))
