"""Training of the whole-region model: class maps given any subset of their structures and any part of what can be said of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from ..bundle import Bundle
from ..conditioning.region import Said, collate, said
from ..conditioning.text import WIDTH
from ..data.nnunet import Dataset
from ..data.regions import Region
from ..describe.region import chunks
from ..diffusion import categorical
from ..errors import BadRequest, BundleCorrupt
from ..geometry import Grid
from ..imaging import LabelVolume
from ..masks.guidegen import Sampling, draw_region, without_crumbs
from ..masks.region_classes import UNKNOWN
from ..masks.region_law import Codes
from ..masks.region_prior import origin
from ..networks.region_unet import NOT_GIVEN, RegionCondition, RegionNetwork, RegionNetworkSize
from .loop import Endless, Stage, fit
from .region_data import Anatomy, Library, prepared_anatomy, prepared_codes, prepared_regions, prepared_statements
from .sizes import region_size

CHECK_TIMES = (0.3, 0.7, 1.0)
ALIGNED = 8  # voxels: a window begins where a coarse cell of the frame does
Batch = dict[str, Tensor]


def given_subset(contoured: NDArray[np.bool_], derived: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which classes (outside, derived, structures) are given this time: no structure in 40 %, one in 35 %, several in the rest; in a tenth
    of the cases some derived classes too. `contoured` (S,) are the structures that there are."""
    chosen = np.zeros(1 + derived + len(contoured), bool)
    have = 1 + derived + np.flatnonzero(contoured)
    kind = rng.choice(["none", "one", "some"], p=[0.4, 0.35, 0.25])
    if kind != "none" and len(have):
        chosen[rng.choice(have, 1 if kind == "one" else int(rng.integers(1, len(have) + 1)), replace=False)] = True
    if rng.random() < 0.1:
        chosen[1 : 1 + derived] = rng.random(derived) < 0.5
    return chosen


class RegionBatches(Endless):
    """Endless batches of class maps `clean` (N, i, j, k) without unknown voxels, the classes that each voxel `may` be as bits of an
    integer, the `start` (N, 3) of the window in the frame, the `prior` (N, K, i, j, k) that the codes of the region's structures give (of
    those that were not contoured, codes that suit the others; left out without `codes`), and what is given (see `RegionCondition`)."""

    def __init__(
        self,
        regions: list[Region],
        told: list,
        codes: list[tuple[Codes, Codes]] | None,
        library: Library,
        anatomy: Anatomy,
        settings: dict[str, Any],
        seed: int,
    ) -> None:
        self.anatomy, self.library, self.settings, self.seed = anatomy, library, settings, seed
        self.coded = codes is not None
        each = list(zip(regions, told, codes or [({}, {})] * len(regions), strict=True))
        items = [(r, texts[0], code[0]) for r, texts, code in each]
        if settings.get("mirror", True):
            items += [(r.mirrored(anatomy.classes), texts[1], code[1]) for r, texts, code in each]
        self.items = [item for item in items if origin(item[0].middles, anatomy.prior.placement) is not None]
        # what is not known is noised as the most usual tissue, never as a structure
        self.usual = anatomy.prior.log[: anatomy.classes.first].argmax(axis=0).astype(np.uint8)

    def __iter__(self) -> Iterator[Batch]:
        rng = self.rng()
        torch.set_num_threads(1)
        while True:
            picks = rng.integers(len(self.items), size=self.settings["batch"])
            examples = [self.example(int(n), rng) for n in picks]
            yield collated([e for e, _ in examples], [s for _, s in examples])

    def example(self, number: int, rng: np.random.Generator, *, plain: bool = False) -> tuple[dict[str, NDArray], Said]:
        """One region with a random part of what can be given; with `plain` nothing is given or said, and it lies where it should."""
        (region, texts, codes), classes = self.items[number], self.anatomy.classes
        contoured = np.array([name in region.contoured for name in classes.structures])
        chosen = np.zeros(classes.count, bool) if plain else given_subset(contoured, len(classes.derived), rng)
        labels, frame = self._laid(region, chosen, rng, shift=0 if plain else self.settings["shift"])
        window = tuple(self.settings.get("window") or frame.shape)
        start = [int(rng.integers(n - w + 1)) // ALIGNED * ALIGNED for n, w in zip(frame.shape, window, strict=True)]
        part = tuple(slice(a, a + w) for a, w in zip(start, window, strict=True))
        may = self.anatomy.hiding.may(labels, region.contoured, classes)
        clean = np.where(labels == UNKNOWN, self.usual, labels)
        given = np.where(np.append(chosen, np.zeros(256 - len(chosen), bool))[labels], labels, np.uint8(NOT_GIVEN))
        arrays = {"clean": clean[part], "may": may[part], "given": given[part], "closed": chosen, "start": np.array(start)}
        if self.coded:
            drawn = self.anatomy.law.drawn(frame, codes, None, rng, rounds=0)
            law = self.anatomy.law
            prior = self.anatomy.prior.around(law.shares(drawn, frame, classes), law.way(drawn, frame))
            arrays["prior"] = prior[(slice(None), *part)]
        return arrays, self._said([] if plain else texts, rng)

    def _laid(self, region: Region, chosen: NDArray[np.bool_], rng: np.random.Generator, shift: int) -> tuple[NDArray, Grid]:
        """The class map on the frame as it lies in use: by the given structures, else by all of them, moved by up to `shift` voxels."""
        places, names = self.anatomy.prior.placement, self.anatomy.classes.names
        given = {name: m for name, m in region.middles.items() if chosen[names.index(name)]}
        middle = origin(given, places)
        middle = origin(region.middles, places) if middle is None else middle
        assert middle is not None  # regions without a known place are left out
        frame = self.anatomy.prior.at(middle + self.anatomy.prior.frame.spacing * rng.integers(-shift, shift + 1, 3))
        return region.on(frame), frame

    def _said(self, texts: list[str], rng: np.random.Generator) -> Said:
        """A random choice of the region's statements, or silence."""
        structures = self.anatomy.classes.structures
        if not texts or rng.random() < self.settings["silence"]:
            return said("", np.zeros((0, WIDTH)), {}, structures)
        count = int(rng.integers(1, min(len(texts), 8) + 1))
        picked = [texts[n] for n in rng.choice(len(texts), count, replace=False)]
        heard = [self.library[piece] for text in picked for piece, _ in chunks(text)]
        return said(" ".join(picked), np.concatenate(heard), self.anatomy.ranges, structures)


def collated(arrays: list[dict[str, NDArray]], told: list[Said]) -> Batch:
    """Examples -> one batch of tensors."""
    return {**{key: torch.from_numpy(np.stack([a[key] for a in arrays])) for key in arrays[0]}, **collate(told)}


class RegionStage(Stage):
    """Marginalised cross-entropy at random times, and the divergence of the posteriors of a stride of the sampler, if weighted.

    The divergence is the paper's loss. The cross-entropy asks for the same predictions and costs less; it also counts where a stride
    teaches nothing, at the highest noise, where text and given structures decide.
    """

    net: RegionNetwork

    def __init__(
        self, settings: dict[str, Any], out: Path, minutes: float, size: RegionNetworkSize, anatomy: Anatomy, held: RegionBatches
    ) -> None:
        super().__init__(settings, out, minutes)
        self.net, self.anatomy = RegionNetwork(size), anatomy
        self.held = held
        # every voxel counts, those where a structure may be count more: by place, not by class, so that no prediction is biased
        near = anatomy.hiding.support.any(axis=0).astype(np.float32)
        self.register_buffer("weight", torch.from_numpy(1 + settings["focus"] * near), persistent=False)

    def _errors(self, batch: Batch, t: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Weighted means over the voxels (N,): the marginalised cross-entropy, and the divergence of a stride in nats of a whole walk."""
        clean, k = batch["clean"].long(), self.net.size.classes
        noisy = categorical.mix(clean, t, k, generator)
        logits = self.net(noisy, t.float(), self.condition(batch)).float()
        bits = torch.arange(k, device=clean.device).view(1, -1, 1, 1, 1)
        may = (batch["may"][:, None] >> bits & 1).bool()
        weight = self._window(self.weight[None], batch)[:, 0]  # type: ignore[index]
        whole = weight.sum((1, 2, 3))
        entropy = (categorical.marginal_cross_entropy(logits, may) * weight).sum((1, 2, 3)) / whole
        if not self.settings["loss"]["divergence"]:
            return entropy, torch.zeros_like(entropy)
        stride = self.settings["loss"]["stride"]
        true, guess, s = categorical.restricted(logits, may), functional.softmax(logits, 1), (t - stride).clamp_min(0)
        apart = categorical.divergence(noisy, true, guess, s, t)
        return entropy, (apart * weight).sum((1, 2, 3)) / whole * categorical.T / stride

    def condition(self, batch: Batch) -> RegionCondition:
        """What a batch gives to the network."""
        told = (batch[key] for key in ("closed", "prior", "words", "spoken", "facts", "relations"))
        return RegionCondition(batch["given"].long(), *told)

    def _window(self, whole: Tensor, batch: Batch) -> Tensor:
        """The windows (N, C, i, j, k) of a batch in an array (C, i, j, k) on the frame."""
        shape = batch["clean"].shape[1:]
        if shape == whole.shape[1:]:
            return whole[None].expand(len(batch["clean"]), -1, -1, -1, -1)
        starts = batch["start"].tolist()
        return torch.stack([whole[:, a : a + shape[0], b : b + shape[1], c : c + shape[2]] for a, b, c in starts])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Loss terms."""
        t = categorical.training_times(len(batch["clean"]), device=self.device)
        entropy, divergence = (x.mean() for x in self._errors(batch, t))
        own = self.settings["loss"]
        loss = own["entropy"] * entropy + own["divergence"] * divergence
        return {"loss": loss, "entropy": entropy.detach(), "divergence": divergence.detach()}

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        """Marginalised cross-entropy of held regions at three times, and the validity of samples made from nothing."""
        figures: dict[str, list[float]] = {}
        for n in range(self.settings["checks"]):
            rng = np.random.default_rng(n)
            arrays, told = self.held.example(n % len(self.held.items), rng)
            batch = {key: value.to(self.device) for key, value in collated([arrays], [told]).items()}
            for time in CHECK_TIMES:
                t = torch.tensor([round(time * categorical.T)], device=self.device)
                generator = torch.Generator().manual_seed(n)
                figures.setdefault(f"entropy_{time}", []).append(float(self._errors(batch, t, generator)[0]))
        figures["validity"] = [float(valid) for n in range(self.settings["samples"]) for valid in self.drawn(n).values()]
        return {key: float(np.mean(value)) for key, value in figures.items() if value}

    def drawn(self, seed: int) -> dict[str, bool]:
        """Whether each structure of a sample made from nothing lies within the limits of the training cases."""
        rng, prior, law = torch.Generator().manual_seed(seed), self.anatomy.prior, self.anatomy.law
        nothing = torch.full((1, *prior.frame.shape), NOT_GIVEN, device=self.device)
        silence = collate([said("", np.zeros((0, WIDTH)), {}, self.anatomy.classes.structures)])
        closed = torch.zeros((1, self.net.size.classes), dtype=torch.bool)
        codes = law.drawn(prior.frame, {}, None, np.random.default_rng(seed))
        log = prior.around(law.shares(codes, prior.frame, self.anatomy.classes), law.way(codes, prior.frame))
        condition = RegionCondition(nothing, closed, torch.from_numpy(log)[None], **silence).to(self.device)
        steps, count = self.settings["sample_steps"], self.net.size.classes

        def predict(x: Tensor, t: Tensor) -> Tensor:
            return self.net(x, t.float(), condition)

        logits = draw_region(predict, nothing, prior.frame, count, steps, rng, lambda *_: None, Sampling())
        found = torch.softmax(logits[0].float(), 0).cpu().numpy()
        without_crumbs(found, self.anatomy.classes)
        names = {n: name for n, name in enumerate(self.anatomy.classes.names) if n}
        return self.anatomy.limits.judge(LabelVolume(found.argmax(axis=0).astype(np.uint8), prior.frame, names))


def train_region(
    settings: dict[str, Any],
    dataset: Dataset,
    cache: Path,
    out: Path,
    *,
    minutes: float,
    resume: bool,
    device: str,
    begin: Bundle | None = None,
) -> None:
    """Train the whole-region model of a recipe; `out` gets `region.json` and `prior.safetensors` beside the weights. Raises BadRequest."""
    size = region_size(settings)
    if any(n % size.multiple for n in settings["frame"]["shape"]):
        raise BadRequest(
            f"The frame of {settings['frame']['shape']} voxels does not suit the network.", f"Use multiples of {size.multiple}."
        )
    regions = prepared_regions(dataset, settings["train"], settings, cache)
    anatomy = prepared_anatomy(regions, settings, cache)
    held = prepared_regions(dataset, settings["choose"], settings, cache)
    own = {**settings["mask"], "mirror": settings.get("mirror", True)}
    batches = []
    for split, found in ((settings["train"], regions), (settings["choose"], held)):
        told, library = prepared_statements(found, anatomy, settings, cache, split)
        codes = prepared_codes(found, anatomy.law, anatomy.classes, cache, split)
        batches.append(RegionBatches(found, told, codes, library, anatomy, own, settings["seed"]))
    save_anatomy(anatomy, out)
    stage = RegionStage(own, out, minutes, size, anatomy, batches[1])
    if begin is not None:
        try:
            stage.net.load_state_dict(begin.weights("region"))
        except (BundleCorrupt, RuntimeError) as error:
            raise BadRequest(f"Bundle '{begin.name}' has no whole-region network like the recipe's.", "Start without --init.") from error
    fit(stage, batches[0], out, resume=resume, device=device, seed=settings["seed"])


def save_anatomy(anatomy: Anatomy, out: Path) -> None:
    """What a bundle needs of the anatomy: `region.json`, and the prior (of the classes that the law does not place) and the law in fp16."""
    (out / "region.json").write_text(json.dumps(anatomy.to_dict(), indent=1))
    kept = [n for n, name in enumerate(anatomy.classes.names) if name not in anatomy.law.shapes]
    save_file({"values": torch.from_numpy(anatomy.prior.values[kept]).half(), "classes": torch.tensor(kept)}, out / "prior.safetensors")
    save_file({key: torch.from_numpy(value).half() for key, value in anatomy.law.arrays().items()}, out / "law.safetensors")


def bundle_part(settings: dict[str, Any], out: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """What the stage `mask` of the run `out` adds to a bundle: top-level metadata (with `region`), and weights by part (`region`,
    `region_prior`, `region_law`)."""
    known = json.loads((out / "mask" / "region.json").read_text())
    region = {
        "network": region_size(settings).to_dict(),
        "sampling": settings["sampling"]["region"],
        "pairs": known["pairs"],
        "limits": known["limits"],
    }
    metadata = {key: known[key] for key in ("structures", "derived", "placement", "ranges")}
    metadata |= {"frame": settings["frame"], "region": region}
    return metadata, {
        "region": load_file(out / "mask" / "weights.safetensors"),
        "region_prior": load_file(out / "mask" / "prior.safetensors"),
        "region_law": load_file(out / "mask" / "law.safetensors"),
    }
