"""The model behind an export: its name, hash, modality and the licence of its weights. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..bundle import load
from ..errors import BundleCorrupt, BundleMissing
from ..modality import CT, Modality, of
from .case import ExportCase

UNKNOWN_LICENCE = "unknown: the bundle is not installed here; ask for the LICENSE file of its weights before you pass the data on"


@dataclass(frozen=True)
class Model:
    """`hashes` by number of cases; `licence` in a line, `licence_text` the bundle's LICENSE file or nothing; `modality` of the images."""

    bundle: str
    hashes: dict[str, int]
    versions: list[dict[str, str]]
    licence: str = UNKNOWN_LICENCE
    licence_text: str = ""
    modality: Modality = CT
    training_data: str = ""
    generators: dict[str, int] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """The hash of most cases."""
        return next(iter(self.hashes), "")


def model_of(cases: Sequence[ExportCase]) -> Model:
    """What made the cases, from their manifests; licence and modality from the bundle, where the same one is installed."""
    manifests = [one.manifest() for one in cases]
    bundles = Counter(str(manifest.get("bundle", "")) for manifest in manifests)
    hashes = Counter(str(manifest.get("bundle_hash", "")) for manifest in manifests)
    name = bundles.most_common(1)[0][0]
    versions = [dict(items) for items in {tuple(sorted(manifest.get("versions", {}).items())) for manifest in manifests}]
    generators = Counter(_generators(one) for one in cases)
    facts: dict[str, Any] = {"hashes": dict(hashes.most_common()), "versions": sorted(versions, key=str), "generators": dict(generators)}
    try:
        bundle = load(name, check=False)
        same = bundle.digest in hashes
    except (BundleMissing, BundleCorrupt, OSError, ValueError):
        return Model(", ".join(sorted(bundles)), **facts)
    if not same:
        return Model(", ".join(sorted(bundles)), **facts, modality=of(bundle.metadata))
    path = bundle.folder / "LICENSE"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    licence = str(bundle.metadata.get("licence") or text.strip().partition("\n")[0] or UNKNOWN_LICENCE)
    known: dict[str, Any] = {
        "licence": licence,
        "licence_text": text,
        "modality": of(bundle.metadata),
        "training_data": _trained_on(bundle.metadata),
    }
    return Model(", ".join(sorted(bundles)), **facts, **known)


def _generators(one: ExportCase) -> str:
    request = one.case.request()
    return f"mask {request.mask_generator}, CT {request.volume_generator}"


def _trained_on(metadata: dict[str, Any]) -> str:
    training = metadata.get("training")
    return str(training.get("data", "")) if isinstance(training, dict) else ""
