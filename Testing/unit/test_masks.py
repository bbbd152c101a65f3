"""The mask generator around a small, untrained network: boxes, determinism, context, which words go to which structure."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sketch2ct import describe
from sketch2ct.conditioning.text import TextEncoder
from sketch2ct.generation import MaskCondition, Progress
from sketch2ct.geometry import Grid, Plane
from sketch2ct.imaging import LabelVolume
from sketch2ct.masks.boxes import TRUNCATION_MM, Boxes
from sketch2ct.masks.sketch2ct import Sketch2CTMasks, about
from sketch2ct.networks.mask_unet import MaskNetwork, MaskNetworkSize
from sketch2ct.request import Sketch

NAMES = ("brainstem", "mandible")


@pytest.fixture(scope="module")
def boxes() -> Boxes:
    ranges = describe.Ranges({fact: list(np.linspace(1.0, 100.0, 21)) for fact in describe.FACTS})
    return Boxes(
        names=NAMES,
        shapes={"brainstem": (16, 16, 16), "mandible": (24, 16, 16)},
        spacings={"brainstem": (4.0, 4.0, 4.0), "mandible": (5.0, 5.0, 5.0)},
        offsets={"brainstem": ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), (7.0, 8.0, 9.0))},
        ranges=dict.fromkeys(NAMES, ranges),
        placement={"brainstem": (0.0, -20.0, 30.0), "mandible": (0.0, 40.0, 0.0)},
    )


@pytest.fixture(scope="module")
def generator(boxes) -> Sketch2CTMasks:
    torch.manual_seed(0)
    net = MaskNetwork(MaskNetworkSize((16, 16), (False, True), 1, 8, 32, 384, len(describe.FACTS), len(NAMES)))
    for parameter in net.parameters():  # some layers start at zero by design: a trained network has them open
        if parameter.ndim > 1 and not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.05)
    return Sketch2CTMasks(net, boxes, TextEncoder(), steps=2, device=torch.device("cpu"))


def ellipse(structure: str, plane: Plane, a: float = 20.0, b: float = 14.0) -> Sketch:
    angle = np.linspace(0, 2 * np.pi, 50)
    return Sketch(structure, plane, [plane.to_ras(np.stack([a * np.cos(angle), b * np.sin(angle)], axis=1))])


def run(generator: Sketch2CTMasks, condition: MaskCondition, seed: int = 0) -> LabelVolume:
    return generator.generate(condition, torch.Generator().manual_seed(seed), Progress())


GRID = Grid.centred((0, 0, 0), (4.0, 4.0, 4.0), (40, 36, 32))


def test_the_box_is_centred_on_the_sketch_and_moved_along_its_normal_only(boxes):
    sketch = ellipse("brainstem", Plane.named("axial", (10, 20, 30)))
    assert boxes.centre("brainstem", [sketch]) == pytest.approx([10, 20, 39], abs=0.2)
    side = ellipse("brainstem", Plane.named("sagittal", (12, 20, 30)))
    assert boxes.centre("brainstem", [sketch, side]) == pytest.approx([10, 20, 30], abs=0.2)  # both span what the other lacks


def test_the_same_seed_gives_the_same_labels_and_another_seed_does_not(generator):
    condition = MaskCondition(("brainstem",), (ellipse("brainstem", Plane.named("axial", (0, 0, 0))),), "about 20 mL", GRID)
    box_a, box_b, box_c = (generator.distance("brainstem", condition, torch.Generator().manual_seed(s), Progress())[0] for s in (1, 1, 2))
    assert np.array_equal(box_a, box_b)
    assert not np.array_equal(box_a, box_c)
    assert run(generator, condition).grid is GRID


@pytest.mark.parametrize("change", ["sketch", "text", "number", "structure"])
def test_every_condition_reaches_the_network(generator, change):
    sketch = ellipse("brainstem", Plane.named("axial", (0, 0, 0)))
    base = MaskCondition(("brainstem",), (sketch,), "brainstem, about 20 mL", GRID)
    wider = ellipse("brainstem", Plane.named("axial", (0, 0, 0)), a=20.0, b=8.0)  # the box stays where it is
    other = {
        "sketch": MaskCondition(("brainstem",), (wider,), "brainstem, about 20 mL", GRID),
        "text": MaskCondition(("brainstem",), (sketch,), "a brainstem, please, about 20 mL", GRID),
        "number": MaskCondition(("brainstem",), (sketch,), "brainstem, about 40 mL", GRID),
        "structure": base,
    }[change]
    made = generator._condition("brainstem", [sketch], base.description, GRID)
    net = generator.net
    noise = torch.zeros(1, 1, *GRID.shape)
    changed = generator._condition("mandible" if change == "structure" else "brainstem", list(other.sketches), other.description, GRID)
    with torch.no_grad():
        a, b = (net(noise, torch.tensor([500.0]), c) for c in (made, changed))
    assert not torch.allclose(a, b, atol=1e-7)


def test_context_voxels_are_kept_to_the_voxel(generator):
    context = LabelVolume(np.zeros(GRID.shape, np.uint8), GRID, {2: "mandible"})
    context.array[18:24, 16:22, 10:20] = 2
    condition = MaskCondition(("brainstem",), (ellipse("brainstem", Plane.named("axial", (0, 0, 0))),), "", GRID, context=context)
    made = run(generator, condition)
    assert np.array_equal(made.array == 2, context.array == 2)
    assert made.names == {2: "mandible", 3: "brainstem"}


def test_the_labels_are_the_positive_distances_on_any_grid(generator, boxes):
    """A box full of a known distance is written at the right place of an oblique, anisotropic grid."""
    grid = Grid((30, 28, 26), np.array([[-3.0, 0.5, 0, 40], [0.4, 3.5, 0, -45], [0, 0, 4.0, -50], [0, 0, 0, 1]]))
    condition = MaskCondition(("brainstem",), (ellipse("brainstem", Plane.named("axial", (0, 0, 0))),), "", grid)
    original = generator.distance

    def ball(structure, condition, rng, progress, turn=0):
        _, box = original(structure, condition, rng, progress, turn)
        radius = np.linalg.norm(box.voxel_centres() - box.centre, axis=-1)
        return np.clip(15.0 - radius, -TRUNCATION_MM, TRUNCATION_MM).astype(np.float32), box

    generator.distance = ball
    try:
        made = run(generator, condition)
    finally:
        del generator.distance
    centre = boxes.centre("brainstem", list(condition.sketches))
    expected = np.linalg.norm(grid.voxel_centres() - centre, axis=-1) < 15.0
    assert 2 * (made.array.astype(bool) & expected).sum() / (made.array.astype(bool).sum() + expected.sum()) > 0.99


def test_sentences_go_to_the_structure_they_name():
    condition = MaskCondition(NAMES, (), "A small brainstem of 20 mL. It is smooth. The mandible is broad, about 60 mL.", GRID)
    assert about("brainstem", condition) == "A small brainstem of 20 mL. It is smooth."
    assert about("mandible", condition) == "The mandible is broad, about 60 mL."
    joined = MaskCondition(NAMES, (), "a small brainstem and a large mandible", GRID)
    assert (about("brainstem", joined), about("mandible", joined)) == ("a small brainstem", "a large mandible")
    alone = MaskCondition(("mandible",), (), "large, with thin rami", GRID)
    assert about("mandible", alone) == "large, with thin rami"
