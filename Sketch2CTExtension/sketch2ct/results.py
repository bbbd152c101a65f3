"""The result folder on disk: labels, CT, request and manifest, complete or absent. No torch.

The images and the request are the same bytes for the same request and seed; what differs between runs (times, memory,
the date) is in `manifest.json` alone.
"""

from __future__ import annotations

import glob
import gzip
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .disk import created, process_lives, writing
from .errors import BadRequest, WriteFailed
from .geometry import Grid
from .imaging import CTVolume, LabelVolume, write_nifti
from .request import GenerationRequest

__all__ = ["MANIFEST", "Result", "check_out", "staged", "write_image", "write_images", "write_manifest", "writing"]

MANIFEST = "manifest.json"
RESULT = (MANIFEST, f"sample-001/{MANIFEST}")  # what tells a result, or several samples, from a folder that must not be replaced
_SLACK_BYTES = 2**20  # the JSON files, and room for the file system's own records
_BYTES_PER_VOXEL = 6  # labels and CT, once plain and once (at worst just as large) compressed


@dataclass
class Result:
    """One generated sample, ready to be written; `ct` is None when the mask alone was asked for."""

    labels: LabelVolume
    ct: CTVolume | None
    request: GenerationRequest


@contextmanager
def staged(out: Path, *, replace: bool = False, voxels: int = 0, marks: tuple[str, ...] = RESULT) -> Iterator[Path]:
    """A hidden folder beside `out` to write into; it becomes `out` when the block ends well, and vanishes otherwise.

    `voxels` is how many will be written: too little free disk space is refused first. With `replace`, a folder that has one of
    the files `marks` is replaced. Raises BadRequest when `out` is taken, WriteFailed when it cannot be written.
    """
    with _partial(out, replace, voxels, marks) as (partial, target):
        yield partial
        with writing(target):
            _swap(partial, target)


def check_out(out: Path, *, replace: bool = False, voxels: int = 0, marks: tuple[str, ...] = RESULT) -> None:
    """Raises what `staged` would, at once; leaves nothing behind."""
    with _partial(out, replace, voxels, marks):
        return


@contextmanager
def _partial(out: Path, replace: bool, voxels: int, marks: tuple[str, ...]) -> Iterator[tuple[Path, Path]]:
    """The hidden folder, and what `out` really is; parents that had to be made go again if nothing came of it."""
    out = Path(os.path.realpath(Path(out).expanduser()))
    _check_free(out, replace, marks)
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    made = [parent for parent in out.parents if not parent.exists()]
    try:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            _sweep(out)
            partial.mkdir()
            _check_space(out, voxels)
        yield partial, out
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def _sweep(out: Path) -> None:
    """Remove what killed processes left beside `out`; a folder of another living process stays."""
    for left in out.parent.glob(f".{glob.escape(out.name)}.partial-*"):
        number = left.name.rpartition("-")[2]
        if number.isdecimal() and (int(number) == os.getpid() or not process_lives(int(number))):
            shutil.rmtree(left, ignore_errors=True)


def _check_free(out: Path, replace: bool, marks: tuple[str, ...]) -> None:
    with writing(out):
        if not out.exists():
            return
        if not out.is_dir():
            raise BadRequest(f"{out} is a file, not a folder.", "Choose another name for the result.")
        content = sorted(item.name for item in out.iterdir())
        if content and not replace:
            raise BadRequest(f"The folder {out} is not empty.", "Choose another one, or replace it with --replace.")
        if content and not any((out / mark).is_file() for mark in marks):
            raise BadRequest(f"The folder {out} holds other things than a result ({content[0]}).", "Choose another.")


def _check_space(out: Path, voxels: int) -> None:
    needed, free = voxels * _BYTES_PER_VOXEL + _SLACK_BYTES, shutil.disk_usage(out.parent).free
    if free < needed:
        raise WriteFailed(
            f"Cannot write to {out}: the disk is full ({_mib(free)} free, up to {_mib(needed)} needed).",
            "Free some space, or choose another folder.",
        )


def _mib(size: float) -> str:
    return f"{size / 2**20:.1f} MiB"


def _swap(partial: Path, out: Path) -> None:
    """`partial` becomes `out`; what was there goes only afterwards."""
    old = out.with_name(f".{out.name}.old-{os.getpid()}")
    if not out.exists():
        os.replace(partial, out)
        return
    os.replace(out, old)
    try:
        os.replace(partial, out)
    except OSError:
        os.replace(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_images(folder: Path, result: Result) -> bytes:
    """Write one sample's images, label names and request into `folder`, which is made; the request's bytes.

    Raises WriteFailed.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_image(folder / "labels.nii.gz", result.labels.array, result.labels.grid)
        if result.ct is not None:
            write_image(folder / "ct.nii.gz", result.ct.array, result.ct.grid)
        names = {str(value): name for value, name in sorted(result.labels.names.items())}
        _write_json(folder / "labels.json", names)
        result.request.write(folder / "request.json")
        return (folder / "request.json").read_bytes()


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Write `manifest.json`: `facts` under the notice that the result is synthetic. Raises WriteFailed."""
    notice = {"synthetic": True, "not_for_clinical_use": True, "created": created()}
    with writing(folder):
        _write_json(folder / MANIFEST, notice | facts)


def write_image(path: Path, array: Any, grid: Grid) -> None:
    """A `.nii.gz` whose bytes depend on the image alone: no date and no file name in the gzip header."""
    plain = path.with_name(path.name.removesuffix(".gz"))
    try:
        write_nifti(plain, array, grid)
        with plain.open("rb") as source, path.open("wb") as raw:
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed:
                shutil.copyfileobj(source, packed, 2**20)
            raw.flush()
            os.fsync(raw.fileno())
    finally:
        plain.unlink(missing_ok=True)


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
