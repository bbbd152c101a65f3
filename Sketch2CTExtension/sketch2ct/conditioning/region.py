"""What a text says of a whole region, as network inputs: words, facts of every structure, relations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import describe
from ..describe import region
from ..describe.relations import KINDS
from .text import WIDTH

MAX_WORDS = 256  # tokens of a whole description


@dataclass(frozen=True)
class Said:
    """`words` (T, WIDTH); `facts` (S, 2F): standardised, then which are given; `relations` (R, 3): kind from 1, the one, the other."""

    words: NDArray[np.float32]
    facts: NDArray[np.float32]
    relations: NDArray[np.int64]


def said(text: str, words: NDArray, ranges: Mapping[str, describe.Ranges], structures: Sequence[str]) -> Said:
    """The arrays of a text, whose token features are `words`; what it says of structures that are not in `structures` is left out."""
    reading = region.read(text)
    facts = np.zeros((len(structures), 2 * len(describe.FACTS)), np.float32)
    for n, name in enumerate(structures):
        if name in reading.said and name in ranges:
            facts[n] = np.concatenate(reading.said[name].vector(ranges[name]))
    known = [r for r in reading.relations if r.one in structures and r.other in structures]
    rows = [(1 + KINDS.index(r.kind), structures.index(r.one), structures.index(r.other)) for r in known]
    return Said(np.asarray(words, np.float32)[:MAX_WORDS], facts, np.array(rows, np.int64).reshape(-1, 3))


def encoded(text: str, encode: Callable[[list[str]], tuple[Tensor, Tensor]]) -> NDArray[np.float32]:
    """Token features (T, WIDTH) of a text, each of its pieces encoded alone, as in training."""
    parts = [part for part, _ in region.chunks(text)]
    if not parts:
        return np.zeros((0, WIDTH), np.float32)
    features, real = encode(parts)
    return np.concatenate([f[m].float().numpy() for f, m in zip(features, real, strict=True)])


def collate(items: Sequence[Said]) -> dict[str, Tensor]:
    """The `words`, `spoken`, `facts` and `relations` of a batch, padded to the longest."""
    most = max(1, *(len(item.words) for item in items))
    pairs = max(1, *(len(item.relations) for item in items))
    return {
        "words": torch.from_numpy(np.stack([_padded(item.words, most) for item in items])),
        "spoken": torch.tensor([[n < len(item.words) for n in range(most)] for item in items]),
        "facts": torch.from_numpy(np.stack([item.facts for item in items])),
        "relations": torch.from_numpy(np.stack([_padded(item.relations, pairs) for item in items])),
    }


def _padded(rows: NDArray, count: int) -> NDArray:
    return np.pad(rows, [(0, count - len(rows)), (0, 0)])
