"""Is a generated CT a copy of a training scan? Its nearest one in image space, beside that of the real scan of the same case.

Scans lie on the bundle's frame, placed by their structures, in blocks of 2 x 2 x 2 voxels. The distance is 1 - normalised correlation
of HU, clipped to soft tissue and cancellous bone, over the blocks that both scans stored and that at least one body covers; the
nearest by it are compared once more while one of the two is moved by up to a block along each axis. A case is never its own neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..modality import CT
from . import metrics
from .paired import Placed, ratio

BLOCK = 2
CLIP_HU = (-200.0, 400.0)
REFINED = 5  # nearest scans that are moved about
FEWEST = 500  # shared blocks
COPY = 0.5  # of the smallest distance between a real case and its nearest training scan


@dataclass
class Signature:
    """A scan in blocks, flat: `hu` float32 (N,), `known` and `body` bool (N,); `shape` (a, b, c)."""

    case: str
    hu: NDArray[np.float32]
    known: NDArray[np.bool_]
    body: NDArray[np.bool_]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, placed: Placed) -> Signature:
        """The means of the blocks; one is known when all of it is, and body when half of it is."""
        low, high = CLIP_HU if placed.ct.modality is CT else placed.ct.modality.soft
        hu = _blocks(np.clip(placed.ct.array, low, high))
        known, body = _blocks(placed.known) >= 1, _blocks(placed.body) >= 0.5
        return cls(placed.case, hu.ravel(), known.ravel(), body.ravel(), hu.shape)

    def moved(self, shift: tuple[int, ...]) -> Signature:
        """Moved by whole blocks; what comes in from outside was not stored."""
        target = tuple(slice(max(0, s), n + min(0, s)) for s, n in zip(shift, self.shape, strict=True))
        source = tuple(slice(max(0, -s), n + min(0, -s)) for s, n in zip(shift, self.shape, strict=True))

        def placed(array: NDArray) -> NDArray:
            result = np.zeros(self.shape, array.dtype)
            result[target] = array.reshape(self.shape)[source]
            return result.ravel()

        return Signature(self.case, placed(self.hu), placed(self.known), placed(self.body), self.shape)


def _blocks(array: NDArray) -> NDArray[np.float32]:
    a, b, c = (n // BLOCK for n in array.shape)
    cut = array[: a * BLOCK, : b * BLOCK, : c * BLOCK].astype(np.float32)
    return cut.reshape(a, BLOCK, b, BLOCK, c, BLOCK).mean(axis=(1, 3, 5))


def distance(a: Signature, b: Signature) -> float:
    """1 - normalised correlation, 0..2; NaN when too little is shared."""
    both = a.known & b.known & (a.body | b.body)
    if both.sum() < FEWEST:
        return float("nan")
    x, y = a.hu[both], b.hu[both]
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return 1 - float(x @ y) / norm if norm else float("nan")


def nearest(one: Signature, training: list[Signature]) -> dict[str, Any]:
    """The nearest of the training scans: `case`, `distance`, and the `median` distance to all of them, before any was moved."""
    others = [other for other in training if other.case != one.case]
    found = np.array([distance(one, other) for other in others])
    order = [n for n in np.argsort(found) if np.isfinite(found[n])]
    if not order:
        return {"case": None, "distance": float("nan"), "median": float("nan")}
    best, case = float(found[order[0]]), others[order[0]].case
    shifts = [shift for shift in product((-1, 0, 1), repeat=3) if any(shift)]
    moved = [one.moved(shift) for shift in shifts]
    for n in order[:REFINED]:
        for other in moved:
            value = distance(other, others[n])
            if value < best:
                best, case = value, others[n].case
    return {"case": case, "distance": best, "median": float(np.median(found[order]))}


def summarise(pairs: list[tuple[dict[str, Any], dict[str, Any]]], cases: list[str], seed: int) -> dict[str, Any]:
    """Over (generated, real) of each patient: the distances, their `ratio` (1: as far from the training scans as unseen patients are),
    `contrast` (nearest over median distance: small when one scan stands out) and `copies`.

    A smooth CT resembles everybody a little more, which lowers `ratio` without any copying; then `contrast` stays. A copy is a
    generated CT nearer to a training scan than COPY times the smallest distance of any real case.
    """
    if not pairs:
        return {}
    made, real = (np.array([side["distance"] for side in part], dtype=np.float64) for part in zip(*pairs, strict=True))
    spans = [np.array([side["median"] for side in part], dtype=np.float64) for part in zip(*pairs, strict=True)]
    limit = COPY * float(np.nanmin(real)) if np.isfinite(real).any() else float("nan")
    copies = [{"case": c, "training": p[0]["case"], "distance": p[0]["distance"]} for c, p in zip(cases, pairs, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        contrasts = [made / spans[0], real / spans[1]]
    return {
        "generated": metrics.summary(made, seed),
        "real": metrics.summary(real, seed),
        "ratio": ratio(made, real, seed),
        "contrast": {name: metrics.summary(x, seed) for name, x in zip(("generated", "real"), contrasts, strict=True)},
        "copy_limit": round(limit, 4) if np.isfinite(limit) else None,
        "copies": [entry for entry in copies if entry["distance"] < limit],
    }
