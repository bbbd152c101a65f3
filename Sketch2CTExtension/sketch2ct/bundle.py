"""A trained model on disk: find, load, verify, save. MONAI bundle layout, safetensors only.

<name>/configs/metadata.json   vocabulary, frame, network arguments, text encoder and its hash, training data, code version
       models/*.safetensors    weights, fp16 or int8 (see `packing`)
       docs/README.md          model card
       guide.nii.gz, .json     average anatomy of the training cases on the frame, and its names (optional)
       LICENSE                 of the weights
       SHA256SUMS              of every other file
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import BundleCorrupt, BundleMissing
from .resources import resources_dir

if TYPE_CHECKING:
    import torch

SUMS = "SHA256SUMS"
NETWORKS = ("mask", "volume", "region", "region_volume")  # stored in int8
ENVIRONMENT_VARIABLE = "SKETCH2CT_BUNDLES"  # more folders of bundles, searched first


@dataclass(frozen=True)
class Bundle:
    """One bundle folder and its metadata."""

    folder: Path
    metadata: dict[str, Any]

    @property
    def name(self) -> str:
        """The bundle's name, which is its folder's."""
        return self.folder.name

    @property
    def digest(self) -> str:
        """One hash that stands for what the bundle makes: SHA-256 of the checksums of its weights and metadata, not of its card."""
        lines = (self.folder / SUMS).read_text(encoding="utf-8").splitlines()
        made_of = [line for line in lines if line.partition("  ")[2].startswith(("configs/", "models/"))]
        return hashlib.sha256("\n".join(made_of).encode()).hexdigest()

    def weights(self, part: str) -> dict[str, torch.Tensor]:
        """The tensors of `models/<part>.safetensors`, as float32 on the CPU. Raises BundleCorrupt."""
        from safetensors.torch import load_file

        from .packing import unpacked

        try:
            tensors = load_file(self.folder / "models" / f"{part}.safetensors")
        except Exception as error:
            raise BundleCorrupt(f"Cannot read the weights '{part}' of bundle '{self.name}': {error}.", REINSTALL) from error
        return unpacked(tensors)


REINSTALL = "Install the bundle again."


@contextmanager
def reading(bundle: Bundle, part: str) -> Iterator[None]:
    """Turns what a bundle with missing or unfitting metadata or weights raises into BundleCorrupt."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" in str(error).lower():
            raise
        raise BundleCorrupt(f"Bundle '{bundle.name}' cannot be used by the generator '{part}': {error!r}.", REINSTALL) from error


def folders() -> list[Path]:
    """Where bundles are looked for: those the environment names, then the shipped ones."""
    named = os.environ.get(ENVIRONMENT_VARIABLE, "")
    return [Path(p).expanduser() for p in named.split(os.pathsep) if p] + [resources_dir() / "Bundles"]


def available() -> list[Path]:
    """The bundle folders found, first of each name."""
    found: dict[str, Path] = {}
    for parent in folders():
        if parent.is_dir():
            for folder in sorted(parent.iterdir()):
                if (folder / "configs" / "metadata.json").is_file():
                    found.setdefault(folder.name, folder)
    return list(found.values())


def load(name: str, *, check: bool = True) -> Bundle:
    """A bundle by name or by folder path. Raises BundleMissing, or BundleCorrupt when a checksum differs."""
    candidates = {folder.name: folder for folder in available()}
    folder = candidates.get(name) or (Path(name) if (Path(name) / "configs" / "metadata.json").is_file() else None)
    if folder is None:
        known = ", ".join(candidates) or "none"
        raise BundleMissing(f"There is no bundle '{name}'.", f"Installed: {known}. Use 'sketch2ct bundles install FILE'.")
    if check:
        verify(folder)
    try:
        metadata = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleCorrupt(f"The metadata of bundle '{name}' is not valid JSON: {error}.", REINSTALL) from error
    return Bundle(folder.resolve(), metadata)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(stream.read())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != SUMS)


def verify(folder: Path) -> int:
    """Check every file against SHA256SUMS; the number of files. Raises BundleCorrupt naming the first bad file."""
    sums = folder / SUMS
    if not sums.is_file():
        raise BundleCorrupt(f"Bundle '{folder.name}' has no {SUMS}.", REINSTALL)
    lines = [line.partition("  ") for line in sums.read_text(encoding="utf-8").splitlines() if line]
    listed = {name: expected for expected, _, name in lines}
    for name, expected in listed.items():
        path = folder / name
        if not path.is_file():
            raise BundleCorrupt(f"Bundle '{folder.name}' lacks the file {name}.", REINSTALL)
        if file_digest(path) != expected:
            raise BundleCorrupt(f"Bundle '{folder.name}': the file {name} is damaged (its SHA-256 differs).", REINSTALL)
    unlisted = [p for p in _files(folder) if p.relative_to(folder).as_posix() not in listed]
    if unlisted:
        raise BundleCorrupt(f"Bundle '{folder.name}' holds a file that its checksums do not name: {unlisted[0].name}.", REINSTALL)
    return len(listed)


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS over every file of a bundle folder."""
    lines = [f"{file_digest(p)}  {p.relative_to(folder).as_posix()}" for p in _files(folder)]
    (folder / SUMS).write_text("\n".join(lines) + "\n", encoding="utf-8")


def save(folder: Path, metadata: dict[str, Any], weights: dict[str, dict[str, torch.Tensor]], card: str, licence: str) -> Bundle:
    """Write a bundle: weights as safetensors (the networks' in int8, the rest in fp16), metadata, model card, licence, checksums."""
    from safetensors.torch import save_file

    from .packing import packed

    for name in ("configs", "models", "docs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for part, tensors in weights.items():
        try:
            stored = packed(tensors, small=part in NETWORKS)
        except ValueError as error:
            raise ValueError(f"The weights '{part}' hold values that are no numbers; train that stage again ({error}).") from error
        path = folder / "models" / f"{part}.safetensors"
        save_file(stored, path)
        path.chmod(0o644)  # safetensors leaves it to its owner alone
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "docs" / "README.md").write_text(card, encoding="utf-8")
    (folder / "LICENSE").write_text(licence, encoding="utf-8")
    write_sums(folder)
    return Bundle(folder, metadata)
