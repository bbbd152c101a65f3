"""A cohort on a Ray cluster: one engine an actor, the queue and the folder with the driver.

An actor sends the finished result folder back as the bytes of a zip, so no file system is shared. The case of an actor or a node that is
lost goes back to the queue; one that ends its worker KILLS times is a failure. Replacements are asked for at once, and Ray places them as
soon as there is room, so nodes that come (back) are used.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import BadRequest, Cancelled, Sketch2CTError
from .job import FATAL, Job, opened
from .opening import Asked
from .plan import Planned
from .ray_actor import SAME_EVERYWHERE, CaseMaker, error_of, unpacked
from .reporting import Reporter, Tally
from .runner import Generates, closing_words

KILLS = 3
_POLL_S = 0.5
_GROW_EVERY_S = 2.0
_REACH_S = 10.0
_START_ONE = "Start one with 'ray start --head', or use --ray local."
STILLBORN = 10  # workers in a row that are lost before they are ready, after which no more are tried


@dataclass
class _Worker:
    """An actor and the call that it is busy with: its first `ready`, or a case."""

    actor: Any
    call: Any
    number: int | None = None
    planned: Planned | None = None


@dataclass
class _Crew:
    """The actors of a run."""

    ray: Any
    job: Job
    hire: Callable[[], Any]
    wanted: Callable[[], int]
    workers: list[_Worker] = field(default_factory=list)
    kills: dict[int, int] = field(default_factory=dict)
    stillborn: int = 0  # workers in a row that were lost before they were ready

    def grow(self) -> None:
        """Ask for as many actors as the cluster has room for, and the queue has work for."""
        busy = sum(worker.number is not None for worker in self.workers)
        while len(self.workers) < min(self.wanted(), busy + self.job.due):
            actor = self.hire()
            self.workers.append(_Worker(actor, actor.ready.remote()))

    def settle(self, worker: _Worker) -> None:
        """Take what a worker's call came to, and give it the next case."""
        try:
            answer = self.ray.get(worker.call)
        except Exception as error:
            self._lost(worker, error)
            return
        number, planned = worker.number, worker.planned
        if number is None and "error" in answer:
            raise error_of(answer)
        self.stillborn = 0
        self._next(worker)  # before the folder is written: the worker's time is dearer than the driver's
        if number is not None and planned is not None:
            self._take_in(number, planned, answer)

    def _next(self, worker: _Worker) -> None:
        worker.number, worker.planned = None, None
        while (number := self.job.take()) is not None:
            try:
                planned = self.job.plan(number)
            except FATAL:
                raise
            except Exception as error:
                self.job.fail(number, error)
                continue
            worker.number, worker.planned = number, planned
            worker.call = worker.actor.make.remote(planned.request.to_dict())
            return
        self._dismiss(worker)

    def _take_in(self, number: int, planned: Planned, answer: dict[str, Any]) -> None:
        try:
            if "error" in answer:
                raise error_of(answer)
            unpacked(answer["zip"], self.job.workplace(number))
            self.job.finish(planned)
        except FATAL:
            raise
        except Exception as error:
            self.job.fail(number, error)

    def _lost(self, worker: _Worker, error: Exception) -> None:
        """A worker's actor or node is gone."""
        number = worker.number
        self._dismiss(worker)
        if number is None:
            self.stillborn += 1
            if self.stillborn >= STILLBORN:
                raise Sketch2CTError(f"No Ray worker can start: {error}.", SAME_EVERYWHERE) from error
            return
        self.kills[number] = self.kills.get(number, 0) + 1
        if self.kills[number] >= KILLS:
            reason = f"It ended the Ray worker that made it {KILLS} times (the last time: {type(error).__name__})."
            self.job.fail(number, Sketch2CTError(reason, "Look for a lack of memory in the logs of Ray."), attempts=KILLS)
        else:
            self.job.put_back(number)

    def _dismiss(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        self.ray.kill(worker.actor)


def run(
    asked: Asked, engine: Callable[[], Generates], reporter: Reporter, cancel: threading.Event, address: str, workers: int | None = None
) -> Tally:
    """As `runner.run`, on the Ray cluster at `address`, or on one started here for "local"; `workers` None fits them to the cluster.

    `engine` is sent to the actors. Raises what `runner.run` does, and BadRequest when there is no such cluster.
    """
    with _cluster(address, workers) as ray, opened(asked, reporter) as job, closing_words(job, reporter):
        seat = _seat(ray, workers)
        remote = ray.remote(CaseMaker)

        def hire() -> Any:
            place = {"num_gpus": 1, "num_cpus": 0} if seat.gpu else {"num_cpus": seat.cpus}
            return remote.options(**place, scheduling_strategy="SPREAD").remote(engine, asked.bundle.name, asked.bundle.digest)

        crew = _Crew(ray, job, hire, lambda: workers or _room(ray, seat))
        try:
            _work(crew, cancel)
        finally:
            for worker in crew.workers:
                ray.kill(worker.actor)
        return job.tally


def _work(crew: _Crew, cancel: threading.Event) -> None:
    grown = -_GROW_EVERY_S
    while crew.workers or crew.job.due:
        if cancel.is_set():
            raise Cancelled()
        if not crew.workers or time.monotonic() - grown > _GROW_EVERY_S:
            crew.grow()
            grown = time.monotonic()
        if not crew.job.due and all(worker.number is None for worker in crew.workers):
            return  # only replacements that Ray has not placed yet
        calls = {worker.call: worker for worker in crew.workers}
        done = crew.ray.wait(list(calls), num_returns=1, timeout=_POLL_S)[0] if calls else []
        for call in done:
            crew.settle(calls[call])
        if not calls:
            time.sleep(_POLL_S)


@dataclass(frozen=True)
class _Seat:
    """What one actor takes of a node."""

    gpu: bool
    cpus: int


def _seat(ray: Any, workers: int | None) -> _Seat:
    """A GPU each where there are any; else a whole node each, or an even share of all processors among `workers`."""
    total = ray.cluster_resources()
    if total.get("GPU", 0) >= 1:
        return _Seat(True, 0)
    if workers:
        return _Seat(False, max(1, int(total.get("CPU", 1)) // workers))
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return _Seat(False, max(1, min((n for n in nodes if n), default=1)))


def _room(ray: Any, seat: _Seat) -> int:
    """How many actors the nodes that are alive have room for; at least one."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return max(1, sum(int(node.get("GPU", 0)) if seat.gpu else int(node.get("CPU", 0)) // seat.cpus for node in nodes))


@contextmanager
def _cluster(address: str, workers: int | None) -> Iterator[Any]:
    """Ray, connected; what was started here ends here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about the user's work goes anywhere
    try:
        import ray
    except ImportError as error:
        raise BadRequest("--ray needs the package ray.", "Install it with: pip install 'sketch2ct[cluster]'.") from error
    library: Any = ray
    ours = not library.is_initialized()
    if ours:
        options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if address != "local":
            _check_reachable(address)
            options["address"] = address
        elif workers:
            options["num_cpus"] = max(workers, os.cpu_count() or 1)  # a worker gets its share, and torch as many threads
        terminated = signal.getsignal(signal.SIGTERM)
        try:
            library.init(**options)
        except Exception as error:
            raise BadRequest(f"There is no Ray cluster at {address}: {error}.", _START_ONE) from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminated)  # Ray puts its own there, which would end the run without a word
    try:
        yield library
    finally:
        if ours:
            library.shutdown()


def _check_reachable(address: str) -> None:
    """Raises BadRequest at once where nobody listens; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return  # "auto", for example
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()
    except (OSError, OverflowError) as error:
        raise BadRequest(f"There is no Ray cluster at {address}: {error}.", _START_ONE) from error
