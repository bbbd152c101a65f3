"""Which bundles work together on one request: the one that makes the mask, one that completes its surroundings, one that makes the CT.

A bundle's metadata list under `generators` what it holds: `{"mask": [names], "volume": [names]}`; a bundle without that list is not
checked here. No torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import bundle, framing
from .bundle import Bundle
from .errors import BadRequest, BundleMissing, Sketch2CTError
from .modality import of
from .request import NONE, WHOLE_REGION, GenerationRequest

_STAGES = {"mask": "mask_generator", "volume": "volume_generator"}
_PARTS = {("guidegen", False): "region", ("guidegen", True): "region_volume"}  # of the metadata; else the stage's name


@dataclass(frozen=True)
class Bundles:
    """The bundles of one request; `surroundings` None where they are not completed, `volume` often the same as `mask`."""

    mask: Bundle
    surroundings: Bundle | None
    volume: Bundle

    @property
    def around(self) -> dict[str, Any] | None:
        """The metadata of the bundle that completes the surroundings."""
        return None if self.surroundings is None else self.surroundings.metadata

    @property
    def order(self) -> list[str]:
        """The names of the label values 1, 2, ... of the result."""
        return framing.label_order(self.mask.metadata, self.around)

    @property
    def metadata(self) -> dict[str, Any]:
        """The mask bundle's metadata; of structures that it does not know, what the completing bundle knows of volume and HU; of the CT's
        contrast, what the bundle that makes it knows."""
        known = dict(self.mask.metadata)
        if self.around is not None:
            known |= {key: {**self.around.get(key, {}), **known.get(key, {})} for key in ("ranges", "hu")}
        if self.volume.folder != self.mask.folder:
            known.pop("region_volume", None)
            known |= {key: self.volume.metadata[key] for key in ("region_volume",) if key in self.volume.metadata}
        return known

    def plan(self, request: GenerationRequest) -> framing.Plan:
        """As `framing.plan`."""
        return framing.plan(request, self.mask.metadata, self.around)

    def facts(self, request: GenerationRequest) -> dict[str, Any]:
        """For the manifest: of each stage the bundle, its hash and version, the generator and its sampling steps; `{}` of a single bundle,
        which the manifest names anyway."""
        if self.surroundings is None and self.volume.folder == self.mask.folder:
            return {}
        stages = {"mask": (self.mask, request.mask_generator), "surroundings": (self.surroundings, WHOLE_REGION[0])}
        stages["volume"] = (self.volume, request.volume_generator)
        used = {stage: (own, name) for stage, (own, name) in stages.items() if own is not None and name != NONE}
        return {"bundles": {stage: _facts(own, name, stage, request.steps) for stage, (own, name) in used.items()}}


def _facts(own: Bundle, generator: str, stage: str, steps: int | None) -> dict[str, Any]:
    """`steps` are those asked for, else the bundle's own, None where its metadata do not tell."""
    part = own.metadata.get(_PARTS.get((generator, stage == "volume"), stage), {})
    usual = part.get("sampling", part).get("steps")
    facts = {"bundle": own.name, "bundle_hash": own.digest, "version": own.metadata.get("version")}
    return facts | {"generator": generator, "steps": steps or usual}


def load(request: GenerationRequest, loaded: Callable[[str], Bundle] = bundle.load) -> Bundles:
    """The bundles of a request. Raises BadRequest when they do not suit one another or lack the generator, BundleMissing, BundleCorrupt."""
    mask = loaded(request.bundle)
    others = {name: _second(name, kind, loaded) for kind, name in _named(request).items()}
    found = Bundles(mask, others.get(request.surroundings or ""), others.get(request.volume_bundle or "", mask))
    _check_generator("mask", request.mask_generator, found.mask)
    _check_generator("volume", request.volume_generator, found.volume)
    for other in others.values():
        if of(other.metadata) != of(mask.metadata):
            kinds = f"'{mask.name}' is for {of(mask.metadata).name}, '{other.name}' for {of(other.metadata).name}"
            raise BadRequest(f"The bundles do not suit one another: {kinds}.", "Choose bundles of one kind of image.")
    return found


def _named(request: GenerationRequest) -> dict[str, str]:
    """What a second bundle is for -> its name."""
    both = {"The surroundings are to be completed": request.surroundings, "The CT is to be made": request.volume_bundle}
    return {kind: name for kind, name in both.items() if name is not None}


def _second(name: str, kind: str, loaded: Callable[[str], Bundle]) -> Bundle:
    try:
        return loaded(name)
    except BundleMissing as error:
        hint = f"Install it with 'sketch2ct bundles install FILE', or leave it out. {error.hint}"
        raise BundleMissing(f"{kind} by the bundle '{name}', which is not installed.", hint) from error


def _check_generator(stage: str, name: str, own: Bundle) -> None:
    listed = own.metadata.get("generators", {}).get(stage)
    if listed and name != NONE and name not in listed:
        kind = {"mask": "mask generator", "volume": "volume generator"}[stage]
        raise BadRequest(f"The bundle '{own.name}' has no {kind} '{name}'.", f"It has: {', '.join(listed)}; name that as the {kind}.")


def completing(name: str) -> str:
    """The installed bundle that completes the surroundings of what the bundle `name` makes; one of its own model first.

    Of several, the one that knows most of its structures. Raises BundleMissing when there is none.
    """
    own = bundle.load(name, check=False)
    if "region" in own.metadata:
        return name
    best, most = "", 0
    for folder in bundle.available():
        try:
            other = bundle.load(folder.name, check=False).metadata
        except Sketch2CTError:
            continue  # a damaged one is told when it is asked for
        shared = len(set(other.get("structures", [])) & set(own.metadata.get("structures", [])))
        if "region" in other and shared > most and of(other) == of(own.metadata):
            best, most = folder.name, shared
    if not best:
        raise BundleMissing(
            f"No installed bundle completes the surroundings of what '{name}' makes.",
            "Install one of GuideGen, such as headneck-guidegen, with 'sketch2ct bundles install FILE'.",
        )
    return best


def fitted(request: GenerationRequest, *stages: str) -> GenerationRequest:
    """The request with, for each of the stages ("mask", "volume"), the first generator of its bundle in the place of one that the bundle
    lacks."""
    changes = {}
    for stage in stages:
        name = request.bundle if stage == "mask" else request.volume_bundle or request.bundle
        listed = bundle.load(name, check=False).metadata.get("generators", {}).get(stage) or [getattr(request, _STAGES[stage])]
        if getattr(request, _STAGES[stage]) not in (NONE, *listed):
            changes[_STAGES[stage]] = listed[0]
    return request.with_changes(**changes)
