"""Sketch tokens and text tokens -> one context for cross-attention: TSFE, then CGFM, as Sketch2CT has them.

TSFE (text-guided sketch feature enhancement) is FiLM: (gamma, beta) = g(f_t), f' = gamma * f_s + beta.
CGFM (cross-granular fusion): F_local = Attn(Q = f', K = V = f_t), F_global = SelfAttn(F_local), z = Proj([F_local | F_global]).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .sketch_encoder import PlainEncoder, SketchEncoder
from .text import MAX_TOKENS

PARTS = ("capsules", "tsfe", "cgfm", "text")  # what a `Conditioner` can be built without


class TSFE(nn.Module):
    """FiLM of sketch tokens (N, K, width) by the mean text token (N, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.film = nn.Linear(width, 2 * width)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, sketch: Tensor, text: Tensor) -> Tensor:
        """Modulated sketch tokens (N, K, width); the identity before training."""
        gamma, beta = self.film(text)[:, None].chunk(2, dim=-1)
        return (1 + gamma) * sketch + beta


class CGFM(nn.Module):
    """Local (sketch asks text) and global (sketch asks itself) attention, concatenated and projected."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.local = nn.MultiheadAttention(width, heads, batch_first=True)
        self.whole = nn.MultiheadAttention(width, heads, batch_first=True)
        self.project = nn.Linear(2 * width, width)

    def forward(self, sketch: Tensor, text: Tensor, text_blank: Tensor, sketch_blank: Tensor) -> Tensor:
        """z (N, K, width); the masks (N, T) and (N, K) are True where a token is padding."""
        local, _ = self.local(sketch, text, text, key_padding_mask=text_blank, need_weights=False)
        local = local + sketch
        whole, _ = self.whole(local, local, local, key_padding_mask=sketch_blank, need_weights=False)
        return self.project(torch.cat([local, whole], dim=-1))


class Conditioner(nn.Module):
    """Drawings, text tokens, facts and structure -> context tokens (N, L, width) and one summary vector (N, width).

    Sketches come as (N, S, ...) with `drawn` (N, S) telling which are real; text as (N, T, text_width) with `spoken` (N, T);
    facts as (N, 2F): standardised values, then which are given. A missing condition is a learned "nothing said" token.

    `without` names what is left out, to measure what it gives: `capsules` (a plain convolutional encoder in their place), `tsfe`
    (sketch tokens pass as they are), `cgfm` (sketch and word tokens side by side, not fused), `text` (words and facts are withheld).
    """

    def __init__(self, width: int, text_width: int, facts: int, structures: int, tokens: int = 8, without: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.tokens = tokens
        self.sketch = PlainEncoder(width, tokens) if "capsules" in without else SketchEncoder(width, tokens)
        self.no_sketch = nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.text = None if "text" in without else nn.Sequential(nn.LayerNorm(text_width), nn.Linear(text_width, width))
        self.no_text = nn.Parameter(torch.randn(width) * 0.02)
        self.facts = None if "text" in without else nn.Sequential(nn.Linear(2 * facts, width), nn.SiLU(), nn.Linear(width, width))
        self.structure = nn.Embedding(structures + 1, width)  # 0: not said
        self.spacing = nn.Linear(3, width)
        self.tsfe = None if "tsfe" in without else TSFE(width)
        self.cgfm = None if "cgfm" in without else CGFM(width)
        self.summary = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(
        self,
        drawings: Tensor,
        poses: Tensor,
        drawn: Tensor,
        text: Tensor,
        spoken: Tensor,
        facts: Tensor,
        structure: Tensor,
        spacing: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Context (N, L, width) for cross-attention and summary (N, width); `spacing` (N, 3) is in mm."""
        n, s = drawn.shape
        sketch = self.sketch(drawings.flatten(0, 1), poses.flatten(0, 1)).unflatten(0, (n, s))  # (N, S, K, width)
        sketch = torch.cat([self.no_sketch.expand(n, 1, -1, -1), sketch], dim=1).flatten(1, 2)  # (N, (1 + S) K, width)
        none = ~drawn.any(1, keepdim=True)
        sketch_blank = ~torch.cat([none, drawn], dim=1).repeat_interleave(self.tokens, dim=1)
        words, said = self._words(text, spoken)
        mean = (words * said[..., None]).sum(1) / said.sum(1, keepdim=True)
        known = self.structure(structure) + self.spacing(torch.log(spacing / 3))
        amounts = torch.zeros_like(known) if self.facts is None else self.facts(facts)
        if self.tsfe is not None:
            sketch = self.tsfe(sketch, mean + known)
        if self.cgfm is not None:
            fused, blank = self.cgfm(sketch, words, ~said, sketch_blank), sketch_blank
        else:
            fused, blank = _side_by_side(sketch, words, ~said, sketch_blank)
        keep = (~blank)[..., None].to(fused.dtype)
        pooled = (fused * keep).sum(1) / keep.sum(1)
        context = torch.cat([fused * keep, known[:, None], amounts[:, None]], dim=1)
        return context, self.summary(torch.cat([pooled + known, amounts], dim=-1))

    def _words(self, text: Tensor, spoken: Tensor) -> tuple[Tensor, Tensor]:
        """Word tokens (N, 1 + T, width), of which the first stands for "nothing said", and which count (N, 1 + T)."""
        first, always = self.no_text.expand(len(text), 1, -1), torch.ones_like(spoken[:, :1])
        if self.text is None:
            return first, always
        return torch.cat([first, self.text(text)], dim=1), torch.cat([always, spoken], dim=1)


def _side_by_side(sketch: Tensor, words: Tensor, text_blank: Tensor, sketch_blank: Tensor) -> tuple[Tensor, Tensor]:
    """Sketch and word tokens (N, K + 1 + MAX_TOKENS, width) in one row, and which are padding.

    Cross-attention sees padding as zero tokens, so there must be as many in training as in use: words are padded to the longest text.
    """
    more = max(0, 1 + MAX_TOKENS - words.shape[1])
    words = nn.functional.pad(words, (0, 0, 0, more))
    blank = torch.cat([sketch_blank, nn.functional.pad(text_blank, (0, more), value=True)], dim=1)
    return torch.cat([sketch, words.to(sketch.dtype)], dim=1), blank
