"""One random display window for an image and its reconstruction: the contrast-aware loss of GuideGen's autoencoder.

h(x) = clip((x - level) / width + 1/2, 0, 1). Averaged over the windows, |h(x) - h(y)| is the difference of x and y on a scale companded by
the distribution of the levels: where more levels lie, a HU counts more. So levels spread evenly would be no more than the plain error, and
the recipe says where they lie. The image itself stays linear and unclipped.
"""

from __future__ import annotations

import torch
from torch import Tensor

Span = tuple[float, float, float]  # lowest and highest level (HU), and how often a level is drawn from there


def random_windows(
    count: int, levels: list[Span], widths: tuple[float, float], generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Levels (count,) and widths (count,) in HU: levels even within a span, which is drawn by its share; widths even in their logarithm."""
    low, high, share = torch.tensor(levels, dtype=torch.float32).T
    picked = torch.multinomial(share, count, replacement=True, generator=generator)
    a, b = torch.rand(2, count, generator=generator)
    narrow, wide = widths
    return low[picked] + a * (high - low)[picked], narrow * (wide / narrow) ** b


def shown(hu: Tensor, level: Tensor, width: Tensor) -> Tensor:
    """HU (N, 1, i, j, k) -> 0..1 in the window (N,) of each item."""
    wide = (-1, *[1] * (hu.ndim - 1))
    return ((hu - level.view(wide)) / width.view(wide) + 0.5).clamp(0, 1)


def shared_window(hu: Tensor, made: Tensor, levels: list[Span], widths: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Both (N, 1, i, j, k) HU -> 0..1 in the same window, another for every item."""
    level, width = (x.to(hu.device) for x in random_windows(len(hu), levels, widths))
    return shown(hu, level, width), shown(made, level, width)
