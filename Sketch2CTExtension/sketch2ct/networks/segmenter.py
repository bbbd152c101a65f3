"""The evaluation's segmenter: HU -> one logit a structure and voxel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from monai.networks.nets import SegResNet
from torch import Tensor, nn

from .patches import PATCH, fold, unfold
from .size import Size

RARE = 0.01  # of the voxels are a structure


@dataclass(frozen=True)
class SegmenterSize(Size):
    """Architecture of `SegmenterNetwork`; `windows` are the [low, high] intensities (HU) that each input channel spreads over -1..1."""

    filters: int
    down: tuple[int, ...]
    up: tuple[int, ...]
    windows: tuple[tuple[float, float], ...]
    structures: int

    @property
    def multiple(self) -> int:
        """What every side of an input must be divisible by: voxels a cell of the bottleneck spans."""
        return PATCH * 2 ** (len(self.down) - 1)

    @property
    def features(self) -> int:
        """Channels of the bottleneck."""
        return int(self.filters * 2 ** (len(self.down) - 1))


class SegmenterNetwork(nn.Module):
    """MONAI's SegResNet (Myronenko, BrainLes 2018, without its autoencoder branch) on 2 x 2 x 2 patches of the CT.

    On patches a step costs a third of one on single voxels with half the filters (0.24 s against 0.69 s for two crops of 48^3 on one
    core), and the output still has the voxels' resolution. Each structure has a sigmoid of its own, so a scan in which one was not
    contoured can teach the others.
    """

    def __init__(self, size: SegmenterSize) -> None:
        super().__init__()
        self.size = size
        patch = PATCH**3
        self.net = SegResNet(
            spatial_dims=3,
            init_filters=size.filters,
            in_channels=patch * len(size.windows),
            out_channels=patch * size.structures,
            blocks_down=size.down,
            blocks_up=size.up,
        )
        # Start from how rare structures are (Lin et al., ICCV 2017), instead of spending the first hundred steps on finding it out.
        nn.init.constant_(self.net.conv_final[-1].conv.bias, math.log(RARE / (1 - RARE)))

    def windowed(self, hu: Tensor) -> Tensor:
        """HU (N, 1, i, j, k) -> patches of its windows (N, 8 W, i/2, j/2, k/2), -1..1."""
        spread = [2 * (hu.clamp(low, high) - low) / (high - low) - 1 for low, high in self.size.windows]
        return fold(torch.cat(spread, dim=1))

    def forward(self, hu: Tensor) -> Tensor:
        """HU (N, 1, i, j, k) -> logits (N, structures, i, j, k)."""
        return unfold(self.net(self.windowed(hu)))

    def bottleneck(self, hu: Tensor) -> Tensor:
        """HU (N, 1, i, j, k) -> the encoder's last features (N, features, i/m, j/m, k/m), m = `size.multiple`."""
        return self.net.encode(self.windowed(hu))[0]
