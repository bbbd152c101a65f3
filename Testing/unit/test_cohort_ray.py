"""A cohort on Ray: two local nodes, lost nodes, lost workers, and the same bytes as on one machine."""

import threading
import time
from functools import partial
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from cohort_kit import FRAME, Heard, QuickEngine, make, stable_bytes, wanted, write_spec
from fake_backend import circle, make_bundle
from sketch2ct.cohort.folder import Cohort
from sketch2ct.cohort.ray_actor import CaseMaker, error_of, unpacked
from sketch2ct.cohort.ray_runner import run
from sketch2ct.errors import BadRequest, BundleCorrupt, Cancelled, OutOfMemory
from sketch2ct.request import GenerationRequest

SUPPORT = Path(__file__).resolve().parents[1] / "support"
STORE = 80 * 2**20


class Nodes:
    """A head that runs nothing, and nodes of one processor."""

    def __init__(self) -> None:
        self._cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
        )
        self._nodes: list = []

    @property
    def address(self):
        return self._cluster.address

    def add(self):
        self._nodes.append(self._cluster.add_node(num_cpus=1, object_store_memory=STORE))

    def kill(self):
        self._cluster.remove_node(self._nodes.pop(), allow_graceful=False)

    def be(self, count):
        while len(self._nodes) < count:
            self.add()

    def shutdown(self):
        ray.shutdown()
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    make_bundle(folder / "shelf", frame=FRAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKETCH2CT_BUNDLES", str(folder / "shelf"))
        patch.setenv("PYTHONPATH", str(SUPPORT))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        started = Nodes()
        yield started
        started.shutdown()


@pytest.fixture
def spec(tmp_path):
    def write(count, **keys):
        GenerationRequest([circle(30)], "a mandible of 60 mL", device="cpu").write(tmp_path / "base.json")
        return write_spec(tmp_path / "spec.yaml", request="base.json", count=count, vary={"hand": [0.5, 1.5]}, seed=5, **keys)

    return write


def on_ray(cluster, spec, out, engine, heard=None, cancel=None):
    return run(wanted(spec, out), engine, heard or Heard(), cancel or threading.Event(), cluster.address)


def calls(log):
    """Seed and process of every call."""
    return [line.split()[1:] for line in log.read_text().splitlines()]


def test_one_of_two_nodes_is_killed_half_way_and_all_cases_complete(cluster, spec, tmp_path):
    log, out = tmp_path / "calls", tmp_path / "out"
    cluster.be(2)
    finished, count = [], 12

    def kill_one(name):
        finished.append(name)
        if len(finished) == count // 2:
            cluster.kill()

    tally = on_ray(cluster, spec(count), out, partial(QuickEngine, log, 0.4), Heard(kill_one))
    assert (tally.done, tally.failed, tally.made) == (count, 0, count)
    assert sorted(finished) == Cohort.open(out).names() == [f"case-{n:05d}" for n in range(1, count + 1)]
    assert Cohort.open(out).damaged() == {}
    made = calls(log)
    assert len({seed for seed, _ in made}) == count and len(made) <= count + 1  # only the lost node's own case is made again
    assert len({process for _, process in made}) >= 2  # both nodes had work
    make(spec(count), tmp_path / "alone")
    assert stable_bytes(out) == stable_bytes(tmp_path / "alone")


def test_a_node_that_comes_when_all_are_gone_is_used(cluster, spec, tmp_path):
    log, finished = tmp_path / "calls", []
    cluster.be(1)

    def replace_it(name):
        finished.append(name)
        if len(finished) == 2:
            cluster.kill()
            cluster.add()

    tally = on_ray(cluster, spec(5), tmp_path / "out", partial(QuickEngine, log, 0.3), Heard(replace_it))
    assert (tally.done, tally.failed) == (5, 0)
    made = calls(log)
    assert len({seed for seed, _ in made}) == 5 and len(made) <= 6  # only the lost node's own case is made again
    # a new worker that has emptied the queue before the loss is known is let go, and another makes the lost case: 2 processes or 3
    assert made[-1][1] != made[0][1]


def test_a_case_that_ends_its_worker_three_times_is_failed_and_the_others_are_made(cluster, spec, tmp_path):
    log, out = tmp_path / "calls", tmp_path / "out"
    cluster.be(1)
    deadly = wanted(spec(4), out).planner.case(2).request.seed
    tally = on_ray(cluster, spec(4), out, partial(QuickEngine, log, 0.0, None, deadly))
    assert (tally.done, tally.failed) == (3, 1)
    (failure,) = Cohort.open(out).failed()
    assert failure["case"] == "case-00002" and "ended the Ray worker that made it 3 times" in failure["message"]
    assert failure["attempts"] == 3 and [seed for seed, _ in calls(log)].count(str(deadly)) == 3
    assert Cohort.open(out).names() == ["case-00001", "case-00003", "case-00004"]


def test_workers_together_keep_the_limit_of_cases(cluster, spec, tmp_path):
    log, out, heard = tmp_path / "calls", tmp_path / "out", Heard()
    cluster.be(2)
    tally = on_ray(cluster, spec(9, stop={"cases": 3}), out, partial(QuickEngine, log, 0.2), heard)
    assert tally.done == 3 == len(calls(log)) and heard.stopped == "3 cases are complete, as 'stop' asks"


def test_a_run_on_ray_is_cancelled_and_keeps_what_is_complete(cluster, spec, tmp_path):
    cancel = threading.Event()
    cluster.be(1)
    heard = Heard(lambda name: name == "case-00002" and cancel.set())
    with pytest.raises(Cancelled) as told:
        on_ray(cluster, spec(9), tmp_path / "out", QuickEngine, heard, cancel)
    complete = Cohort.open(tmp_path / "out").names()
    assert 2 <= len(complete) < 9  # a worker begins its next case before the last one is written
    assert complete == [f"case-{n:05d}" for n in range(1, len(complete) + 1)] and f"{len(complete)} of 9 cases complete" in str(told.value)


def test_a_cluster_that_is_not_there_is_refused_at_once(shelf, spec, tmp_path):
    if ray.is_initialized():
        ray.shutdown()
    start = time.monotonic()
    with pytest.raises(BadRequest, match=r"There is no Ray cluster at 127\.0\.0\.1:1: .*Start one with 'ray start --head'"):
        run(wanted(spec(1), tmp_path / "out"), QuickEngine, Heard(), threading.Event(), "127.0.0.1:1")
    assert time.monotonic() - start < 30 and not (tmp_path / "out").exists()


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    make_bundle(tmp_path / "shelf", frame=FRAME)
    monkeypatch.setenv("SKETCH2CT_BUNDLES", str(tmp_path / "shelf"))


def test_an_actor_sends_the_folder_as_it_is(shelf, spec, tmp_path):
    plan = wanted(spec(1), tmp_path / "out")
    maker = CaseMaker(QuickEngine, "headneck", plan.bundle.digest)
    assert maker.ready() == {}
    request = plan.planner.case(1).request
    unpacked(maker.make(request.to_dict())["zip"], tmp_path / "sent")
    QuickEngine().generate(request, tmp_path / "here")
    same = ("labels.nii.gz", "ct.nii.gz", "labels.json", "request.json")
    assert {p.name for p in (tmp_path / "sent").iterdir()} == {*same, "manifest.json"}
    assert all((tmp_path / "sent" / name).read_bytes() == (tmp_path / "here" / name).read_bytes() for name in same)


def test_an_actors_errors_arrive_as_what_they_are(shelf, spec, tmp_path):
    plan = wanted(spec(1), tmp_path / "out")
    full = QuickEngine(faults={"case": [OutOfMemory("Too little memory.", "Take less."), ValueError("a bug")]})
    maker = CaseMaker(lambda: full, "headneck", plan.bundle.digest)
    maker.ready()
    request = plan.planner.case(1).request.to_dict()
    first, second = error_of(maker.make(request)), error_of(maker.make(request))
    assert isinstance(first, OutOfMemory) and (first.message, first.hint) == ("Too little memory.", "Take less.")
    assert (second.code, second.message) == ("internal", "ValueError: a bug")
    other = error_of(CaseMaker(QuickEngine, "headneck", "0" * 64).ready())
    assert isinstance(other, BundleCorrupt) and "another version of the bundle 'headneck'" in other.message
