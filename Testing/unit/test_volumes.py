"""The volume generator around small, untrained networks, and the atlas: geometry, label channels, determinism."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sketch2ct.errors import BadRequest
from sketch2ct.generation import Progress
from sketch2ct.geometry import Grid
from sketch2ct.imaging import HU_MAX, HU_MIN, LabelVolume
from sketch2ct.networks.autoencoder import AutoencoderSize, CTAutoencoder
from sketch2ct.networks.volume_unet import VolumeNetwork, VolumeNetworkSize
from sketch2ct.volumes.atlas import Atlas, build
from sketch2ct.volumes.sketch2ct import Sketch2CTVolumes

NAMES = ("brainstem", "mandible", "body", "bone", "air")
SPACING = (4.0, 4.0, 3.0)
CELL = 4 * np.array(SPACING)
PLACES = {"brainstem": (0.0, -20.0, 30.0), "mandible": (0.0, 40.0, 0.0)}


def make_atlas(values: np.ndarray) -> Atlas:
    return Atlas(values.astype(np.float32), Grid.centred((0, 0, 0), CELL, values.shape[1:]), PLACES)


@pytest.fixture(scope="module")
def generator() -> Sketch2CTVolumes:
    torch.manual_seed(0)
    net = VolumeNetwork(VolumeNetworkSize((16, 16), (False, True), 1, 8, 4, len(NAMES), 8))
    for parameter in net.parameters():
        if parameter.ndim > 1 and not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.05)
    autoencoder = CTAutoencoder(AutoencoderSize((16, 16), 1, 4))
    atlas = make_atlas(np.random.default_rng(0).normal(size=(5, 12, 12, 12)))
    return Sketch2CTVolumes(net, autoencoder, atlas, NAMES, SPACING, steps=2, device=torch.device("cpu"))


def label_map(grid: Grid) -> LabelVolume:
    array = np.zeros(grid.shape, np.uint8)
    array[tuple(slice(n // 3, n // 2) for n in grid.shape)] = 7
    return LabelVolume(array, grid, {7: "mandible"})


def run(generator: Sketch2CTVolumes, labels: LabelVolume, seed: int = 0):
    return generator.generate(labels, "", torch.Generator().manual_seed(seed), Progress())


@pytest.mark.parametrize("shape", [(30, 25, 41), (64, 32, 32)])
def test_the_ct_has_the_labels_grid_whatever_it_is(generator, shape):
    grid = Grid(shape, np.array([[-3.0, 0.4, 0, 40], [0.3, 3.5, 0, -45], [0, 0, 2.0, -50], [0, 0, 0, 1]]))
    ct = run(generator, label_map(grid))
    assert ct.grid is grid and ct.array.shape == shape and ct.array.dtype == np.int16
    assert ct.array.min() >= HU_MIN and ct.array.max() <= HU_MAX


def test_the_working_grid_covers_the_target_and_keeps_the_models_spacing(generator):
    grid = Grid.centred((10, 20, 30), (2.0, 2.0, 2.0), (50, 61, 47))
    working = generator.working_grid(grid)
    assert working.contains(grid.corners()).all()
    assert working.spacing == pytest.approx(SPACING)
    assert all(n % generator.multiple == 0 for n in working.shape)


def test_a_frame_of_metres_is_refused(generator):
    with pytest.raises(BadRequest, match="larger than this model can fill"):
        generator.working_grid(Grid.centred((0, 0, 0), (10.0, 10.0, 10.0), (400, 400, 400)))


def test_labels_become_shares_at_their_true_place(generator):
    grid = Grid.centred((0, 0, 0), (1.0, 1.0, 1.0), (64, 64, 48))
    labels = label_map(grid)
    working = generator.working_grid(grid)
    channels = generator.channels(labels, working)
    assert [n for n in range(len(NAMES)) if channels[n].any()] == [1]
    volume = channels[1].sum() * working.voxel_ml
    assert volume == pytest.approx(labels.mask("mandible").sum() * grid.voxel_ml, rel=0.15)
    middle = (working.voxel_centres() * channels[1][..., None]).sum((0, 1, 2)) / channels[1].sum()
    assert middle == pytest.approx(grid.to_ras(np.argwhere(labels.mask("mandible")).mean(0)), abs=0.7)


def whole_region(grid: Grid, drop: tuple[str, ...] = ()) -> LabelVolume:
    """One value a voxel: a body with bone, air, a brainstem and a mandible in it, without the classes `drop`."""
    array, n = np.zeros(grid.shape, np.uint8), np.array(grid.shape)
    parts = {"body": (2, 14), "bone": (4, 6), "air": (6, 8), "brainstem": (8, 10), "mandible": (10, 12)}
    names = {value: name for value, name in enumerate(parts, start=1) if name not in drop}
    for value, name in names.items():
        low, high = parts[name]
        array[tuple(slice(a, b) for a, b in zip(n * low // 16, n * high // 16, strict=True))] = value
    return LabelVolume(array, grid, names)


def test_of_a_whole_region_the_body_holds_everything_and_bone_the_jaw(generator):
    grid = Grid.centred((0, 0, 0), SPACING, (32, 32, 32))
    labels = whole_region(grid)
    found = dict(zip(NAMES, generator.channels(labels, grid), strict=True))
    assert np.array_equal(found["body"], labels.array > 0)
    assert np.array_equal(found["bone"], labels.mask("bone") | labels.mask("mandible"))
    for name in ("air", "brainstem", "mandible"):
        assert np.array_equal(found[name], labels.mask(name))


@pytest.mark.parametrize(
    ("drop", "empty"), [(("body",), {"body"}), (("bone",), {"bone"}), (("body", "bone", "air"), {"body", "bone", "air"})]
)
def test_what_a_map_does_not_tell_is_not_given(generator, drop, empty):
    grid = Grid.centred((0, 0, 0), SPACING, (32, 32, 32))
    labels = whole_region(grid, drop)
    found = dict(zip(NAMES, generator.channels(labels, grid), strict=True))
    assert {name for name, channel in found.items() if not channel.any()} == empty
    for name in ("brainstem", "mandible"):
        assert np.array_equal(found[name], labels.mask(name))


@pytest.mark.parametrize("change", ["labels", "seed"])
def test_labels_and_seed_change_the_ct_and_nothing_else_does(generator, change):
    grid = Grid.centred((0, 0, 0), SPACING, (32, 32, 32))
    labels = label_map(grid)
    first, again = run(generator, labels), run(generator, labels)
    assert np.array_equal(first.array, again.array)
    if change == "labels":
        labels = LabelVolume(np.roll(labels.array, 6, axis=0), grid, labels.names)
    assert not np.array_equal(first.array, run(generator, labels, seed=int(change == "seed")).array)


def test_an_atlas_is_laid_by_the_structures_that_are_given():
    values = np.zeros((2, 9, 9, 9))
    values[0, 4, 4, 4] = 1.0  # the frame's centre
    atlas = make_atlas(values)
    origin = np.array([16.0, -32.0, 24.0])  # whole cells
    assert atlas.origin({"mandible": origin + PLACES["mandible"], "larynx": np.zeros(3)}) == pytest.approx(origin)
    assert atlas.origin({"larynx": np.zeros(3)}) is None
    cells = Grid.centred((0, 0, 0), CELL, (9, 9, 9))
    laid = atlas.on(cells, origin)
    assert cells.to_ras(np.argwhere(laid[0] > 0.99)[0]) == pytest.approx(origin)
    assert not atlas.on(cells, None).any()


def test_an_atlas_of_moved_copies_is_the_original():
    """Four cases show the same anatomy at other places, partly unknown: their atlas is that anatomy."""
    rng = np.random.default_rng(0)
    truth = make_atlas(np.concatenate([rng.normal(size=(3, 8, 8, 8)), np.ones((1, 8, 8, 8))]))
    cases = []
    for shift in ((0, 0, 0), (16, 0, 0), (0, -16, 12), (-16, 16, -12)):
        cells = Grid.centred(np.array([0.0, 0, 0]), CELL, (12, 12, 12))
        seen = truth.on(cells, np.array(shift, dtype=float))
        known = seen[-1] > 0.99
        known[:, :, : int(rng.integers(0, 4))] = False
        middles = {"mandible": np.array(shift) + PLACES["mandible"]}
        cases.append((seen[:-1], known, cells, middles))
    made = build(cases, PLACES, (8, 8, 8), CELL)
    sure = made.values[-1] > 0.2
    assert sure.mean() > 0.8
    assert np.abs(made.values[:-1] - truth.values[:-1])[:, sure].max() < 1e-4


def test_the_preconditioning_keeps_what_is_known_near_the_data(generator):
    """At t -> 0 the network's output is its input; at t = 1 the noise has no share but through the network."""
    net = generator.net
    torch.manual_seed(1)
    clean, noise = torch.randn(2, 1, 4, 8, 8, 8)
    labels, atlas = torch.zeros(1, len(NAMES), 32, 32, 32), torch.zeros(1, 5, 8, 8, 8)
    with torch.no_grad():
        near = net(0.999 * clean + 0.001 * noise, torch.tensor([1.0]), labels, atlas)
        assert torch.allclose(near, clean, atol=0.02)
        before = {k: v.clone() for k, v in net.refine.state_dict().items()}
        net.refine[-1].weight.zero_()
        net.refine[-1].bias.zero_()
        silent = net(noise, torch.tensor([1000.0]), labels, atlas)
        halfway = net(0.5 * clean + 0.5 * noise, torch.tensor([500.0]), labels, atlas)
        net.refine.load_state_dict(before)
    assert not silent.any()
    assert torch.allclose(halfway, 0.5 * (clean + noise), atol=1e-5)  # the best guess without the network: E[x_0 | x_t]


def test_labels_reach_single_cells(generator):
    """A label that lies in one cell only changes that cell more than its neighbour in the same patch."""
    net = generator.net
    labels, atlas = torch.zeros(1, len(NAMES), 32, 32, 32), torch.zeros(1, 5, 8, 8, 8)
    given = labels.clone()
    given[:, 0, 12:16, 12:16, 12:16] = 1
    with torch.no_grad():
        _, without = net.codes(labels, atlas)
        _, cells = net.codes(given, atlas)
    changed = (cells - without).abs().sum(1)[0] > 0
    assert changed[3, 3, 3] and changed.sum() == 1
