"""Networks of the published sizes with random weights, timed on this device: what a generation with them would take.

Nothing here makes an image. A part that a generation runs many times, a sampling step, is run a few times and multiplied; a part too
large for the device is run on a share of its voxels. Both are said beside the figure. What a paper does not tell is assumed, and named.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from monai.networks.nets import AutoencoderKL, DiffusionModelUNet, DynUNet
from monai.networks.schedulers import DDPMScheduler, RFlowScheduler
from torch import Tensor, nn

from ..devices import describe_devices
from ..engine import memory_errors
from ..errors import OutOfMemory
from ..metering import Meter
from .peak import Peak, Work, counted, half_on_cuda, timed

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Part:
    """One piece of a generation: `run` it `times` times; here it is timed `timed` times, on `share` of its voxels."""

    name: str
    run: Callable[[], Any]
    times: int = 1
    timed: int = 1
    share: float = 1.0


@dataclass(frozen=True)
class Published:
    """A published system: what is known of it, what is assumed, which of our stages do the same, and how to build it.

    `needs_mb` is the free memory (MiB) it takes, by kind of device: measured on the CPU, on CUDA as published or estimated.
    """

    title: str
    source: str
    assumed: str
    shape: Shape
    steps: int
    stages: tuple[str, ...]
    needs_mb: dict[str, int]
    build: Callable[[torch.device], list[Part]]


def time_one(system: Published, device: torch.device, peak: Peak, seed: int) -> dict[str, Any]:
    """Seconds, operations and memory of one generation, as JSON (see `report`)."""
    try:
        _check_memory(system, device)
        meter = Meter(device)
        with memory_errors(device), torch.random.fork_rng(devices=[]), meter.stage("all"), torch.inference_mode(), half_on_cuda(device):
            torch.manual_seed(seed)
            parts = {part.name: _time_part(part, device) | {"share": part.share} for part in system.build(device)}
    except OutOfMemory as error:
        return {"title": system.title, "skipped": str(error)}
    seconds = sum(part["seconds"] for part in parts.values())
    work = Work(sum(part["flops"] for part in parts.values()), sum(part["bytes"] for part in parts.values()))
    return {
        "title": system.title,
        "source": system.source,
        "assumed": system.assumed,
        "shape": list(system.shape),
        "steps": system.steps,
        "extrapolated": any(part["timed"] < part["times"] or part["share"] < 1 for part in parts.values()),
        "parts": parts,
        "seconds": round(seconds, 2),
        "peak_memory_mb": meter.peak_memory_mb["all"],
        **work.against(seconds, peak, "float16" if device.type == "cuda" else "float32"),
        "stages": list(system.stages),
    }


def _check_memory(system: Published, device: torch.device) -> None:
    """Raises OutOfMemory before anything is allocated: a system that runs out of memory may end the process instead of telling."""
    free = next(item["free_mb"] for item in describe_devices() if item["name"] == str(device))
    needs = system.needs_mb[device.type]
    if free is not None and free < needs:
        raise OutOfMemory(
            f"{system.title} needs about {needs} MiB of free memory on {device}, and {free} MiB are free.",
            "Close other programs, or use a machine with more memory.",
        )


def _time_part(part: Part, device: torch.device) -> dict[str, Any]:
    with counted() as work:
        part.run()  # also warms up
    each = sum(timed(device, part.run) for _ in range(part.timed)) / part.timed
    whole = part.times / part.share
    return {
        "times": part.times,
        "timed": part.timed,
        "seconds_each": round(each, 4),
        "seconds": round(each * whole, 2),
        "flops": round(work.flops * whole),
        "bytes": round(work.bytes * whole),
    }


def _noise(device: torch.device, *shape: int) -> Tensor:
    return torch.randn((1, *shape)).to(device)


def _ready(net: nn.Module, device: torch.device) -> nn.Module:
    return net.to(device).eval()


PAPER_CHANNELS, LATENT, TOKENS = (32, 64, 64), 4, 64
DDPM_STEPS, TIMED_STEPS = 1000, 5


def _paper_parts(device: torch.device) -> list[Part]:
    """Mask latent from sketch and text, decoded; then the image latent beside the mask's, decoded."""
    parts = []
    context = _noise(device, TOKENS, 1024)
    for stage, more in (("mask", 0), ("volume", LATENT)):
        unet = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=LATENT + more,
            out_channels=LATENT,
            num_res_blocks=1,
            channels=PAPER_CHANNELS,
            attention_levels=(False, True, True),
            num_head_channels=32,
            with_conditioning=not more,
            cross_attention_dim=None if more else 1024,
            use_flash_attention=True,
        )
        coder = AutoencoderKL(
            spatial_dims=3,
            in_channels=1,
            out_channels=1,
            channels=PAPER_CHANNELS,
            latent_channels=LATENT,
            num_res_blocks=1,
            attention_levels=(False, False, True),
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
            use_flash_attention=True,
        )
        latent, beside = _noise(device, LATENT, 32, 32, 32), _noise(device, more, 32, 32, 32)
        step = _ddpm_step(_ready(unet, device), latent, beside, None if more else context)
        parts.append(Part(f"{stage}_step", step, DDPM_STEPS, TIMED_STEPS))
        parts.append(Part(f"{stage}_decode", _decoder(_ready(coder, device), latent)))
    return parts


def _ddpm_step(net: nn.Module, noisy: Tensor, beside: Tensor | None, context: Tensor | None) -> Callable[[], Any]:
    """One reverse step in the middle of the chain, v-prediction."""
    scheduler = DDPMScheduler(num_train_timesteps=DDPM_STEPS, prediction_type="v_prediction")
    now = DDPM_STEPS // 2
    time = torch.tensor([now], device=noisy.device)

    def step() -> None:
        given = noisy if beside is None else torch.cat([noisy, beside], dim=1)
        made = net(given) if isinstance(net, DynUNet) else net(given, timesteps=time, context=context)
        scheduler.step(made.float(), now, noisy)

    return step


def _decoder(net: Any, latent: Tensor) -> Callable[[], Any]:
    return lambda: net.decode(latent)


def _code_parts(device: torch.device) -> list[Part]:
    strides: list[Any] = [1, 2, 2, 2, 2, [2, 2, 1]]
    net = DynUNet(3, 1, 1, kernel_size=[3] * 6, strides=strides, upsample_kernel_size=strides[1:], norm_name="instance", res_block=True)
    return [Part("step", _ddpm_step(_ready(net, device), _noise(device, 1, 128, 128, 128), None, None), DDPM_STEPS, TIMED_STEPS)]


MAISI_SHAPE: Shape = (256, 256, 128)
MAISI_STEPS = 30
MAISI_LATENT: Shape = (64, 64, 32)
MAISI_ON_CPU: tuple[int, Shape] = (3, (32, 32, 16))  # steps timed, latent cells decoded: in full it takes many minutes and a lot of memory


def _maisi_parts(device: torch.device) -> list[Part]:
    """ControlNet and UNet at every step on a latent of 4 x 64 x 64 x 32, then the decoder."""
    same: dict[str, Any] = {
        "spatial_dims": 3,
        "in_channels": 4,
        "num_channels": (64, 128, 256, 512),
        "attention_levels": (False, False, True, True),
        "num_head_channels": (0, 0, 32, 32),
        "num_res_blocks": 2,
        "num_class_embeds": 128,
        "resblock_updown": True,
        "include_fc": True,
        "use_flash_attention": device.type == "cuda",  # MONAI's class refuses it on the CPU
    }
    unet = _ready(DiffusionModelUNetMaisi(out_channels=4, include_spacing_input=True, **same), device)
    control = ControlNetMaisi(
        conditioning_embedding_in_channels=8, conditioning_embedding_num_channels=(8, 32, 64), use_checkpointing=False, **same
    )
    step = _maisi_step(unet, _ready(control, device), device)
    coder = AutoencoderKlMaisi(
        spatial_dims=3,
        in_channels=1,
        out_channels=1,
        latent_channels=4,
        num_channels=(64, 128, 256),
        num_res_blocks=(2, 2, 2),
        attention_levels=(False, False, False),
        with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=False,
        norm_float16=device.type == "cuda",
        num_splits=2,
        dim_split=1,
    )
    timed_steps, tile = MAISI_ON_CPU if device.type == "cpu" else (MAISI_STEPS, MAISI_LATENT)
    share = math.prod(tile) / math.prod(MAISI_LATENT)
    decode = Part("decode", _decoder(_ready(coder, device), _noise(device, 4, *tile)), share=share)
    return [Part("step", step, MAISI_STEPS, timed_steps), decode]


def _maisi_step(unet: nn.Module, control: nn.Module, device: torch.device) -> Callable[[], Any]:
    latent, labels = _noise(device, 4, *MAISI_LATENT), _noise(device, 8, *MAISI_SHAPE)
    modality, spacing = torch.tensor([1], device=device), torch.full((1, 3), 150.0, device=device)
    scheduler = RFlowScheduler(num_train_timesteps=1000, use_discrete_timesteps=False)
    scheduler.set_timesteps(num_inference_steps=MAISI_STEPS, device=device)
    time = torch.tensor([500.0], device=device)

    def step() -> None:
        down, middle = control(latent, time, labels, class_labels=modality)
        more = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        made = unet(latent, time, class_labels=modality, spacing_tensor=spacing, **more)
        scheduler.step(made.float(), 500, latent, 470)

    return step


SYSTEMS = {
    "sketch2ct_paper": Published(
        title="Sketch2CT (paper): two latent diffusions, 1000 steps each",
        source="arXiv 2603.22509: 128 x 128 x 128, AutoencoderKL and UNet (32, 64, 64), one block, cross-attention 1024 wide, DDPM",
        assumed=f"{LATENT} latent channels, 32^3 latent cells, heads of 32, {TOKENS} context tokens; no encoders of sketch and text",
        shape=(128, 128, 128),
        steps=2 * DDPM_STEPS,
        stages=("mask", "volume"),
        needs_mb={"cpu": 3 * 1024, "cuda": 3 * 1024},
        build=_paper_parts,
    ),
    "sketch2ct_code": Published(
        title="Sketch2CT (public code): 128^3 UNet in voxel space, 1000 steps",
        source="github.com/adlsn/Sketch2CT, experiments/train.py: residual DynUNet, six levels, one channel, unconditional",
        assumed="MONAI's DynUNet with its usual channels; the embedding of time is left out",
        shape=(128, 128, 128),
        steps=DDPM_STEPS,
        stages=("volume",),
        needs_mb={"cpu": 4 * 1024, "cuda": 4 * 1024},
        build=_code_parts,
    ),
    "maisi_rflow": Published(
        title="MAISI (rflow-ct): ControlNet and UNet, 30 steps, 256 x 256 x 128",
        source="github.com/NVIDIA-Medtech/NV-Generate-CTMR, configs/config_network_rflow.json and config_infer_16g_256x256x128.json",
        assumed="its mask stage is left out; no guidance",
        shape=MAISI_SHAPE,
        steps=MAISI_STEPS,
        stages=("volume",),
        needs_mb={"cpu": 10 * 1024, "cuda": 15 * 1024},
        build=_maisi_parts,
    ),
}
