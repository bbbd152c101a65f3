"""The whole-region stage end to end on toy heads: prepared data, training, resume, and a bundle that makes regions."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import yaml

from sketch2ct import bundle
from sketch2ct.conditioning import text
from sketch2ct.conditioning.region import encoded
from sketch2ct.data.nnunet import Dataset
from sketch2ct.data.regions import load_regions
from sketch2ct.describe import region as words
from sketch2ct.engine import Engine
from sketch2ct.errors import BadRequest
from sketch2ct.imaging import read_image
from sketch2ct.masks.region_classes import UNKNOWN
from sketch2ct.networks.region_unet import NOT_GIVEN
from sketch2ct.request import NONE, GenerationRequest
from sketch2ct.training.region_data import prepared_anatomy, prepared_codes, prepared_regions, prepared_statements
from sketch2ct.training.region_stage import RegionBatches, RegionStage, bundle_part, collated, given_subset
from sketch2ct.training.run import read_recipe, train
from sketch2ct.training.sizes import region_size

SMALL = {"channels": [16, 16], "attention": [False, True], "blocks": 1, "head": 8, "width": 16, "queries": 4}
SMALL |= {"codes": 6, "features": 4, "detail": 8}
QUICK = {"batch": 2, "steps_per_epoch": 2, "check_every": 1, "checks": 1, "samples": 1, "sample_steps": 2, "minutes": 0.03, "workers": 0}


@pytest.fixture(scope="module")
def heads(toy_root, tmp_path_factory):
    """The toy heads, whose jaws are called larynx: they are too small for a mandible that training could use."""
    root = tmp_path_factory.mktemp("heads") / "data"
    shutil.copytree(toy_root, root)
    description = root / "dataset.json"
    description.write_text(description.read_text().replace("mandible", "larynx"))
    return root


@pytest.fixture(scope="module")
def recipe():
    """The shipped recipe for the toy heads, with a tiny network on a coarse frame."""
    settings = read_recipe("headneck-guidegen")
    settings |= {"bundle": "toy", "data": "toy heads", "structures": ["brainstem", "larynx"], "workers": 1}
    settings["frame"] = {"shape": [24, 24, 24], "spacing": [6.0, 6.0, 8.0]}
    settings["mask"] |= QUICK | {"network": SMALL, "statements": 4, "average": 0.5}
    return settings


@pytest.fixture(scope="module")
def trained(recipe, heads, tmp_path_factory):
    folder = tmp_path_factory.mktemp("guidegen")
    (folder / "toy.yaml").write_text(yaml.safe_dump(recipe))
    train(str(folder / "toy.yaml"), heads, folder / "run", stage="mask", device="cpu")
    return folder


@pytest.fixture(scope="module")
def prepared(trained, recipe, heads):
    """Anatomy and batches of the validation split, in which one case has no larynx contour."""
    cache = trained / "run" / "cache"
    anatomy = prepared_anatomy(prepared_regions(Dataset(heads), "Tr", recipe, cache), recipe, cache)
    held = prepared_regions(Dataset(heads), "Va", recipe, cache)
    told, library = prepared_statements(held, anatomy, recipe, cache, "Va")
    codes = prepared_codes(held, anatomy.law, anatomy.classes, cache, "Va")
    return anatomy, RegionBatches(held, told, codes, library, anatomy, recipe["mask"], 0)


def test_the_class_maps_hold_what_was_contoured_and_derived(trained, prepared):
    anatomy, _ = prepared
    regions = {r.case: r for r in load_regions(trained / "run" / "cache" / "regionsVa")}
    assert regions["toy_09"].contoured == ("brainstem",)
    assert regions["toy_08"].contoured == ("brainstem", "larynx")
    for region in regions.values():
        assert set(np.unique(region.labels)) - {UNKNOWN} >= {0, anatomy.classes.index("body"), anatomy.classes.index("brainstem")}
        assert (region.labels == anatomy.classes.index("larynx")).any() == ("larynx" in region.contoured)
    bone = anatomy.classes.index("bone")
    assert (regions["toy_09"].labels == bone).any()  # its larynx, which nobody contoured
    assert anatomy.hiding.under[1, bone] and not anatomy.hiding.under[0, bone]


def test_the_prior_knows_where_the_structures_lie(prepared):
    anatomy, _ = prepared
    for name in ("brainstem", "larynx"):
        chance = np.exp(anatomy.prior.log[anatomy.classes.index(name)])
        middle = (anatomy.prior.frame.voxel_centres() * (chance**2)[..., None]).sum((0, 1, 2)) / (chance**2).sum()
        assert chance.max() > 0.3 and np.linalg.norm(middle - anatomy.prior.placement[name]) < 10


def test_the_prior_of_an_example_lies_around_its_own_structures(prepared):
    anatomy, batches = prepared
    for number, (region, *_) in enumerate(batches.items):
        arrays, _ = batches.example(number, np.random.default_rng(number))
        chance = np.exp(arrays["prior"])
        assert chance.sum(axis=0) == pytest.approx(np.ones(chance.shape[1:]), abs=0.01)
        for name in anatomy.classes.structures:
            n = anatomy.classes.index(name)
            if name in region.contoured:
                assert chance[n][arrays["clean"] == n].mean() > 0.5 > 10 * chance[n][arrays["clean"] != n].mean()
            else:
                assert chance[n].max() > 0.5  # one that suits the others


def test_what_was_not_contoured_is_not_called_background(prepared):
    anatomy, batches = prepared
    number = next(n for n, (r, *_) in enumerate(batches.items) if r.case == "toy_09")
    arrays, _ = batches.example(number, np.random.default_rng(0), plain=True)
    larynx, bone = (1 << anatomy.classes.index(name) for name in ("larynx", "bone"))
    hidden = arrays["clean"] == anatomy.classes.index("bone")
    assert (arrays["may"][hidden] & larynx > 0).mean() > 0.9 and (arrays["may"][hidden] & bone > 0).all()
    stored = (arrays["may"] & 1 << anatomy.classes.index("air")) == 0  # elsewhere anything is possible but a second brainstem
    assert (arrays["may"][stored] & larynx > 0).mean() < 0.3  # the union is local
    stem = arrays["clean"] == anatomy.classes.index("brainstem")
    assert (arrays["may"][stem] == 1 << anatomy.classes.index("brainstem")).all()


def test_batches_give_subsets_keep_them_true_and_vary(prepared):
    _, batches = prepared
    stream, given, silent = iter(batches), [], []
    for _ in range(30):
        batch = next(stream)
        told = batch["given"] != NOT_GIVEN
        assert torch.equal(batch["given"][told], batch["clean"][told])
        for n in range(2):
            classes = set(batch["given"][n][told[n]].tolist())
            assert classes <= set(torch.nonzero(batch["closed"][n]).flatten().tolist())
            given.append(len(classes))
            silent.append(not bool(batch["spoken"][n].any()))
        certain = (batch["may"] >> batch["clean"].int()) & 1
        assert certain.float().mean() > 0.98
    assert 0.2 < np.mean(np.array(given) == 0) < 0.6 and max(given) > 1
    assert 0.1 < np.mean(silent) < 0.5


def test_what_is_said_in_training_is_what_use_reads(prepared):
    _, batches = prepared
    for sentences in (batches.items[0][1], batches.items[-1][1]):
        whole = encoded(" ".join(sentences), text.TextEncoder())
        parts = [batches.library[piece] for sentence in sentences for piece, _ in words.chunks(sentence)]
        assert np.allclose(whole, np.concatenate(parts), atol=5e-3)


def test_given_subsets_follow_their_shares_and_what_there_is():
    rng = np.random.default_rng(0)
    chosen = np.array([given_subset(np.array([True, False, True]), 3, rng) for _ in range(2000)])
    assert not chosen[:, [0, 5]].any()
    count = chosen[:, 4:].sum(1)
    assert (count == 0).mean() == pytest.approx(0.4, abs=0.04) and (count == 2).any()
    assert 0.05 < chosen[:, 1:4].any(1).mean() < 0.12


@pytest.mark.parametrize(("entropy", "divergence"), [(1.0, 0.0), (0.5, 1.0)])
def test_the_loss_falls_when_it_is_minimised(prepared, recipe, tmp_path, entropy, divergence):
    anatomy, batches = prepared
    torch.manual_seed(0)
    own = recipe["mask"] | {"loss": {"entropy": entropy, "divergence": divergence, "stride": 50}}
    stage = RegionStage(own, tmp_path, 1.0, region_size(recipe), anatomy, batches)
    examples = [batches.example(n, np.random.default_rng(n)) for n in range(2)]
    batch = collated([e for e, _ in examples], [s for _, s in examples])
    t, optimizer, seen = torch.tensor([700, 900]), torch.optim.Adam(stage.parameters(), 1e-2), []
    for _ in range(12):
        optimizer.zero_grad()
        parts = [x.mean() for x in stage._errors(batch, t, torch.Generator().manual_seed(0))]
        loss = entropy * parts[0] + divergence * parts[1]
        loss.backward()
        optimizer.step()
        seen.append(float(loss.detach()))
    assert np.isfinite(seen).all() and seen[-1] < 0.8 * seen[0]


def test_a_window_is_the_frame_cut_out_and_its_prior_with_it(prepared, recipe, tmp_path):
    anatomy, batches = prepared
    number = next(n for n, (r, *_) in enumerate(batches.items) if len(r.contoured) == 2)
    batches.settings = recipe["mask"] | {"window": [24, 16, 16]}
    arrays, told = batches.example(number, np.random.default_rng(5))
    batches.settings = recipe["mask"]
    whole, _ = batches.example(number, np.random.default_rng(5))
    stage = RegionStage(recipe["mask"], tmp_path, 1.0, region_size(recipe), anatomy, batches)
    batch = collated([arrays], [told])
    condition, (a, b, c) = stage.condition(batch), arrays["start"]
    assert batch["clean"].shape == (1, 24, 16, 16) == (len(condition.prior), *condition.prior.shape[2:])
    assert np.array_equal(condition.prior[0].numpy(), whole["prior"][:, a : a + 24, b : b + 16, c : c + 16])
    assert np.isfinite(stage._errors(batch, torch.tensor([500]))[0].item())


def test_a_resumed_stage_goes_on_and_logs_its_checks(trained, heads):
    run = trained / "run" / "mask"
    before = torch.load(run / "last.ckpt", weights_only=False)["global_step"]
    train(str(trained / "toy.yaml"), heads, trained / "run", stage="mask", resume=True, minutes=0.02, device="cpu")
    assert torch.load(run / "last.ckpt", weights_only=False)["global_step"] > before
    logs = [path.read_text().splitlines()[0] for path in run.glob("logs/version_*/metrics.csv")]
    assert len(logs) == 2
    for name in ("val_entropy_0.3", "val_entropy_0.7", "val_entropy_1.0", "val_validity", "train_entropy"):
        assert all(name in head for head in logs)


def test_a_stage_that_the_recipe_lacks_is_refused_before_anything_is_made(recipe, heads, tmp_path):
    masks_alone = {key: value for key, value in recipe.items() if key not in ("autoencoder", "volume")}
    (tmp_path / "masks.yaml").write_text(yaml.safe_dump(masks_alone))
    for stage in (None, "autoencoder", "bundle"):
        with pytest.raises(BadRequest, match="no stage 'autoencoder'"):
            train(str(tmp_path / "masks.yaml"), heads, tmp_path / "run", stage=stage, device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_frame_that_the_network_cannot_halve_is_refused(recipe, heads, tmp_path):
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(recipe | {"frame": {"shape": [24, 20, 24], "spacing": [6.0, 6.0, 8.0]}}))
    with pytest.raises(BadRequest, match=r"\[24, 20, 24\]"):
        train(str(tmp_path / "odd.yaml"), heads, tmp_path / "run", stage="mask", device="cpu")


def test_what_was_prepared_for_other_settings_is_not_used(trained, recipe, heads):
    other = recipe | {"mask": recipe["mask"] | {"prior": recipe["mask"]["prior"] | {"smooth_mm": 7}}}
    (trained / "other.yaml").write_text(yaml.safe_dump(other))
    before = (trained / "run" / "cache" / "made.json").read_bytes()
    with pytest.raises(BadRequest, match=r"another 'mask\.prior'.*Name another folder"):
        train(str(trained / "other.yaml"), heads, trained / "run", stage="mask", resume=True, minutes=0.02, device="cpu")
    assert (trained / "run" / "cache" / "made.json").read_bytes() == before


def test_what_was_trained_makes_regions_from_a_bundle(trained, recipe, tmp_path, monkeypatch):
    metadata, weights = bundle_part(recipe, trained / "run")
    metadata |= {"text_encoder": {"name": text.NAME, "sha256": text.SHA256}}
    bundle.save(tmp_path / "toy", metadata, weights, "A card.\n", "CC0\n")
    monkeypatch.setenv("SKETCH2CT_BUNDLES", str(tmp_path))
    told = "A small brainstem. The larynx is wide."
    request = GenerationRequest([], told, bundle="toy", mask_generator="guidegen", volume_generator=NONE, seed=5, steps=3, device="cpu")
    first, again, other = (
        Engine().generate(request.with_changes(seed=seed), tmp_path / name)[0] for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    array, grid = read_image(first / "labels.nii.gz")
    names = json.loads((first / "labels.json").read_text())
    assert grid.shape == (24, 24, 24) and set(np.unique(array)) - {0} <= {int(v) for v in names}
    assert {"brainstem", "larynx", "body"} <= set(names.values())
    assert (first / "labels.nii.gz").read_bytes() == (again / "labels.nii.gz").read_bytes()
    assert (first / "labels.nii.gz").read_bytes() != (other / "labels.nii.gz").read_bytes()
