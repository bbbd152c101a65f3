"""The speed measurement: what it counts against sums by hand, what it writes, and what it leaves out and why."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fake_backend import EllipsoidMasks, FlatVolumes, circle, make_bundle
from sketch2ct import bundle as bundles
from sketch2ct import cli
from sketch2ct.benchmark import ours, peak, published, report
from sketch2ct.benchmark.run import bench
from sketch2ct.errors import BadRequest, Sketch2CTError
from sketch2ct.request import GenerationRequest

PROGRAM = Path(__file__).resolve().parents[1] / "support" / "fake_backend.py"
CPU = torch.device("cpu")
PEAK = peak.Peak({"float32": 1e9}, 1e8, "float32")
SIDE = 32  # of the matrices that the toy mask generator multiplies


class Multiplying(EllipsoidMasks):
    """Multiplies two matrices beside drawing ellipsoids."""

    def generate(self, condition, rng, progress):
        torch.mm(torch.ones(SIDE, SIDE), torch.ones(SIDE, SIDE))
        return super().generate(condition, rng, progress)


def toy_system(**changes):
    """A step of one product of 8 x 8 matrices, run 100 times, and an end that is timed on a quarter of its voxels."""
    a, calls = torch.ones(8, 8), {"step": 0, "end": 0}

    def run(name):
        calls[name] += 1
        torch.mm(a, a)

    def build(device):
        return [published.Part("step", lambda: run("step"), 100, 5), published.Part("end", lambda: run("end"), share=0.25)]

    facts = {"title": "a toy", "source": "here", "assumed": "nothing", "shape": (96, 96, 80), "steps": 100, "stages": ("mask",)}
    return published.Published(**{**facts, "needs_mb": {"cpu": 1, "cuda": 1}, "build": build, **changes}), calls


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    make_bundle(folder, structures=["brainstem"])
    return folder


@pytest.fixture(scope="module")
def run(shelf, tmp_path_factory):
    def measured(**changes):
        out = changes.pop("out", None) or tmp_path_factory.mktemp("bench")
        stand_ins = {
            "load_bundle": lambda name: bundles.load(str(shelf / name)),
            "load_masks": lambda *_: Multiplying(),
            "load_volumes": lambda *_: FlatVolumes(),
            "worker": [sys.executable, str(PROGRAM), str(shelf)],
            "measure": lambda device: PEAK,
            "device": "cpu",
        }
        return bench("headneck", out, **{**stand_ins, **changes}), out

    return measured


@pytest.fixture(scope="module")
def whole(run):
    systems = {"toy": toy_system()[0], "giant": toy_system(title="a giant", needs_mb={"cpu": 10**9, "cuda": 10**9})[0]}
    return run(repeats=1, frames="default,small", with_published=True, systems=systems)


def test_the_report_has_the_published_keys(whole):
    made, out = whole
    assert json.loads((out / "bench.json").read_text()) == made and made["version"] == 1 and made["complete"] is True
    assert set(made) >= {"command", "seed", "repeats", "versions", "hardware", "bundle", "request", "frames", "devices"}
    assert made["command"] == (
        "sketch2ct bench --out OUT --bundle headneck --device cpu --frames default,small --repeats 1 --seed 0 --published"
    )
    stages = {"load", "mask", "volume", "write", "other", "total"}
    entry = made["devices"]["cpu"]["frames"]["default"]
    assert set(entry["cold"]["seconds"]) == stages | {"start"} and set(entry["warm"]["seconds"]) == stages
    for state in ("cold", "warm"):
        assert all(set(figure) == {"median", "min", "max", "n"} for figure in entry[state]["seconds"].values())
        assert set(entry[state]["peak_memory_mb"]) == {"load", "mask", "volume", "write"}
        assert entry[state]["peak_memory_mb"]["mask"]["host"] > 50 and entry[state]["peak_memory_mb"]["mask"]["device"] is None


def test_frames_are_half_and_all_of_the_bundles_extent(whole):
    frames = whole[0]["frames"]
    assert list(frames) == ["small", "default"]
    assert frames["default"]["shape"] == [48, 48, 40] and frames["default"]["extent_mm"] == [144, 144, 120]
    assert frames["small"]["shape"] == [24, 24, 20] and frames["small"]["voxels"] * 8 == frames["default"]["voxels"]
    assert ours.FRAMES["large"] == 2.0


def test_every_run_of_a_frame_made_the_same_images(whole):
    frames = whole[0]["devices"]["cpu"]["frames"]
    assert all(entry["same_bytes"] for entry in frames.values())
    assert frames["small"]["sha256"] != frames["default"]["sha256"]


def test_a_cold_run_counts_the_start_of_its_process(whole):
    cold, warm = (whole[0]["devices"]["cpu"]["frames"]["default"][state]["seconds"] for state in ("cold", "warm"))
    assert cold["start"]["min"] > 0.1 and cold["total"]["min"] >= cold["start"]["min"]
    assert warm["total"]["median"] < cold["total"]["median"]


def test_runs_are_summed_up_by_median_and_highest_memory():
    runs = ours.Runs()
    for mask, memory, total, start in ((1.0, 100.0, 4.0, 2.0), (3.0, 90.0, 9.0, 1.0), (2.0, None, 5.0, 3.0)):
        entry = {
            "seconds": {"mask": mask, "write": 0.5},
            "peak_memory_mb": {k: {"host": memory, "device": None} for k in ("mask", "write")},
        }
        runs.add((total, entry), start)
    made = runs.to_dict()
    assert made["seconds"]["mask"] == {"median": 2.0, "min": 1.0, "max": 3.0, "n": 3}
    assert made["seconds"]["total"] == {"median": 8.0, "min": 6.0, "max": 10.0, "n": 3}  # with the start of the process
    assert made["seconds"]["other"] == {"median": 2.5, "min": 2.5, "max": 5.5, "n": 3}  # 4 - 1.5, 9 - 3.5, 5 - 2.5
    assert made["peak_memory_mb"]["mask"] == {"host": 100.0, "device": None} and "volume" not in made["seconds"]


def test_work_is_set_against_the_peak_by_the_warm_median(whole):
    entry = whole[0]["devices"]["cpu"]["frames"]["default"]
    seconds, work = max(entry["warm"]["seconds"]["mask"]["median"], 1e-9), entry["work"]["mask"]
    assert work["flops"] == 2 * SIDE**3 and entry["work"]["volume"]["flops"] == 0
    assert work["fraction_of_peak_flops"] == round(2 * SIDE**3 / seconds / 1e9, 4)
    assert work["fraction_of_peak_bandwidth"] == round(work["bytes"] / seconds / 1e8, 4)


def test_a_published_system_is_extrapolated_and_compared(whole):
    made, out = whole
    toy, seconds = made["devices"]["cpu"]["published"]["toy"], made["devices"]["cpu"]["frames"]["default"]["warm"]["seconds"]
    assert toy["extrapolated"] and toy["parts"]["step"]["times"] == 100 and toy["parts"]["step"]["timed"] == 5
    assert toy["flops"] == (100 + 4) * 2 * 8**3
    assert toy["ours_seconds"] == max(seconds["mask"]["median"], 1e-3)
    assert toy["ratio"] == pytest.approx(toy["seconds"] / toy["ours_seconds"], abs=0.1 + 0.01 / toy["ours_seconds"])
    assert toy["ratio_per_voxel"] == pytest.approx(toy["ratio"] / 8, abs=0.1)  # twice as many voxels along each axis
    text = (out / "bench.md").read_text()
    assert "Extrapolated, not run in full: step: 100 times, 5 timed at" in text and "on 0.25 of the voxels" in text


def test_what_does_not_fit_is_left_out_with_one_line(whole):
    made, out = whole
    giant = made["devices"]["cpu"]["published"]["giant"]
    assert set(giant) == {"title", "skipped"}
    assert giant["skipped"].startswith("a giant needs about 1000000000 MiB of free memory on cpu, and ")
    assert "a giant: not measured. a giant needs about" in (out / "bench.md").read_text()


def test_a_run_that_ends_before_time_keeps_what_it_has(run, tmp_path):
    def interrupted(device):
        raise KeyboardInterrupt

    systems = {"toy": toy_system()[0], "last": toy_system(build=interrupted)[0]}
    with pytest.raises(KeyboardInterrupt):
        run(frames="small", repeats=1, with_published=True, systems=systems, out=tmp_path, worker=[sys.executable, "-c", "pass"])
    kept = json.loads((tmp_path / "bench.json").read_text())
    assert kept["complete"] is False and "Not complete" in (tmp_path / "bench.md").read_text()
    assert list(kept["devices"]["cpu"]["published"]) == ["toy"]
    assert "it said nothing" in kept["devices"]["cpu"]["frames"]["small"]["skipped"]


def test_memory_that_runs_out_all_the_same_is_told_and_not_raised():
    def build(device):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    assert "too small" in published.time_one(toy_system(build=build)[0], CPU, PEAK, 0)["skipped"]
    with pytest.raises(RuntimeError, match="another"):
        published.time_one(toy_system(build=lambda device: (_ for _ in ()).throw(RuntimeError("another")))[0], CPU, PEAK, 0)


def test_seconds_of_a_part_are_multiplied_and_shared_out(monkeypatch):
    system, calls = toy_system()
    monkeypatch.setattr(published, "timed", lambda device, call: call() or 0.5)
    made = published.time_one(system, CPU, PEAK, 0)
    assert made["parts"]["step"]["seconds"] == 50 and made["parts"]["end"]["seconds"] == 2 and made["seconds"] == 52
    assert calls == {"step": 6, "end": 2}  # one more of each to warm up
    assert made["fraction_of_peak_flops"] == round(104 * 1024 / 52 / 1e9, 4)


def test_a_frame_that_the_worker_refuses_is_left_out_with_its_reason(run, monkeypatch):
    """A sketch of 80 mm does not fit into half of this bundle's 144 mm."""
    monkeypatch.setattr(ours, "standard_request", lambda *_: GenerationRequest([circle(40, structure="brainstem")], "a brainstem"))
    made, out = run(frames="small", repeats=1)
    skipped = made["devices"]["cpu"]["frames"]["small"]["skipped"]
    assert "larger than the frame: 80 mm where the frame has 72 mm" in skipped
    assert f"small: not measured. {skipped}" in (out / "bench.md").read_text()


def test_a_worker_that_dies_is_told_with_its_last_words(shelf):
    words = [sys.executable, "-c", "import sys; print('no such library', file=sys.stderr); sys.exit(3)"]
    with pytest.raises(Sketch2CTError, match="status 3: no such library"):
        ours.time_frame(GenerationRequest([circle()], "a mandible"), shelf, 1, words)


def test_a_small_frame_lies_around_the_strokes():
    request = GenerationRequest([circle(20, (10, 20, 30))], "a mandible")
    metadata = {"frame": {"shape": [48, 48, 40], "spacing": [3.0, 3.0, 3.0]}, "placement": {"mandible": [0.0, 12.0, -6.0]}}
    assert np.allclose(ours.framed(request, metadata, 0.5).grid.centre, (10, 20, 30), atol=0.2)
    assert np.allclose(ours.framed(request, metadata, 1.0).grid.centre, (10, 8, 36), atol=0.2)
    assert ours.framed(request, metadata, 2.0).grid.shape == (96, 96, 80)


def test_a_bundle_without_the_samples_structure_gets_a_circle_of_its_first(shelf):
    chosen = bundles.load(str(shelf / "headneck"))
    knowing = replace(chosen, metadata=chosen.metadata | {"structures": ["mandible"]})
    assert ours.standard_request(knowing, 4).structures() == ["mandible"] and ours.standard_request(knowing, 4).seed == 4
    request = ours.standard_request(chosen, 0)
    assert request.structures() == ["brainstem"] and request.description == "a brainstem"
    assert np.allclose(np.linalg.norm(request.sketches[0].points(), axis=1), 120 / 16)


def test_operations_and_bytes_are_those_counted_by_hand():
    linear, convolution = torch.nn.Linear(32, 64), torch.nn.Conv3d(2, 4, 3, padding=1)
    x, y, q = torch.ones(10, 32), torch.ones(1, 2, 8, 8, 8), torch.rand(1, 2, 16, 8)
    with torch.inference_mode():
        with peak.counted() as work:
            linear(x)
        assert work.flops == 2 * 10 * 32 * 64
        assert work.bytes == 4 * (10 * 32 + 32 * 64 + 64 + 10 * 64)
        with peak.counted() as work:
            convolution(y)
        assert work.flops == 2 * 4 * 2 * 27 * 8**3
        with peak.counted() as work:
            torch.nn.functional.scaled_dot_product_attention(q, q, q)
        assert work.flops == 2 * 2 * (2 * 16 * 16 * 8)  # two heads, two products; the softmax is not counted
        with peak.counted() as work:
            assert x.reshape(320).view(10, 32).T.shape == (32, 10)
        assert work.flops == work.bytes == 0


def test_rates_are_the_best_of_the_runs(monkeypatch):
    times = iter([9.0, 0.5, 0.25, 0.5] * 2)  # the first of each only warms up
    monkeypatch.setattr(peak, "timed", lambda device, call: call() is None or next(times))
    made = peak.measure(CPU, matrix=10, copy_bytes=4000, seconds=0.0)
    assert made.flops_per_s == {"float32": 2 * 10**3 / 0.25} and made.bytes_per_s == 2 * 4000 / 0.25 and made.reference == "float32"


def test_a_real_measurement_is_plausible():
    made = peak.measure(CPU, matrix=256, copy_bytes=2**20, seconds=0.0)
    assert 1e8 < made.flops_per_s["float32"] < 1e15 and 1e7 < made.bytes_per_s < 1e14


@pytest.mark.parametrize(
    ("name", "step", "gflop"),
    [("sketch2ct_paper", "mask_step", 49.3), ("sketch2ct_code", "step", 957), ("maisi_rflow", "step", 1640)],
)
def test_published_networks_have_the_published_sizes(name, step, gflop):
    """By the operations of a step; the meta device counts without computing.

    Of the paper's 49.3, attention over 16^3 cells of 64 channels is 3 x 4 x 4096^2 x 64 = 12.9.
    """
    system, device = published.SYSTEMS[name], torch.device("meta")
    with torch.device("meta"), torch.inference_mode():
        parts = {part.name: part for part in system.build(device)}
        with peak.counted() as work:
            parts[step].run()
    assert sum(part.times for key, part in parts.items() if key.endswith("step")) == system.steps
    assert work.flops / 1e9 == pytest.approx(gflop, rel=0.005)


@pytest.mark.parametrize(
    ("changes", "match"), [({"frames": "tiny"}, "'tiny'"), ({"frames": ","}, "Known: small"), ({"repeats": 0}, "cannot be 0")]
)
def test_wrong_options_are_refused(run, changes, match):
    with pytest.raises(BadRequest, match=match):
        run(**changes)


def test_the_command_hands_its_options_on(monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr("sketch2ct.benchmark.run.bench", lambda *arguments, **options: seen.update(a=arguments, o=options))
    options = ["--bundle", "b", "--device", "cpu", "--frames", "small", "--repeats", "2", "--seed", "5", "--published"]
    assert cli.main(["bench", "--out", str(tmp_path / "o"), *options]) == 0
    assert seen == {"a": ("b", tmp_path / "o", "cpu", "small", 2, 5), "o": {"with_published": True}}


def test_a_busy_machine_is_said_in_the_report(whole):
    made = json.loads(json.dumps(whole[0]))
    made["hardware"]["busy"] = True
    assert "The machine was busy" in report.markdown(made)
    made["hardware"]["busy"] = False
    assert "The machine was busy" not in report.markdown(made)


def test_the_workers_own_command_starts_this_package():
    words = ours.command()
    assert words[1:] == ["-m", "sketch2ct", "worker"]
    package = {"PYTHONPATH": str(Path(ours.__file__).resolve().parents[2]), "PATH": ""}
    done = subprocess.run([*words, "--help"], env=package, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "JSON lines" in done.stdout
