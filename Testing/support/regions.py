"""A region of three classes and three structures that is small enough for any test: a tube in soft tissue, and a gland on each side."""

from __future__ import annotations

import numpy as np
import torch

from sketch2ct.describe import FACTS, Ranges, measure
from sketch2ct.geometry import Grid
from sketch2ct.masks.region_classes import RegionClasses
from sketch2ct.masks.region_prior import RegionPrior, coarse_grid
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
    maps = [anatomy(fine, size) for size in (0.9, 1.0, 1.1)]
    return {name: Ranges.fit([measure(m == CLASSES.index(name), fine.affine) for m in maps]) for name in STRUCTURES}


def network(trained=False):
    """A tiny network as it is before training, or with noise in the weights that start at zero."""
    torch.manual_seed(0)
    net = RegionNetwork(SIZE).eval()
    if trained:
        for weight in net.parameters():
            if not weight.any():
                torch.nn.init.normal_(weight, std=0.2)
    return net
