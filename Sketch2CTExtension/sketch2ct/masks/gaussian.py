"""The baseline that GuideGen's paper compares with: a whole region by Gaussian diffusion in the latent of an autoencoder of class maps.

No bundle holds it and no request can ask for it; an evaluation draws unconditional maps from it. A folder of 'train-region-baseline' holds
`baseline.json` (classes, frame, sizes, steps, what it was trained on) and `baseline.safetensors`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.nets import AutoencoderKL, DiffusionModelUNet
from safetensors.torch import load_file
from torch import Tensor, nn

from ..diffusion import categorical, flow
from ..errors import BadRequest
from ..generation import MaskCondition, Progress
from ..geometry import Grid
from ..imaging import LabelVolume, resample
from ..networks.size import Size
from .region_classes import RegionClasses

SETTINGS, WEIGHTS = "baseline.json", "baseline.safetensors"
GROUPS = 8


@dataclass(frozen=True)
class GaussianSize(Size):
    """`coder` are the channels of the autoencoder's levels, `latent` those of its latent, `channels` those of the diffusion UNet."""

    classes: int
    coder: tuple[int, ...]
    latent: int
    channels: tuple[int, ...]
    attention: tuple[bool, ...]
    blocks: int
    head: int

    @property
    def down(self) -> int:
        """How many voxels a latent cell spans along each axis."""
        return int(2 ** (len(self.coder) - 1))

    @property
    def multiple(self) -> int:
        """What the sizes of a class map must be multiples of."""
        return int(self.down * 2 ** (len(self.channels) - 1))


class MapAutoencoder(nn.Module):
    """MONAI's AutoencoderKL between class maps and a latent of about unit variance."""

    scale: Tensor

    def __init__(self, size: GaussianSize) -> None:
        super().__init__()
        self.classes = size.classes
        self.net = AutoencoderKL(
            spatial_dims=3,
            in_channels=size.classes,
            out_channels=size.classes,
            channels=size.coder,
            latent_channels=size.latent,
            num_res_blocks=1,
            attention_levels=(False,) * len(size.coder),
            norm_num_groups=GROUPS,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )
        self.register_buffer("scale", torch.ones(1))

    def forward(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Class map (N, i, j, k) -> logits (N, K, i, j, k), and the divergence (N,) of the latent from the standard normal, in nats a
        cell."""
        mean, sigma = self.net.encode(categorical.one_hot(clean, self.classes))
        apart = 0.5 * (mean**2 + sigma**2 - torch.log(sigma**2 + 1e-8) - 1).mean((1, 2, 3, 4))
        return self.net.decode(mean + sigma * torch.randn_like(sigma)), apart

    def encode(self, clean: Tensor) -> Tensor:
        """Class map (N, i, j, k) -> latent (N, L, i/d, j/d, k/d)."""
        return self.net.encode(categorical.one_hot(clean, self.classes))[0] / self.scale

    def decode(self, latent: Tensor) -> Tensor:
        """Latent -> logits (N, K, i, j, k)."""
        return self.net.decode(latent * self.scale)


def denoiser(size: GaussianSize) -> DiffusionModelUNet:
    """(x_t, t in 0..1000) -> clean latent, all (N, L, i, j, k)."""
    return DiffusionModelUNet(
        spatial_dims=3,
        in_channels=size.latent,
        out_channels=size.latent,
        channels=size.channels,
        attention_levels=size.attention,
        num_res_blocks=size.blocks,
        num_head_channels=size.head,
        norm_num_groups=GROUPS,
    )


class GaussianRegions:
    """A mask generator that hears and sees nothing: any region, on the frame around the middle of the request's grid."""

    def __init__(
        self, coder: MapAutoencoder, net: nn.Module, classes: RegionClasses, settings: dict[str, Any], device: torch.device
    ) -> None:
        self.coder, self.net, self.classes = coder.to(device).eval(), net.to(device).eval(), classes
        self.settings, self.device = settings, device

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> GaussianRegions:
        """From a folder of 'train-region-baseline'. Raises BadRequest."""
        folder = Path(folder)
        try:
            settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
            size = GaussianSize.from_dict(settings["network"])
            coder, net = MapAutoencoder(size), denoiser(size)
            weights = load_file(folder / WEIGHTS)
            for name, part in (("coder", coder), ("net", net)):
                part.load_state_dict({k.removeprefix(f"{name}."): v for k, v in weights.items() if k.startswith(f"{name}.")})
        except Exception as error:  # the safetensors reader raises errors of its own
            hint = "Train one with 'sketch2ct train-region-baseline'."
            raise BadRequest(f"{folder} holds no baseline of whole regions ({type(error).__name__}).", hint) from error
        return cls(coder, net, RegionClasses(tuple(settings["derived"]), tuple(settings["structures"])), settings, device)

    def about(self) -> dict[str, Any]:
        """What it was trained on, for a report."""
        return self.settings.get("trained", {})

    def generate(self, condition: MaskCondition, rng: torch.Generator, progress: Progress) -> LabelVolume:
        """One map on `condition.grid`."""
        shape, down = self.settings["frame"]["shape"], self.coder_down
        noise = torch.randn((1, self.settings["network"]["latent"], *(n // down for n in shape)), generator=rng).to(self.device)
        made = flow.sample(lambda x, t: self.net(x, t), noise, self.settings["steps"], lambda n, of: progress("mask", n, of))
        with torch.inference_mode():
            labels = self.coder.decode(made).argmax(1)[0].cpu().numpy().astype(np.uint8)
        grid = Grid.centred(condition.grid.centre, self.settings["frame"]["spacing"], (shape[0], shape[1], shape[2]))
        names = {n: name for n, name in enumerate(self.classes.names) if n}
        return LabelVolume(resample(labels, grid, condition.grid, order=0), condition.grid, names)

    @property
    def coder_down(self) -> int:
        """How many voxels a latent cell spans along each axis."""
        return GaussianSize.from_dict(self.settings["network"]).down
