"""Training of the Gaussian baseline of whole regions: an autoencoder of class maps, then rectified flow in its latent.

It learns from the very batches that the categorical model learns from, structures that were not contoured marginalised alike, for the
minutes it is given; a third of them go to the autoencoder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..data.nnunet import Dataset
from ..diffusion import categorical, flow
from ..errors import BadRequest
from ..masks.gaussian import SETTINGS, WEIGHTS, GaussianSize, MapAutoencoder, denoiser
from ..networks.region_unet import RegionNetwork
from . import prepare
from .loop import Stage, fit
from .region_data import Anatomy, prepared_anatomy, prepared_regions
from .region_stage import Batch, RegionBatches
from .run import read_recipe
from .sizes import region_size

CODER_SHARE = 1 / 3  # of the minutes
DIVERGENCE = 1e-4  # weight of the latent's divergence from the standard normal
STEPS = 30  # of the sampling
FLOOR = 0.1  # of the time in the weight of the loss
# With these channels the diffusion UNet is about as large as the whole-region network of the recipe.
NETWORK = {"coder": [8, 16, 32], "latent": 4, "channels": [56, 88], "attention": [False, True], "blocks": 1, "head": 44}
PACE = {"steps_per_epoch": 50, "check_every": 8, "checks": 4}


class CoderStage(Stage):
    """Marginalised cross-entropy of the decoded map."""

    net: MapAutoencoder

    def __init__(self, settings: dict[str, Any], out: Path, minutes: float, size: GaussianSize, held: RegionBatches) -> None:
        super().__init__(settings, out, minutes)
        self.net, self.held = MapAutoencoder(size), held

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Loss terms."""
        logits, apart = self.net(batch["clean"].long())
        bits = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1, 1)
        may = (batch["may"][:, None] >> bits & 1).bool()
        entropy = categorical.marginal_cross_entropy(logits.float(), may).mean()
        return {"loss": entropy + DIVERGENCE * apart.float().mean(), "entropy": entropy.detach()}

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """The share of the voxels of held regions that come back as they were."""
        same = []
        for clean in held_maps(self.held, self.settings["checks"], self.device):
            same.append(float((self.net.decode(self.net.encode(clean)).argmax(1) == clean).float().mean()))
        return {"same": sum(same) / len(same)}


class LatentStage(Stage):
    """Regression of the clean latent, weighted as a velocity."""

    def __init__(self, settings: dict[str, Any], out: Path, minutes: float, size: GaussianSize, coder: MapAutoencoder, held: Any) -> None:
        super().__init__(settings, out, minutes)
        self.net, self.held = denoiser(size), held
        self.coders = [coder.eval().requires_grad_(False)]  # in a list, so that it is neither trained nor saved

    def _error(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        self.coders[0].to(clean.device)
        with torch.no_grad():
            latent = self.coders[0].encode(clean)
        noise = torch.randn(latent.shape, generator=generator).to(latent)
        t = flow.training_times(len(latent), generator).to(latent.device)
        found = self.net(flow.mix(latent, noise, t), flow.SCALE * t)
        return (((found.float() - latent) ** 2).mean((1, 2, 3, 4)) / t.clamp_min(FLOOR) ** 2).mean()

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Loss terms."""
        return {"loss": self._error(batch["clean"].long())}

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """The loss of held regions, with the same noise every time."""
        maps = held_maps(self.held, self.settings["checks"], self.device)
        return {"error": sum(float(self._error(m, torch.Generator().manual_seed(n))) for n, m in enumerate(maps)) / len(maps)}


def held_maps(held: RegionBatches, count: int, device: torch.device) -> list[Tensor]:
    """The first class maps (1, i, j, k) of a split as they lie."""
    rng = held.rng()
    found = [held.example(n, rng, plain=True)[0]["clean"] for n in range(min(count, len(held.items)))]
    return [torch.from_numpy(clean)[None].long().to(device) for clean in found]


def train_baseline(
    recipe: str,
    data: Path,
    out: Path,
    *,
    minutes: float,
    cache: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    seed: int | None = None,
    network: dict[str, Any] | None = None,
) -> Path:
    """Train the baseline on the data of a recipe of whole regions; the folder, which `masks.gaussian` reads.

    With `resume` an autoencoder that is done stays as it is, and all of the minutes go to the flow. `cache` is the prepared data of a
    training of the recipe (default: OUT/cache). Raises BadRequest.
    """
    settings = read_recipe(recipe)
    if settings["mask"].get("system") != "guidegen":
        raise BadRequest(f"The recipe '{recipe}' trains no whole regions.", "Name one of GuideGen, such as headneck-guidegen.")
    seed = settings["seed"] if seed is None else seed
    out, kept = Path(out), Path(cache) if cache else Path(out) / "cache"
    dataset, own = Dataset(Path(data)), {**settings["mask"], **PACE, "mirror": settings.get("mirror", True), "window": None}
    prepare.claimed(kept, dataset, settings)
    regions = prepared_regions(dataset, settings["train"], settings, kept)
    anatomy = prepared_anatomy(regions, settings, kept)
    size = GaussianSize.from_dict({"classes": anatomy.classes.count, **(network or NETWORK)})
    if any(n % size.multiple for n in settings["frame"]["shape"]):
        raise BadRequest(f"The frame of {settings['frame']['shape']} voxels does not suit it.", f"Use multiples of {size.multiple}.")
    held = _batches(prepared_regions(dataset, settings["choose"], settings, kept), anatomy, own, seed)
    batches = _batches(regions, anatomy, own, seed)
    folders = {name: out / name for name in ("coder", "net")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    first = CoderStage(own, folders["coder"], minutes * CODER_SHARE, size, held)
    coded = resume and (folders["coder"] / "steps.json").is_file()  # `fit` writes it at its end
    if coded:
        first.net.load_state_dict(load_file(folders["coder"] / "weights.safetensors"))
    else:
        windows = _batches(regions, anatomy, {**own, "window": _half(settings["frame"]["shape"], size)}, seed)
        fit(first, windows, folders["coder"], resume=resume, device=device, seed=seed)
    coder = first.net.cpu().eval()
    with torch.inference_mode():
        latents = torch.cat([coder.encode(m) for m in held_maps(batches, 16, torch.device("cpu"))])
    coder.scale.mul_(latents.std())
    second = LatentStage(own, folders["net"], minutes if coded else minutes * (1 - CODER_SHARE), size, coder, held)
    fit(second, batches, folders["net"], resume=resume, device=device, seed=seed)
    weights = {f"coder.{k}": v.contiguous() for k, v in coder.cpu().state_dict().items()}
    save_file(weights | {f"net.{k}": v for k, v in load_file(folders["net"] / "weights.safetensors").items()}, out / WEIGHTS)
    earlier = json.loads((out / SETTINGS).read_text(encoding="utf-8"))["trained"]["minutes"] if coded and (out / SETTINGS).is_file() else 0
    told = {"minutes": earlier + minutes, "data": dataset.root.name, "split": settings["train"], "cases": len(regions), "seed": seed}
    told |= {"parameters": _count(second.net) + _count(coder), "parameters_categorical": _count(RegionNetwork(region_size(settings)))}
    classes = {"derived": anatomy.classes.derived, "structures": anatomy.classes.structures}
    about = {**classes, "frame": settings["frame"], "network": {"classes": size.classes, **(network or NETWORK)}, "steps": STEPS}
    (out / SETTINGS).write_text(json.dumps({**about, "trained": told}, indent=1) + "\n", encoding="utf-8")
    return out


def _batches(regions: list, anatomy: Anatomy, own: dict[str, Any], seed: int) -> RegionBatches:
    """The batches of the categorical model, in which nothing is said."""
    return RegionBatches(regions, [([], [])] * len(regions), None, {}, anatomy, own, seed)


def _half(shape: list[int], size: GaussianSize) -> list[int]:
    """Windows of half the frame along each axis, on which convolutions learn as much in an eighth of the time."""
    return [n // 2 if n // 2 % size.down == 0 else n for n in shape]


def _count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())
