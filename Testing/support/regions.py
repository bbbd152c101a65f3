"""A region of three classes and three structures that is small enough for any test: a tube in soft tissue, and a gland on each side."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from sketch2ct.describe import FACTS, Ranges, measure
from sketch2ct.geometry import Grid
from sketch2ct.masks.region_classes import RegionClasses
from sketch2ct.masks.region_law import RegionLaw
from sketch2ct.masks.region_prior import RegionPrior, coarse_grid, origin
from sketch2ct.masks.region_shapes import Shape
from sketch2ct.networks.region_unet import RegionNetwork, RegionNetworkSize

STRUCTURES = ("parotid_gland_right", "parotid_gland_left", "larynx")
CLASSES = RegionClasses(("body", "bone", "air"), STRUCTURES)
FRAME = Grid.centred((0, 0, 0), (8, 8, 8), (16, 16, 16))
PLACEMENT = {"parotid_gland_right": (32.0, 0.0, 16.0), "parotid_gland_left": (-32.0, 0.0, 16.0), "larynx": (0.0, 8.0, -24.0)}

SIZE = RegionNetworkSize(
    classes=CLASSES.count,
    first=CLASSES.first,
    channels=(16, 16),
    attention=(False, True),
    blocks=1,
    head=8,
    width=16,
    queries=4,
    codes=6,
    features=4,
    detail=8,
    text_width=384,
    facts=len(FACTS),
)


def ball(grid, middle, radius):
    return (((grid.voxel_centres() - np.asarray(middle)) / radius) ** 2).sum(-1) <= 1


def anatomy(grid=FRAME, size=1.0, moved=(0.0, 0.0, 0.0)):
    """The class map of a person of a size, whose middle lies somewhere."""
    at = {name: size * np.asarray(place) + moved for name, place in PLACEMENT.items()}
    masks = {"body": ball(grid, moved, np.array([58, 50, 62]) * size), "bone": ball(grid, np.add(moved, (0, -30, 0)), (10, 10, 50))}
    masks |= {name: ball(grid, at[name], 14 * size) for name in STRUCTURES}
    masks["air"] = ball(grid, np.add(moved, (0, 8, 20)), (8, 8, 30))
    return CLASSES.labels(masks)


def prior(frame=FRAME, coarse=2):
    """What is usual: people of three sizes."""
    maps = [anatomy(frame, size) for size in (0.9, 1.0, 1.1)]
    values = np.stack([np.mean([m == n for m in maps], axis=0) for n in range(CLASSES.count)]) + 1e-3
    cells = coarse_grid(frame, coarse)
    i, j, k = cells.shape
    values = values.reshape(CLASSES.count, i, coarse, j, coarse, k, coarse).mean(axis=(2, 4, 6))
    return RegionPrior((values / values.sum(0)).astype(np.float32), cells, PLACEMENT, frame)


def ranges():
    """Of the facts of people of several sizes."""
    fine = Grid.centred((0, 0, 0), (4, 4, 4), (32, 32, 32))
    maps = [anatomy(fine, size) for size in (0.8, 0.9, 1.0, 1.1, 1.2)]
    return {name: Ranges.fit([measure(m == CLASSES.index(name), fine.affine) for m in maps]) for name in STRUCTURES}


def people(count=80, seed=0):
    """Masks of every structure, and where the person is, of people whose glands grow together and whose larynx has a size of its own."""
    fine, rng, found = Grid.centred((0, 0, 0), (4, 4, 4), (40, 40, 40)), np.random.default_rng(seed), []
    for _ in range(count):
        glands, larynx = rng.uniform(0.8, 1.2, 2)
        moved = rng.normal(0, 3, 3)
        masks = {}
        for name in STRUCTURES:
            size = larynx if name == "larynx" else glands
            stretch = rng.uniform(0.9, 1.1, 3)
            masks[name] = ball(fine, np.asarray(PLACEMENT[name]) + moved + rng.normal(0, 2, 3), 14 * size * stretch)
        found.append(masks)
    return fine, found


@cache
def law():
    """How the structures of such people go together."""
    fine, masks = people()
    known, shapes = ranges(), {name: Shape.fit([(own[name], fine) for own in masks], modes=6) for name in STRUCTURES}
    cases = []
    for own in masks:
        facts = {name: measure(own[name], fine.affine) for name in STRUCTURES}
        middles = {name: np.asarray(f.centroid_ras) for name, f in facts.items()}
        cases.append(({name: shapes[name].code(own[name], fine) for name in STRUCTURES}, facts, origin(middles, PLACEMENT)))
    return RegionLaw.fit(cases, shapes, known, PLACEMENT)


def network(trained=False):
    """A tiny network as it is before training, or with noise in the weights that start at zero."""
    torch.manual_seed(0)
    net = RegionNetwork(SIZE).eval()
    if trained:
        for weight in net.parameters():
            if not weight.any():
                torch.nn.init.normal_(weight, std=0.2)
    return net
