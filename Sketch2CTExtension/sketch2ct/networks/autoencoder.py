"""CT <-> latent: the one place that turns HU into model values and back.

MONAI's AutoencoderKL on 2 x 2 x 2 patches with one down-sampling more, so a latent cell is 4 x 4 x 4 voxels. The HU range is
wide: nothing is clipped between air and dense bone. Latents are stored and learnt as means, never as samples: sampling noise would
be a floor under the generator's loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from monai.networks.nets import AutoencoderKL
from torch import Tensor, nn

from ..imaging import HU_MAX, HU_MIN
from .patches import PATCH, fold, unfold
from .size import Size

DOWN = 4  # voxels a latent cell spans along each axis
HU_SCALE = 1000.0


@dataclass(frozen=True)
class AutoencoderSize(Size):
    """Architecture of `CTAutoencoder`, as a bundle's metadata holds it."""

    channels: tuple[int, ...]
    blocks: int
    latent: int


class CTAutoencoder(nn.Module):
    """HU (N, 1, i, j, k) <-> latent (N, latent, i/4, j/4, k/4), scaled to unit variance by the buffers `mean` and `std`."""

    mean: Tensor
    std: Tensor

    def __init__(self, size: AutoencoderSize) -> None:
        super().__init__()
        self.size = size
        patch = PATCH**3
        self.net = AutoencoderKL(
            spatial_dims=3,
            in_channels=patch,
            out_channels=patch,
            channels=size.channels,
            attention_levels=(False,) * len(size.channels),
            num_res_blocks=size.blocks,
            latent_channels=size.latent,
            norm_num_groups=8,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )
        self.register_buffer("mean", torch.zeros(size.latent))
        self.register_buffer("std", torch.ones(size.latent))

    def posterior(self, hu: Tensor) -> tuple[Tensor, Tensor]:
        """HU -> mean and standard deviation of the unscaled latent."""
        return self.net.encode(fold(hu.clamp(HU_MIN, HU_MAX) / HU_SCALE))

    def reconstruct(self, raw: Tensor) -> Tensor:
        """Unscaled latent -> HU, not clipped (for the loss)."""
        return unfold(self.net.decode(raw)) * HU_SCALE

    def encode(self, hu: Tensor) -> Tensor:
        """HU -> scaled latent mean."""
        return (self.posterior(hu)[0] - self._wide(self.mean)) / self._wide(self.std)

    def decode(self, latent: Tensor) -> Tensor:
        """Scaled latent -> HU within the range of CT."""
        return self.reconstruct(latent * self._wide(self.std) + self._wide(self.mean)).clamp(HU_MIN, HU_MAX)

    def decoder_state(self) -> dict[str, Tensor]:
        """What `decode` needs: half of the weights."""
        keep = ("net.decoder.", "net.post_quant_conv.", "mean", "std")
        return {k: v for k, v in self.state_dict().items() if k.startswith(keep)}

    def load_decoder(self, state: dict[str, Tensor]) -> None:
        """Load what `decoder_state` gave. Raises KeyError or RuntimeError when it does not fit."""
        own = self.state_dict()
        own.update({name: state[name] for name in self.decoder_state()})
        self.load_state_dict(own)

    @staticmethod
    def _wide(x: Tensor) -> Tensor:
        return x[None, :, None, None, None]
