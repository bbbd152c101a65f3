"""GuideGen's mask stage: text and any given structures -> the label map of a whole region, by categorical diffusion.

The published model starts from a template's text alone and walks 1000 steps. Here the text is free, any subset of the structures may be
given and is kept to the voxel, and at most 50 steps are walked. Everything happens on the bundle's frame, laid by what is given; voxels
of the request's grid beyond the frame are like those at its border as far as BORDER_MM, and empty farther away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from .. import describe
from ..anatomy import vocabulary
from ..bundle import Bundle, reading
from ..conditioning.region import Said, collate, encoded, said
from ..conditioning.text import TextEncoder
from ..describe import region as describe_region
from ..diffusion import categorical
from ..errors import BadRequest
from ..generation import MaskCondition, Progress
from ..geometry import Grid
from ..imaging import LabelVolume, resample_part
from ..networks.region_unet import NOT_GIVEN, RegionCondition, RegionNetwork, RegionNetworkSize
from .region_classes import Labels, RegionClasses
from .region_law import Codes, RegionLaw
from .region_prior import RegionPrior, Share, coarse_grid, origin
from .region_steering import RegionSteering

STEPS = 30
MAX_STEPS = 50
DRIFTING = ("bone",)  # of which a walk would lose a third: thin, and rarely the likeliest class
SETTLING = 3  # rounds of clean-up and of stated volumes
SURE = 1e6  # times as likely as any other class: what mends a structure must not be the first to go when its volume is set
BORDER_MM = 24.0  # a frame laid by a sketch and one laid by the mask made of it lie less than this apart

Probabilities = NDArray[np.float32]  # (K, i, j, k)


@dataclass(frozen=True)
class Sampling:
    """How a bundle samples.

    `steps` unless a request says otherwise, `guidance` by the text (1: off), `temperature` (1: as learned). `spread` multiplies the
    anatomy's standard deviations (1: as among the training cases; 0: the most usual one), `around` does so beside given structures. How
    far voxels are drawn alike at first (mm, standard deviations; 0: each for itself; see `categorical.Alike`): `outline_mm` for the body
    as a whole, `inside_mm` for what is in it; `mirrored`: both sides alike.
    """

    steps: int = STEPS
    guidance: float = 1.0
    temperature: float = 1.0
    spread: float = 1.0
    around: float = 1.0
    outline_mm: float = 0.0
    inside_mm: float = 0.0
    mirrored: bool = False


class GuideGenMasks:
    """A mask generator for the whole region of one bundle. `clean_up` gives crumbs of one-piece structures to the next likely class.

    `steer` holds the volumes of the drawn anatomy, those that the text states, and that of bone, at every step (see `region_steering`;
    default on).
    """

    clean_up = True
    steer = True

    def __init__(
        self,
        net: RegionNetwork,
        classes: RegionClasses,
        prior: RegionPrior,
        law: RegionLaw,
        ranges: Mapping[str, describe.Ranges],
        encode: Callable[[list[str]], tuple[Tensor, Tensor]],
        device: torch.device,
        sampling: Sampling | None = None,
    ) -> None:
        self.net, self.classes, self.prior, self.law, self.ranges = net.to(device).eval(), classes, prior, law, ranges
        self.encode, self.device, self.sampling = encode, device, sampling or Sampling()

    @classmethod
    def from_bundle(cls, bundle: Bundle, device: torch.device) -> GuideGenMasks:
        """The generator that a bundle holds. Raises BadRequest for a bundle without one, or BundleCorrupt."""
        known = bundle.metadata
        if "region" not in known:
            raise BadRequest(f"The bundle '{bundle.name}' makes single structures, no whole regions.", "Choose a bundle for GuideGen.")
        with reading(bundle, "masks/guidegen"):
            own = known["region"]
            net = RegionNetwork(RegionNetworkSize.from_dict(own["network"]))
            net.load_state_dict(bundle.weights("region"))
            classes = RegionClasses(tuple(known["derived"]), tuple(known["structures"]))
            frame = Grid.centred((0, 0, 0), known["frame"]["spacing"], tuple(known["frame"]["shape"]))
            stored = bundle.weights("region_prior")
            values = np.zeros((classes.count, *stored["values"].shape[1:]), np.float32)
            values[stored["classes"].long().numpy()] = stored["values"].numpy()
            places = {name: (p[0], p[1], p[2]) for name, p in known["placement"].items()}
            prior = RegionPrior(values, coarse_grid(frame, frame.shape[0] // values.shape[1]), places, frame)
            ranges = {name: describe.Ranges.from_dict(r) for name, r in known["ranges"].items()}
            law = RegionLaw.from_arrays(bundle.weights("region_law"), classes.structures, ranges, places)
            encode = TextEncoder(sha256=known["text_encoder"]["sha256"])
            return cls(net, classes, prior, law, ranges, encode, device, Sampling(**own["sampling"]))

    def generate(self, condition: MaskCondition, rng: torch.Generator, progress: Progress) -> LabelVolume:
        """The whole region on `condition.grid`, whatever `condition.structures` lists. Voxels of the context keep their value.

        Sketches say where the region lies, if no structure is given; their outlines are not read.
        """
        frame = self.frame(condition)
        context = condition.context
        given = np.full(frame.shape, NOT_GIVEN, np.uint8) if context is None else self.classes.given(context, frame)
        closed = np.array([bool(name) and context is not None and context.has(name) for name in self.classes.names])
        codes = self.anatomy(condition.description.strip(), given, closed, frame, rng)
        shares = self.law.shares(codes, frame, self.classes)
        steering = self._steering(condition.description, shares, given, closed) if self.steer else None
        prior = self.prior.around(shares, self.law.way(codes, frame))
        found = self.probabilities(condition, given, closed, prior, rng, progress, steering)
        if self.clean_up:
            mended(found, self.classes, {n: share for n, share in shares.items() if not closed[n]})
            without_crumbs(found, self.classes)
            for _ in range(SETTLING if steering else 0):  # what the crumbs held grows where the structure is
                found = steering.settled(found) if steering else found
                without_crumbs(found, self.classes)
        if (given != NOT_GIVEN).any() and (given == NOT_GIVEN).any():
            # what a given structure hides is what lies next to it, else its border on a finer grid would be a seam of nothing
            nearest = ndimage.distance_transform_edt(given != NOT_GIVEN, frame.spacing, return_distances=False, return_indices=True)
            found = found[(slice(None), *nearest)]
        return self.written(found, frame, closed, condition)

    def frame(self, condition: MaskCondition) -> Grid:
        """The grid that the network works on: laid by the given structures, else by the sketches, else in the middle of the request's."""
        known: dict[str, NDArray[np.float64]] = {}
        context = condition.context
        if context is not None:
            for name in context.names.values():
                if name in self.prior.placement and context.has(name):
                    known[name] = context.grid.to_ras(np.argwhere(context.mask(name)).mean(axis=0))
        if not known:
            for sketch in condition.sketches:
                points = sketch.points()
                known[sketch.structure] = (points.min(axis=0) + points.max(axis=0)) / 2
        middle = origin(known, self.prior.placement)
        return self.prior.at(condition.grid.centre if middle is None else middle)

    def anatomy(self, text: str, given: Labels, closed: NDArray[np.bool_], frame: Grid, rng: torch.Generator) -> Codes:
        """Codes of every structure on the frame, drawn to suit the `closed` ones and what the text states."""
        codes: Codes = {}
        for n, name in enumerate(self.classes.names):
            if closed[n] and name in self.law.shapes and (given == n).any():
                codes[name] = self.law.shapes[name].code(given == n, frame)
        own = np.random.default_rng(int(torch.randint(2**62, (1,), generator=rng)))
        spread = self.sampling.around if codes else self.sampling.spread
        return self.law.drawn(frame, codes, describe_region.read(text) if text else None, own, spread=spread)

    def probabilities(
        self,
        condition: MaskCondition,
        given: Labels,
        closed: NDArray[np.bool_],
        prior: NDArray[np.float32],
        rng: torch.Generator,
        progress: Progress,
        steering: RegionSteering | None = None,
    ) -> Probabilities:
        """The last step's distribution of every class on the frame, of which its mode is the sample."""
        structures, text = self.classes.structures, condition.description.strip()
        told = [said(text, encoded(text, self.encode), self.ranges, structures)]
        batch = self._batch(given, closed, prior, told)
        guidance = self.sampling.guidance if condition.guidance is None else condition.guidance
        silent = said("", encoded("", self.encode), {}, structures)
        unasked = self._batch(given, closed, prior, [silent]) if guidance != 1.0 and text else None
        steps = min(condition.steps or self.sampling.steps, MAX_STEPS)

        last = categorical.times(steps)[-2]

        def predict(x: Tensor, t: Tensor) -> Tensor:
            logits = self.net(x, t.float(), batch)
            if unasked is not None:
                free = self.net(x, t.float(), unasked)
                logits = free + guidance * (logits - free)
            return logits if steering is None else steering(logits, x, t, last=int(t[0]) == last)

        logits = draw_region(
            predict, batch.given, self.prior.frame, self.classes.count, steps, rng, lambda n, of: progress("mask", n, of), self.sampling
        )
        return torch.softmax(logits, 1)[0].float().cpu().numpy()

    def _steering(self, text: str, shares: dict[int, Share], given: Labels, closed: NDArray[np.bool_]) -> RegionSteering:
        """Holds the volumes of the structures that are not given."""
        voxel_ml = self.prior.frame.voxel_ml
        volumes = {n: float((share > 0.5).sum()) * voxel_ml for n, (_, share) in shares.items()}
        stated = describe_region.read(text).volumes()
        volumes |= {self.classes.index(name): volume for name, volume in stated.items() if name in self.classes.structures}
        told = torch.from_numpy(given != NOT_GIVEN)[None].to(self.device)
        volumes = {n: volume for n, volume in volumes.items() if not closed[n]}
        drifting = [n for n, name in enumerate(self.classes.names) if name in DRIFTING and not closed[n]]
        return RegionSteering(volumes, told, voxel_ml, self.sampling.temperature, drifting)

    def _batch(self, given: Labels, closed: NDArray[np.bool_], prior: NDArray[np.float32], told: list[Said]) -> RegionCondition:
        batch = RegionCondition(
            given=torch.from_numpy(given.astype(np.int64))[None],
            closed=torch.from_numpy(closed)[None],
            prior=torch.from_numpy(prior)[None],
            **collate(told),
        )
        return batch.to(self.device)

    def written(self, found: Probabilities, frame: Grid, closed: NDArray[np.bool_], condition: MaskCondition) -> LabelVolume:
        """The most likely class of every voxel of the request's grid, interpolated from the frame; voxels of the context as they are."""
        grid, context = condition.grid, condition.context
        names = {} if context is None else dict(context.names)
        array = np.zeros(grid.shape, np.uint8 if context is None else context.array.dtype)
        found, frame = _bordered(found, frame)
        best = resample_part(found[0], frame, grid, outside=1.0)
        for n, name in enumerate(self.classes.names):
            if name and not closed[n] and found[n].max() > 1 / self.classes.count:
                chance = resample_part(found[n], frame, grid)
                won = chance > best
                best[won] = chance[won]
                value = next((v for v, known in names.items() if known == name), max(names, default=0) + 1)
                names[value] = name
                array[won] = value
        if context is not None:
            array[context.array > 0] = context.array[context.array > 0]
        return LabelVolume(array, grid, names)


def _bordered(found: Probabilities, frame: Grid) -> tuple[Probabilities, Grid]:
    """The distribution with its outermost voxels repeated over BORDER_MM on every side, and its grid."""
    more = np.ceil(BORDER_MM / frame.spacing).astype(int)
    affine = frame.affine.copy()
    affine[:3, 3] = frame.to_ras(-more)
    padded = np.pad(found, [(0, 0), *((n, n) for n in more)], mode="edge")
    return padded, Grid((padded.shape[1], padded.shape[2], padded.shape[3]), affine)


def draw_region(
    predict: categorical.Predict,
    given: Tensor,
    frame: Grid,
    classes: int,
    steps: int,
    rng: torch.Generator,
    on_step: categorical.OnStep,
    sampling: Sampling,
) -> Tensor:
    """Logits (N, K, i, j, k) of the last step. At every time the `given` voxels (N, i, j, k) of a frame hold a draw of q(x_t | given)."""
    told, last = given != NOT_GIVEN, {}

    def hold(x: Tensor, t: int) -> Tensor:
        known = categorical.mix(torch.where(told, given, 0), torch.full((len(x),), t, device=x.device), classes, rng)
        return torch.where(told, known, x)

    def remembered(x: Tensor, t: Tensor) -> Tensor:
        last["logits"] = predict(x, t)
        return last["logits"]

    start = categorical.noise(given.shape, classes, rng).to(given.device)
    keep = hold if bool(told.any()) else None
    outline, inside = ((reach / frame.spacing).tolist() for reach in (sampling.outline_mm, sampling.inside_mm))
    alike = categorical.Alike(outline, inside, sampling.mirrored) if any(outline + inside) else None
    categorical.sample(remembered, start, steps, on_step, rng, temperature=sampling.temperature, alike=alike, hold=keep)
    return last["logits"]


def mended(found: Probabilities, classes: RegionClasses, shares: Mapping[int, Share]) -> None:
    """In place: a one-piece structure that came in pieces gets the shape that was drawn for it."""
    for n, (part, share) in shares.items():
        if vocabulary()[classes.names[n]].pieces == 1 and ndimage.label(found.argmax(axis=0) == n, np.ones((3, 3, 3)))[1] > 1:
            core = share > 0.5
            found[n] = 0.0
            found[n][part][core] = SURE * found[(slice(None), *part)].max(axis=0)[core]


def without_crumbs(found: Probabilities, classes: RegionClasses) -> None:
    """In place: a one-piece structure keeps its largest piece; its other voxels go to the class that is next likely there."""
    for n, name in enumerate(classes.structures, start=classes.first):
        if vocabulary()[name].pieces == 1:
            parts, count = ndimage.label(found.argmax(axis=0) == n, np.ones((3, 3, 3)))
            if count > 1:
                sizes = np.bincount(parts.ravel())
                sizes[0] = 0
                found[n][(parts > 0) & (parts != sizes.argmax())] = 0.0
