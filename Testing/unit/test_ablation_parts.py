"""The mask network without some of its parts: each switch takes away what it says and nothing else; without any, nothing changes."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
import torch

from sketch2ct import bundle, describe
from sketch2ct.conditioning.strokes import CHANNELS, DRAWING_SIZE, POSE_SIZE
from sketch2ct.conditioning.text import MAX_TOKENS
from sketch2ct.networks.mask_unet import EXPECTED, PARTS, ConditionBatch, MaskNetwork, MaskNetworkSize
from sketch2ct.networks.size import Size
from sketch2ct.training.ablation import start

SMALL = MaskNetworkSize((16, 16), (False, True), 1, 8, 32, 24, len(describe.FACTS), 3)
BOX = (16, 16, 16)


def network(*without: str) -> MaskNetwork:
    net = start(replace(SMALL, without=without), seed=0)
    generator = torch.Generator().manual_seed(1)
    for parameter in net.parameters():  # some layers start at zero by design: a trained network has them open
        if parameter.ndim > 1 and not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.05, generator=generator)
    return net.eval()


def conditions(size: MaskNetworkSize = SMALL, box: tuple[int, int, int] = BOX) -> ConditionBatch:
    """Two boxes, with one and two sketches of two, and with four and seven words of seven."""
    g = torch.Generator().manual_seed(2)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g)

    drawn = torch.tensor([[True, False], [True, True]])
    spoken = torch.arange(7)[None] < torch.tensor([[4], [7]])
    return ConditionBatch(
        strokes=draw(2, CHANNELS, *box).clamp(-1, 1),
        expected=draw(2, EXPECTED, *box).clamp(-1, 1),
        drawings=draw(2, 2, 2, DRAWING_SIZE, DRAWING_SIZE),
        poses=draw(2, 2, POSE_SIZE),
        drawn=drawn,
        text=draw(2, 7, size.text_width),
        spoken=spoken,
        facts=draw(2, 2 * size.facts),
        structure=torch.tensor([1, 3]),
        spacing=torch.tensor([[3.0, 3.0, 3.0], [3.75, 3.75, 3.25]]),
    )


@torch.no_grad()
def made(net: MaskNetwork, condition: ConditionBatch, box: tuple[int, int, int] = BOX) -> torch.Tensor:
    noise = torch.randn((2, 1, *box), generator=torch.Generator().manual_seed(3))
    return net(noise, torch.tensor([500.0, 1000.0]), condition)


CHANGES = {
    "strokes": lambda c: {"strokes": -c.strokes},
    "expected": lambda c: {"expected": -c.expected},
    "drawings": lambda c: {"drawings": c.drawings.flip(-1)},
    "poses": lambda c: {"poses": -c.poses},
    "drawn": lambda c: {"drawn": ~c.drawn},
    "text": lambda c: {"text": c.text.flip(0)},
    "spoken": lambda c: {"spoken": ~c.spoken},
    "facts": lambda c: {"facts": -c.facts},
    "structure": lambda c: {"structure": c.structure.flip(0)},
    "spacing": lambda c: {"spacing": c.spacing.flip(0)},
}
DEAF = {"capsules": set(), "tsfe": set(), "cgfm": set(), "text": {"text", "spoken", "facts"}, "strokes": {"strokes"}}


@pytest.mark.parametrize("part", [None, *PARTS])
def test_a_switch_makes_the_network_deaf_to_what_it_withholds_and_to_nothing_else(part):
    net = network(*([part] if part else []))
    usual = made(net, conditions())
    assert set(CHANGES) == {f.name for f in fields(ConditionBatch)}
    deaf = {name for name, change in CHANGES.items() if torch.equal(made(net, replace(conditions(), **change(conditions()))), usual)}
    assert deaf == (DEAF[part] if part else set())


def test_each_switch_takes_away_its_own_parameters_and_adds_none_but_an_encoder():
    full = set(network().state_dict())
    capsules = {f"condition.sketch.{name}" for name in ("place", "query", "vote.weight")}
    left = {part: set(network(part).state_dict()) for part in PARTS}
    lost = {part: full - names for part, names in left.items()}
    assert lost["capsules"] == capsules
    assert lost["strokes"] == set()
    assert lost["tsfe"] == {"condition.tsfe.film.weight", "condition.tsfe.film.bias"}
    assert lost["cgfm"] == {name for name in full if name.startswith("condition.cgfm.")}
    assert lost["text"] == {name for name in full if name.startswith(("condition.text.", "condition.facts."))}
    added = {part: names - full for part, names in left.items()}
    assert all(name.startswith("condition.sketch.") for name in added.pop("capsules"))
    assert not any(added.values())


def test_the_plain_encoder_has_about_as_many_parameters_as_the_capsules():
    size = replace(SMALL, width=96)
    counts = [sum(p.numel() for p in MaskNetwork(s).condition.sketch.parameters()) for s in (size, replace(size, without=("capsules",)))]
    assert counts == [90_672, 94_040]


@pytest.mark.parametrize("part", PARTS)
def test_every_variant_begins_with_the_full_models_weights_where_both_have_them(part):
    full, own = start(SMALL, 5).state_dict(), start(replace(SMALL, without=(part,)), 5).state_dict()
    torch.manual_seed(5)
    assert all(torch.equal(value, full[name]) for name, value in MaskNetwork(SMALL).state_dict().items())
    shared = set(full) & set(own)
    assert len(shared) > 0.8 * len(full)
    assert all(torch.equal(own[name], full[name]) for name in shared)
    assert all(torch.equal(value, own[name]) for name, value in start(replace(SMALL, without=(part,)), 5).state_dict().items())


def test_words_that_are_padding_change_nothing_without_fusion():
    net, condition = network("cgfm"), conditions()
    longer = replace(
        condition,
        text=torch.cat([condition.text, torch.randn(2, 5, SMALL.text_width)], dim=1),
        spoken=torch.nn.functional.pad(condition.spoken, (0, 5)),
    )
    assert torch.allclose(made(net, condition), made(net, longer), atol=1e-5)
    most = replace(condition, text=torch.randn(2, MAX_TOKENS, SMALL.text_width), spoken=torch.ones(2, MAX_TOKENS, dtype=torch.bool))
    assert torch.isfinite(made(net, most)).all()


def plain_condition(c: torch.nn.Module, batch: ConditionBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """The condition as the published order has it, written out without any switch."""
    n, s = batch.drawn.shape
    sketch = c.sketch(batch.drawings.flatten(0, 1), batch.poses.flatten(0, 1)).unflatten(0, (n, s))
    sketch = torch.cat([c.no_sketch.expand(n, 1, -1, -1), sketch], dim=1).flatten(1, 2)
    blank = ~torch.cat([~batch.drawn.any(1, keepdim=True), batch.drawn], dim=1).repeat_interleave(c.tokens, dim=1)
    words = torch.cat([c.no_text.expand(n, 1, -1), c.text(batch.text)], dim=1)
    said = torch.cat([torch.ones_like(batch.spoken[:, :1]), batch.spoken], dim=1)
    mean = (words * said[..., None]).sum(1) / said.sum(1, keepdim=True)
    known = c.structure(batch.structure) + c.spacing(torch.log(batch.spacing / 3))
    amounts = c.facts(batch.facts)
    fused = c.cgfm(c.tsfe(sketch, mean + known), words, ~said, blank)
    keep = (~blank)[..., None].to(fused.dtype)
    pooled = (fused * keep).sum(1) / keep.sum(1)
    context = torch.cat([fused * keep, known[:, None], amounts[:, None]], dim=1)
    return context, c.summary(torch.cat([pooled + known, amounts], dim=-1))


@torch.no_grad()
def test_the_full_model_with_the_shipped_weights_conditions_bit_for_bit_as_written_out():
    shipped = bundle.load("headneck")
    size = MaskNetworkSize.from_dict(shipped.metadata["mask"]["network"])
    assert size.without == ()
    net = MaskNetwork(size).eval()
    net.load_state_dict(shipped.weights("mask"))
    box = shipped.metadata["mask"]["boxes"]["shapes"]["brainstem"]
    batch = conditions(size, tuple(box))
    b = batch
    context, summary = net.condition(b.drawings, b.poses, b.drawn, b.text, b.spoken, b.facts, b.structure, b.spacing)
    expected = plain_condition(net.condition, batch)
    assert torch.equal(context, expected[0]) and torch.equal(summary, expected[1])
    assert not torch.equal(made(net, batch, tuple(box)), made(net, replace(batch, strokes=0 * batch.strokes), tuple(box)))


def test_a_size_says_what_is_left_out_only_where_something_is_and_reads_both():
    old = {"channels": [16, 16], "attention": [False, True], "blocks": 1, "head": 8, "width": 32, "text_width": 24, "structures": 3}
    old["facts"] = len(describe.FACTS)
    assert MaskNetworkSize.from_dict(old) == SMALL
    assert json.loads(json.dumps(SMALL.to_dict())) == old
    less = replace(SMALL, without=("text", "cgfm"))
    assert MaskNetworkSize.from_dict(json.loads(json.dumps(less.to_dict()))) == less
    assert isinstance(less, Size)


def test_an_unknown_part_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'attention'.*capsules, tsfe, cgfm, text, strokes"):
        replace(SMALL, without=("attention",))
    with pytest.raises(TypeError):
        MaskNetworkSize.from_dict({**SMALL.to_dict(), "with": ["text"]})
