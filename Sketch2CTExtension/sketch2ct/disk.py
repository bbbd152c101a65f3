"""Writing to disk in words that a user understands, without a reader of images. No torch."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import WriteFailed

_REASONS = {
    errno.ENOSPC: ("the disk is full", "Free some space, or choose another folder."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space, or choose another folder."),
    errno.EROFS: ("the file system is read-only", "Choose another folder."),
    errno.EACCES: ("permission was denied", "Choose a folder that you may write to."),
    errno.EPERM: ("permission was denied", "Choose a folder that you may write to."),
    errno.EEXIST: ("a part of that path is a file", "Choose another folder."),
    errno.ENOTDIR: ("a part of that path is a file", "Choose another folder."),
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a failure to write below `path` into WriteFailed, which says why."""
    try:
        yield
    except OSError as error:
        reason, hint = _REASONS.get(error.errno or 0, (error.strerror or str(error), "Choose another folder."))
        raise WriteFailed(f"Cannot write to {path}: {reason}.", hint) from error


def created() -> str:
    """The time now, UTC, ISO 8601; `SOURCE_DATE_EPOCH` (seconds since 1970) stands for it where it is set."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(epoch) if epoch.isdecimal() else None))


def process_lives(process: int) -> bool:
    """Whether the process of that number runs on this machine; on Windows always yes, where asking would end it."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
