"""Volumes are held at every step of the whole-region sampling: those that the text states, those of the drawn anatomy, and what drifts.

The network proposes a distribution of every voxel's class. Before it is used, the logits of a class with a volume are shifted by one
number, so that its expected volume is that. As the rest of the region grows from there, nothing has to be corrected afterwards; without it,
thin structures would lose the voxels that are more likely something else, one by one. What is given never changes. Of classes that nobody
draws, the volume that the first step expects is held: all is open then, and the expectation is that of the training cases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..diffusion import categorical

MAX_SHIFT = 8.0  # nats: a volume that needs more is not forced
HALVINGS = 12  # to 0.004 nats
ROUNDS = 2  # classes that meet take voxels from one another, so they are set in turn
LEAST = -14.0  # logarithm: a voxel with a lower chance of a class does not count


class RegionSteering:
    """Holds the `volumes` (class -> mL) in the logits of one sample. `told` (1, i, j, k) bool: voxels that are given.

    The `drifting` classes keep the volume that is expected of them at the first step.
    """

    def __init__(
        self, volumes: Mapping[int, float], told: Tensor, voxel_ml: float, temperature: float = 1.0, drifting: Sequence[int] = ()
    ) -> None:
        self.volumes, self.free, self.voxel_ml, self.temperature = dict(volumes), ~told[0], voxel_ml, temperature
        self.drifting = tuple(drifting)

    def settled(self, found: NDArray[np.float32]) -> NDArray[np.float32]:
        """A distribution (K, i, j, k) whose likeliest classes have the stated volumes."""
        logits = torch.from_numpy(found).clamp_min(1e-30).log()[None].to(self.free.device)
        return functional.softmax(self(logits, logits, logits, last=True), 1)[0].cpu().numpy()

    def __call__(self, logits: Tensor, x: Tensor, t: Tensor, *, last: bool) -> Tensor:
        """`logits` (1, K, i, j, k) for the noisy map x (1, i, j, k) at time t (1,), shifted. At the `last` step, which looks at neither,
        the volumes are those of the likeliest classes; before it, the expected ones."""
        logits = logits.float()
        if self.drifting:
            expected = functional.softmax(logits, 1)[0, :, self.free].sum(1) * self.voxel_ml
            self.volumes |= {n: float(expected[n]) for n in self.drifting}
            self.drifting = ()
        if not self.volumes:
            return logits
        own, classes = (logits if last else categorical.sharpened(logits, x, t, self.temperature))[0], list(self.volumes)
        near = self.free & (own[classes] - own.amax(0) > LEAST).any(0)
        free = own[:, near]  # (K, V): what the sampler draws from, or takes the mode of
        total = torch.logsumexp(free, 0)
        moved = dict.fromkeys(classes, 0.0)
        for _ in range(ROUNDS if len(classes) > 1 else 1):
            for n, volume in self.volumes.items():
                shift = self._of_likeliest(free, n, volume) if last else self._of_expected(free[n] - total, volume)
                total = total + torch.log1p((free[n] - total).exp() * math.expm1(shift))  # the sum of all, with that class shifted
                free[n] += shift
                moved[n] += shift
        logits = logits.clone()
        for n, shift in moved.items():
            logits[:, n] += shift * (1.0 if last else self.temperature)
        return logits

    def _of_likeliest(self, free: Tensor, n: int, aim: float) -> float:
        """The number of nats, within MAX_SHIFT, with which class n is the likeliest in `aim` mL."""
        lead = _lead(free, n)
        found = _between(lead[lead > -3 * MAX_SHIFT], round(aim / self.voxel_ml))
        return min(max(found, -MAX_SHIFT), MAX_SHIFT)

    def _of_expected(self, logs: Tensor, aim: float) -> float:
        """The number of nats, within MAX_SHIFT, with which a class of the log probabilities (V,) is expected in `aim` mL."""
        some = logs[logs > LEAST]
        odds = some - torch.log1p(-some.exp().clamp_max(1 - 1e-6))
        low, high = -MAX_SHIFT, MAX_SHIFT
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if float(torch.sigmoid(odds + middle).sum()) * self.voxel_ml < aim else (low, middle)
        return (low + high) / 2


def _lead(free: Tensor, n: int) -> Tensor:
    """How far (V,) class n is ahead of its best rival in logits (K, V)."""
    others = [k for k in range(len(free)) if k != n]
    best = free[others[0]]
    for k in others[1:]:
        best = torch.maximum(best, free[k])
    return free[n] - best


def _between(lead: Tensor, wanted: int) -> float:
    """What must be added to the leads (V,) of a class over its best rival, so that about `wanted` of them, one at least, are positive.

    Equal leads win or lose together.
    """
    if int((lead > 0).sum()) == wanted or not len(lead):
        return 0.0
    levels, counts = torch.unique(lead, return_counts=True)
    winners = counts.flip(0).cumsum(0)  # from the highest level down
    chosen = int((winners - max(wanted, 1)).abs().argmin())
    levels = levels.flip(0)
    below = levels[chosen + 1] if chosen + 1 < len(levels) else levels[chosen] - 1
    return -float((levels[chosen] + below) / 2)
