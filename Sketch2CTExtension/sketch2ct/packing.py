"""Weights as a bundle stores them: large ones as int8 with one fp16 scale for each output, the rest as fp16.

Eight bits for each output (symmetric, largest weight at 127) leave an error of at most 0.4 % of an output's largest weight; networks
compute in float32 as before.
"""

from __future__ import annotations

import torch
from torch import Tensor

SCALE = ".scale"  # behind the name of a tensor in int8
FROM = 4096  # numbers; smaller tensors are not worth it
LEVELS = 127


def packed(tensors: dict[str, Tensor], *, small: bool) -> dict[str, Tensor]:
    """Tensors to be stored; with `small` the large floating ones of two axes and more in int8. Raises ValueError for what is no number."""
    found: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if not value.is_floating_point():
            found[key] = value.contiguous()
            continue
        if not torch.isfinite(value).all():
            raise ValueError(f"{key} holds values that are no numbers")
        if small and value.ndim > 1 and value.numel() >= FROM:
            scale = (value.float().abs().amax(dim=tuple(range(1, value.ndim))) / LEVELS).clamp_min(1e-7).half()
            levels = (value.float() / _wide(scale.float(), value.ndim)).round().clamp(-LEVELS, LEVELS)
            found |= {key: levels.to(torch.int8).contiguous(), key + SCALE: scale}
        else:
            found[key] = value.half().contiguous()
    return found


def unpacked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `packed`, floating ones as float32."""
    found: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if key.endswith(SCALE) and tensors.get(key.removesuffix(SCALE), value).dtype == torch.int8:
            continue
        scale = tensors.get(key + SCALE)
        if value.dtype == torch.int8 and scale is not None:
            found[key] = value.float() * _wide(scale.float(), value.ndim)
        else:
            found[key] = value.float() if value.is_floating_point() else value
    return found


def _wide(scale: Tensor, axes: int) -> Tensor:
    """One number for each output, to be multiplied with a tensor of so many axes."""
    return scale.view(-1, *[1] * (axes - 1))
