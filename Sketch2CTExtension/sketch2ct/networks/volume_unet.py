"""The volume model: noisy CT latent + label map -> clean CT latent."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from .patches import fold

LABEL_CODES = 16  # channels of the encoded label map at the latent's resolution


@dataclass(frozen=True)
class VolumeNetworkSize:
    """Architecture of `VolumeNetwork`, as a bundle's metadata holds it."""

    channels: tuple[int, ...]
    attention: tuple[bool, ...]
    blocks: int
    head: int
    latent: int
    labels: int

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> VolumeNetworkSize:
        """From JSON; lists become tuples."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class VolumeNetwork(nn.Module):
    """MONAI's diffusion UNet; the label map (one channel a structure, zeros where it is not given) enters through a learned,
    strided encoder and is concatenated to the noisy latent."""

    def __init__(self, size: VolumeNetworkSize) -> None:
        super().__init__()
        self.size = size
        self.encode_labels = nn.Sequential(
            nn.Conv3d(size.labels * 8, 48, 1),
            nn.SiLU(),
            nn.Conv3d(48, 32, 2, stride=2),
            nn.SiLU(),
            nn.Conv3d(32, LABEL_CODES, 3, padding=1),
        )
        self.unet = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=size.latent + LABEL_CODES,
            out_channels=size.latent,
            channels=size.channels,
            attention_levels=size.attention,
            num_res_blocks=size.blocks,
            num_head_channels=size.head,
            norm_num_groups=16,
            with_conditioning=False,
            use_flash_attention=True,
        )

    def codes(self, labels: Tensor) -> Tensor:
        """The label map (N, labels, 4i, 4j, 4k) in 0..1, encoded at the latent's resolution."""
        return self.encode_labels(fold(labels))

    def denoise(self, noisy: Tensor, time: Tensor, codes: Tensor) -> Tensor:
        """Clean latent (N, latent, i, j, k) from a noisy one, `time` (N,) in 0..1000, and encoded labels."""
        return self.unet(torch.cat([noisy, codes], dim=1), timesteps=time)

    def forward(self, noisy: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        """`denoise` with labels not yet encoded."""
        return self.denoise(noisy, time, self.codes(labels))
