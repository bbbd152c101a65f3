"""Variants of the mask model trained alike and measured on the same questions: fairness, resume, paired differences."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from sketch2ct import cli
from sketch2ct.bundle import Bundle
from sketch2ct.data.nnunet import Dataset
from sketch2ct.errors import BadRequest, Cancelled
from sketch2ct.evaluation import ablation, ablation_report
from sketch2ct.evaluation.ablation import Asking, ablate, changed, measure
from sketch2ct.evaluation.mask_parts import Run
from sketch2ct.imaging import LabelVolume
from sketch2ct.training import ablation as training

BOX = {"shape": [24, 24, 24], "spacing": [4, 4, 4]}
RECIPE = {
    "structures": ["brainstem", "mandible"],
    "train": "Tr",
    "choose": "Va",
    "seed": 3,
    "boxes": {"brainstem": BOX, "mandible": BOX},
    "frame": {"shape": [48, 48, 48], "spacing": [4, 4, 4]},
    "shapes": {"variants": 2, "sentences": 2},
    "mask": {
        "network": {"channels": [16, 16], "attention": [False, True], "blocks": 1, "head": 8, "width": 32},
        "batch": 2,
        "learning_rate": 1e-3,
        "average": 0.9,
        "steps_per_epoch": 2,
        "workers": 0,
        "dice_weight": 0.0,
        "weights": {},
    },
    "sampling": {"mask_steps": 1, "guidance": 1.0, "temperature": 1.0},
}
STEPS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    (folder / "toy.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


@pytest.fixture(scope="module")
def material(folder, toy_root):
    (folder / "cache").mkdir()
    return training.Material.prepared(RECIPE, Dataset(toy_root), folder / "cache", STEPS, 3)


@pytest.fixture(scope="module")
def trained(material, folder):
    return training.train_variant("strokes", material, folder / "whole", resume=False, device="cpu")


def run_ablation(folder, toy_root, out, **changes):
    own = {"steps": 2, "cases": 2, "device": "cpu", "cache": folder / "cache", "draws": 1, "variants": "full,strokes"} | changes
    return ablate(str(folder / "toy.yaml"), toy_root, out, **own)


@pytest.fixture(scope="module")
def table(folder, toy_root, material):
    return run_ablation(folder, toy_root, folder / "table")


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_batches_belong_to_their_step_and_no_two_are_alike(material):
    stream = training.Ordered(material)
    epochs = [next_of(stream, 2), next_of(stream, 2)]  # the loop asks for an iterator every epoch
    assert [number for epoch in epochs for number, *_ in epoch] == [0, 1, 2, 3]
    torch.manual_seed(99)
    later = training.Ordered(material)
    later.first = 3
    state = torch.get_rng_state()
    number, target, condition = next_of(later, 1)[0]
    assert torch.equal(torch.get_rng_state(), state)
    assert number == 3 and torch.equal(target, epochs[1][1][1]) and torch.equal(condition.strokes, epochs[1][1][2].strokes)
    targets = [target for epoch in epochs for _, target, _ in epoch]
    assert not any(torch.equal(a, b) for n, a in enumerate(targets) for b in targets[:n])


def next_of(stream, count):
    return [batch for batch, _ in zip(stream, range(count), strict=False)]


def test_a_variant_takes_exactly_its_steps_and_its_record_says_how(trained, folder):
    assert trained["steps"] == STEPS and trained["seed"] == 3 and trained["device"] == "cpu"
    assert json.loads((folder / "whole" / "trained.json").read_text()) == trained
    net = training.load_variant(folder / "whole")
    assert net.size.without == ("strokes",)
    assert trained["parameters"] == sum(p.numel() for p in net.parameters())
    before = training.start(net.size, 3).state_dict()
    assert not torch.equal(before["unet.conv_in.conv.weight"], net.state_dict()["unet.conv_in.conv.weight"])


@pytest.mark.parametrize("stopped", [1, 3, STEPS])
def test_an_interrupted_training_goes_on_to_the_very_same_weights(trained, material, folder, monkeypatch, stopped):
    """Stopped at a step or, the last time, after the last step but before its record was written."""
    out = folder / f"stopped-{stopped}"
    if stopped < STEPS:
        with monkeypatch.context() as patch:
            whole = training.VariantStage.training_step

            def breaks(self, batch, index):
                if self.global_step == stopped:
                    raise RuntimeError("power cut")
                return whole(self, batch, index)

            patch.setattr(training.VariantStage, "training_step", breaks)
            with pytest.raises(RuntimeError, match="power cut"):
                training.train_variant("strokes", material, out, resume=False, device="cpu")
    else:
        training.train_variant("strokes", material, out, resume=False, device="cpu")
        (out / "trained.json").unlink()
    assert not (out / "trained.json").exists()
    record = training.train_variant("strokes", material, out, resume=True, device="cpu")
    assert record["steps"] == STEPS
    assert same(load_file(out / "weights.safetensors"), load_file(folder / "whole" / "weights.safetensors"))


def test_a_finished_variant_is_kept_and_a_damaged_or_other_one_is_not(trained, material, folder, monkeypatch):
    def never(*_, **__):
        raise AssertionError("trained again")

    out = folder / "whole"
    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", never)
        assert training.train_variant("strokes", material, out, resume=True, device="cpu") == trained
        for name, other in (
            ("text", material),
            ("strokes", changed_material(material, seed=4)),
            ("strokes", changed_material(material, steps=6)),
        ):
            assert training._finished(out, other.key(name)) is None
    copy = folder / "damaged"
    copy.mkdir()
    for name in ("trained.json", "weights.safetensors"):
        (copy / name).write_bytes((out / name).read_bytes())
    assert training._finished(copy, material.key("strokes")) == trained
    (copy / "weights.safetensors").write_bytes((out / "weights.safetensors").read_bytes()[:-1])
    assert training._finished(copy, material.key("strokes")) is None
    (copy / "trained.json").write_text('{"half')
    assert training._finished(copy, material.key("strokes")) is None


def changed_material(material, **changes):
    return training.Material(**{**vars(material), **changes})


def test_a_training_that_was_stopped_is_no_trained_variant(material, folder, monkeypatch):
    def stopped(stage, batches, out, **_):
        stage.trainer = type("Trainer", (), {"global_step": 1})()
        return out / "weights.safetensors"

    monkeypatch.setattr(training, "fit", stopped)
    monkeypatch.setattr(training.VariantStage, "trainer", None, raising=False)
    with pytest.raises(Cancelled, match=r"1 of 5 steps.*--resume"):
        training.train_variant("full", material, folder / "halted", resume=False, device="cpu")
    assert not (folder / "halted" / "trained.json").exists()


def test_variants_are_named_and_the_full_model_is_always_among_them():
    assert training.chosen(None) == ("full", "capsules", "tsfe", "cgfm", "text", "strokes")
    assert training.chosen("text, Strokes") == ("full", "text", "strokes")
    assert training.chosen("none") == ()
    for wrong in ("attention", "", "none,text"):
        with pytest.raises(BadRequest, match="Known: full, capsules"):
            training.chosen(wrong)


def test_a_cache_of_another_recipe_is_refused(material, folder, toy_root):
    other = RECIPE | {"structures": ["mandible"], "boxes": {"mandible": BOX}}
    with pytest.raises(BadRequest, match="holds shapes of brainstem"):
        training.Material.prepared(other, Dataset(toy_root), folder / "cache", STEPS, 3)


def test_what_cannot_be_measured_is_refused_before_anything_is_trained(folder, toy_root, tmp_path, capsys):
    wrong = [({"variants": "attention"}, "no variant 'attention'"), ({"variants": "none"}, "Neither variants nor a bundle")]
    wrong += [({"steps": 0}, "steps cannot be 0"), ({"cases": 0}, "cases cannot be 0"), ({"device": "tpu"}, "Unknown device")]
    for changes, told in wrong:
        with pytest.raises(BadRequest, match=told):
            run_ablation(folder, toy_root, tmp_path / "out", **changes)
    with pytest.raises(BadRequest, match="has no mask model"):
        ablate("segmenter", toy_root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    words = ["ablate", "headneck", "--data", str(toy_root), "--out", str(tmp_path / "out"), "--variants", "attention"]
    assert cli.main(words) == 2
    assert "error: There is no variant 'attention' of the mask model. Known: full, capsules" in capsys.readouterr().err


def test_the_table_has_a_row_a_variant_with_figures_differences_and_what_made_them(table, folder):
    assert table["complete"] and [row["row"] for row in table["rows"]] == ["full", "strokes"]
    stored = json.loads((folder / "table" / "ablation.json").read_text())
    full, without = stored["rows"]
    assert full["difference"] == {} and set(without["difference"]) == {"off", "on"}
    assert set(without["steering"]["off"]) == {"dice_3d", "dice_plane", "two_sketches", "volume_within_20"}
    assert without["steering"]["on"]["dice_3d"]["n"] == 2
    assert without["steering"]["on"]["dice_plane"]["mean"] > without["steering"]["off"]["dice_plane"]["mean"]  # the section is held
    assert without["trained"]["steps"] == 2 and without["trained"]["seed"] == 3
    assert stored["hardware"]["device"] and "--steps 2" in stored["command"] and "toy.yaml" in stored["command"]
    text = (folder / "table" / "ablation.md").read_text()
    assert "without the 3D stroke channels" in text and stored["command"] in text
    assert len({len(row.split("|")) for row in text.splitlines() if row.startswith("|")}) == 2  # two whole tables


def test_a_report_quotes_the_table_without_the_single_measurements(table, folder):
    found = ablation_report.read_ablation(folder / "table")
    assert [row["row"] for row in found["rows"]] == [row["row"] for row in table["rows"]]
    assert all("measured" not in row and row["steering"]["on"]["dice_3d"]["n"] for row in found["rows"])
    text = "\n".join(ablation_report.quoted(found))
    assert found["command"] in text and all(row["title"] in text for row in found["rows"]) and ablation_report.quoted({}) == []


def test_variants_can_begin_with_a_trained_model_as_far_as_they_share_it(folder, toy_root, material, tmp_path, monkeypatch):
    """So that what a part gives is asked of a model that is trained."""
    trained = training.start(material.size, 11).state_dict()  # weights that no start with seed 3 has
    begun = training.start(material.sized("strokes"), 3, trained).state_dict()
    other = training.start(material.sized("strokes"), 3).state_dict()
    differ = [name for name, value in begun.items() if name in trained and trained[name].shape == value.shape]
    assert differ and all(torch.equal(begun[name], trained[name]) for name in differ)
    assert not same(begun, other)
    with pytest.raises(BadRequest, match="not of the recipe's mask model"):
        training.start(material.size, 3, {name: value for name, value in list(trained.items())[1:]})

    monkeypatch.setattr(Bundle, "digest", "d" * 64)
    _, metadata = asking(toy_root, material, tmp_path)
    ball = Ball()
    ball.net = training.start(material.size, 11)
    monkeypatch.setattr(ablation, "STEPS", (4,))
    monkeypatch.setattr(ablation, "GUIDANCE", (1.0,))
    given = {"bundle": "toy", "load_bundle": lambda _: Bundle(tmp_path / "toy", metadata), "load_masks": lambda *_: ball, "steps": 1}
    result = run_ablation(folder, toy_root, tmp_path / "out", **given, variants="full", fine_tune=True)
    assert [row["row"] for row in result["rows"]] == ["full", "bundle"] and result["begin"] == "toy"
    assert "--fine-tune" in result["command"] and "--fine-tune True" not in result["command"]
    assert "the weights of toy" in (tmp_path / "out" / "ablation.md").read_text()
    weights = load_file(tmp_path / "out" / "variants" / "full" / "weights.safetensors")
    moved = max(float((weights[name] - value).abs().max()) for name, value in trained.items() if value.is_floating_point())
    assert 0 < moved < 0.02  # one step away
    with pytest.raises(BadRequest, match="no bundle whose mask model"):
        run_ablation(folder, toy_root, tmp_path / "other", fine_tune=True)


def test_a_second_run_makes_nothing_again_and_gives_the_same_figures(table, folder, toy_root, monkeypatch):
    def never(*_, **__):
        raise AssertionError("made again")

    before = (folder / "table" / "ablation.json").read_text()
    monkeypatch.setattr(training, "fit", never)
    monkeypatch.setattr(ablation, "measure", never)
    run_ablation(folder, toy_root, folder / "table", resume=True)
    assert (folder / "table" / "ablation.json").read_text() == before
    with pytest.raises(AssertionError, match="made again"):  # other questions
        run_ablation(folder, toy_root, folder / "table", resume=True, draws=2)


class Ball:
    """Fills a ball whose radius depends on the settings, so that each must reach the generator."""

    steps, guidance, steer = 4, 1.0, True

    def __init__(self):
        self.calls = []

    def generate(self, condition, rng, progress):
        self.calls.append((self.steps, self.guidance, self.steer, len(condition.sketches), float(torch.rand(1, generator=rng))))
        centre = condition.sketches[0].points().mean(0) if condition.sketches else condition.grid.centre
        radius = 8 + 4 * self.guidance + 0.1 * self.steps + self.steer
        mask = ((condition.grid.voxel_centres() - centre) ** 2).sum(-1) < radius**2
        return LabelVolume(mask.astype(np.uint8), condition.grid, {1: condition.structures[0]})


def asking(toy_root, material, out):
    boxes = material.boxes.to_dict()
    metadata = {"structures": RECIPE["structures"], "frame": RECIPE["frame"], "ranges": boxes["ranges"], "placement": boxes["placement"]}
    dataset = Dataset(toy_root)
    ranges = material.boxes.ranges
    return Asking.of(Run(dataset, dataset.cases("Va"), metadata, ["brainstem"], ranges, 3, out, 0.0, ()), 2), metadata


def test_every_row_has_the_same_noise_without_and_with_steering_and_settings_return(toy_root, material, tmp_path):
    ball = Ball()
    asked, _ = asking(toy_root, material, tmp_path)
    found = measure(ball, asked, two=True)
    half = len(ball.calls) // 2
    assert [c[2] for c in ball.calls] == [False] * half + [True] * half
    assert [c[3:] for c in ball.calls[:half]] == [c[3:] for c in ball.calls[half:]]
    assert {c[3] for c in ball.calls} == {0, 1, 2}
    assert len(found["off"]["one"]) == len(found["off"]["two"]) == 3 and len(found["off"]["volumes"]) == 2
    assert ball.steer is True
    with pytest.raises(RuntimeError), changed(ball, steps=9):
        raise RuntimeError
    assert ball.steps == 4


def test_a_bundle_is_sampled_at_every_step_count_and_guidance(folder, toy_root, material, tmp_path, monkeypatch):
    monkeypatch.setattr(Bundle, "digest", "d" * 64)
    _, metadata = asking(toy_root, material, tmp_path)
    ball, own = Ball(), Bundle(tmp_path / "toy", metadata)
    given = {"variants": "none", "bundle": "toy", "load_bundle": lambda _: own, "load_masks": lambda *_: ball}
    result = run_ablation(folder, toy_root, tmp_path / "out", **given)
    names = [row["row"] for row in result["rows"]]
    assert names == [
        "bundle",
        "steps 1",
        "steps 5",
        "steps 10",
        "steps 20",
        "steps 30",
        *(f"guidance {g}" for g in ("0.5", "1.5", "2", "3")),
    ]
    assert {c[:2] for c in ball.calls} == {(n, 1.0) for n in (1, 4, 5, 10, 20, 30)} | {(4, g) for g in (0.5, 1.5, 2.0, 3.0)}
    stored = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert stored["bundle"]["steps"] == 4 and stored["rows"][0]["title"] == "toy: 4 steps, guidance 1 (its own)"
    assert stored["rows"][1]["difference"]["off"]["dice_3d"]["mean"] != 0
    assert stored["rows"][1]["steering"]["off"]["two_sketches"]["n"] == 0


def entry(case, structure, dice, two=False):
    return {"case": case, "structure": structure, "seconds": 1.0, "dice_3d": dice, "dice_plane": dice}


def test_differences_are_paired_by_patient_and_structure():
    """Patients differ by .4, the rows by .1 in each of them: the interval of the difference knows nothing of the patients."""
    full = [entry("a", "x", 0.4), entry("b", "x", 0.8), entry("a", "y", 0.5), entry("b", "y", 0.7), entry("c", "x", 0.9)]
    less = [entry("b", "y", 0.6), entry("a", "x", 0.3), entry("b", "x", 0.7), entry("a", "y", 0.4)]  # no c, another order
    volumes = [{"structure": "x", "within": True}, {"structure": "x", "within": False}]

    def row(name, one, volumes):
        half = {"one": one, "two": [], "volumes": volumes}
        return {"row": name, "title": name, "reference": "full", "measured": {"off": half, "on": half}}

    rows = [row("full", full, volumes), row("text", less, volumes[::-1])]
    made = ablation_report.summarise({"structures": ["x", "y"], "rows": rows}, 0)["rows"]
    assert made[1]["difference"]["off"]["dice_3d"] == {"mean": -0.1, "ci95": [-0.1, -0.1], "n": 2}
    low, high = made[1]["steering"]["off"]["dice_3d"]["ci95"]
    assert high - low > 0.2
    assert made[1]["steering"]["off"]["dice_3d"]["mean"] == pytest.approx((0.5 + 0.5) / 2)
    within = made[1]["difference"]["on"]["volume_within_20"]
    assert within["mean"] == 0 and within["n"] == 2 and within["ci95"] == [-1.0, 1.0]  # by draw: one lost, one won
    assert ablation_report.gap(made[1]["difference"]["off"]["dice_3d"]) == "**-0.100 [-0.100, -0.100]**"
    assert ablation_report.gap(within) == "+0.000 [-1.000, +1.000]"
