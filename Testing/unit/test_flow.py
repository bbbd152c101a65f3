"""The sampler and the patches, against cases with known answers."""

from __future__ import annotations

import pytest
import torch

from sketch2ct.diffusion import flow
from sketch2ct.errors import Cancelled, Sketch2CTError
from sketch2ct.generation import Progress
from sketch2ct.networks.patches import fold, unfold


def test_mix_goes_from_data_to_noise():
    clean, noise = torch.ones(2, 1, 2, 2, 2), torch.zeros(2, 1, 2, 2, 2)
    mixed = flow.mix(clean, noise, torch.tensor([0.0, 0.75]))
    assert torch.equal(mixed[0], clean[0])
    assert torch.allclose(mixed[1], torch.full_like(mixed[1], 0.25))


@pytest.mark.parametrize("steps", [1, 3, 20])
def test_a_perfect_denoiser_is_reached_in_any_number_of_steps(steps):
    truth = torch.randn(1, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(1, 1, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    seen = []
    made = flow.sample(lambda x, t: truth, noise, steps, lambda n, of: seen.append((n, of)))
    assert torch.allclose(made, truth, atol=1e-4)
    assert seen[0] == (0, steps) and seen[-1] == (steps, steps) and len(seen) == steps + 1


def test_a_gaussian_keeps_its_spread():
    """The optimal denoiser of N(2, 0.5^2) transports unit noise onto that law."""
    mean, sigma = 2.0, 0.5

    def denoise(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        s = float(t[0]) / flow.SCALE
        gain = (1 - s) * sigma**2 / ((1 - s) ** 2 * sigma**2 + s**2)
        return mean + gain * (x - (1 - s) * mean)

    noise = torch.randn(1, 1, 20, 20, 20, generator=torch.Generator().manual_seed(0))
    made = flow.sample(denoise, noise, 100, lambda *_: None)
    assert float(made.mean()) == pytest.approx(mean, abs=0.03)
    assert float(made.std()) == pytest.approx(sigma, abs=0.03)


def test_sampling_stops_at_the_next_step_when_cancelled():
    progress = Progress()
    calls = []

    def denoise(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 3:
            progress.cancel.set()
        return x

    with pytest.raises(Cancelled):
        flow.sample(denoise, torch.zeros(1, 1, 2, 2, 2), 50, lambda n, of: progress("mask", n, of))
    assert len(calls) == 3


def test_a_network_that_returns_nan_is_an_error_not_an_image():
    with pytest.raises(Sketch2CTError, match="no numbers"):
        flow.sample(lambda x, t: x * float("nan"), torch.zeros(1, 1, 2, 2, 2), 2, lambda *_: None)


def test_patches_fold_and_unfold():
    x = torch.arange(2 * 3 * 4 * 6 * 8, dtype=torch.float32).reshape(2, 3, 4, 6, 8)
    assert fold(x).shape == (2, 24, 2, 3, 4)
    assert torch.equal(unfold(fold(x)), x)
    assert torch.equal(fold(x)[0, :8, 0, 0, 0], x[0, 0, :2, :2, :2].reshape(-1))
