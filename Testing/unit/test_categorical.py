"""Categorical diffusion, against chains that are small enough to be worked out class by class."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from sketch2ct.diffusion import categorical
from sketch2ct.errors import Cancelled, Sketch2CTError
from sketch2ct.generation import Progress

K = 3


def share(t: int) -> float:
    return float(categorical.alpha_bar(torch.tensor([t])))


def one_step(t: int) -> np.ndarray:
    """The matrix (from, to) of the single step t - 1 -> t."""
    alpha = share(t) / share(t - 1)
    return alpha * np.eye(K) + (1 - alpha) / K


def forward(first: int, last: int) -> np.ndarray:
    """q(x_last | x_first) as the product of every single step between."""
    found = np.eye(K)
    for t in range(first + 1, last + 1):
        found = found @ one_step(t)
    return found


def brute_force(noisy: int, clean: np.ndarray, s: int, t: int) -> np.ndarray:
    """sum over x_0 of p(x_0) q(x_s | x_t, x_0), by Bayes' rule on the chain's own matrices."""
    to_s, s_to_t, to_t = forward(0, s), forward(s, t), forward(0, t)
    found = np.zeros(K)
    for x_0, x_s in itertools.product(range(K), range(K)):
        found[x_s] += clean[x_0] * to_s[x_0, x_s] * s_to_t[x_s, noisy] / to_t[x_0, noisy]
    return found


def ours(noisy: int, clean: np.ndarray, s: int, t: int) -> np.ndarray:
    distribution = torch.from_numpy(clean).float().view(1, K, 1)
    found = categorical.posterior(torch.tensor([[noisy]]), distribution, torch.tensor([s]), torch.tensor([t]))
    return found[0, :, 0].numpy()


def test_the_schedule_is_a_cosine_from_all_to_nothing():
    assert share(0) == 1.0 and share(1000) == pytest.approx(0.0, abs=1e-6)
    halfway = (0.5 + 0.008) / 1.008 * math.pi / 2
    assert share(500) == pytest.approx(math.cos(halfway) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2, abs=1e-6)


@pytest.mark.parametrize(("s", "t"), [(399, 400), (1, 2), (0, 1), (100, 400), (300, 900), (700, 999)])
@pytest.mark.parametrize("noisy", range(K))
def test_the_posterior_is_that_of_the_chain_worked_out_step_by_step(noisy, s, t):
    clean = np.array([0.2, 0.7, 0.1])
    assert ours(noisy, clean, s, t) == pytest.approx(brute_force(noisy, clean, s, t), abs=2e-5)


def test_a_long_stride_is_the_composition_of_single_steps():
    """With x_0 known, x_400 -> x_396 in one stride, or through x_399, x_398 and x_397: the same law."""
    clean = np.array([0.0, 1.0, 0.0])
    law = np.eye(K)[2]
    for t in range(400, 396, -1):
        law = sum(law[x] * ours(x, clean, t - 1, t) for x in range(K))
    assert ours(2, clean, 396, 400) == pytest.approx(law, abs=1e-5)


def test_noise_keeps_the_share_of_voxels_that_the_schedule_says():
    generator = torch.Generator().manual_seed(0)
    clean = torch.full((2, 60, 60, 20), 2)
    noisy = categorical.mix(clean, torch.tensor([300, 800]), K, generator)
    for n, t in enumerate((300, 800)):
        assert float((noisy[n] == 2).float().mean()) == pytest.approx(share(t) + (1 - share(t)) / K, abs=0.01)
        assert float((noisy[n] == 0).float().mean()) == pytest.approx((1 - share(t)) / K, abs=0.01)


def test_training_times_grow_in_number_as_their_power():
    t = categorical.training_times(20_000, torch.Generator().manual_seed(0)).numpy()
    assert t.min() >= 1 and t.max() == 1000
    assert (t <= 500).mean() == pytest.approx(0.5**2.5, abs=0.01)


@pytest.mark.parametrize("steps", [1, 2, 7, 30, 50])
def test_from_an_oracle_any_number_of_steps_returns_what_it_knows(steps):
    truth = torch.randint(K, (2, 6, 5, 4), generator=torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(4)
    seen = []

    def predict(x, t):
        seen.append(int(t[0]))
        return 20 * categorical.one_hot(truth, K)

    made = categorical.sample(predict, categorical.noise((2, 6, 5, 4), K, generator), steps, lambda *_: None, generator)
    assert torch.equal(made, truth)
    assert len(seen) == steps and seen[0] == 1000 and seen == sorted(seen, reverse=True)


def test_samples_follow_the_law_that_the_predictor_knows():
    """Voxels that know nothing of each other, 10, 30 and 60 %: Bayes' rule at every step, and the shares come out."""
    law = torch.tensor([0.1, 0.3, 0.6])

    def predict(x, t):
        return law.log().view(1, K, 1, 1, 1) + categorical.evidence(t, K).view(-1, 1, 1, 1, 1) * categorical.one_hot(x, K)

    generator = torch.Generator().manual_seed(0)
    start = categorical.noise((1, 40, 40, 40), K, generator)
    made = categorical.sample(predict, start, 25, lambda *_: None, generator)
    assert [float((made == c).float().mean()) for c in range(K)] == pytest.approx(law.tolist(), abs=0.02)
    sharp = categorical.sample(predict, start, 25, lambda *_: None, generator, temperature=0.3)
    tempered = law ** (1 / 0.3) / (law ** (1 / 0.3)).sum()
    assert [float((sharp == c).float().mean()) for c in range(K)] == pytest.approx(tempered.tolist(), abs=0.02)


def test_drawn_alike_every_voxel_has_the_same_law_and_its_neighbours_the_same_class():
    generator = torch.Generator().manual_seed(0)
    logits = torch.tensor([0.1, 0.3, 0.6]).log().view(1, K, 1, 1, 1)

    def predict(x, t):
        return logits + categorical.evidence(t, K).view(-1, 1, 1, 1, 1) * categorical.one_hot(x, K)

    alike = {}
    for reach in (None, (4.0, 4.0, 4.0)):
        own = categorical.Alike(reach, reach) if reach else None
        start = categorical.noise((1, 48, 48, 48), K, generator)
        made = categorical.sample(predict, start, 10, lambda *_: None, generator, alike=own)
        assert [float((made == c).float().mean()) for c in range(K)] == pytest.approx([0.1, 0.3, 0.6], abs=0.04)
        alike[reach] = float((made[:, 1:] == made[:, :-1]).float().mean())
    assert alike[None] == pytest.approx(0.01 + 0.09 + 0.36, abs=0.02) and alike[(4.0, 4.0, 4.0)] > 0.49


def test_numbers_that_are_alike_in_neighbouring_voxels_are_gumbel_numbers():
    found = categorical.gumbel((4, 3, 40, 40, 40), (2.0, 1.0, 0.0), torch.Generator().manual_seed(0))
    assert float(found.mean()) == pytest.approx(0.5772, abs=0.03) and float(found.var()) == pytest.approx(math.pi**2 / 6, rel=0.05)
    assert float((found < 1.0).float().mean()) == pytest.approx(math.exp(-math.exp(-1.0)), abs=0.01)

    def likeness(a, b):
        return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])

    across, beside, along, classes = (
        likeness(found.narrow(d, 0, found.shape[d] - 1), found.narrow(d, 1, found.shape[d] - 1)) for d in (2, 3, 4, 1)
    )
    assert across > 0.75 and 0.6 < beside < 0.85 and abs(along) < 0.03 and abs(classes) < 0.03
    assert abs(likeness(found[:, :, :10], found[:, :, 20:30])) < 0.05
    assert torch.isfinite(found).all()


def test_the_less_is_left_to_decide_the_shorter_the_reach_and_outside_is_told_apart_from_inside():
    generator = torch.Generator().manual_seed(0)
    logits = torch.tensor([0.5, 0.25, 0.25]).log().view(1, K, 1, 1, 1).expand(1, K, 48, 48, 48)

    def edges(found):
        """How often neighbours differ: in being outside, and in what they are inside."""
        outside = (found == 0).diff(dim=2).float().mean()
        pairs = (found[:, 1:] > 0) & (found[:, :-1] > 0)
        return float(outside), float((found[:, 1:] != found[:, :-1])[pairs].float().mean())

    alike = categorical.Alike((5.0, 5.0, 5.0), (0.0, 0.0, 0.0))
    outline, inside = edges(alike.draw(logits, categorical.T, generator))
    assert outline < 0.15 and inside == pytest.approx(0.5, abs=0.02)
    assert edges(alike.draw(logits, categorical.T // 10, generator))[0] > 0.3
    found = torch.cat([alike.draw(logits, categorical.T, generator) for _ in range(8)])
    assert [float((found == c).float().mean()) for c in range(K)] == pytest.approx([0.5, 0.25, 0.25], abs=0.06)


@pytest.mark.parametrize("width", [20, 21])
def test_both_sides_may_be_drawn_as_mirror_images(width):
    alike = categorical.Alike((2.0, 2.0, 2.0), (1.0, 1.0, 1.0), mirrored=True)
    logits = torch.zeros(2, K, width, 30, 30)
    found = alike.draw(logits, categorical.T, torch.Generator().manual_seed(0))
    assert found.shape == (2, width, 30, 30) and torch.equal(found, found.flip(1))
    assert [float((found == c).float().mean()) for c in range(K)] == pytest.approx([1 / 3] * 3, abs=0.1)


def test_what_is_held_is_held_at_every_time():
    held = []

    def hold(x, s):
        held.append(s)
        x = x.clone()
        x[:, 0] = 1
        return x

    def predict(x, t):
        assert (x[:, 0] == 1).all()
        return torch.zeros(1, K, 3, 3, 3)

    made = categorical.sample(predict, torch.zeros(1, 3, 3, 3, dtype=torch.long), 4, lambda *_: None, hold=hold)
    assert held == [1000, 750, 500, 250, 0] and (made[:, 0] == 1).all()


def test_the_loss_of_a_union_is_that_of_the_sum_of_its_classes():
    """By hand: p = (.5, .3, .2). The second or the third: -log .5; the third alone: -log .2; any: 0."""
    logits = torch.tensor([0.5, 0.3, 0.2]).log().view(1, 3, 1).expand(1, 3, 3)
    may = torch.tensor([[[0, 0, 1], [1, 0, 1], [1, 1, 1]]], dtype=torch.bool)
    loss = categorical.marginal_cross_entropy(logits, may)[0]
    assert loss.tolist() == pytest.approx([math.log(2), -math.log(0.2), 0.0], abs=1e-6)


def test_a_union_gives_its_classes_no_preference():
    logits = torch.zeros(1, 3, 1, requires_grad=True)
    categorical.marginal_cross_entropy(logits, torch.tensor([[[0], [1], [1]]], dtype=torch.bool)).sum().backward()
    grad = logits.grad[0, :, 0]
    assert grad[1] == grad[2] < 0 < grad[0]


def test_the_divergence_is_that_of_the_two_posteriors_and_0_for_equal_ones():
    truth, guess, noisy, s, t = np.array([0.0, 1.0, 0.0]), np.array([0.3, 0.4, 0.3]), 2, 400, 450
    a, b = brute_force(noisy, truth, s, t), brute_force(noisy, guess, s, t)
    expected = float((a * np.log(a / b)).sum())
    as_tensor = [torch.from_numpy(p).float().view(1, K, 1) for p in (truth, guess)]
    times = torch.tensor([s]), torch.tensor([t])
    found = categorical.divergence(torch.tensor([[noisy]]), *as_tensor, *times)
    assert float(found) == pytest.approx(expected, rel=1e-3)
    assert float(categorical.divergence(torch.tensor([[noisy]]), as_tensor[1], as_tensor[1], *times)) == pytest.approx(0, abs=1e-6)


def test_the_restricted_prediction_keeps_proportions_within_the_union():
    logits = torch.tensor([0.5, 0.3, 0.2]).log().view(1, 3, 1)
    found = categorical.restricted(logits, torch.tensor([[[1], [0], [1]]], dtype=torch.bool))[0, :, 0]
    assert found.tolist() == pytest.approx([5 / 7, 0, 2 / 7], abs=1e-6)


def test_a_network_that_returns_nan_is_an_error_and_a_cancel_stops():
    start = torch.zeros(1, 2, 2, 2, dtype=torch.long)
    with pytest.raises(Sketch2CTError, match="no numbers"):
        categorical.sample(lambda x, t: torch.full((1, K, 2, 2, 2), float("nan")), start, 3, lambda *_: None)
    progress = Progress()
    progress.cancel.set()
    with pytest.raises(Cancelled):
        categorical.sample(lambda x, t: torch.zeros(1, K, 2, 2, 2), start, 3, lambda n, of: progress("mask", n, of))


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_steps_that_are_none_are_refused(steps):
    with pytest.raises(ValueError, match="steps"):
        categorical.times(steps)
