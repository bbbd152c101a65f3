"""Space to channels and back: (N, C, i, j, k) <-> (N, C p^3, i/p, j/p, k/p), p = 2."""

from __future__ import annotations

from torch import Tensor

PATCH = 2


def fold(x: Tensor) -> Tensor:
    """Each 2 x 2 x 2 block of voxels becomes channels; the sizes must be even."""
    n, c, i, j, k = x.shape
    p = PATCH
    x = x.reshape(n, c, i // p, p, j // p, p, k // p, p)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, c * p**3, i // p, j // p, k // p)


def unfold(x: Tensor) -> Tensor:
    """The inverse of `fold`."""
    n, c, i, j, k = x.shape
    p = PATCH
    x = x.reshape(n, c // p**3, p, p, p, i, j, k)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, c // p**3, i * p, j * p, k * p)
