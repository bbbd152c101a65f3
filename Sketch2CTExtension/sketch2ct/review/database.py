"""The file `reviews.sqlite`: opening, the table's versions, and errors in words. Standard library only.

Version 2 (`PRAGMA user_version`), one table, rows are only ever added:

    verdict   id TEXT PRIMARY KEY (uuid4), case_name, reviewer, status, realism, anatomy, agreement, note, guess, mask_version,
              at (ISO 8601, UTC, microseconds), bundle_hash, undoes (id of the row that this one takes back, or NULL)

Version 1 had neither guess nor mask_version nor undoes, and NULL for no note. The journal is SQLite's plain one (journal_mode
DELETE): the file is whole by itself, can be copied by hand, and works on network drives.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ..disk import writing
from ..errors import BadRequest, Sketch2CTError, WriteFailed

VERSION = 2
_FIRST = ("id", "case_name", "reviewer", "status", "realism", "anatomy", "agreement")
COLUMNS = (*_FIRST, "note", "guess", "mask_version", "at", "bundle_hash", "undoes")
_NEW_IN_2 = ("guess", "mask_version", "undoes")
_NULL_IN_1 = ("note", "bundle_hash")  # where version 2 has an empty text
_BUSY_S = 2.0  # how long to wait for another program: a reviewer sits in front of it
_SCORE = "INTEGER CHECK ({0} IS NULL OR {0} BETWEEN 1 AND 5)"
_TABLE = f"""
CREATE TABLE {{name}} (
    id TEXT PRIMARY KEY NOT NULL,
    case_name TEXT NOT NULL,
    reviewer TEXT NOT NULL,
    status TEXT CHECK (status IS NULL OR status IN ('accepted', 'rejected', 'needs_edit')),
    realism {_SCORE.format("realism")},
    anatomy {_SCORE.format("anatomy")},
    agreement {_SCORE.format("agreement")},
    note TEXT NOT NULL DEFAULT '',
    guess TEXT CHECK (guess IS NULL OR guess IN ('real', 'synthetic')),
    mask_version INTEGER NOT NULL DEFAULT 0,
    at TEXT NOT NULL,
    bundle_hash TEXT NOT NULL DEFAULT '',
    undoes TEXT
)"""
_INDEX = "CREATE INDEX verdict_case ON verdict (case_name, reviewer, at)"
# What SQLite says -> what it means here, and what to do. The first match counts.
_WORDS = (
    ("locked", WriteFailed, "another program is writing to it", "Close the other program, or wait a moment, and do it again."),
    ("readonly", WriteFailed, "it or its folder is read-only", "Copy the cohort to a folder that you may write to; reviews can be merged."),
    ("full", WriteFailed, "the disk is full", "Free some space, and do it again. Earlier verdicts are safe."),
    ("unable to open", WriteFailed, "the folder is gone, or you may not write to it", "Check the folder."),
    ("disk i/o", WriteFailed, "the disk failed", "Check the disk, and do it again. Earlier verdicts are safe."),
)
_DAMAGED = "It was not changed. Move it away and put a copy in its place, or begin anew and merge what 'sqlite3 FILE .recover' saves of it."


@contextmanager
def opened(path: Path, *, write: bool = False) -> Iterator[sqlite3.Connection]:
    """The database, brought to the present version, inside one transaction when `write`: committed at the end of the block.

    Raises WriteFailed (locked, read-only, disk full) or BadRequest (damaged, newer than this program). Nothing is written then.
    """
    with _in_words(path), closing(_connect(path, create=write)) as database:
        _upgrade(database, path)
        if not write:
            yield database
            return
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
            database.execute("COMMIT")
        except BaseException:
            _roll_back(database)
            raise


def check(path: Path) -> None:
    """Look at every page. Raises BadRequest when the file is damaged, else as `opened` does."""
    with opened(path) as database, _in_words(path):
        found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise BadRequest(f"{path} is damaged: {found}.", _DAMAGED)


def is_writable(path: Path) -> bool:
    """Whether verdicts could be added, as far as permissions tell: SQLite needs the folder, too."""
    return os.access(path.parent, os.W_OK | os.X_OK) and (not path.exists() or os.access(path, os.W_OK))


def _connect(path: Path, *, create: bool) -> sqlite3.Connection:
    location = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"  # a file that may not be written to is still read
    database = sqlite3.connect(location, uri=True, timeout=_BUSY_S, isolation_level=None)
    database.row_factory = sqlite3.Row
    # EXTRA is FULL, and the folder's entry of the journal is on the disk as well: a verdict survives a power failure.
    database.execute("PRAGMA synchronous = EXTRA")
    return database


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _tables(database: sqlite3.Connection) -> set[str]:
    return {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _upgrade(database: sqlite3.Connection, path: Path) -> None:
    version = _version(database)
    if version > VERSION:
        told = f"{path} was written by a newer version of this program (its version is {version}, this program knows {VERSION})."
        raise BadRequest(told, "Install the newer version. The file was not changed.")
    if version == VERSION:
        return
    if version == 0 and _tables(database):
        raise BadRequest(f"{path} is a database, but not one of reviews.", "Move it away.")
    database.execute("BEGIN IMMEDIATE")
    try:
        if _version(database) == version:  # else another program was faster
            _create(database) if version == 0 else _from_1(database, path)
        database.execute("COMMIT")
    except BaseException:
        _roll_back(database)
        raise


def _roll_back(database: sqlite3.Connection) -> None:
    if database.in_transaction:  # SQLite itself has ended it after a full disk
        database.execute("ROLLBACK")


def _create(database: sqlite3.Connection) -> None:
    database.execute(_TABLE.format(name="verdict"))
    database.execute(_INDEX)
    database.execute(f"PRAGMA user_version = {VERSION}")


def _from_1(database: sqlite3.Connection, path: Path) -> None:
    """Version 1 -> 2, in the transaction that is open; a copy of the old file stays beside it."""
    _keep_copy(path)
    kept = [name for name in COLUMNS if name not in _NEW_IN_2]
    values = [f"coalesce({name}, '')" if name in _NULL_IN_1 else name for name in kept]
    database.execute(_TABLE.format(name="verdict_2"))
    database.execute(f"INSERT INTO verdict_2 ({', '.join(kept)}) SELECT {', '.join(values)} FROM verdict")
    database.execute("DROP TABLE verdict")
    database.execute("ALTER TABLE verdict_2 RENAME TO verdict")
    database.execute(_INDEX)
    database.execute(f"PRAGMA user_version = {VERSION}")


def _keep_copy(path: Path) -> None:
    """`reviews.sqlite.v1`, or the next free name when there is another file of that name. Nobody writes meanwhile."""
    with writing(path.parent):
        content, number = path.read_bytes(), 1
        copy = path.with_name(f"{path.name}.v1")
        while copy.exists() and copy.read_bytes() != content:
            number += 1
            copy = path.with_name(f"{path.name}.v1-{number}")
        partial = path.with_name(f".{copy.name}.{os.getpid()}")
        try:
            shutil.copyfile(path, partial)
            os.replace(partial, copy)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise BadRequest(f"{path} refuses the verdict: {error}.") from error
    except sqlite3.Error as error:
        raise _told(path, str(error)) from error


def _told(path: Path, text: str) -> Sketch2CTError:
    for words, kind, reason, hint in _WORDS:
        if words in text.lower():
            return kind(f"Cannot use {path}: {reason}.", hint)
    return BadRequest(f"{path} is damaged or no database of reviews: {text}.", _DAMAGED)
