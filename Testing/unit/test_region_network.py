"""The whole-region network: what it is before training, what it cannot say, what reaches it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from regions import CLASSES, FRAME, SIZE, anatomy, network, prior
from sketch2ct import describe
from sketch2ct.conditioning.region import collate, said
from sketch2ct.diffusion import categorical
from sketch2ct.networks.injection import KnowledgeInjection, OwnContext
from sketch2ct.networks.region_unet import NOT_GIVEN, RegionCondition, RegionNetworkSize

K = CLASSES.count


def condition(count=1, tokens=0, **changes):
    rng = np.random.default_rng(1)
    told = [said("", rng.normal(size=(tokens, 384)), {}, CLASSES.structures) for _ in range(count)]
    nothing = RegionCondition(
        given=torch.full((count, *FRAME.shape), NOT_GIVEN),
        closed=torch.zeros(count, K, dtype=torch.bool),
        prior=torch.from_numpy(prior().log)[None],
        **collate(told),
    )
    return replace(nothing, **changes)


def test_before_training_it_is_bayes_rule_voxel_by_voxel():
    t, noisy = torch.tensor([600.0]), torch.randint(K, (1, *FRAME.shape), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = torch.softmax(network()(noisy, t, condition()), 1)
    share = categorical.alpha_bar(t)
    likely = share * categorical.one_hot(noisy, K) + (1 - share) / K
    expected = condition().prior.exp() * likely
    assert torch.allclose(found, expected / expected.sum(1, keepdim=True), atol=1e-5)


def test_a_given_voxel_has_its_class_and_a_given_class_no_other_voxel():
    labels = torch.from_numpy(anatomy().astype(np.int64))[None]
    larynx = CLASSES.index("larynx")
    closed = torch.zeros(1, K, dtype=torch.bool)
    closed[0, larynx] = True
    given = torch.where(labels == larynx, larynx, NOT_GIVEN)
    noisy = torch.full_like(labels, larynx)
    with torch.inference_mode():
        found = torch.softmax(network(trained=True)(noisy, torch.tensor([100.0]), condition(given=given, closed=closed)), 1)
    assert torch.equal(found[:, larynx], (labels == larynx).float())


@pytest.mark.parametrize("said_more", ["words", "facts", "relations", "given"])
def test_everything_that_is_said_reaches_the_logits(said_more):
    net, noisy, t = network(trained=True), torch.zeros(1, *FRAME.shape, dtype=torch.long), torch.tensor([900.0])
    silent = condition(tokens=3)
    if said_more == "words":
        changed = replace(silent, words=silent.words.flip(-1))
    elif said_more == "facts":
        facts = torch.zeros_like(silent.facts)
        facts[0, 1, [0, len(describe.FACTS)]] = 1.0
        changed = replace(silent, facts=facts)
    elif said_more == "relations":
        changed = replace(silent, relations=torch.tensor([[[1, 0, 1]]]))
        turned = replace(silent, relations=torch.tensor([[[1, 1, 0]]]))
    else:
        changed = replace(silent, given=torch.where(torch.arange(FRAME.shape[0]).view(1, -1, 1, 1) < 2, 1, silent.given))
    with torch.inference_mode():
        before, after = net(noisy, t, silent), net(noisy, t, changed)
        assert (before - after)[..., 4:, :, :].abs().max() > 1e-4
        if said_more == "relations":
            assert (net(noisy, t, turned) - after).abs().max() > 1e-4


def test_padding_and_company_change_nothing():
    net, noisy = network(trained=True), torch.randint(K, (2, *FRAME.shape), generator=torch.Generator().manual_seed(0))
    t = torch.tensor([900.0, 200.0])
    told = [said("", np.random.default_rng(n).normal(size=(3 + 5 * n, 384)), {}, CLASSES.structures) for n in range(2)]
    together = condition(2, **collate(told))
    alone = condition(1, **collate(told[:1]))
    with torch.inference_mode():
        assert torch.allclose(net(noisy, t, together)[:1], net(noisy[:1], t[:1], alone), atol=1e-4)


def test_every_attention_layer_has_its_own_context():
    layers = [m for m in network().unet.modules() if isinstance(m, OwnContext)]
    assert len(layers) == 4  # down, middle and twice up, on the level that attends
    assert len({id(layer.project[0].weight) for layer in layers}) == len(layers)
    with torch.no_grad():
        asked = KnowledgeInjection(16, 4).eval()(torch.randn(2, 9, 16), torch.zeros(2, 9, dtype=torch.bool))
    assert asked.shape == (2, 4, 16)


def test_a_training_step_reaches_every_weight():
    net = network(trained=True).train()
    told = condition(tokens=2, relations=torch.tensor([[[1, 0, 1]]]))
    facts = torch.ones_like(told.facts)
    noisy = torch.from_numpy(anatomy().astype(np.int64))[None]
    given = torch.where(noisy == CLASSES.index("larynx"), noisy, NOT_GIVEN)
    logits = net(noisy, torch.tensor([500.0]), replace(told, facts=facts, given=given))
    categorical.marginal_cross_entropy(logits, categorical.one_hot(noisy, K).bool()).mean().backward()
    assert not [name for name, w in net.named_parameters() if w.grad is None]


def test_the_size_survives_a_bundle_and_tells_what_it_halves():
    assert RegionNetworkSize.from_dict(SIZE.to_dict()) == SIZE
    assert SIZE.multiple == 8
