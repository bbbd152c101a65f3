"""The worker's protocol, version 1, over real pipes. A change here breaks every older client."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Empty, Queue

import pytest

from fake_backend import circle, make_bundle
from sketch2ct.request import GenerationRequest

PROGRAM = Path(__file__).resolve().parents[1] / "support" / "fake_backend.py"
PATIENCE_S = 60


class Client:
    """A worker process, and its events in the order they came."""

    def __init__(self, shelf, seconds):
        environment = {**os.environ, "SKETCH2CT_BUNDLES": str(shelf), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "0"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, PROGRAM, shelf, str(seconds)], env=environment, **pipes)
        self.events, self.err = Queue(), []
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=lambda: self.err.extend(self.process.stderr), daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            self.events.put(json.loads(line))
        self.events.put(None)

    def send(self, *lines):
        for line in lines:
            self.process.stdin.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
        self.process.stdin.flush()

    def until(self, *kinds):
        """The events up to the first of one of these kinds."""
        seen = []
        while not seen or seen[-1]["type"] not in kinds:
            event = self.events.get(timeout=PATIENCE_S)
            assert event is not None, f"the worker ended after {seen}; {b''.join(self.err).decode()}"
            seen.append(event)
        return seen

    def ended(self):
        """Whether the worker ends by itself, with status 0, and the events until then."""
        seen = []
        while (event := self.events.get(timeout=PATIENCE_S)) is not None:
            seen.append(event)
        assert self.process.wait(PATIENCE_S) == 0
        return seen

    def close(self):
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    make_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def quick(shelf):
    client = Client(shelf, 0)
    client.ready = client.until("ready")
    yield client
    client.close()


@pytest.fixture
def slow(shelf):
    client = Client(shelf, 10)
    client.until("ready")
    yield client
    client.close()


def job(name, out, **changes):
    request = GenerationRequest([circle()], "Kiefer, groß — 下顎", device="cpu").to_dict() | changes
    return {"type": "generate", "id": name, "request": request, "out": str(out)}


def test_ready_says_who_it_is(quick):
    (ready,) = quick.ready
    assert set(ready) == {"type", "protocol", "pid", "versions", "devices", "bundles"} and ready["protocol"] == 1
    assert ready["pid"] == quick.process.pid and os.getpriority(os.PRIO_PROCESS, ready["pid"]) == os.nice(0) + 5
    assert {"sketch2ct", "torch", "python"} <= set(ready["versions"]) and ready["devices"][0]["name"] == "cpu"
    bundle = next(item for item in ready["bundles"] if item["name"] == "headneck")
    assert "mandible" in bundle["structures"] and bundle["frame"]["spacing"] == [3.0, 3.0, 3.0]


def test_a_job_reports_progress_and_then_its_folder(quick, tmp_path):
    quick.send(job("a", tmp_path / "out"))
    *progress, result = quick.until("result", "error")
    folder = str(tmp_path / "out")
    assert result == {"type": "result", "id": "a", "folder": folder, "samples": [folder]}
    assert (tmp_path / "out" / "manifest.json").is_file()
    assert {tuple(sorted(event)) for event in progress} == {("eta_s", "fraction", "id", "stage", "step", "steps", "type")}
    assert [event["stage"] for event in progress if event["step"] == event["steps"]] == ["load", "mask", "volume", "write"]
    written = json.loads((tmp_path / "out" / "request.json").read_text(encoding="utf-8"))
    assert written["description"] == "Kiefer, groß — 下顎"


@pytest.mark.parametrize(
    ("line", "match"),
    [
        (b"{\n", "not valid JSON"),
        (b"[1]\n", "JSON object"),
        (b"\xff\xfe\n", "not valid JSON"),
        (b"[" * 100_000 + b"\n", "not valid JSON"),
        (b'{"type": "dance"}\n', "Unknown message type 'dance'"),
        (b'{"type": ["generate"]}\n', "Unknown message type"),
        (b'{"type": "generate", "id": 1}\n', "lacks out, request"),
        (b'{"type": "generate", "id": null, "request": {}, "out": "x"}\n', "An id must be"),
        (b'{"type": "generate", "id": 1, "request": {}, "out": 5}\n', "'out' must be"),
        (b'{"type": "generate", "id": 1, "request": {}, "out": "x", "speed": 2}\n', "unknown keys: speed"),
        (b'{"type": "generate", "id": 1, "request": {}, "out": "x"}\n', "neither a sketch nor a description"),
        (b'{"type": "generate", "id": 1, "request": [], "out": "x"}\n', "must be a JSON object"),
        (b'{"type": "cancel", "id": "never"}\n', "no open job"),
        (b'"' + b"x" * (17 * 2**20) + b'"\n', "longer than 16777216 bytes"),
    ],
    ids=lambda value: value[:40].decode("latin-1").strip() if isinstance(value, bytes) else "",
)
def test_a_bad_line_gets_an_error_and_the_worker_lives_on(quick, line, match, tmp_path):
    quick.send(b"\n", line)
    (error,) = quick.until("error")
    assert set(error) == {"type", "id", "code", "message", "hint"}
    assert error["code"] == "bad_request" and match in error["message"]
    assert error["id"] == (1 if b'"id": 1,' in line or b'"id": 1}' in line else None)
    quick.send(job("after", tmp_path / "out"))
    assert quick.until("result", "error")[-1]["type"] == "result"


def test_codes_are_the_closed_list(quick, tmp_path):
    quick.send(job("m", tmp_path / "out", bundle="none"), job("d", tmp_path / "out", device="cuda:99"))
    assert [quick.until("error")[-1]["code"] for _ in range(2)] == ["bundle_missing", "bad_request"]


def test_an_unforeseen_fault_is_internal_and_the_worker_lives_on(quick, tmp_path):
    quick.send({**job("f", tmp_path / "out"), "request": {"description": "mandible", "seed": 1, "sketches": [[]]}})
    assert quick.until("error")[-1]["code"] == "bad_request"
    quick.send(job("g", str(tmp_path) + "/" + "n" * 300))
    error = quick.until("error")[-1]
    assert error["id"] == "g" and "name too long" in error["message"]


def test_a_running_job_can_be_cancelled_and_the_next_one_runs(slow, tmp_path):
    slow.send(job(1, tmp_path / "one"), job(2, tmp_path / "two"))
    while not any(event.get("stage") == "mask" for event in slow.until("progress")):
        pass
    begin = time.monotonic()
    slow.send({"type": "cancel", "id": 2}, {"type": "cancel", "id": 1})
    errors = [slow.until("error")[-1] for _ in range(2)]
    assert time.monotonic() - begin < 5
    assert [(error["id"], error["code"]) for error in errors] == [(1, "cancelled"), (2, "cancelled")]
    assert not list(tmp_path.iterdir())


def test_an_id_in_use_is_refused(slow, tmp_path):
    slow.send(job("x", tmp_path / "one"), job("x", tmp_path / "two"))
    error = slow.until("error")[-1]
    assert error["id"] == "x" and "open already" in error["message"]


@pytest.mark.parametrize("how", ["shutdown", "end of input", "SIGTERM"])
def test_the_end_cancels_the_running_job_and_leaves_nothing(slow, tmp_path, how):
    slow.send(job(1, tmp_path / "one"), job(2, tmp_path / "two"))
    slow.until("progress")
    if how == "shutdown":
        slow.send({"type": "shutdown"})
    elif how == "SIGTERM":
        slow.process.terminate()
    else:
        slow.process.stdin.close()
    errors = [event for event in slow.ended() if event["type"] == "error"]
    assert [(error["id"], error["code"]) for error in errors] == [(1, "cancelled"), (2, "cancelled")]
    assert not list(tmp_path.iterdir())


def test_no_job_outlives_the_end_of_the_input(shelf, tmp_path):
    program = (
        "import time; from pathlib import Path; import fake_backend; from sketch2ct import worker\n"
        "class Deaf(fake_backend.EllipsoidMasks):\n"
        "    def generate(self, *a):\n"
        "        time.sleep(300)\n"
        "worker.GRACE_S = 1.0\n"
        f"worker.run(fake_backend.engine(Path({str(shelf)!r}), masks=Deaf()))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROGRAM.parent), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, env=environment, cwd=tmp_path) as process:
        process.stdin.write(json.dumps(job("a", tmp_path / "out")).encode() + b"\n")
        process.stdin.flush()
        while b'"load", "step": 2' not in process.stdout.readline():
            pass
        process.stdin.close()
        begin = time.monotonic()
        assert process.wait(PATIENCE_S) == 1 and 0.9 < time.monotonic() - begin < 5


def test_a_cancel_comes_between_the_layers_of_a_network(shelf, tmp_path):
    program = (
        "import time; from pathlib import Path; import fake_backend; from sketch2ct import worker\n"
        "class Layered(fake_backend.EllipsoidMasks):\n"
        "    def generate(self, *a):\n"
        "        import torch\n"
        "        net = torch.nn.Sequential(*[torch.nn.Identity() for _ in range(3000)])\n"
        "        for layer in net: layer.register_forward_hook(lambda *_: time.sleep(0.1))\n"
        "        net(torch.zeros(1))\n"
        f"worker.run(fake_backend.engine(Path({str(shelf)!r}), masks=Layered()))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROGRAM.parent), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, env=environment, cwd=tmp_path) as process:
        process.stdin.write(json.dumps(job("a", tmp_path / "out")).encode() + b"\n")
        process.stdin.flush()
        while b'"load", "step": 2' not in process.stdout.readline():
            pass
        process.stdin.write(b'{"type": "cancel", "id": "a"}\n')
        process.stdin.flush()
        begin = time.monotonic()
        assert json.loads(process.stdout.readline())["code"] == "cancelled" and time.monotonic() - begin < 2
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0


def test_what_others_print_cannot_reach_the_protocol(shelf, tmp_path):
    program = (
        "import os, sys; from pathlib import Path; import fake_backend; from sketch2ct import worker\n"
        "class Loud(fake_backend.EllipsoidMasks):\n"
        "    def generate(self, *a):\n"
        "        print('stray'); os.write(1, b'raw'); os.system('echo child')\n"
        "        return super().generate(*a)\n"
        f"worker.run(fake_backend.engine(Path({str(shelf)!r}), masks=Loud()))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROGRAM.parent), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, stderr=-1, env=environment, cwd=tmp_path) as process:
        process.stdin.write(json.dumps(job("a", tmp_path / "out")).encode() + b"\n")
        process.stdin.flush()
        events = []
        while not events or events[-1]["type"] != "result":
            events.append(json.loads(process.stdout.readline()))
        rest, errors = process.communicate(timeout=PATIENCE_S)
    assert rest == b"" and all(word in errors for word in (b"stray", b"raw", b"child"))


def test_nothing_more_is_said_after_a_result(quick, tmp_path):
    quick.send(job("z", tmp_path / "out"))
    quick.until("result")
    with pytest.raises(Empty):
        quick.events.get(timeout=0.5)
