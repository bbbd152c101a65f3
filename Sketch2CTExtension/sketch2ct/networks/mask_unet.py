"""The mask model: noisy signed distance + condition -> clean signed distance, in a box around the structure."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from ..conditioning import fusion
from ..conditioning.fusion import Conditioner
from ..conditioning.strokes import CHANNELS
from .patches import PATCH, fold, unfold
from .size import Size

BROADCAST = 8  # channels that carry the condition's summary to every voxel
COORDINATES = 3
EXPECTED = 2  # mean and standard deviation of the shape model
PARTS = (*fusion.PARTS, "strokes")  # what the network can be built without


@dataclass(frozen=True)
class MaskNetworkSize(Size):
    """Architecture of `MaskNetwork`, as a bundle's metadata holds it. Raises ValueError for an unknown part in `without`.

    `without` names parts that are left out, to measure what they give: those of `Conditioner`, and `strokes` (sketches enter as
    drawings only, not at their place in the box).
    """

    channels: tuple[int, ...]
    attention: tuple[bool, ...]
    blocks: int
    head: int
    width: int
    text_width: int
    facts: int
    structures: int
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what the network has not."""
        if unknown := [name for name in self.without if name not in PARTS]:
            raise ValueError(f"the mask network has no part {unknown[0]!r} to leave out; its parts: {', '.join(PARTS)}")


@dataclass
class ConditionBatch:
    """The condition of N boxes of equal shape. Absent sketches, text and facts are zeros with their flags off."""

    strokes: Tensor  # (N, CHANNELS, i, j, k)
    expected: Tensor  # (N, EXPECTED, i, j, k), zeros without a shape model
    drawings: Tensor  # (N, S, 2, P, P)
    poses: Tensor  # (N, S, POSE_SIZE)
    drawn: Tensor  # (N, S) bool
    text: Tensor  # (N, T, text_width)
    spoken: Tensor  # (N, T) bool
    facts: Tensor  # (N, 2F): standardised values, then which are given
    structure: Tensor  # (N,) int, 0 = not said
    spacing: Tensor  # (N, 3) mm

    def to(self, device: torch.device) -> ConditionBatch:
        """A copy on a device."""
        return ConditionBatch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


class MaskNetwork(nn.Module):
    """MONAI's diffusion UNet on 2 x 2 x 2 patches of the box, with cross-attention to the fused sketch and text."""

    def __init__(self, size: MaskNetworkSize) -> None:
        super().__init__()
        self.size = size
        self.condition = Conditioner(size.width, size.text_width, size.facts, size.structures, without=size.without)
        self.broadcast = nn.Linear(size.width, BROADCAST)
        patch = PATCH**3
        self.unet = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=patch * (1 + CHANNELS + EXPECTED) + BROADCAST + COORDINATES,
            out_channels=patch,
            channels=size.channels,
            attention_levels=size.attention,
            num_res_blocks=size.blocks,
            num_head_channels=size.head,
            norm_num_groups=16,
            with_conditioning=True,
            cross_attention_dim=size.width,
            use_flash_attention=True,
        )

    def forward(self, noisy: Tensor, time: Tensor, condition: ConditionBatch) -> Tensor:
        """Clean signed distance (N, 1, i, j, k) in units of `TRUNCATION_MM`; `noisy` likewise, `time` (N,) in 0..1000."""
        c = condition
        context, summary = self.condition(c.drawings, c.poses, c.drawn, c.text, c.spoken, c.facts, c.structure, c.spacing)
        strokes = torch.zeros_like(c.strokes) if "strokes" in self.size.without else c.strokes
        x = fold(torch.cat([noisy, strokes], dim=1))
        said = self.broadcast(summary)[..., None, None, None].expand(-1, -1, *x.shape[2:])
        x = torch.cat([x, said, _coordinates(x.shape[2:], c.spacing), fold(c.expected)], dim=1)
        return unfold(self.unet(x, timesteps=time, context=context))


def _coordinates(shape: torch.Size, spacing: Tensor) -> Tensor:
    """Position of every patch from the box's middle, in units of 50 mm, (N, 3, i, j, k)."""
    axes = [torch.arange(n, device=spacing.device, dtype=spacing.dtype) - (n - 1) / 2 for n in shape]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")) * PATCH / 50
    return grid[None] * spacing[:, :, None, None, None]
