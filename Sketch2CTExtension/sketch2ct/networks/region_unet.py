"""The whole-region model: noisy class map + what is given -> class logits of every voxel of the frame."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from ..diffusion import categorical
from .injection import KnowledgeInjection, give_own_contexts
from .patches import PATCH, fold, unfold
from .size import Size

NOT_GIVEN = 255
CLOSED = -1e4  # the logit of a class that a voxel cannot have; finite, so that its gradient is no NaN
BROADCAST = 8  # channels that carry the summary of what is said to every patch
KINDS = 8  # of relations, 0 for none
GROUPS = 4  # of the norms on cells, whose few channels begin small


@dataclass(frozen=True)
class RegionNetworkSize(Size):
    """Architecture of `RegionNetwork`, as a bundle's metadata holds it.

    `codes` are the channels of what a 2 x 2 x 2 cell holds, `features` those that the UNet hands down to a cell, `detail` the width of the
    layers on cells; `first` is the number of the first structure among the `classes`.
    """

    classes: int
    first: int
    channels: tuple[int, ...]
    attention: tuple[bool, ...]
    blocks: int
    head: int
    width: int
    queries: int
    codes: int
    features: int
    detail: int
    text_width: int
    facts: int

    @property
    def multiple(self) -> int:
        """What the sizes of a class map must be multiples of."""
        return PATCH * PATCH * 2 ** (len(self.channels) - 1)


@dataclass
class RegionCondition:
    """What is given of N regions. Nothing said is zeros with the flags off."""

    given: Tensor  # (N, i, j, k) class numbers, NOT_GIVEN elsewhere
    closed: Tensor  # (N, K) bool: given classes, which are nowhere else
    prior: Tensor  # (N or 1, K, i, j, k) logarithm of the spatial prior
    words: Tensor  # (N, T, text_width)
    spoken: Tensor  # (N, T) bool
    facts: Tensor  # (N, S, 2F): of every structure standardised values, then which are given
    relations: Tensor  # (N, R, 3) int: kind (0 for padding), number of the one structure and of the other

    def to(self, device: torch.device) -> RegionCondition:
        """A copy on a device."""
        return RegionCondition(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


class RegionNetwork(nn.Module):
    """MONAI's diffusion UNet on 4 x 4 x 4 patches of the frame, then a few convolutions on 2 x 2 x 2 cells that see the noisy map.

    The logits are a sum: the logarithm of the spatial prior, what the noisy class alone says for itself (its log likelihood ratio, times
    1 + a learned function of the time that starts at 0), what the 26 voxels around it say for their own classes (votes that start at 0;
    the few channels of a cell cannot carry eight noisy voxels), and what the network makes of everything else (0 at the start). So the
    untrained network is Bayes' rule for voxels that know nothing of each other, and training teaches what they know.

    Each cross-attention layer has its own projection of the text's answers (see `injection`). Voxels of a given structure have no other
    class, and a given class has no other voxels.
    """

    def __init__(self, size: RegionNetworkSize) -> None:
        super().__init__()
        self.size = size
        k, cell = size.classes, PATCH**3
        structures = k - size.first
        self.encode_seen = nn.Conv3d(k, size.codes, PATCH, stride=PATCH)
        self.encode_prior = nn.Conv3d(k, size.codes, PATCH, stride=PATCH, bias=False)
        self.encode_given = nn.Conv3d(k + 1, size.codes, PATCH, stride=PATCH, bias=False)
        self.text = nn.Sequential(nn.LayerNorm(size.text_width), nn.Linear(size.text_width, size.width))
        self.silence = nn.Parameter(torch.randn(1, 1, size.width) * 0.02)
        self.facts = nn.Sequential(nn.Linear(2 * size.facts, size.width), nn.SiLU(), nn.Linear(size.width, size.width))
        self.structure = nn.Parameter(torch.randn(structures, size.width) * 0.3)
        self.relation = nn.Embedding(KINDS, size.width, padding_idx=0)
        self.pair = nn.Linear(2 * size.width, size.width)
        self.inject = KnowledgeInjection(size.width, size.queries)
        self.broadcast = nn.Linear(size.width, BROADCAST)
        self.unet = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=cell * size.codes + BROADCAST,
            out_channels=cell * size.features,
            channels=size.channels,
            attention_levels=size.attention,
            num_res_blocks=size.blocks,
            num_head_channels=size.head,
            norm_num_groups=16,
            with_conditioning=True,
            cross_attention_dim=size.width,
            use_flash_attention=True,
        )
        give_own_contexts(self.unet, size.width)
        self.refine = nn.Sequential(
            nn.Conv3d(size.features + size.codes, size.detail, 3, padding=1),
            nn.GroupNorm(GROUPS, size.detail),
            nn.SiLU(),
            nn.Conv3d(size.detail, size.detail, 3, padding=1),
            nn.GroupNorm(GROUPS, size.detail),
            nn.SiLU(),
        )
        self.logits = nn.Conv3d(size.detail, cell * k, 1)
        self.trust = nn.Sequential(nn.Linear(2, 16), nn.SiLU(), nn.Linear(16, 1))
        # 25 steps on one region at t = 300 took the loss from .194 to .061 with the votes, to .174 without
        self.vote = nn.Conv3d(k, k, 3, padding=1, groups=k, bias=False)
        for last in (self.logits, self.trust[-1], self.vote):
            for weight in last.parameters():
                nn.init.zeros_(weight)
        with torch.no_grad():  # logarithms are ten times as large as the ones and zeros beside them
            self.encode_prior.weight.mul_(0.1)

    def forward(self, noisy: Tensor, time: Tensor, condition: RegionCondition) -> Tensor:
        """Logits (N, K, i, j, k) of the classes from a noisy class map (N, i, j, k) at times (N,) in 1..1000."""
        c, k = condition, self.size.classes
        seen = categorical.one_hot(noisy, k)
        context = self.answers(c)
        cells = self.cells(seen, c)  # (N, codes, i/2, j/2, k/2)
        patches = fold(cells)
        said = self.broadcast(context.mean(1))[..., None, None, None].expand(-1, -1, *patches.shape[2:])
        features = self.unet(torch.cat([patches, said.to(patches.dtype)], dim=1), timesteps=time, context=context)
        made = self.logits(self.refine(torch.cat([unfold(features), cells], dim=1)))
        now = categorical.evidence(time, k)
        trust = now * (1 + self.trust(torch.stack([time / categorical.T, now / 10], dim=1))[:, 0].float())
        alone, around = (x.view(-1, 1, 1, 1, 1) for x in (trust, now))
        return held(unfold(made).float() + c.prior + alone * seen + around * self.vote(seen).float(), c.given, c.closed)

    def cells(self, seen: Tensor, c: RegionCondition) -> Tensor:
        """What the 2 x 2 x 2 cells hold (N, codes, i/2, j/2, k/2): the noisy map as `seen` (N, K, i, j, k), the prior, what is given.

        Each has its own layer: the prior is the same for a whole batch, and often nothing is given.
        """
        found = self.encode_seen(seen) + self.encode_prior(c.prior)
        told = c.given != NOT_GIVEN
        if bool(told.any()):
            given = categorical.one_hot(torch.where(told, c.given, self.size.classes), self.size.classes + 1)
            given[:, -1] = told  # the last channel tells that something is given
            found = found + self.encode_given(given * told[:, None])
        return nn.functional.silu(found)

    def answers(self, c: RegionCondition) -> Tensor:
        """What is said, as the queries see it (N, queries, width): words, facts of structures and relations are tokens alike."""
        n, known = len(c.facts), c.facts[..., self.size.facts :].any(-1)
        words = self.text(c.words)
        facts = self.facts(c.facts) + self.structure
        one, other = (self.structure[c.relations[..., place]] for place in (1, 2))
        relations = self.relation(c.relations[..., 0]) + self.pair(torch.cat([one, other], dim=-1))
        parts = [self.silence.expand(n, -1, -1), words, facts, relations]
        always = torch.ones(n, 1, dtype=torch.bool, device=known.device)
        real = torch.cat([always, c.spoken, known, c.relations[..., 0] > 0], dim=1)
        return self.inject(torch.cat([part.to(words.dtype) for part in parts], dim=1), ~real)


def held(logits: Tensor, given: Tensor, closed: Tensor) -> Tensor:
    """Logits (N, K, i, j, k) with the given voxels certain and the given classes nowhere else."""
    told = given != NOT_GIVEN
    if not bool(told.any() | closed.any()):
        return logits
    certain = categorical.one_hot(torch.where(told, given, 0), logits.shape[1]).bool()
    shut = torch.where(told[:, None], ~certain, closed[..., None, None, None])
    return logits.masked_fill(shut, CLOSED)
