"""Knowledge injection, as GuideGen has it: learnable queries ask the text, and every attention layer gets its own view of the answers."""

from __future__ import annotations

import torch
from monai.networks.blocks import CrossAttentionBlock
from torch import Tensor, nn


class KnowledgeInjection(nn.Module):
    """Token features (N, T, width) -> answers (N, queries, width): softmax attention of learnable queries, LayerNorm, dropout.

    The number of answers does not depend on that of the tokens, so that padding never reaches the UNet.
    """

    def __init__(self, width: int, queries: int, heads: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.5)
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, blank: Tensor) -> Tensor:
        """The answers; `blank` (N, T) is True where a token is padding, never in a whole row."""
        asked = self.queries.expand(len(tokens), -1, -1)
        found, _ = self.attend(asked, tokens, tokens, key_padding_mask=blank, need_weights=False)
        return self.dropout(self.norm(asked + found))


class OwnContext(nn.Module):
    """A cross-attention layer behind its own projection of the context (N, queries, width)."""

    def __init__(self, layer: CrossAttentionBlock, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))
        self.layer = layer

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """As the layer."""
        return self.layer(x, context=None if context is None else self.project(context))


def give_own_contexts(unet: nn.Module, width: int) -> None:
    """Put every cross-attention layer of a MONAI UNet behind a projection of its own: MONAI hands one context to all of them."""
    for module in list(unet.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, CrossAttentionBlock) and not isinstance(module, OwnContext):
                setattr(module, name, OwnContext(child, width))
