"""A drawing -> K sketch tokens. Capsule attention: strokes count and blank paper does not.

Convolutions without bias keep blank paper exactly zero; primary capsules are squashed to a length in 0..1 (Sabour et al., 2017);
K output capsules gather them by attention routing, where the logarithm of a capsule's length enters the attention, so that a
zero capsule gets no vote (after the attention capsules of STPD, Wu et al., ICCV 2023).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .strokes import DRAWING_SIZE, POSE_SIZE


def squash(x: Tensor) -> Tensor:
    """Scale vectors (..., D) to length |x|^2 / (1 + |x|^2), direction kept."""
    square = (x * x).sum(-1, keepdim=True)
    return x * torch.sqrt(square + 1e-9) / (1 + square)


class SketchEncoder(nn.Module):
    """Drawings (B, 2, P, P) and poses (B, POSE_SIZE) -> tokens (B, K, width)."""

    def __init__(self, width: int, tokens: int, capsule: int = 16, kinds: int = 4, rounds: int = 2) -> None:
        super().__init__()
        self.capsule, self.kinds, self.rounds = capsule, kinds, rounds
        self.backbone = nn.Sequential(
            nn.Conv2d(2, 24, 5, stride=2, padding=2, bias=False),
            nn.SiLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1, bias=False),
            nn.SiLU(),
            nn.Conv2d(48, capsule * kinds, 3, padding=1, bias=False),
        )
        cells = (DRAWING_SIZE // 4) ** 2
        self.vote = nn.Linear(capsule, width, bias=False)
        self.place = nn.Parameter(torch.randn(cells * kinds, width) * 0.02)
        self.query = nn.Parameter(torch.randn(tokens, width) * 0.5)
        self.norm = nn.LayerNorm(width)
        self.pose = nn.Sequential(nn.Linear(POSE_SIZE, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, drawings: Tensor, poses: Tensor) -> Tensor:
        """Sketch tokens (B, K, width)."""
        maps = self.backbone(drawings)  # (B, kinds * capsule, p, p)
        b = maps.shape[0]
        capsules = maps.reshape(b, self.kinds, self.capsule, -1).permute(0, 3, 1, 2).reshape(b, -1, self.capsule)
        capsules = squash(capsules)  # (B, cells * kinds, capsule)
        length = capsules.norm(dim=-1)  # (B, cells * kinds)
        votes = self.vote(capsules) + self.place * length[..., None]  # (B, cells * kinds, width)
        query = self.query.expand(b, -1, -1)
        gathered = torch.zeros_like(query)
        for _ in range(self.rounds):
            agreement = query @ votes.transpose(1, 2) * votes.shape[-1] ** -0.5 + torch.log(length + 1e-6)[:, None]
            gathered = agreement.softmax(-1) @ votes  # (B, K, width)
            query = self.query + gathered
        return self.norm(gathered) + self.pose(poses)[:, None]


class PlainEncoder(nn.Module):
    """The same without capsules, to measure what they give: plain convolutions, then the mean of K fields of the paper.

    The layers before and after are those of `SketchEncoder`, under the same names; a further convolution stands for the routing, so
    that there are about as many parameters (width 96, 8 tokens: 94 040, and 90 672 with capsules).
    """

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.rows = max(n for n in range(1, int(tokens**0.5) + 1) if tokens % n == 0)
        self.columns = tokens // self.rows
        self.backbone = nn.Sequential(
            nn.Conv2d(2, 24, 5, stride=2, padding=2),
            nn.SiLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(48, 64, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(64, 64, 3, padding=1),
        )
        self.mix = nn.Linear(64, width)
        self.field = nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.norm = nn.LayerNorm(width)
        self.pose = nn.Sequential(nn.Linear(POSE_SIZE, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, drawings: Tensor, poses: Tensor) -> Tensor:
        """Sketch tokens (B, K, width)."""
        maps = nn.functional.adaptive_avg_pool2d(self.backbone(drawings), (self.rows, self.columns))  # (B, 64, rows, columns)
        tokens = self.mix(maps.flatten(2).transpose(1, 2)) + self.field  # (B, K, width)
        return self.norm(tokens) + self.pose(poses)[:, None]
