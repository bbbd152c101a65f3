"""The parts of an evaluation that make masks: each measured in turn, case by case."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..anatomy import vocabulary
from ..data.nnunet import Dataset
from ..describe import Ranges
from ..generation import MaskGenerator
from ..geometry import Grid
from . import conditions, diversity, figures, neighbours, obedience, plausibility, probes
from .baselines import Baseline, fit_baselines
from .case import MaskRecord, Question, answer, ask
from .neighbours import Gallery
from .plausibility import Usual
from .training_masks import centroid, training_masks

DRAWS_A_PAIR = 10  # so many draws of a probe stand for one of each pair of words or numbers


@dataclass
class Run:
    """What every part of one evaluation needs, and how long each took."""

    dataset: Dataset
    cases: list[str]
    metadata: dict[str, Any]
    structures: list[str]
    ranges: dict[str, Ranges]
    seed: int
    out: Path
    hand: float
    parts: tuple[str, ...]
    skipped: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def questions(self, cases: int | None = None) -> Iterator[tuple[str, list[Question]]]:
        """Every case (or the first so many) with what is asked of it: one question a contoured structure."""
        for case in self.cases[:cases]:
            labels, listed = self.dataset.labels(case), self.dataset.labelled(case)
            asked = []
            for name in (n for n in self.structures if n in listed and labels.has(n)):
                try:
                    asked.append(ask(case, name, labels.mask(name), labels.grid, self.ranges[name], self.seed, self.hand))
                except ValueError as error:
                    told = f"{case} {name}: {error}"
                    if told not in self.skipped:
                        self.skipped.append(told)
                        say(f"Left out: {told}")
            yield case, asked

    @property
    def frame(self) -> Grid:
        """The bundle's frame around the origin."""
        shape, spacing = self.metadata["frame"]["shape"], self.metadata["frame"]["spacing"]
        return Grid.centred((0, 0, 0), spacing, (shape[0], shape[1], shape[2]))

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measures the seconds of a part."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 1)


@dataclass
class Measured:
    """What was found: the masks of the part `masks`, some kept to be drawn; `summaries` part -> figures, `singles` every single
    measurement by its key in the report's records."""

    records: list[MaskRecord] = field(default_factory=list)
    shown: list[figures.Shown] = field(default_factory=list)
    summaries: dict[str, Any] = field(default_factory=dict)
    singles: dict[str, Any] = field(default_factory=lambda: {"volume_in_numbers": [], "small_against_large": []})


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def measure(run: Run, generator: MaskGenerator, samples: int, draws: int) -> Measured:
    """Every part that was asked for and makes masks; `samples` of each question, `draws` of each probe and structure."""
    seed, made = run.seed, Measured()
    if "masks" in run.parts:
        _masks(run, generator, samples, made)
    if "probes" in run.parts:
        with run.part("probes"):
            numbers, pairs = _probes(run, generator, draws)
        made.summaries["probes"] = probes.summarise(numbers, pairs, made.records, seed)
        made.singles |= {"volume_in_numbers": numbers, "small_against_large": pairs}
    if "conditions" in run.parts:
        with run.part("conditions"):
            others = _conditions(run, generator)
        made.summaries["conditions"] = conditions.summarise(others, made.records, seed)
        made.singles["conditions"] = {name: [r.to_dict() for r in records] for name, records in others.items()}
    if "obedience" in run.parts:
        with run.part("obedience"):
            grid, times = obedience.ruler(run.frame), max(1, draws // DRAWS_A_PAIR)
            made.singles["obedience"] = obedience.measure(generator, run.structures, run.ranges, grid, seed, times, say)
        made.summaries["obedience"] = obedience.summarise(made.singles["obedience"], seed)
    if "diversity" in run.parts:
        with run.part("diversity"):
            made.singles["diversity"] = _diversity(run, generator)
        made.summaries["diversity"] = diversity.summarise(made.singles["diversity"], seed)
    return made


def _baselines(run: Run) -> dict[str, dict[str, Baseline]]:
    if "Tr" not in run.dataset.splits():
        say("No labelsTr in the data: baselines are left out.")
        return {}
    say("Fitting the baselines on labelsTr")
    return fit_baselines(run.dataset, run.structures)


def _training(run: Run) -> tuple[Usual, dict[str, Gallery]]:
    """What is usual among the training masks, and the masks themselves, for the parts that look at them."""
    if not {"plausibility", "neighbours"} & set(run.parts) or "Tr" not in run.dataset.splits():
        return Usual(), {}
    with run.part("training masks"):
        say("Reading the training masks")
        known = training_masks(run.dataset, run.structures, without=run.cases)
        usual = Usual.fit(known) if "plausibility" in run.parts else Usual()
        return usual, neighbours.galleries(known) if "neighbours" in run.parts else {}


def _masks(run: Run, generator: MaskGenerator, samples: int, made: Measured) -> None:
    """Every mask measured, and kept to be drawn; the first of each question is held against the training masks."""
    with run.part("baselines"):
        baselines = _baselines(run)
    usual, known = _training(run)
    plausible: list[dict[str, Any]] = []
    nearest: list[dict[str, Any]] = []
    for number, (case, questions) in enumerate(run.questions(), start=1):
        image = run.dataset.image(case)
        middles = {q.structure: centroid(q.mask, q.grid) for q in questions}
        for q in questions:
            for sample in range(samples):
                with run.part("masks"):
                    record, mask = answer(q, generator, baselines.get(q.structure, {}), run.seed, sample)
                made.records.append(record)
                made.shown.append(figures.Shown.of(record, q, mask, image))
                if sample == 0 and "plausibility" in run.parts:
                    with run.part("plausibility"):
                        plausible.append(plausibility.both(q, mask, middles, run.ranges[q.structure], usual))
                if sample == 0 and q.structure in known:
                    with run.part("neighbours"):
                        nearest.append(neighbours.both(known[q.structure], case, q.structure, mask, q.mask, q.grid))
        done = [r for r in made.records if r.case == case]
        dice = ", ".join(f"{vocabulary()[r.structure].spoken} {r.values['dice_3d']:.2f}" for r in done)
        say(f"{number}/{len(run.cases)} {case}: {dice}")
    made.summaries |= {"plausibility": plausibility.summarise(plausible, run.seed), "neighbours": neighbours.summarise(nearest, run.seed)}
    made.singles |= {"plausibility": plausible, "neighbours": nearest}


def _conditions(run: Run, generator: MaskGenerator) -> dict[str, list[MaskRecord]]:
    found: dict[str, list[MaskRecord]] = {name: [] for name in conditions.CONDITIONS}
    for number, (case, questions) in enumerate(run.questions(), start=1):
        for name, records in conditions.measure(questions, generator, run.ranges, run.metadata, run.seed, run.hand).items():
            found[name] += records
        say(f"Conditions {number}/{len(run.cases)} {case}")
    return found


def _diversity(run: Run, generator: MaskGenerator) -> list[dict[str, Any]]:
    say("Diversity over seeds")
    found = diversity.of_names(generator, run.structures, run.frame, run.seed)
    for _, questions in run.questions(diversity.CASES):
        found += diversity.of_sketches(questions, generator, run.seed)
    return found + diversity.of_patients(q for _, questions in run.questions() for q in questions)


def _probes(run: Run, generator: MaskGenerator, draws: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    say(f"Probes: {draws} draws of each structure")
    volume = probes.volume_in_numbers(generator, run.structures, run.ranges, run.frame, run.seed, draws)
    return volume, probes.small_against_large(generator, run.structures, run.frame, run.seed, draws)
