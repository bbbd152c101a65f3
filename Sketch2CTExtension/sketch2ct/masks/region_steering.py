"""What a text states of volumes is held at every step of the whole-region sampling: numbers in mL, words of size, and relations of size.

The network proposes a distribution of every voxel's class. Before it is used, the logits of a class of which something is stated are
shifted by one number, so that its expected volume is what the text says. As the rest of the region grows from there, nothing has to be
corrected afterwards. What is given never changes, and what holds anyway is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .. import describe
from ..describe.region import RegionReading
from ..diffusion import categorical

MAX_SHIFT = 8.0  # nats: a volume that needs more is not forced
HALVINGS = 12  # to 0.004 nats
ROUNDS = 2  # classes that meet take voxels from one another, so they are set in turn
LARGER = 1.15  # of two volumes, so that "larger" still shows on a coarse grid; it is said of what differs by a tenth
EQUAL = 1.05
LEAST = -14.0  # logarithm: a voxel with a lower chance of a class does not count

Range = tuple[float, float]


@dataclass(frozen=True)
class Statements:
    """`volumes` class -> (least, most) mL, and `relations` (kind "larger" or "equal", class, class)."""

    volumes: dict[int, Range]
    relations: tuple[tuple[str, int, int], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.volumes or self.relations)

    @classmethod
    def of(cls, reading: RegionReading, names: Sequence[str], ranges: Mapping[str, describe.Ranges]) -> Statements:
        """What a reading says of the volumes of classes by their `names`.

        A number is held as it is; a word keeps the volume on its side of what the word stands for among the training cases.
        """
        volumes: dict[int, Range] = {}
        for name, said in reading.said.items():
            if name not in names:
                continue
            if "volume_ml" in said.values:
                volumes[names.index(name)] = (said.values["volume_ml"],) * 2
            elif "volume_ml" in said.levels and name in ranges:
                level = said.levels["volume_ml"]
                usual = ranges[name].value_at("volume_ml", level)
                volumes[names.index(name)] = (0.0, usual) if level < 50 else (usual, float("inf")) if level > 50 else (0.0, float("inf"))
        pairs = [(r.kind, r.one, r.other) for r in reading.relations if r.kind in ("larger", "equal")]
        relations = tuple((kind, names.index(a), names.index(b)) for kind, a, b in pairs if a in names and b in names)
        return cls({n: span for n, span in volumes.items() if span != (0.0, float("inf"))}, relations)

    def targets(self, now: Mapping[int, float], fixed: Mapping[int, float]) -> dict[int, float]:
        """Class -> the volume (mL) to aim at, given those that there are `now`; only classes that must change. `fixed` are given: they
        stay, and their partners follow."""
        aims = {n: min(max(volume, self.volumes[n][0]), self.volumes[n][1]) if n in self.volumes else volume for n, volume in now.items()}
        spans = {n: self.volumes.get(n, (0.0, float("inf"))) for n in now} | {n: (volume, volume) for n, volume in fixed.items()}
        aims |= fixed
        for kind, one, other in self.relations:
            if one in aims and other in aims:
                aims[one], aims[other] = _related(kind, (aims[one], aims[other]), spans[one], spans[other])
        exact = {n for n, (least, most) in self.volumes.items() if least == most}
        return {n: aim for n, aim in aims.items() if n not in fixed and (n in exact or aim != now[n])}


def _related(kind: str, volumes: tuple[float, float], of_one: Range, of_other: Range) -> tuple[float, float]:
    """Two volumes moved as little as a relation needs, in equal parts where both may move."""
    one, other = volumes
    ratio = one / max(other, 1e-9)
    low, high = (LARGER, float("inf")) if kind == "larger" else (1 / EQUAL, EQUAL)
    wanted = min(max(ratio, low), high)
    if wanted == ratio:
        return one, other
    middle = (max(one, 1e-9) * max(other, 1e-9)) ** 0.5
    one = min(max(middle * wanted**0.5, of_one[0]), of_one[1])
    other = min(max(one / wanted, of_other[0]), of_other[1])
    return min(max(other * wanted, of_one[0]), of_one[1]), other


class RegionSteering:
    """Holds statements in the logits of one sample. `given` (1, i, j, k): the class of the voxels where `told` (bool); `closed` (K,)
    classes are given as a whole."""

    def __init__(self, said: Statements, given: Tensor, told: Tensor, closed: Tensor, voxel_ml: float, temperature: float = 1.0) -> None:
        self.said, self.free, self.voxel_ml, self.temperature = said, ~told[0], voxel_ml, temperature
        named = {*said.volumes, *(n for _, one, other in said.relations for n in (one, other))}
        held = {n for n in named if bool(closed[n])}
        self.fixed = {n: float((told & (given == n)).sum()) * voxel_ml for n in held}
        self.moving = sorted(named - held)

    def settled(self, found: NDArray[np.float32]) -> NDArray[np.float32]:
        """A distribution (K, i, j, k) whose likeliest classes have the stated volumes."""
        logits = torch.from_numpy(found).clamp_min(1e-30).log()[None].to(self.free.device)
        return functional.softmax(self(logits, logits, logits, last=True), 1)[0].cpu().numpy()

    def __call__(self, logits: Tensor, x: Tensor, t: Tensor, *, last: bool) -> Tensor:
        """`logits` (1, K, i, j, k) for the noisy map x (1, i, j, k) at time t (1,), shifted. At the `last` step, which looks at neither,
        the volumes are those of the likeliest classes; before it, the expected ones."""
        logits = logits.float()
        if not self.moving:
            return logits
        own = logits if last else categorical.sharpened(logits, x, t, self.temperature)
        free = own[0][:, self.free]  # (K, V): what the sampler draws from, or takes the mode of
        total = torch.logsumexp(free, 0)
        aims = self.said.targets({n: self._volume(free, total, n, last) for n in self.moving}, self.fixed)
        moved = dict.fromkeys(aims, 0.0)
        for _ in range(ROUNDS if len(aims) > 1 else 1):
            for n, aim in aims.items():
                shift = self._of_likeliest(free, n, aim) if last else self._of_expected(free[n] - total, aim)
                total = total + torch.log1p((free[n] - total).exp() * math.expm1(shift))  # the sum of all, with that class shifted
                free[n] += shift
                moved[n] += shift
        logits = logits.clone()
        for n, shift in moved.items():
            logits[:, n] += shift * (1.0 if last else self.temperature)
        return logits

    def _volume(self, free: Tensor, total: Tensor, n: int, last: bool) -> float:
        count = (_lead(free, n) > 0).sum() if last else (free[n] - total).exp().sum()
        return float(count) * self.voxel_ml

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
