"""The volume model: noisy CT latent + label map -> clean CT latent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from .autoencoder import DOWN
from .patches import PATCH, fold, unfold
from .size import Size

LABEL_CODES = 24  # channels of the label map's code in every cell of the latent
GATHERED = 96  # channels of the same in every patch
FEATURES = 12  # channels that the patches hand down to their cells

Codes = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class VolumeNetworkSize(Size):
    """Architecture of `VolumeNetwork`, as a bundle's metadata holds it; `detail` is the width of the layers on single cells.

    `encoder` is the width, at half of the resolution, of a deeper encoder of the labels; 0: one strided convolution. Without `atlas` the
    labels are all that is known.
    """

    channels: tuple[int, ...]
    attention: tuple[bool, ...]
    blocks: int
    head: int
    latent: int
    labels: int
    detail: int
    encoder: int = 0
    atlas: bool = True


class VolumeNetwork(nn.Module):
    """MONAI's diffusion UNet on 2 x 2 x 2 patches of the latent, then a few convolutions on its single cells.

    The label map (one channel a structure, zeros where it is not given) is encoded by learned, strided convolutions; the atlas (mean
    latent and its certainty, zeros where there is none) enters the patches as it is. The patches see far at little cost; the cells see
    the labels and the noisy latent at full resolution, which the few channels of a patch cannot carry.

    The output is mixed with the noisy latent as the preconditioning of Karras et al. (2022) does for noise and data of unit variance, on
    the straight path x_t = (1 - t) x_0 + t e: with s = (1 - t)^2 + t^2, x_0 = (1 - t) / s x_t + t / sqrt(s) F(x_t), so that near the data
    the network only has to say what is left of the noise.
    """

    def __init__(self, size: VolumeNetworkSize) -> None:
        super().__init__()
        self.size = size
        patch = PATCH**3
        self.encode_labels = label_encoder(size.labels, size.encoder)
        self.gather_labels = nn.Conv3d(patch * LABEL_CODES, GATHERED, 1)
        self.unet = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=patch * (2 * size.latent + 1 if size.atlas else size.latent) + GATHERED,
            out_channels=patch * FEATURES,
            channels=size.channels,
            attention_levels=size.attention,
            num_res_blocks=size.blocks,
            num_head_channels=size.head,
            norm_num_groups=16,
            with_conditioning=False,
            use_flash_attention=True,
        )
        self.refine = nn.Sequential(
            nn.Conv3d(FEATURES + size.latent + LABEL_CODES + 1, size.detail, 3, padding=1),
            nn.SiLU(),
            nn.Conv3d(size.detail, size.detail, 3, padding=1),
            nn.SiLU(),
            nn.Conv3d(size.detail, size.latent, 3, padding=1),
        )

    def codes(self, labels: Tensor, atlas: Tensor | None = None) -> Codes:
        """Labels (N, labels, 4i, 4j, 4k) in 0..1 and, where the size has one, the atlas (N, latent + 1, i, j, k), encoded for `denoise`:
        by patches and by cells."""
        cells = self.encode_labels(labels)
        gathered = self.gather_labels(fold(cells))
        if not self.size.atlas:
            return gathered, cells
        assert atlas is not None
        return torch.cat([fold(atlas), gathered], dim=1), cells

    def denoise(self, noisy: Tensor, time: Tensor, codes: Codes) -> Tensor:
        """Clean latent (N, latent, i, j, k) from a noisy one, `time` (N,) in 0..1000, and what `codes` gave."""
        patches, cells = codes
        t = (time / 1000).view(-1, 1, 1, 1, 1)
        size = ((1 - t) ** 2 + t**2).sqrt()
        scaled = noisy / size
        features = unfold(self.unet(torch.cat([fold(scaled), patches], dim=1), timesteps=time))
        far = t.expand(-1, 1, *noisy.shape[2:]).to(features.dtype)
        made = self.refine(torch.cat([features, scaled.to(features.dtype), cells, far], dim=1))
        return (1 - t) / size * scaled + t / size * made

    def forward(self, noisy: Tensor, time: Tensor, labels: Tensor, atlas: Tensor | None = None) -> Tensor:
        """`denoise` with labels and atlas not yet encoded."""
        return self.denoise(noisy, time, self.codes(labels, atlas))


def label_encoder(labels: int, width: int) -> nn.Sequential:
    """Labels (N, labels, 4i, 4j, 4k) -> codes (N, LABEL_CODES, i, j, k): one strided convolution, or, with a `width`, two with
    convolutions between and behind them, which see across the border of a cell."""
    if not width:
        return nn.Sequential(nn.Conv3d(labels, LABEL_CODES, DOWN, stride=DOWN), nn.SiLU())
    half = DOWN // 2
    return nn.Sequential(
        nn.Conv3d(labels, width, half, stride=half),
        nn.SiLU(),
        nn.Conv3d(width, width, 3, padding=1),
        nn.SiLU(),
        nn.Conv3d(width, LABEL_CODES, 2, stride=2),
        nn.SiLU(),
        nn.Conv3d(LABEL_CODES, LABEL_CODES, 3, padding=1),
        nn.SiLU(),
    )
