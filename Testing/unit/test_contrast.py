"""Contrast: one random window shared by image and reconstruction, the autoencoder's ranges, contrast told from scans and from words."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import torch
import yaml

from fake_backend import circle, engine, make_bundle
from sketch2ct.data.contrast import brightest, prepared_contrast, told
from sketch2ct.data.scans import Scan
from sketch2ct.describe.contrast import WINDOWS, answer, contrast, window
from sketch2ct.errors import BadRequest
from sketch2ct.evaluation.autoencoder_error import compare, errors, measure, table
from sketch2ct.export.scene import write_scene
from sketch2ct.geometry import Grid
from sketch2ct.modality import MR
from sketch2ct.networks.autoencoder import AutoencoderSize, CTAutoencoder
from sketch2ct.request import GenerationRequest
from sketch2ct.training.autoencoder_stage import AutoencoderStage, begin_linear
from sketch2ct.training.run import read_recipe
from sketch2ct.training.windows import random_windows, shared_window, shown

LEVELS = [[-250, 250, 2], [-1000, -250, 1], [250, 1500, 1]]
WIDTHS = (150, 2500)
SOFT, WIDE = AutoencoderSize((16, 16), 1, 16, window=(-160, 240), linear=True), AutoencoderSize((16, 16), 1, 16, linear=True)


def scan(case: str = "one", vessel: float = 40.0) -> Scan:
    """A smooth head of soft tissue with a jaw, an airway, and a vessel of some HU in its middle; 4 mm voxels."""
    grid = Grid.centred((0, 0, 0), (4, 4, 4), (32, 32, 32))
    x, y, z = np.moveaxis(grid.voxel_centres(), -1, 0)
    hu = np.full(grid.shape, -1000.0)
    body = x**2 + y**2 + z**2 < 56**2
    bone, air = body & (y > 34), body & (x**2 + (y + 36) ** 2 < 8**2)
    hu[body] = 40 + 20 * np.sin(x[body] / 20)
    hu[body & (x**2 + y**2 < 8**2)] = vessel
    hu[bone], hu[air] = 900 + 10 * x[bone], -950
    channels = np.stack([body, bone, air]).astype(np.uint8) * 255
    return Scan(case, hu.round().astype(np.int16), channels, np.ones(3, bool), np.ones(grid.shape, bool), grid)


# Windows


def test_levels_and_widths_lie_where_they_should():
    level, width = random_windows(8000, LEVELS, WIDTHS, torch.Generator().manual_seed(0))
    assert level.min() >= -1000 and level.max() <= 1500 and width.min() >= 150 and width.max() <= 2500
    shares = [float(((level > low) & (level <= high)).float().mean()) for low, high, _ in LEVELS]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.02)
    assert float((width < (150 * 2500) ** 0.5).float().mean()) == pytest.approx(0.5, abs=0.02)


def test_a_window_shows_its_ends_as_black_and_white():
    hu = torch.tensor([-500.0, -160, 40, 140, 240, 900]).view(1, 1, 1, 1, 6)
    seen = shown(hu, torch.tensor([40.0]), torch.tensor([400.0])).flatten().tolist()
    assert seen == pytest.approx([0, 0, 0.5, 0.75, 1, 1])


def test_image_and_reconstruction_see_the_same_window_and_crops_see_others():
    torch.manual_seed(0)
    ramp = torch.linspace(-1000, 1500, 2501).view(1, 1, 1, 1, -1).expand(6, -1, -1, -1, -1)
    a, b = shared_window(ramp, ramp, LEVELS, WIDTHS)
    assert torch.equal(a, b)
    ends = [(float(ramp[n][a[n] > 0][0]), float(ramp[n][a[n] >= 1][:1].sum())) for n in range(6)]
    assert len(set(ends)) == 6
    a, b = shared_window(ramp, ramp + 10, LEVELS, WIDTHS)
    assert (b >= a).all() and (b > a).any(dim=-1).all()


def test_the_mean_over_windows_is_the_error_on_a_companded_scale():
    """So 10 HU of soft tissue count five times as much as 10 HU of bone (narrow windows: no share of a window lies in another span)."""
    rng = torch.Generator().manual_seed(0)
    level, width = random_windows(400_000, LEVELS, (1.0, 1.001), rng)
    seen = [
        float((shown(torch.full_like(level, a), level, width) - shown(torch.full_like(level, a + 10), level, width)).abs().mean())
        for a in (0, 800)
    ]
    assert seen[0] == pytest.approx(10 * 0.5 / 500, rel=0.1) and seen[0] / seen[1] == pytest.approx(5, rel=0.15)


def test_the_loss_has_a_window_term_only_where_the_recipe_asks(tmp_path):
    torch.manual_seed(0)
    hu = torch.from_numpy(scan().hu[None, None].astype(np.float32))
    batch, own = (hu, torch.ones_like(hu)), {"kl_weight": 1e-5}
    plain = AutoencoderStage(own, tmp_path, 1.0, AutoencoderSize((16, 16), 1, 4), []).loss(batch)
    windows = {"weight": 2.0, "edges": 0.5, "levels": LEVELS, "widths": WIDTHS}
    shared = AutoencoderStage(own | {"windows": windows}, tmp_path, 1.0, AutoencoderSize((16, 16), 1, 4), []).loss(batch)
    assert set(plain) == {"loss", "wide", "soft", "kl"} and set(shared) == {"loss", "wide", "window", "edge", "kl"}
    assert shared["loss"].isfinite() and shared["loss"].requires_grad


# The autoencoder


def test_a_linear_part_begins_at_the_principal_components():
    net = CTAutoencoder(WIDE).eval()
    begin_linear(net, [scan()])
    hu = torch.from_numpy(scan().hu[None, None].astype(np.float32))
    blocks = net.cells(hu)[0].flatten(1).T.double()
    middle = blocks.mean()
    u, s, v = torch.linalg.svd(blocks - middle, full_matrices=False)
    s[WIDE.latent :] = 0
    best = (((u * s) @ v + middle - blocks) ** 2).mean()
    with torch.no_grad():
        made = net.reconstruct(net.posterior(hu)[0])
    assert float(((made - hu) / 1000).double().square().mean()) == pytest.approx(float(best), rel=1e-3)


def test_all_components_are_a_perfect_round_trip_in_hu():
    net = CTAutoencoder(AutoencoderSize((16, 16), 1, 64, linear=True)).eval()
    begin_linear(net, [scan()])
    assert all(error < 0.05 for error in errors(net, scan()).values())


def test_a_decoder_alone_decodes_as_the_whole_network():
    torch.manual_seed(0)
    net, other = CTAutoencoder(WIDE).eval(), CTAutoencoder(WIDE).eval()
    other.load_decoder(net.decoder_state())
    latent = torch.randn(1, 16, 4, 4, 4)
    with torch.no_grad():
        assert torch.equal(net.decode(latent), other.decode(latent))


def test_a_size_is_read_back_and_older_bundles_say_nothing_of_ranges():
    assert AutoencoderSize.from_dict(json.loads(json.dumps(SOFT.to_dict()))) == SOFT
    assert set(AutoencoderSize((16, 16), 1, 4).to_dict()) == {"channels", "blocks", "latent"}


def test_a_fixed_range_loses_what_lies_beyond_it():
    nets = {"soft": CTAutoencoder(SOFT).eval(), "wide": CTAutoencoder(WIDE).eval()}
    for net in nets.values():
        begin_linear(net, [scan()])
    result = compare(nets, [scan(), scan("two", 80)])
    soft, wide = result["runs"]["soft"], result["runs"]["wide"]
    one = scan()
    assert soft["bone"]["mean"] == pytest.approx(np.mean(one.hu[one.labels[1] > 0] - 240.0), rel=0.05)
    assert soft["air"]["mean"] == pytest.approx(950 - 160, rel=0.05) and soft["soft"]["mean"] < 20
    assert wide["bone"]["mean"] < soft["bone"]["mean"] / 2 and wide["air"]["mean"] < soft["air"]["mean"] / 4
    assert result["ratios"]["wide"]["bone"] == pytest.approx(soft["bone"]["mean"] / wide["bone"]["mean"], abs=1e-3)
    assert "soft / wide: bone" in table(result) and result["cases"] == 2


def test_the_variant_is_the_recipe_with_a_fixed_range_and_nothing_else():
    full, soft = read_recipe("headneck-guidegen"), read_recipe("headneck-guidegen-soft")
    assert soft["autoencoder"]["network"].pop("window") == [-160, 240] and soft["autoencoder"].pop("windows") is None
    assert full["autoencoder"].pop("windows")["widths"]
    assert soft == full


def test_runs_that_cannot_be_compared_are_refused(toy_root, tmp_path):
    with pytest.raises(BadRequest, match="no RECIPE=RUN"):
        measure(["headneck"], toy_root, "Va")
    with pytest.raises(BadRequest, match="no trained autoencoder"):
        measure([f"headneck={tmp_path}"], toy_root, "Va")


def test_a_budget_of_steps_ends_where_it_should(toy_root, tmp_path):
    from sketch2ct.training.run import train

    settings = read_recipe("headneck-guidegen-soft")
    settings["autoencoder"] |= {"network": {"channels": [16, 16], "blocks": 1, "latent": 4, "window": [-160, 240], "linear": True}}
    settings["autoencoder"] |= {"batch": 1, "crop": 16, "steps_per_epoch": 2, "checks": 1, "workers": 0, "steps": 3, "average": 0.5}
    settings |= {"structures": ["brainstem", "mandible"], "frame": {"shape": [32, 32, 32], "spacing": [6, 6, 6]}, "workers": 1}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(settings))
    train(str(tmp_path / "toy.yaml"), toy_root, tmp_path / "run", stage="autoencoder", device="cpu")
    assert json.loads((tmp_path / "run" / "autoencoder" / "steps.json").read_text())["steps"] == 3
    result = measure([f"{tmp_path / 'toy.yaml'}={tmp_path / 'run'}"], toy_root, "Va", cases=1)
    assert result["cases"] == 1 and next(iter(result["runs"].values()))["air"]["mean"] > 300


# Contrast in scans


def test_bright_vessels_tell_contrast(tmp_path):
    scans = [scan("a", 40), scan("b", 180), scan("c", 122)]
    bright = prepared_contrast(scans, tmp_path / "contrast.json")
    assert [told(bright[s.case]) for s in scans] == [False, True, None]
    assert prepared_contrast([], tmp_path / "contrast.json") == bright  # kept
    assert told(None) is None


def test_bone_metal_and_too_little_tissue_tell_nothing():
    bony = scan("a", 40)
    bony.labels[1, :, 16:] = 255  # the vessel lies beside bone now
    assert told(brightest(bony)) in (False, None)
    small = scan("b", 180)
    small.known[:] = False
    assert brightest(small) is None and brightest(scan("c", 180), MR) is None


# Contrast in words


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("A large mandible, with contrast.", True),
        ("with intravenous contrast agent", True),
        ("A contrast-enhanced CT", True),
        ("post-contrast", True),
        ("Non-contrast scan.", False),
        ("without contrast", False),
        ("no iv contrast, please", False),
        ("an unenhanced CT", False),
        ("A larynx in contrast to the wide mandible", None),
        ("A small brainstem.", None),
        ("one with contrast and one without contrast", None),
        ("", None),
    ],
)
def test_contrast_is_read(text, meant):
    assert contrast(text) is meant


@pytest.mark.parametrize(
    ("text", "name"),
    [("soft-tissue window", "soft tissue"), ("in a Bone Window", "bone"), ("lung windows", "lung"), ("a wide mandible", None)],
)
def test_a_display_window_is_read(text, name):
    assert window(text) == (WINDOWS[name] if name else None)


def test_a_level_and_a_width_are_read():
    for text in ("level 60, width 350", "window 350/60"):
        found = window(text)
        assert found is not None and (found.level, found.width) == (60, 350)


def test_what_is_not_heeded_is_said():
    both = {"region_volume": {"contrast": {"with": 70, "without": 90, "untold": 10}}}
    facts, warnings = answer("with contrast, bone window", "guidegen", both)
    assert facts["contrast"] == {"asked": "with", "heeded": True} and facts["display"]["width"] == 2000 and not warnings
    for generator, metadata in (
        ("sketch2ct", both),
        ("guidegen", {}),
        ("guidegen", {"region_volume": {"contrast": {"with": 0, "without": 5}}}),
    ):
        facts, warnings = answer("without contrast", generator, metadata)
        assert facts == {"contrast": {"asked": "without", "heeded": False}} and "not heeded" in warnings[0]
    assert answer("a small mandible", "guidegen", both) == ({}, [])


def test_a_scene_shows_the_ct_in_the_window_that_is_asked_for(tmp_path):
    make_bundle(tmp_path / "shelf")
    result = engine(tmp_path / "shelf").generate(
        GenerationRequest([circle(20)], "a mandible in a bone window", device="cpu"), tmp_path / "out"
    )[0]
    with zipfile.ZipFile(write_scene(result, tmp_path / "scene.mrb")) as packed:
        (name,) = (n for n in packed.namelist() if n.endswith(".mrml"))
        text = packed.read(name).decode()
    assert 'window="2000"' in text and 'level="500"' in text
    assert json.loads((result / "manifest.json").read_text())["quality"]["display"]["window"] == "bone"
