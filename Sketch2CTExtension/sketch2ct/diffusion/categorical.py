"""Categorical diffusion on label maps: noise replaces a voxel's class by any class, each as likely (Hoogeboom et al., 2021; GuideGen).

With K classes and alpha-bar a(t), q(x_t | x_0) = a(t) [x_t = x_0] + (1 - a(t)) / K. For any two times s < t, with a(t|s) = a(t) / a(s) (the
product of the alphas between them),

    q(x_s | x_t, x_0) = (a(t|s) [x_s = x_t] + (1 - a(t|s)) / K) (a(s) [x_s = x_0] + (1 - a(s)) / K) / q(x_t | x_0),

so that a chain of T steps can be walked in any smaller number of them. Times are 0 (data) to T = 1000 (noise). Class maps are
(N, ...) integers, distributions (N, K, ...). No function here knows a network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import Sketch2CTError

T = 1000
OFFSET = 0.008  # s of the cosine schedule (Nichol and Dhariwal, 2021, equation 17)
EXPONENT = 1.5  # training times have a density that grows as t^1.5 (GuideGen)
BLOCKS = 3.0  # of so many in a standard deviation no edge is seen
TINY = 1e-8  # below what float32 tells from 0 beside 1 / K

OnStep = Callable[[int, int], None]
Predict = Callable[[Tensor, Tensor], Tensor]


def alpha_bar(t: Tensor) -> Tensor:
    """The share (N,) of voxels that still hold their class at times (N,): 1 at 0, 0 at T."""
    angle = (t.double() / T + OFFSET) / (1 + OFFSET) * (math.pi / 2)
    start = OFFSET / (1 + OFFSET) * (math.pi / 2)
    return (torch.cos(angle) ** 2 / math.cos(start) ** 2).clamp(0.0, 1.0).float()


def training_times(count: int, generator: torch.Generator | None = None, device: torch.device | None = None) -> Tensor:
    """Integer times (count,) in 1..T with probability proportional to t^EXPONENT: most of what a text decides is decided at high noise."""
    chance = torch.arange(1, T + 1, dtype=torch.float64) ** EXPONENT
    picked = torch.multinomial(chance.to(generator.device if generator else "cpu"), count, replacement=True, generator=generator)
    return (picked + 1).to(device)


def one_hot(x: Tensor, classes: int) -> Tensor:
    """Class map (N, ...) -> (N, classes, ...) float32."""
    return torch.zeros((len(x), classes, *x.shape[1:]), device=x.device).scatter_(1, x.long()[:, None], 1.0)


def mix(clean: Tensor, t: Tensor, classes: int, generator: torch.Generator | None = None) -> Tensor:
    """A draw of q(x_t | x_0) for a class map (N, ...) and times (N,). Random numbers are drawn on the CPU, the same for every device."""
    keep = torch.rand(clean.shape, generator=generator).to(clean.device) < _wide(alpha_bar(t), clean.ndim)
    return torch.where(keep, clean, noise(clean.shape, classes, generator).to(clean))


def noise(shape: torch.Size | tuple[int, ...], classes: int, generator: torch.Generator | None = None) -> Tensor:
    """x_T: every class as likely in every voxel, int64 on the CPU."""
    return torch.randint(classes, tuple(shape), generator=generator)


def evidence(t: Tensor, classes: int) -> Tensor:
    """log q(x_t | x_0 = x_t) - log q(x_t | x_0 = another class), (N,): what seeing a class at time t says for it, in nats; 0 at T."""
    share = alpha_bar(t.clamp_min(1))
    return torch.log1p(share * classes / (1 - share).clamp_min(TINY))


def posterior(noisy: Tensor, clean: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """p(x_s | x_t), (N, K, ...), for a class map x_t `noisy` (N, ...), a distribution `clean` (N, K, ...) of x_0, and times s < t (N,).

    It is the posterior of the module's head, marginalised over the classes of `clean`: with w = p(x_0) / q(x_t | x_0),
    p(x_s | x_t) = (a(t|s) [x_s = x_t] + (1 - a(t|s)) / K) (a(s) w(x_s) + (1 - a(s)) / K sum w).
    """
    classes, axes = clean.shape[1], clean.ndim
    at_s, at_t = (_wide(alpha_bar(time), axes) for time in (s, t))
    step = at_t / at_s.clamp_min(TINY)
    same = one_hot(noisy, classes)
    weight = clean / (at_t * same + (1 - at_t) / classes).clamp_min(TINY)
    found = (step * same + (1 - step) / classes) * (at_s * weight + (1 - at_s) / classes * weight.sum(1, keepdim=True))
    return found / found.sum(1, keepdim=True).clamp_min(TINY)


def divergence(noisy: Tensor, true: Tensor, predicted: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """KL (N, ...) in nats from the posterior that the distribution `true` of x_0 gives to that of `predicted`, both (N, K, ...)."""
    ours, theirs = (posterior(noisy, clean, s, t).clamp_min(TINY) for clean in (true, predicted))
    return (ours * (ours.log() - theirs.log())).sum(1)


def marginal_cross_entropy(logits: Tensor, may: Tensor) -> Tensor:
    """-log p(union), (N, ...): the union is of the classes that a voxel may be, `may` (N, K, ...) bool; 0 where it may be any.

    Where one class alone is allowed it is the cross-entropy. Of several the network is told nothing but that it is one of them.
    """
    return torch.logsumexp(logits, 1) - torch.logsumexp(logits.masked_fill(~may, float("-inf")), 1)


def restricted(logits: Tensor, may: Tensor) -> Tensor:
    """The predicted distribution (N, K, ...) given that the class is one of those that `may` (bool) allows; carries no gradient."""
    return functional.softmax(logits.detach().masked_fill(~may, float("-inf")), 1)


def times(steps: int) -> list[int]:
    """T, ..., 0: `steps` equal strides. Raises ValueError for steps that are not 1..T."""
    if not 1 <= steps <= T:
        raise ValueError(f"steps must lie in 1..{T}, not {steps}")
    return [round(T * (steps - n) / steps) for n in range(steps + 1)]


def draw(distribution: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One class (N, ...) int64 a voxel of a distribution (N, K, ...), by one uniform number from the CPU each."""
    shape = (len(distribution), *distribution.shape[2:])
    ladder = distribution.cumsum(1)
    level = torch.rand(shape, generator=generator).to(distribution.device)[:, None] * ladder[:, -1:]
    return (ladder[:, :-1] <= level).sum(1)


@dataclass(frozen=True)
class Alike:
    """How far voxels are drawn alike: standard deviations of a Gaussian along each axis, in voxels, while all is open, at T; at t the
    t / T-th part of them.

    `outline` is for whether a voxel is of class 0 (outside), `inside` for which of the others it is: what is one body as a whole is not all
    bone. With `mirrored` both halves of the first axis are drawn as mirror images.
    """

    outline: Sequence[float]
    inside: Sequence[float]
    mirrored: bool = False

    def draw(self, logits: Tensor, t: float, generator: torch.Generator | None = None) -> Tensor:
        """A class map (N, i, j, k) of logits (N, K, i, j, k) at a time; each voxel has the law that its logits give."""
        log = functional.log_softmax(logits.float(), 1)
        space = log.shape[2:]
        first = self._gumbel((len(log), 2, *space), self.outline, t, generator).to(log)
        then = self._gumbel((len(log), log.shape[1] - 1, *space), self.inside, t, generator).to(log)
        outside = log[:, 0] + first[:, 0] > torch.logsumexp(log[:, 1:], 1) + first[:, 1]
        return torch.where(outside, 0, 1 + (log[:, 1:] + then).argmax(1))

    def _gumbel(self, shape: tuple[int, ...], reach: Sequence[float], t: float, generator: torch.Generator | None) -> Tensor:
        reach = [sd * t / T for sd in reach]
        if not self.mirrored:
            return gumbel(shape, reach, generator)
        half = gumbel((*shape[:2], -(-shape[2] // 2), *shape[3:]), reach, generator)
        return torch.cat([half.flip(2).narrow(2, 0, shape[2] // 2), half], 2)


def gumbel(shape: Sequence[int], reach: Sequence[float], generator: torch.Generator | None = None) -> Tensor:
    """Standard Gumbel numbers (N, K, ...) on the CPU, alike in neighbouring voxels: a Gaussian copula, of white noise under a Gaussian of
    the standard deviation `reach` (voxels) along each axis.

    The noise is periodic, so that every voxel has the same law, and drawn on blocks of a third of the reach, which lie anywhere.
    """
    blocks = [max(1, int(sd / BLOCKS)) for sd in reach]
    first = [int(torch.randint(block, (1,), generator=generator)) for block in blocks]
    counts = [-(-(n + a) // block) for n, a, block in zip(shape[2:], first, blocks, strict=True)]
    normal = torch.randn((*shape[:2], *counts), generator=generator)
    for axis, (sd, block) in enumerate(zip(reach, blocks, strict=True), start=2):
        normal = _smooth(normal, axis, sd / block)
    # under autocast the convolution gives bfloat16, of which there is no logarithm of the normal distribution
    found = -torch.log(-torch.special.log_ndtr(normal.float()).clamp_max(-TINY))
    for axis, (n, a, block) in enumerate(zip(shape[2:], first, blocks, strict=True), start=2):
        found = found.repeat_interleave(block, axis).narrow(axis, a, n)
    return found


def _smooth(normal: Tensor, axis: int, sd: float) -> Tensor:
    """White noise under a periodic Gaussian along an axis, of the same variance; as it is for a standard deviation of 0."""
    if sd <= 0:
        return normal
    radius = min(math.ceil(3 * sd), (normal.shape[axis] - 1) // 2)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sd) ** 2)
    rows = normal.movedim(axis, -1)
    wide = functional.pad(rows.flatten(0, -2)[:, None], (radius, radius), mode="circular")
    return functional.conv1d(wide, (kernel / kernel.norm())[None, None]).view(rows.shape).movedim(-1, axis)


def sharpened(logits: Tensor, noisy: Tensor, t: Tensor, temperature: float) -> Tensor:
    """Logits whose knowledge is taken to the power of 1 / `temperature`, and the evidence of the noisy class as it is.

    Were that sharpened too, each voxel would believe its own noise: voxels of the law (.1, .3, .6) came out as (.1, .3, .6) at 0.3.
    """
    if temperature == 1.0:
        return logits
    own = _wide(evidence(t, logits.shape[1]), logits.ndim) * one_hot(noisy, logits.shape[1])
    return (logits - own) / temperature + own


@torch.inference_mode()
def sample(
    predict: Predict,
    start: Tensor,
    steps: int,
    on_step: OnStep,
    generator: torch.Generator | None = None,
    *,
    temperature: float = 1.0,
    alike: Alike | None = None,
    hold: Callable[[Tensor, int], Tensor] | None = None,
) -> Tensor:
    """Noise (N, ...) -> class map (N, ...), in `steps` of any number.

    `predict(x_t, t)` with `t` (N,) in 1..T returns logits (N, K, ...) of x_0; below 1, `temperature` sharpens them (see `sharpened`). With
    `alike` a step draws x_0 first, alike in neighbouring voxels, then x_s given it: each voxel has the same law as without, but what a few
    steps leave undecided is decided in pieces, large ones first, not in crumbs that the next step takes for noise. The last step takes the
    mode. `hold(x_s, s)` puts in what is known at time s. `on_step(done, steps)` may raise to stop. Raises Sketch2CTError for NaN.
    """
    x = start if hold is None else hold(start, T)
    for n, (now, then) in enumerate(pairwise(times(steps))):
        on_step(n, steps)
        logits = predict(x, torch.full((len(x),), now, device=x.device))
        if torch.isnan(logits).any():
            raise Sketch2CTError("The network returned values that are no numbers.", "The bundle is not usable; install it again.")
        if then == 0:
            x = logits.argmax(1)
        else:
            s, t = (torch.full((len(x),), time, device=x.device) for time in (then, now))
            own = sharpened(logits, x, t, temperature)
            clean = functional.softmax(own, 1) if alike is None else one_hot(alike.draw(own, now, generator), own.shape[1])
            x = draw(posterior(x, clean, s, t), generator)
        x = x if hold is None else hold(x, then)
    on_step(steps, steps)
    return x


def _wide(values: Tensor, axes: int) -> Tensor:
    """One number a sample, to be multiplied with a tensor of so many axes."""
    return values.view(-1, *[1] * (axes - 1))
