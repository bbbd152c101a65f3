"""The volumes of the drawn anatomy, and those that a text states, are held while a region is sampled, and nothing that is given changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regions import CLASSES, STRUCTURES, anatomy, law, network, prior, ranges
from sketch2ct.generation import MaskCondition, Progress
from sketch2ct.geometry import Grid
from sketch2ct.imaging import LabelVolume
from sketch2ct.masks.guidegen import GuideGenMasks, Sampling
from sketch2ct.masks.region_steering import RegionSteering
from sketch2ct.networks.region_unet import NOT_GIVEN

RIGHT, LEFT, LARYNX = STRUCTURES
FRAME = Grid.centred((0, 0, 0), (4, 4, 4), (32, 32, 32))
R, L, X = (CLASSES.index(name) for name in STRUCTURES)


def encode(sentences):
    return torch.zeros(len(sentences), 2, 384), torch.ones(len(sentences), 2, dtype=torch.bool)


@pytest.fixture(scope="module")
def usual():
    """Before training: the spatial prior alone, which hears no text."""
    sampling = Sampling(steps=10, temperature=0.3)
    return GuideGenMasks(network(), CLASSES, prior(FRAME), law(), ranges(), encode, torch.device("cpu"), sampling)


def made(generator, text, context=None, seed=0, grid=FRAME):
    return generator.generate(MaskCondition((), (), text, grid, context), torch.Generator().manual_seed(seed), Progress())


def volume(labels, name):
    return float(labels.mask(name).sum()) * labels.grid.voxel_ml


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("asked", [8.0, 13.0])
def test_a_stated_volume_is_met(usual, asked, seed):
    labels = made(usual, f"The larynx has a volume of {asked:.0f} mL.", seed=seed)
    assert volume(labels, LARYNX) == pytest.approx(asked, rel=0.2)
    silent = made(usual, "", seed=seed)
    assert volume(labels, RIGHT) == pytest.approx(volume(silent, RIGHT), rel=0.5)  # of the others nothing was said


def test_two_stated_volumes_are_both_met(usual):
    labels = made(usual, "The right parotid gland has 20 mL. The larynx has 8 mL.")
    assert volume(labels, RIGHT) == pytest.approx(20, rel=0.2) and volume(labels, LARYNX) == pytest.approx(8, rel=0.2)


@pytest.mark.parametrize(("text", "one", "other"), [("larger than", RIGHT, LEFT), ("smaller than", LEFT, RIGHT)])
@pytest.mark.parametrize("seed", range(3))
def test_a_relation_of_size_holds(usual, text, one, other, seed):
    labels = made(usual, f"The right parotid gland is {text} the left.", seed=seed)
    assert volume(labels, one) > volume(labels, other)


def test_a_word_of_size_keeps_its_side_of_what_it_stands_for(usual):
    typical = {name: r.value_at("volume_ml", 50) for name, r in ranges().items()}
    assert volume(made(usual, "a tiny larynx"), LARYNX) < typical[LARYNX] < volume(made(usual, "a huge larynx"), LARYNX)


def test_what_is_given_stays_and_its_partner_follows(usual):
    array = np.where(anatomy(FRAME) == R, 9, 0).astype(np.uint8)
    context = LabelVolume(array, FRAME, {9: RIGHT})
    for text in ("The right parotid gland has 60 mL.", "The left parotid gland is larger than the right."):
        labels = made(usual, text, context)
        assert np.array_equal(labels.mask(RIGHT), array == 9)
    assert volume(labels, LEFT) > volume(context, RIGHT)


def test_without_steering_the_volumes_are_the_networks_own(usual):
    volumes = {}
    for steer in (True, False):
        usual.steer = steer
        volumes[steer] = [volume(made(usual, "The larynx has a volume of 12 mL.", seed=seed), LARYNX) for seed in range(3)]
    usual.steer = True
    assert volumes[True] == pytest.approx([12] * 3, rel=0.1)
    assert np.abs(np.subtract(volumes[False], 12)).max() > np.abs(np.subtract(volumes[True], 12)).max()


def test_the_expected_volume_is_the_stated_one_at_every_step():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((1, CLASSES.count, 8, 8, 8), generator=generator)
    x, t = torch.randint(CLASSES.count, (1, 8, 8, 8), generator=generator), torch.tensor([500])
    told = torch.zeros((1, 8, 8, 8), dtype=torch.bool)
    told[:, :2] = True
    steering = RegionSteering({X: 90.0}, told, 1.0)
    shifted = steering(logits, x, t, last=False)
    assert float(torch.softmax(shifted, 1)[0, X][~told[0]].sum()) == pytest.approx(90, rel=0.01)
    assert torch.equal(shifted[:, :X], logits[:, :X])  # the other classes keep their proportions
    assert int((steering(logits, x, t, last=True).argmax(1)[0][~told[0]] == X).sum()) == pytest.approx(90, abs=1)


def test_what_drifts_keeps_the_volume_of_the_first_step():
    generator = torch.Generator().manual_seed(1)
    first, later = torch.randn((2, 1, CLASSES.count, 8, 8, 8), generator=generator)
    later[:, X] -= 2.0  # the network loses it
    x, t = torch.randint(CLASSES.count, (1, 8, 8, 8), generator=generator), torch.tensor([500])
    told = torch.zeros((1, 8, 8, 8), dtype=torch.bool)
    told[:, :2] = True

    def expected(logits):
        return float(torch.softmax(logits, 1)[0, X][~told[0]].sum())

    steering = RegionSteering({}, told, 1.0, drifting=[X])
    assert torch.allclose(steering(first, x, torch.tensor([1000]), last=False), first, atol=0.01)
    assert expected(steering(later, x, t, last=False)) == pytest.approx(expected(first), rel=0.01)
    assert expected(later) < 0.5 * expected(first)
    assert int((steering(later, x, t, last=True).argmax(1)[0][~told[0]] == X).sum()) == pytest.approx(expected(first), abs=1)


def test_bone_is_held_unless_it_is_given(usual):
    told = np.full(FRAME.shape, NOT_GIVEN, np.uint8)
    for given in (False, True):
        closed = np.array([name == "bone" and given for name in CLASSES.names])
        assert usual._steering("", {}, told, closed).drifting == (() if given else (CLASSES.index("bone"),))
