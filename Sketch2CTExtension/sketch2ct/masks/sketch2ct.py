"""Sketch2CT's mask stage: sketch + text -> signed distance by rectified flow, in a box around each structure.

The published model denoises a latent of the whole frame. Here each structure has a box of its own size, so that small organs keep
their shape, and the truncated signed distance in it can be written on any grid.
"""

from __future__ import annotations

import re

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from .. import describe
from ..anatomy import find, vocabulary
from ..bundle import Bundle, reading
from ..conditioning.batch import collate, condition_arrays
from ..conditioning.text import TextEncoder
from ..diffusion import flow
from ..generation import MaskCondition, Progress
from ..geometry import Grid
from ..imaging import LabelVolume, resample_part
from ..networks.mask_unet import ConditionBatch, MaskNetwork, MaskNetworkSize
from ..request import Sketch
from .boxes import TRUNCATION_MM, Boxes
from .shape_model import ShapeModel, unpack
from .shaping import Target, hold_shape
from .steering import hold_section, hold_volume


class Sketch2CTMasks:
    """A mask generator for the structures of one bundle. `clean_up` keeps the largest piece of one-piece structures (default off).

    `steer` holds the drawn sections and a volume in mL at every step (see `steering`; default on).
    `temperature` scales the noise that sampling starts from: below 1, samples stay nearer to the most expected mask.
    """

    clean_up = False
    steer = True

    def __init__(
        self,
        net: MaskNetwork,
        boxes: Boxes,
        encode: TextEncoder,
        steps: int,
        device: torch.device,
        *,
        guidance: float = 1.0,
        temperature: float = 1.0,
        shapes: dict[str, ShapeModel] | None = None,
    ) -> None:
        self.net, self.boxes, self.encode, self.shapes = net.to(device).eval(), boxes, encode, shapes or {}
        self.steps, self.guidance, self.temperature, self.device = steps, guidance, temperature, device

    @classmethod
    def from_bundle(cls, bundle: Bundle, device: torch.device) -> Sketch2CTMasks:
        """The generator that a bundle holds. Raises BundleCorrupt."""
        with reading(bundle, "masks/sketch2ct"):
            own, known = bundle.metadata["mask"], bundle.metadata
            net = MaskNetwork(MaskNetworkSize.from_dict(own["network"]))
            net.load_state_dict(bundle.weights("mask"))
            encode = TextEncoder(sha256=known["text_encoder"]["sha256"])
            boxes = Boxes.from_dict({**own["boxes"], "ranges": known["ranges"], "placement": known["placement"]})
            shapes = unpack(bundle.weights("shapes"))
            sampling = {"guidance": own["guidance"], "temperature": own["temperature"]}
            return cls(net, boxes, encode, own["steps"], device, **sampling, shapes=shapes)

    def generate(self, condition: MaskCondition, rng: torch.Generator, progress: Progress) -> LabelVolume:
        """One label map on `condition.grid`: values 1, 2, ... in the order of `condition.structures`, after those of the context.

        Where two new structures meet, the voxel goes to the one it lies deeper in; context voxels are kept.
        """
        context = condition.context
        labels = np.zeros(condition.grid.shape, np.uint8) if context is None else context.array.copy()
        names = {} if context is None else dict(context.names)
        free = labels == 0
        deepest = np.zeros(condition.grid.shape, np.float32)
        for n, structure in enumerate(condition.structures):
            distance = self._on_grid(structure, condition, rng, progress, n)
            value = next((v for v, name in names.items() if name == structure), max(names, default=0) + 1)
            names[value] = structure
            won = free & (distance > deepest)
            labels[won] = value
            deepest[won] = distance[won]
        return LabelVolume(labels, condition.grid, names)

    def _on_grid(self, structure: str, condition: MaskCondition, rng: torch.Generator, progress: Progress, turn: int) -> NDArray:
        """Signed distance in mm of one structure on the request's grid; very negative outside its box."""
        distance, box = self.distance(structure, condition, rng, progress, turn)
        # cubic: the surface of a smooth distance stays smooth on a finer grid
        on_grid = resample_part(distance, box, condition.grid, order=3, outside=-TRUNCATION_MM)
        if self.clean_up and vocabulary()[structure].pieces == 1:
            parts, count = ndimage.label(on_grid > 0, np.ones((3, 3, 3)))
            if count > 1:
                on_grid[(parts > 0) & (parts != 1 + int(np.bincount(parts.ravel())[1:].argmax()))] = -TRUNCATION_MM
        return on_grid

    def distance(
        self, structure: str, condition: MaskCondition, rng: torch.Generator, progress: Progress, turn: int = 0
    ) -> tuple[NDArray[np.float32], Grid]:
        """Signed distance (mm, positive inside) of one structure in its box, and the box."""
        sketches = [s for s in condition.sketches if s.structure == structure]
        centre = self.boxes.centre(structure, sketches) if sketches else self._place(structure, condition)
        box = self.boxes.grid(structure, np.round(centre, 3))
        text = about(structure, condition)
        batch = self._condition(structure, sketches, text, box).to(self.device)
        guidance = self.guidance if condition.guidance is None else condition.guidance
        unasked = self._condition(structure, [], "", box).to(self.device) if guidance != 1.0 else batch
        steps, total = condition.steps or self.steps, len(condition.structures)

        reading = describe.read(text)
        asked = reading.values.get("volume_ml")
        shape = Target.of(reading, self.boxes.ranges[structure], sketches)
        voxel_ml, voxel_mm = box.voxel_ml, float(box.spacing.max())

        def denoise(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            clean = self.net(x, t, batch)
            if guidance != 1.0:
                free = self.net(x, t, unasked)
                clean = free + guidance * (clean - free)
            if not self.steer:
                return clean
            if shape:
                clean = hold_shape(clean, box, TRUNCATION_MM, shape)
            if asked:
                clean = hold_volume(clean, batch.strokes, asked, voxel_ml)
            return hold_section(clean, batch.strokes, voxel_mm)

        # drawn on the CPU, so that a seed means the same noise on every device
        noise = self.temperature * torch.randn((1, 1, *box.shape), generator=rng).to(self.device)
        made = flow.sample(denoise, noise, steps, lambda n, of: progress("mask", turn * of + n, total * of))
        return made[0, 0].float().cpu().numpy() * np.float32(TRUNCATION_MM), box

    def _place(self, structure: str, condition: MaskCondition) -> NDArray[np.float64]:
        """Where an unsketched structure goes: beside the sketched ones as in the training cases, else the middle of the grid."""
        places = self.boxes.placement
        anchors = [s for s in condition.sketches if s.structure in places and structure in places]
        if not anchors:
            return condition.grid.centre + np.asarray(places.get(structure, (0, 0, 0)))
        first = anchors[0]
        known = self.boxes.centre(first.structure, [s for s in anchors if s.structure == first.structure])
        return known + np.asarray(places[structure]) - np.asarray(places[first.structure])

    def _condition(self, structure: str, sketches: list[Sketch], text: str, box: Grid) -> ConditionBatch:
        facts = np.zeros(2 * len(describe.FACTS), np.float32)
        words = np.zeros((0, self.net.size.text_width), np.float32)
        if text:
            features, real = self.encode([text])
            words = features[0][real[0]].numpy()
            facts = np.concatenate(describe.read(text).vector(self.boxes.ranges[structure]))
        return collate([condition_arrays(sketches, box, words, facts, self.boxes.code(structure), self.shapes.get(structure))])


def about(structure: str, condition: MaskCondition) -> str:
    """The part of the description that speaks of a structure: all of it when it names no other, else the sentences that name it."""
    text = condition.description.strip()
    if not [name for name in find(text) if name != structure and name in condition.structures]:
        return text
    kept, speaking = [], True
    for part in re.split(r"(?<=[.;!?\n])\s+|,?\s+and\s+(?=an?\s|the\s)", text):
        named = find(part)
        speaking = structure in named if named else speaking
        if speaking:
            kept.append(part)
    return " ".join(kept)
