"""Rectified flow with a network that predicts the clean sample.

x_t = (1 - t) x_0 + t e, t from 1 (noise) to 0 (data); velocity v = x_0 - e = (x_0 - x_t) / t (Liu et al., 2023). Predicting x_0
instead of v keeps a small network on the data's own, much smaller space (Li and He, "Back to basics", 2025).
Time steps and Euler's step are MONAI's RFlowScheduler.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from monai.networks.schedulers import RFlowScheduler
from torch import Tensor

from ..errors import Sketch2CTError

SCALE = 1000  # the scheduler and the network count time 0..1000


def mix(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t for times `t` (N,) in 0..1."""
    t = t.view(-1, *[1] * (clean.ndim - 1))
    return (1 - t) * clean + t * noise


def training_times(count: int, generator: torch.Generator | None = None, device: torch.device | None = None) -> Tensor:
    """Times (count,) in 0..1 with density 2t: most of what a condition decides is decided at high noise."""
    return torch.rand(count, generator=generator, device=device).clamp_min(1e-4).sqrt()


@torch.inference_mode()
def sample(denoise: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int, on_step: Callable[[int, int], None]) -> Tensor:
    """Noise (N, ...) -> sample, in `steps` Euler steps.

    `denoise(x_t, t)` with `t` (N,) in 0..1000 returns the clean sample; `on_step(done, steps)` may raise to stop.
    """
    scheduler = RFlowScheduler(num_train_timesteps=SCALE, use_discrete_timesteps=False)
    scheduler.set_timesteps(num_inference_steps=steps, device=noise.device)
    times = [float(t) for t in scheduler.timesteps] + [0.0]
    x = noise
    for n, (now, then) in enumerate(pairwise(times)):
        on_step(n, steps)
        clean = denoise(x, torch.full((len(x),), now, device=x.device))
        x, _ = scheduler.step((clean - x) * (SCALE / now), now, x, then)
    on_step(steps, steps)
    if not torch.isfinite(x).all():
        raise Sketch2CTError("The network returned values that are no numbers.", "The bundle is not usable; install it again.")
    return x
