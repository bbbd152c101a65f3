"""One Engine behind JSON lines on stdin and stdout: protocol version 1. Free text goes to stderr only. UTF-8.

In, one object a line, at most MAX_LINE bytes:
    {"type": "generate", "id": ID, "request": {...}, "out": FOLDER, "replace": false}     `replace` may be absent
    {"type": "cancel", "id": ID}          also takes a job back that still waits
    {"type": "shutdown"}                  ends after the running job is cancelled; so does the end of input
Out:
    {"type": "ready", "protocol": 1, "pid": PID, "versions": {...}, "devices": [...], "bundles": [...]}
    {"type": "progress", "id", "stage", "step", "steps", "fraction", "eta_s"}       eta_s may be null
    {"type": "result", "id", "folder", "samples": [FOLDER, ...]}
    {"type": "error", "id", "code", "message", "hint"}          id null when the line had none
ID is a string or a whole number. Codes: CODES. Jobs run one after another, in the order of their lines.
PID is this process's own number: the client may have started it through a launcher.
A job that does not stop within GRACE_S seconds of the end of the input is given up, and the process ends with status 1.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from . import PROTOCOL_VERSION, bundle, memory
from .errors import BadRequest, Cancelled, Sketch2CTError
from .generation import Progress
from .request import GenerationRequest

MAX_LINE = 16 * 2**20
CODES = ("bad_request", "out_of_memory", "bundle_missing", "bundle_corrupt", "cancelled", "internal")
GRACE_S = 5.0
_PROGRESS_EVERY_S = 0.1
_POLL_S = 0.02
_NICENESS = 5  # below the desktop's own work, which must stay fluid
_KEYS = {"generate": {"id", "request", "out"}, "cancel": {"id"}, "shutdown": set()}


class Outlet:
    """The protocol's way out: one JSON object a line. When nobody reads any more, `closed` is set."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._lock = stream, threading.Lock()
        self.closed = threading.Event()

    def send(self, kind: str, **values: Any) -> None:
        """Write one event."""
        line = json.dumps({"type": kind, **values}, ensure_ascii=False, allow_nan=False) + "\n"
        with self._lock:
            try:
                self._stream.write(line.encode("utf-8", errors="replace"))
                self._stream.flush()
            except (BrokenPipeError, ValueError):  # the reader is gone, or the stream was closed with it
                self.closed.set()

    def error(self, job: str | int | None, error: Sketch2CTError) -> None:
        """Write an error event."""
        code = error.code if error.code in CODES else "internal"
        self.send("error", id=job, code=code, message=error.message, hint=error.hint)


@dataclass
class Job:
    """One generate line."""

    id: str | int
    request: Any
    out: Path
    replace: bool
    cancel: threading.Event = field(default_factory=threading.Event)


class Jobs:
    """The queue between the reader and the engine."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._open: dict[str | int, Job] = {}
        self._changed = threading.Condition()
        self._ended = False

    def add(self, job: Job) -> None:
        """Put a job at the end. Raises BadRequest when its id is in use."""
        with self._changed:
            if job.id in self._open:
                raise BadRequest(f"A job with the id {job.id!r} is open already.", "Give each job its own id.")
            self._open[job.id] = job
            self._jobs.append(job)
            self._changed.notify()

    def cancel(self, job: str | int) -> bool:
        """Cancel an open job, running or waiting; False when there is none."""
        with self._changed:
            if job in self._open:
                self._open[job].cancel.set()
            return job in self._open

    def end(self) -> None:
        """Cancel every job; `take` returns None after the last."""
        with self._changed:
            self._ended = True
            for job in self._open.values():
                job.cancel.set()
            self._changed.notify()

    def take(self) -> Job | None:
        """Wait for the next job; None after the end."""
        with self._changed:
            # Woken twice a second, so that a signal's handler gets its turn.
            while not self._jobs and not self._ended:
                self._changed.wait(0.5)
            return self._jobs.popleft() if self._jobs else None

    def close(self, job: Job) -> None:
        """The job is done: its id is free."""
        with self._changed:
            self._open.pop(job.id, None)


def read_lines(stream: BinaryIO, jobs: Jobs, outlet: Outlet) -> None:
    """Turn lines into jobs until the input ends or says so; a bad line gets an error, and the next is read."""
    try:
        while line := stream.readline(MAX_LINE + 1):
            if not line.strip():
                continue
            if not _understood(line, stream, jobs, outlet):
                return
    finally:
        jobs.end()


def _understood(line: bytes, stream: BinaryIO, jobs: Jobs, outlet: Outlet) -> bool:
    """Act on one line; False when it asks to shut down."""
    name: str | int | None = None
    try:
        if len(line) > MAX_LINE and not line.endswith(b"\n"):
            while (rest := stream.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                pass
            raise BadRequest(f"The line is longer than {MAX_LINE} bytes.")
        message = _parse(line)
        name = _id(message.get("id"))
        _check(message, name)
        if message["type"] == "generate" and name is not None:
            jobs.add(Job(name, message["request"], Path(message["out"]), message.get("replace", False)))
        elif message["type"] == "cancel" and name is not None and not jobs.cancel(name):
            # Not this id's own error: a job may end while its cancel is on the way.
            outlet.error(None, BadRequest(f"There is no open job with the id {name!r} to cancel."))
        return message["type"] != "shutdown"
    except Sketch2CTError as error:
        outlet.error(name, error)
        return True


def _parse(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The line is not valid JSON: {error}.") from error
    if not isinstance(message, dict):
        raise BadRequest("A line must be a JSON object.")
    return message


def _id(value: Any) -> str | int | None:
    return value if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def _check(message: dict[str, Any], name: str | int | None) -> None:
    kind = message.get("type")
    if not isinstance(kind, str) or kind not in _KEYS:
        raise BadRequest(f"Unknown message type {kind!r}.", f"Known: {', '.join(_KEYS)}.")
    wanted = _KEYS[kind]
    missing = sorted(wanted - set(message))
    unknown = sorted(set(message) - wanted - {"type", "id"} - ({"replace"} if kind == "generate" else set()))
    if missing or unknown:
        problem = f"lacks {', '.join(missing)}" if missing else f"has unknown keys: {', '.join(unknown)}"
        raise BadRequest(f"The '{kind}' message {problem}.")
    if "id" in wanted and name is None:
        raise BadRequest("An id must be a string or a whole number.")
    if kind == "generate" and (not isinstance(message["out"], str) or not message["out"] or "\0" in message["out"]):
        raise BadRequest("'out' must be the path of a folder.")
    if not isinstance(message.get("replace", False), bool):
        raise BadRequest("'replace' must be true or false.")


def _reporter(job: Job, outlet: Outlet) -> Progress:
    """Progress as events, at most ten a second within a stage."""
    last = ("", 0.0)

    def report(stage: str, step: int, steps: int, fraction: float, eta: float | None) -> None:
        nonlocal last
        now = time.monotonic()
        if outlet.closed.is_set():
            job.cancel.set()
        if stage == last[0] and step < steps and now - last[1] < _PROGRESS_EVERY_S:
            return
        last = (stage, now)
        eta_s = None if eta is None else round(eta, 1)
        values = {"stage": stage, "step": step, "steps": steps, "fraction": round(fraction, 4), "eta_s": eta_s}
        outlet.send("progress", id=job.id, **values)

    return Progress(report=report, cancel=job.cancel)


class Preload(threading.Thread):
    """Imports, while the worker waits for its first job, what that job would have to wait for."""

    def __init__(self) -> None:
        super().__init__(daemon=True)

    def run(self) -> None:
        """Import; what fails is told by the job that needs it."""
        from . import masks, volumes

        # Torch imports the first when determinism is asked for, transformers the second for its model class.
        names = ["torch._inductor.config", "transformers.models.bert.modeling_bert"]
        names += [f"{package.__name__}.{name}" for package in (masks, volumes) for name in package.GENERATORS]
        for name in names:
            try:
                import_module(name)
            except Exception as error:
                print(f"not loaded ahead: {name}: {error}", file=sys.stderr)

    def wait(self, job: Job, progress: Progress) -> None:
        """Until everything is here. Raises Cancelled at once when the job is cancelled, which an import would not."""
        progress("load", 0, 1)
        while self.is_alive():
            if job.cancel.wait(_POLL_S):
                raise Cancelled()


@contextmanager
def _cancellable(job: Job) -> Iterator[None]:
    """Cancels between the layers of a network too: one step, or the decoding, of a large frame takes seconds on a CPU."""
    if "torch" not in sys.modules:  # an engine without networks
        yield
        return
    from torch.nn.modules.module import register_module_forward_pre_hook

    def check(*_: Any) -> None:
        if job.cancel.is_set():
            raise Cancelled()

    hook = register_module_forward_pre_hook(check)
    try:
        yield
    finally:
        hook.remove()


def work(engine: Any, jobs: Jobs, outlet: Outlet, preload: Preload | None = None) -> None:
    """Run jobs until the end. An unforeseen fault ends its job with the code `internal`, not the worker."""
    while (job := jobs.take()) is not None:
        try:
            if job.cancel.is_set():
                raise Cancelled()
            request = GenerationRequest.from_dict(job.request)
            progress = _reporter(job, outlet)
            if preload is not None:
                preload.wait(job, progress)
            with _cancellable(job):
                samples = engine.generate(request, job.out, progress, replace=job.replace)
            outlet.send("result", id=job.id, folder=str(job.out), samples=[str(path) for path in samples])
        except Sketch2CTError as error:
            outlet.error(job.id, error)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            outlet.error(job.id, Sketch2CTError(f"{type(error).__name__}: {error}", "This is a fault of the program."))
        finally:
            jobs.close(job)
            memory.release()


def bundles() -> list[dict[str, Any]]:
    """The installed bundles: `name`, `structures`, `frame`; `error` instead where the metadata cannot be read."""
    found: list[dict[str, Any]] = []
    for folder in bundle.available():
        try:
            metadata = bundle.load(folder.name, check=False).metadata
            found.append({"name": folder.name, **{key: metadata.get(key) for key in ("structures", "frame")}})
        except Sketch2CTError as error:
            found.append({"name": folder.name, "error": str(error)})
    return found


def run(engine: Any = None, about: dict[str, Any] | None = None) -> None:
    """Serve stdin and stdout until the input ends. `engine` is anything with Engine's `generate`; `about` is then what
    `ready` says of it (versions, devices, bundles).
    """
    # What a library prints must not mix with the protocol, which takes a copy of stdout; stdout itself becomes stderr.
    outlet = Outlet(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    memory.keep()
    about = about or _about()
    jobs = Jobs()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: jobs.end())
    outlet.send("ready", protocol=PROTOCOL_VERSION, pid=os.getpid(), **about)
    preload = Preload() if engine is None else None
    if preload is not None:
        preload.start()
    threading.Thread(target=_listen, args=(jobs, outlet), daemon=True).start()
    work(engine or _engine(), jobs, outlet, preload)
    sys.stderr.flush()
    os._exit(0)  # the reader may still wait for a line that never comes


def _about() -> dict[str, Any]:
    from .devices import describe_devices
    from .engine import versions

    return {"versions": versions(), "devices": describe_devices(), "bundles": bundles()}


def _engine() -> Any:
    from .engine import Engine

    return Engine()


def _listen(jobs: Jobs, outlet: Outlet) -> None:
    """Read until the end, then see that this process ends too: nobody is left to end it."""
    read_lines(sys.stdin.buffer, jobs, outlet)
    time.sleep(GRACE_S)
    os._exit(1)
