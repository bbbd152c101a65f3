"""Install a bundle from a zip file: unpacked aside, verified, and only then visible. No torch."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from . import bundle
from .errors import BadRequest, BundleCorrupt
from .results import writing

MAX_BYTES = 8 * 2**30  # unpacked
MAX_FILES = 1000
_METADATA = ("configs", "metadata.json")


def install(archive: Path, *, replace: bool = False) -> Path:
    """Unpack, verify and install a bundle; its folder.

    It goes to the first folder that SKETCH2CT_BUNDLES names, else to the shipped bundles. Raises BadRequest for a file
    that is no bundle or a name that is taken, BundleCorrupt for a damaged one, WriteFailed.
    """
    archive = Path(archive)
    try:
        with zipfile.ZipFile(archive) as packed:
            return _install(packed, archive.name.removesuffix(".zip"), bundle.folders()[0], replace)
    except FileNotFoundError as error:
        raise BadRequest(f"There is no file {archive}.") from error
    except zipfile.BadZipFile as error:
        raise BadRequest(f"{archive} is not a complete zip file ({error}).", "Download it again.") from error
    except OSError as error:
        raise BadRequest(f"Cannot read {archive}: {error.strerror}.") from error


def _install(packed: zipfile.ZipFile, stem: str, parent: Path, replace: bool) -> Path:
    members = _members(packed)
    root = _root(members)
    name = root.name or stem
    if not name.replace("-", "").replace("_", "").isalnum():
        raise BadRequest(f"The bundle's name '{name}' holds characters that a request cannot.", "Rename the zip file.")
    target = parent / name
    if target.exists() and not replace:
        raise BadRequest(f"There is a bundle '{name}' in {parent} already.", "Replace it with --replace.")
    aside = parent / f".installing-{os.getpid()}"
    try:
        with writing(aside):
            for info, path in members:
                if path.is_relative_to(root) and not info.is_dir():
                    _unpack(packed, info, aside / name / path.relative_to(root))
        bundle.verify(aside / name)
        with writing(target):
            if target.exists():
                os.replace(target, aside / ".old")
            os.replace(aside / name, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _members(packed: zipfile.ZipFile) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Every entry with its path. Raises BadRequest for a path that leaves the folder, a link, or too much to unpack."""
    entries = packed.infolist()
    if len(entries) > MAX_FILES or sum(info.file_size for info in entries) > MAX_BYTES:
        raise BadRequest(f"The zip file unpacks to more than {MAX_FILES} files or {MAX_BYTES // 2**30} GiB.")
    found = []
    for info in entries:
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in info.filename or stat.S_ISLNK(info.external_attr >> 16):
            raise BadRequest(f"The zip file holds the unsafe entry {info.filename!r}.", "Nothing was installed.")
        found.append((info, path))
    return found


def _root(members: list[tuple[zipfile.ZipInfo, PurePosixPath]]) -> PurePosixPath:
    """The folder inside the zip that is the bundle."""
    roots = [path.parent.parent for _, path in members if path.parts[-2:] == _METADATA]
    if len(roots) != 1:
        raise BadRequest("The zip file holds no bundle, or several.", f"One {'/'.join(_METADATA)} is needed.")
    return roots[0]


def _unpack(packed: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with packed.open(info) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, 2**20)
    except (zipfile.BadZipFile, EOFError) as error:
        raise BundleCorrupt(f"The zip file is damaged at {info.filename}: {error}.", "Download it again.") from error
