"""The volume model of bundles without layers on single cells: noisy CT latent + label map -> clean CT latent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from .autoencoder import DOWN
from .patches import PATCH, fold, unfold
from .size import Size

LABEL_CODES = 48  # channels of the encoded label map


@dataclass(frozen=True)
class PatchVolumeNetworkSize(Size):
    """Architecture of `PatchVolumeNetwork`, as a bundle's metadata holds it."""

    channels: tuple[int, ...]
    attention: tuple[bool, ...]
    blocks: int
    head: int
    latent: int
    labels: int


class PatchVolumeNetwork(nn.Module):
    """MONAI's diffusion UNet on 2 x 2 x 2 patches of the latent.

    The label map (one channel a structure, zeros where it is not given) enters through a learned, strided encoder, the atlas (mean
    latent and its certainty, zeros where there is none) as it is; both are concatenated to the noisy latent.
    """

    def __init__(self, size: PatchVolumeNetworkSize) -> None:
        super().__init__()
        self.size = size
        patch = PATCH**3
        self.encode_labels = nn.Sequential(
            nn.Conv3d(size.labels, LABEL_CODES, DOWN, stride=DOWN),
            nn.SiLU(),
            nn.Conv3d(LABEL_CODES, LABEL_CODES, PATCH, stride=PATCH),
        )
        self.unet = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=patch * (2 * size.latent + 1) + LABEL_CODES,
            out_channels=patch * size.latent,
            channels=size.channels,
            attention_levels=size.attention,
            num_res_blocks=size.blocks,
            num_head_channels=size.head,
            norm_num_groups=16,
            with_conditioning=False,
            use_flash_attention=True,
        )

    def codes(self, labels: Tensor, atlas: Tensor) -> Tensor:
        """Labels (N, labels, 4i, 4j, 4k) in 0..1 and atlas (N, latent + 1, i, j, k), encoded for `denoise`."""
        return torch.cat([fold(atlas), self.encode_labels(labels)], dim=1)

    def denoise(self, noisy: Tensor, time: Tensor, codes: Tensor) -> Tensor:
        """Clean latent (N, latent, i, j, k) from a noisy one, `time` (N,) in 0..1000, and what `codes` gave."""
        return unfold(self.unet(torch.cat([fold(noisy), codes], dim=1), timesteps=time))

    def forward(self, noisy: Tensor, time: Tensor, labels: Tensor, atlas: Tensor) -> Tensor:
        """`denoise` with labels and atlas not yet encoded."""
        return self.denoise(noisy, time, self.codes(labels, atlas))
