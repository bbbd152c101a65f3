"""CT <-> latent: the one place that turns HU into model values and back.

MONAI's AutoencoderKL on 2 x 2 x 2 patches with one down-sampling more, so a latent cell is 4 x 4 x 4 voxels. The HU range is
wide: nothing is clipped between air and dense bone, and it is linear, because a voxel that is half bone, half soft tissue has the mean
of their HU, which no companded scale keeps; what shall count more is told to the loss (see `training.windows`). Latents are stored and
learnt as means, never as samples: sampling noise would be a floor under the generator's loss.
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
LOG_VARIANCE = -6.0  # of a latent that begins at principal components: small against the least of 16


@dataclass(frozen=True)
class AutoencoderSize(Size):
    """Architecture of `CTAutoencoder`, as a bundle's metadata holds it.

    With a `window` (low, high) only the HU between its ends are told apart, as many published systems have it, for comparison. With
    `linear` a linear map of every cell runs beside the network (see `CTAutoencoder.begin`).
    """

    channels: tuple[int, ...]
    blocks: int
    latent: int
    window: tuple[float, float] | None = None
    linear: bool = False

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest HU that can be told."""
        return self.window or (HU_MIN, HU_MAX)


class CTAutoencoder(nn.Module):
    """HU (N, 1, i, j, k) <-> latent (N, latent, i/4, j/4, k/4), scaled to unit variance by the buffers `mean` and `std`.

    With a linear part, latent and image are the sums of what it and the network say.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: AutoencoderSize) -> None:
        super().__init__()
        self.size = size
        low, high = size.limits
        self.middle, self.scale = ((low + high) / 2, (high - low) / 2) if size.window else (0.0, HU_SCALE)
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
        if size.linear:
            self.down: nn.Conv3d = nn.Conv3d(patch, size.latent, PATCH, stride=PATCH)
            self.up: nn.ConvTranspose3d = nn.ConvTranspose3d(size.latent, patch, PATCH, stride=PATCH)
        self.register_buffer("mean", torch.zeros(size.latent))
        self.register_buffer("std", torch.ones(size.latent))

    def posterior(self, hu: Tensor) -> tuple[Tensor, Tensor]:
        """HU -> mean and standard deviation of the unscaled latent."""
        patches = self._patches(hu)
        mean, sigma = self.net.encode(patches)
        return (mean + self.down(patches) if self.size.linear else mean), sigma

    def _patches(self, hu: Tensor) -> Tensor:
        return fold((self.seen(hu) - self.middle) / self.scale)

    def seen(self, hu: Tensor) -> Tensor:
        """HU -> HU, clipped to the range that the network knows."""
        return hu.clamp(*self.size.limits)

    def reconstruct(self, raw: Tensor) -> Tensor:
        """Unscaled latent -> HU, not clipped (for the loss)."""
        made = self.net.decode(raw)
        return unfold(made + self.up(raw) if self.size.linear else made) * self.scale + self.middle

    def cells(self, hu: Tensor) -> Tensor:
        """HU (N, 1, i, j, k) -> normalised voxels (N, 64, i/4, j/4, k/4) of every cell, in the order of the linear part's weights."""
        return fold(self._patches(hu))

    @torch.no_grad()
    def begin(self, blocks: Tensor) -> None:
        """Let the untrained linear part be the principal components of cells (M, 64), as `cells` gives them, and the network be silent.

        On 4 x 4 x 3 mm, 16 of 64 components leave 93 HU of mean error in bone, 8 leave 136; 2800 steps of a network alone with 8 numbers
        a cell left 200.
        """
        middle = blocks.double().mean()
        centred = blocks.double() - middle
        directions = torch.linalg.eigh(centred.T @ centred)[1]
        kept = directions[:, -self.size.latent :].flip(1).T.to(blocks.dtype)  # (latent, 64), orthonormal, the largest first
        self.down.weight.copy_(kept.view_as(self.down.weight))
        self.up.weight.copy_(kept.view_as(self.up.weight))
        own = self.state_dict(keep_vars=True)
        own["up.bias"].fill_(middle)
        own["down.bias"].copy_(-middle * kept.sum(dim=1))
        last = [name for name, layer in self.net.decoder.named_modules() if isinstance(layer, nn.Conv3d)][-1]
        silent = {"net.quant_conv_mu.conv": 0.0, "net.quant_conv_log_sigma.conv": LOG_VARIANCE, f"net.decoder.{last}": 0.0}
        for name, bias in silent.items():
            own[f"{name}.weight"].fill_(0.0)
            own[f"{name}.bias"].fill_(bias)

    def encode(self, hu: Tensor) -> Tensor:
        """HU -> scaled latent mean."""
        return (self.posterior(hu)[0] - self._wide(self.mean)) / self._wide(self.std)

    def decode(self, latent: Tensor) -> Tensor:
        """Scaled latent -> HU within the range of CT."""
        return self.seen(self.reconstruct(latent * self._wide(self.std) + self._wide(self.mean)))

    def decoder_state(self) -> dict[str, Tensor]:
        """What `decode` needs: half of the weights."""
        keep = ("net.decoder.", "net.post_quant_conv.", "up.", "mean", "std")
        return {k: v for k, v in self.state_dict().items() if k.startswith(keep)}

    def load_decoder(self, state: dict[str, Tensor]) -> None:
        """Load what `decoder_state` gave. Raises KeyError or RuntimeError when it does not fit."""
        own = self.state_dict()
        own.update({name: state[name] for name in self.decoder_state()})
        self.load_state_dict(own)

    @staticmethod
    def _wide(x: Tensor) -> Tensor:
        return x[None, :, None, None, None]
