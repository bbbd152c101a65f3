"""`train-segmenter`, `usefulness` and `evaluate` on the command line, from trained segmenter to report, with an untrained bundle."""

import json
import shlex
import shutil

import numpy as np
import pytest
import torch

from sketch2ct import bundle as bundles
from sketch2ct import cli, describe
from sketch2ct.data.nnunet import Dataset
from sketch2ct.networks.autoencoder import AutoencoderSize, CTAutoencoder
from sketch2ct.networks.volume_unet import VolumeNetwork, VolumeNetworkSize

STRUCTURES = ["brainstem", "mandible"]
LABELS = [*STRUCTURES, "body", "bone", "air"]


def make_bundle(parent, toy_root, name="toy", seed=0, structures=STRUCTURES):
    """A small bundle whose volume networks are random."""
    torch.manual_seed(seed)
    size, coder = VolumeNetworkSize((16, 16), (False, True), 1, 8, 4, len(LABELS), 8), CTAutoencoder(AutoencoderSize((16, 16), 1, 4))
    dataset = Dataset(toy_root)
    facts = {name: [] for name in STRUCTURES}
    for case in dataset.cases("Tr"):
        labels = dataset.labels(case)
        for structure in STRUCTURES:
            facts[structure].append(describe.measure(labels.mask(structure), labels.grid.affine))
    metadata = {
        "structures": structures,
        "frame": {"shape": [48, 48, 48], "spacing": [4.0, 4.0, 4.0]},
        "placement": {"brainstem": [0, -10, 10], "mandible": [0, 35, -15]},
        "ranges": {key: describe.Ranges.fit(values).to_dict() for key, values in facts.items()},
        "hu": {"brainstem": [-20, 80], "mandible": [200, 1800]},
        "volume": {
            "network": size.to_dict(),
            "autoencoder": coder.size.to_dict(),
            "labels": LABELS,
            "steps": 1,
            "temperature": 1.0,
            "guidance": 1.0,
        },
    }
    atlas = torch.from_numpy(np.random.default_rng(seed).normal(size=(5, 12, 12, 12)).astype(np.float32))
    weights = {"volume": VolumeNetwork(size).state_dict(), "decoder": coder.decoder_state(), "atlas": {"values": atlas}}
    return bundles.save(parent / name, metadata, weights, "card", "licence")


@pytest.fixture(scope="module")
def shelf(toy_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    make_bundle(folder, toy_root)
    make_bundle(folder, toy_root, "other", seed=1)
    make_bundle(folder, toy_root, "narrow", structures=["brainstem"])
    return folder


@pytest.fixture(autouse=True)
def installed(shelf, monkeypatch):
    monkeypatch.setenv("SKETCH2CT_BUNDLES", str(shelf))


@pytest.fixture(scope="module")
def command(toy_root, shelf):
    """Runs a command with the toy data on the CPU; its exit status."""

    def run(name, *options, bundle="toy"):
        return cli.main([name, "--data", str(toy_root), "--device", "cpu", "--bundle", bundle, *map(str, options)])

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKETCH2CT_BUNDLES", str(shelf))
        yield run


@pytest.fixture(scope="module")
def segmenter(command, segmenter_recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "judge"
    assert command("train-segmenter", "--out", out, "--recipe", segmenter_recipe, "--steps", 40, "--seed", 5) == 0
    return out


@pytest.fixture(scope="module")
def measured(command, segmenter_recipe, tmp_path_factory):
    """A folder with the usefulness of the bundle."""
    out = tmp_path_factory.mktemp("useful") / "worth"
    options = ("--out", out, "--recipe", segmenter_recipe, "--steps", 10, "--training", 2, "--cases", 2, "--seed", 4)
    assert command("usefulness", *options) == 0
    return out


@pytest.fixture(scope="module")
def evaluated(command, segmenter, measured, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "report"
    options = ("--cases", 2, "--parts", "realism", "--ct-samples", 3, "--seed", 6, "--segmenter", segmenter, "--usefulness", measured)
    assert command("evaluate", "--out", out, *options) == 0
    return out


def read(path):
    return json.loads(path.read_text())


def test_a_segmenter_is_trained_for_a_bundle_and_its_folder_printed(command, segmenter, segmenter_recipe, capsys):
    settings = read(segmenter / "segmenter.json")
    assert settings["structures"] == STRUCTURES and settings["spacing"] == [4.0, 4.0, 4.0]
    assert settings["trained"] | {"steps": 40, "seed": 5, "split": "Tr", "cases": 6} == settings["trained"]
    again = ("--out", segmenter, "--recipe", segmenter_recipe, "--steps", 45, "--resume")
    copy = segmenter.with_name("copy")
    shutil.copytree(segmenter, copy)
    assert command("train-segmenter", *again[2:], "--out", copy) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1] == str(copy)
    assert read(copy / "segmenter.json")["trained"]["steps"] == 45
    assert command("train-segmenter", *again, bundle="narrow") == 2
    assert "prepared with another 'structures'" in capsys.readouterr().err


def test_the_report_holds_what_the_segmenter_saw_and_where_it_comes_from(evaluated, segmenter):
    made, text = read(evaluated / "report.json"), (evaluated / "report.md").read_text()
    kit = made["ct_kit"]
    assert made["parts"] == ["ct", "realism"] and made["masks"] == {}
    assert set(kit["obedience"]) == {*STRUCTURES, "overall"} and kit["obedience"]["overall"]["real"]["n"] == 2
    assert kit["fid"]["mean"]["floor"]["mean"] > 0 and "segmenter" in kit["fid"]["features"] and len(kit["fid"]["axial"]["slabs"]) == 3
    assert kit["counts"] == {"cases": 2, "training": 6, "training_held": 6, "samples": 3, "seed": 6}
    assert kit["segmenter"]["steps"] == 40 and kit["segmenter"]["sha256"][:16] in text and made["bundle"]["digest"][:16] in text
    assert kit["diversity"]["one_mask"]["n"] + kit["diversity"]["one_mask"].get("undefined", 0) == 2
    assert kit["neighbours"]["real"]["n"] == 2 and kit["neighbours"]["ratio"]["mean"] is not None
    assert [len(r["samples"]) for r in made["records"]["ct_kit"]] == [3, 3]
    for words in ("## CT from the true labels", "Dice to the given label map", "Fréchet distance", "6 of 6 training scans", "seed 6"):
        assert words in text
    assert made["hardware"]["device"].startswith("CPU") and f"{made['hardware']['cpus']} cores" in text
    assert (evaluated / "report.html").read_text().count("Fréchet") > 1


def test_the_command_of_a_report_repeats_it(evaluated, segmenter, measured, toy_root, tmp_path):
    made = read(evaluated / "report.json")
    words = shlex.split(made["command"])
    folders = {"--data": toy_root, "--segmenter": segmenter, "--usefulness": measured, "--out": tmp_path / "again"}
    assert words[:2] == ["sketch2ct", "evaluate"] and all(words[words.index(key) + 1] == folders[key].name for key in list(folders)[:3])
    for key, folder in folders.items():
        words[words.index(key) + 1] = str(folder)
    assert cli.main(words[1:]) == 0
    again = read(tmp_path / "again" / "report.json")
    same = ("ct", "ct_kit", "usefulness", "command", "bundle", "parts")
    assert {key: again[key] for key in same} == {key: made[key] for key in same}
    assert [r["samples"] for r in again["records"]["ct_kit"]] == [r["samples"] for r in made["records"]["ct_kit"]]


def test_usefulness_says_what_was_trained_and_is_quoted(evaluated, measured, shelf):
    worth, text = read(measured / "usefulness.json"), (measured / "usefulness.md").read_text()
    digest = bundles.load(str(shelf / "toy")).digest
    assert worth["bundle"]["digest"] == worth["summary"]["about"]["bundle"] == digest and digest[:16] in text
    about = {"split": "Va", "cases": 2, "training_cases": 2, "samples": 1, "steps": 10, "seed": 4}
    assert worth["summary"]["about"] | about == worth["summary"]["about"]
    assert [r["case"] for r in worth["records"]] == ["toy_07", "toy_08"] and worth["summary"]["overall"]["real"]["n"] == 2
    assert "--steps 10 --samples 1 --training 2 --recipe toy.yaml --seed 4" in worth["command"] and worth["command"] in text
    quoted = read(evaluated / "report.json")["usefulness"]
    assert quoted["about"].pop("command") == worth["command"] and quoted == worth["summary"]
    report = (evaluated / "report.md").read_text()
    assert "tested on real ones" in report and worth["command"] in report and "2 real cases of Va" in text


def test_what_was_measured_later_is_put_into_a_report(evaluated, measured, tmp_path, capsys):
    folder = tmp_path / "report"
    shutil.copytree(evaluated, folder)
    later = read(folder / "report.json")
    wanted, later["usefulness"] = later["usefulness"], {}
    (folder / "report.json").write_text(json.dumps(later))
    (folder / "report.md").unlink()
    assert cli.main(["quote", str(folder), "--usefulness", str(measured)]) == 0
    assert read(folder / "report.json") == {**later, "usefulness": wanted}
    assert (folder / "report.md").read_text() == (evaluated / "report.md").read_text()
    assert str(folder / "report.md") in capsys.readouterr().out


def test_a_report_that_cannot_be_added_to_stays_as_it_is(evaluated, measured, tmp_path, capsys):
    folder = tmp_path / "report"
    shutil.copytree(evaluated, folder)
    report = read(folder / "report.json")
    report["bundle"]["digest"] = "e" * 64
    (folder / "report.json").write_text(json.dumps(report))
    before = (folder / "report.json").read_bytes()
    empty = tmp_path / "empty"
    empty.mkdir()
    for words, options in {
        "is about the bundle": [str(folder), "--usefulness", str(measured)],
        "nothing to quote": [str(folder)],
        "holds no ablation": [str(folder), "--ablation", str(empty)],
        "sketch2ct evaluate": [str(empty), "--usefulness", str(measured)],
    }.items():
        assert cli.main(["quote", *options]) == 2
        assert words in capsys.readouterr().err
    assert (folder / "report.json").read_bytes() == before and not list(empty.iterdir())
    (folder / "report.json").write_text('{"bundle":')
    assert cli.main(["quote", str(folder), "--usefulness", str(measured)]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_usefulness_is_taken_up_again(command, measured, segmenter_recipe):
    stamps = [(measured / kind / "weights.safetensors").stat().st_mtime_ns for kind in ("real", "synthetic", "both")]
    before = read(measured / "usefulness.json")
    options = ("--out", measured, "--recipe", segmenter_recipe, "--steps", 10, "--training", 2, "--cases", 2, "--seed", 4, "--resume")
    assert command("usefulness", *options) == 0
    assert [(measured / kind / "weights.safetensors").stat().st_mtime_ns for kind in ("real", "synthetic", "both")] == stamps
    assert read(measured / "usefulness.json")["summary"] == before["summary"]


@pytest.fixture
def refused(command, tmp_path, capsys):
    """The message of a command that ends with status 2 and writes nothing."""

    def run(name, *options, **changes):
        out = tmp_path / "none"
        assert command(name, "--out", out, *options, **changes) == 2
        assert not out.exists()
        return capsys.readouterr().err

    return run


def test_bad_segmenters_are_refused_before_anything_is_made(refused, segmenter, tmp_path, toy_root):
    assert "train-segmenter" in refused("evaluate", "--segmenter", tmp_path / "nothing")
    damaged = tmp_path / "damaged"
    shutil.copytree(segmenter, damaged)
    data = bytearray((damaged / "weights.safetensors").read_bytes())
    (damaged / "weights.safetensors").write_bytes(data[: len(data) // 2])
    assert "cannot be read" in refused("evaluate", "--segmenter", damaged)
    settings = read(segmenter / "segmenter.json")
    changes = {
        "knows no mandible": {"structures": ["brainstem", "larynx"]},
        "is for MR": {"modality": "MR"},
        "was trained on the split Va": {"trained": {**settings["trained"], "split": "Va"}},
    }
    for words, change in changes.items():
        shutil.copyfile(segmenter / "weights.safetensors", damaged / "weights.safetensors")
        (damaged / "segmenter.json").write_text(json.dumps({**settings, **change}))
        assert words in refused("evaluate", "--segmenter", damaged)
    assert "the part ct is not asked for" in refused("evaluate", "--segmenter", segmenter, "--parts", "obedience")


def test_other_results_and_weights_are_refused(refused, measured, tmp_path, segmenter_recipe):
    assert "is about the bundle" in refused("evaluate", "--usefulness", measured, bundle="other")
    assert "sketch2ct usefulness" in refused("evaluate", "--usefulness", tmp_path)
    (tmp_path / "usefulness.json").write_text('{"bundle": {}}')
    assert "cannot be read" in refused("evaluate", "--usefulness", tmp_path)
    (tmp_path / "net.pt").write_bytes(b"")
    assert "sketch2ct ablate" in refused("evaluate", "--ablation", tmp_path)
    (tmp_path / "ablation.json").write_text('{"complete": false, "rows": []}')
    assert "is not complete" in refused("evaluate", "--ablation", tmp_path)
    (tmp_path / "ablation.json").write_text('{"complete": true, "rows": [{"row": "full"}]}')
    assert "cannot be read" in refused("evaluate", "--ablation", tmp_path)
    assert "safetensors" in refused("evaluate", "--fid-weights", tmp_path / "net.pt")
    assert "no weights" in refused("evaluate", "--fid-weights", tmp_path / "none.safetensors")
    assert "trained on Tr" in refused("usefulness", "--images", "imagesTr", "--labels", "labelsTr", "--recipe", segmenter_recipe)
    assert "same split" in refused("usefulness", "--labels", "labelsTr")
    assert "no recipe of a segmenter" in refused("train-segmenter", "--recipe", "headneck")
    assert "no bundle 'gone'" in refused("train-segmenter", bundle="gone")


def test_training_the_segmenters_recipe_as_a_bundle_names_the_right_command(toy_root, tmp_path, capsys):
    assert cli.main(["train", "segmenter", "--data", str(toy_root), "--out", str(tmp_path / "run")]) == 2
    assert "sketch2ct train-segmenter" in capsys.readouterr().err and not (tmp_path / "run").exists()
