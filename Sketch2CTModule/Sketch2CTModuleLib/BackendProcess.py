"""The backend: one worker in another process, kept warm between runs. Protocol: `sketch2ct/worker.py`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sketch2ct import PROTOCOL_VERSION

from .BackendError import BackendError
from .BackendJob import BackendJob
from .BackendLimits import BackendLimits
from .BackendPython import BackendPython
from .ChildEnd import ChildEnd
from .ChildProcess import ChildProcess
from .JsonLines import JsonLines
from .OneShot import OneShot
from .Paths import backendScript
from .ProcessLog import ProcessLog
from .ResultCheck import sampleFolders
from .Signal import Signal

_STARTING = "--- Starting"
_LINES = 20  # of the log, in an error's details


class BackendProcess:
    """Runs one job at a time; starts the worker when it is needed, and again after a crash.

    `state`: "stopped", "starting", "ready", "busy", "cancelling". `info`: what the worker said when it was ready
    (versions, devices, bundles), None before.

    Signals: `stateChanged(state)`; `ready(info)`; `progress(stage, step, steps, fraction, etaS)`; then for each job one of
    `finished(folder, samples)`, paths as text, and `failed(BackendError)`; `log(text)` in batches. `failed` comes without a
    job, too, when `start` was of no avail. When they are emitted, the state is settled: a listener may start the next job.
    """

    def __init__(self, child: Callable[[], ChildProcess] | None = None, limits: BackendLimits | None = None) -> None:
        self.stateChanged, self.ready, self.progress, self.finished, self.failed = (Signal() for _ in range(5))
        limits = limits or BackendLimits()
        self.state = "stopped"
        self.info: dict[str, Any] | None = None
        self._makeChild = child or _workerProcess
        self._child: ChildProcess | None = None
        self._reader = JsonLines()
        self._log = ProcessLog()
        self.log = self._log.batch
        self._lastId = 0
        self._job: BackendJob | None = None  # the worker has it
        self._waiting: BackendJob | None = None  # it goes to the worker as soon as that is free
        self._deaf = False  # the worker was told to end: what it still says does not count
        self._startTimer = OneShot(self._onStartTimeout, limits.startMs)
        self._terminateTimer = OneShot(self._onCancelTimeout, limits.cancelMs)
        self._killTimer = OneShot(self._onTerminateTimeout, limits.terminateMs)
        self._idleTimer = OneShot(self.stop, limits.idleMs)
        self._limits = limits

    @property
    def busy(self) -> bool:
        """Whether a job is open: waiting for the worker, running, or being cancelled."""
        return self._job is not None or self._waiting is not None

    @property
    def pid(self) -> int | None:
        """The worker's own number, once it is ready."""
        return self.info.get("pid") if self.info else None

    def logText(self) -> str:
        """What the worker wrote for people, the last 1 MB."""
        return self._log.text()

    def start(self) -> None:
        """Start the worker, if there is none."""
        if self.state != "stopped":
            return
        self._child = child = self._makeChild()
        self._reader, self._deaf = JsonLines(), False
        child.output.connect(self._onOutput)
        child.errorOutput.connect(self._log.addBytes)
        child.ended.connect(self._onEnded)
        self._log.add(f"{_STARTING} {child.program}\n")
        self._startTimer.start()
        self._setState("starting")
        child.start()

    def generate(self, request: dict[str, Any], out: str | Path, replace: bool = False) -> int:
        """Make a result in the folder `out`; the job's number. `request` is JSON data as `GenerationRequest.to_dict` gives it.

        Starts the worker if necessary; right after a cancel, the job waits for the end of the one before. Raises
        BackendError while another job is open.
        """
        if self._waiting is not None or (self._job is not None and self.state != "cancelling"):
            raise BackendError("bad_request", "A generation is running already.", "Wait until it is done, or cancel it.")
        self._lastId += 1
        self._waiting = BackendJob(self._lastId, request, Path(out).absolute(), replace)
        self.start()
        self._sendWaiting()
        return self._lastId

    def cancel(self) -> None:
        """Take the open job back; `failed` with the code "cancelled" follows. Without an open job nothing happens.

        The worker is asked first; one that does not answer is ended by force, and the next job gets a fresh one.
        """
        if self._waiting is not None:
            self._waiting = None
            self.failed.emit(BackendError.cancelled())
        elif self.state == "busy" and self._job is not None:
            self._send({"type": "cancel", "id": self._job.id})
            self._terminateTimer.start()
            self._setState("cancelling")

    def stop(self) -> None:
        """Let the worker end, which frees its memory; an open job is cancelled."""
        if self._child is None:
            return
        wasBusy, self._job, self._waiting = self.busy, None, None
        self._child.leave()
        self._forgetChild()
        self._setState("stopped")
        if wasBusy:
            self.failed.emit(BackendError.cancelled())

    def _send(self, message: dict[str, Any]) -> None:
        if self._child is not None:
            self._child.write((json.dumps(message, ensure_ascii=False) + "\n").encode("utf-8", errors="replace"))

    def _sendWaiting(self) -> None:
        if self.state == "ready" and self._waiting is not None:
            self._job, self._waiting = self._waiting, None
            self._idleTimer.stop()
            self._send(self._job.message())
            self._setState("busy")

    def _setState(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self.stateChanged.emit(state)

    def _onOutput(self, data: bytes) -> None:
        child = self._child
        for message in self._reader.feed(data):
            if child is self._child and not self._deaf:  # a listener may have stopped it
                self._onMessage(message)
        self._log.add(self._reader.takeGarbage())

    def _onMessage(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "ready":
            self._onReady(message)
        elif self._job is None or message.get("id") != self._job.id:
            self._log.add(f"{json.dumps(message, ensure_ascii=False)}\n")
        elif kind == "progress":
            self._onProgress(message)
        elif kind == "result":
            self._onResult(message)
        elif kind == "error":
            self._onError(message)

    def _onReady(self, info: dict[str, Any]) -> None:
        if self.state != "starting" or self._child is None:
            return
        if info.get("protocol") != PROTOCOL_VERSION:
            spoken = f"version {info.get('protocol')} of the protocol, and the module version {PROTOCOL_VERSION}"
            self._giveUp(BackendError.notStarted(f"The backend does not fit the module: it speaks {spoken}."))
            return
        self._startTimer.stop()
        self.info = info
        self._child.extraPid = info["pid"] if isinstance(info.get("pid"), int) else None
        self._idleTimer.start()
        self._setState("ready")
        self._sendWaiting()
        self.ready.emit(info)

    def _onProgress(self, message: dict[str, Any]) -> None:
        if self.state == "busy":
            self.progress.emit(*(message.get(key) for key in ("stage", "step", "steps", "fraction", "eta_s")))

    def _onResult(self, message: dict[str, Any]) -> None:
        job, cancelled = self._closeJob()
        if cancelled:
            job.discard()
            self.failed.emit(BackendError.cancelled())
            return
        try:
            samples = sampleFolders(message)
        except BackendError as error:
            self.failed.emit(error)
        else:
            self.finished.emit(str(job.out), samples)

    def _onError(self, message: dict[str, Any]) -> None:
        code = str(message.get("code", "internal"))
        if code == "cancelled" and self.state == "busy":
            self._giveUp(BackendError.endedByOthers())  # nobody here asked for it, so the worker itself is ending
            return
        _, cancelled = self._closeJob()
        error = BackendError(code, str(message.get("message", "")), str(message.get("hint", "")), "\n".join(self._lastLines()))
        self.failed.emit(BackendError.cancelled() if cancelled else error)

    def _closeJob(self) -> tuple[BackendJob, bool]:
        """The worker is done with its job, and free for the next: the job, and whether it was cancelled."""
        assert self._job is not None
        job, cancelled, self._job = self._job, self.state == "cancelling", None
        self._terminateTimer.stop()
        self._killTimer.stop()
        self._idleTimer.start()
        self._setState("ready")
        self._sendWaiting()
        return job, cancelled

    def _onCancelTimeout(self) -> None:
        self._deaf = True
        self._killTimer.start()
        if self._child is not None:
            self._child.terminate()

    def _onTerminateTimeout(self) -> None:
        if self._child is not None:
            self._child.kill()

    def _onStartTimeout(self) -> None:
        seconds = self._limits.startMs / 1000
        self._giveUp(BackendError.notStarted(f"The backend did not start within {seconds:g} s."))

    def _onEnded(self, end: ChildEnd) -> None:
        explain = BackendError.afterStart if self.state == "starting" else BackendError.afterCrash
        error = explain(end, self._lastLines())
        self._log.add(f"--- The backend ended ({end.describe()}).\n")
        self._log.flush()
        if self._job is not None:
            self._job.clearAfter(self.pid)
        self._lose(error)

    def _lastLines(self) -> list[str]:
        """The last that this worker wrote."""
        lines = self._log.text().rpartition(_STARTING)[2].splitlines()[1:]
        return [line for line in lines if line.strip()][-_LINES:]

    def _giveUp(self, error: BackendError) -> None:
        """Go on without this worker, whatever becomes of it."""
        if self._child is not None:
            self._child.leave()
        self._lose(error)

    def _lose(self, error: BackendError) -> None:
        """The worker is gone: tell it to whom it concerns."""
        state, hadJob, hadWaiting = self.state, self._job is not None, self._waiting is not None
        cancelled = state == "cancelling"
        self._job = None
        if not cancelled:
            self._waiting = None
        self._forgetChild()
        self._setState("stopped")
        if cancelled and self._waiting is not None:
            self.start()
        if state == "starting" or hadJob or hadWaiting:
            self.failed.emit(BackendError.cancelled() if cancelled else error)

    def _forgetChild(self) -> None:
        for timer in (self._startTimer, self._terminateTimer, self._killTimer, self._idleTimer):
            timer.stop()
        self._child, self.info = None, None


def _workerProcess() -> ChildProcess:
    """The real worker, in the backend's Python."""
    python = BackendPython.find()
    return ChildProcess(python.program, [str(backendScript()), "worker"], python.environment())
