"""What the engine asks of a mask generator and of a volume generator. The label map is the seam between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from .errors import Cancelled
from .geometry import Grid
from .imaging import CTVolume, LabelVolume
from .request import Sketch

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class MaskCondition:
    """Everything a mask generator may use.

    `structures` are made in this order; `sketches` may hold several of each, or none; `grid` is the grid to write the labels on;
    `context` (same grid) is a label map whose voxels must be kept. `steps` and `guidance` None mean the bundle's own.
    """

    structures: tuple[str, ...]
    sketches: tuple[Sketch, ...]
    description: str
    grid: Grid
    context: LabelVolume | None = None
    steps: int | None = None
    guidance: float | None = None


@dataclass
class Progress:
    """Progress of one request, and its cancel button: every sampler step calls it.

    `report(stage, step, steps, fraction, eta_s)` gets the fraction of the whole request, 0..1, and the seconds left.
    """

    report: Callable[[str, int, int, float, float | None], None] | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    _spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    _start: float = field(default_factory=time.monotonic)
    _stage: str = ""

    def plan(self, spans: dict[str, tuple[float, float]]) -> None:
        """Which part (from, to) of the whole each stage is."""
        self._spans, self._start = spans, time.monotonic()

    def under(self, stage: str) -> Progress:
        """The same progress and cancel button for a generator that works for another stage than the one it names itself."""
        return replace(self, _stage=stage)

    def __call__(self, stage: str, step: int, steps: int) -> None:
        """Step `step` of `steps` of a stage is done. Raises Cancelled when the user asked to stop."""
        stage = self._stage or stage
        if self.cancel.is_set():
            raise Cancelled()
        if self.report is None:
            return
        low, high = self._spans.get(stage, (0.0, 1.0))
        fraction = min(low + (high - low) * step / max(steps, 1), high)  # rounding must not lead beyond the next stage
        elapsed = time.monotonic() - self._start
        eta = elapsed * (1 - fraction) / fraction if fraction > 0.02 else None
        self.report(stage, step, steps, fraction, eta)


class MaskGenerator(Protocol):
    """Condition -> label map on `condition.grid`. `rng` is a CPU generator, so that a seed means the same noise on every device."""

    def generate(self, condition: MaskCondition, rng: torch.Generator, progress: Progress) -> LabelVolume:
        """One label map. The same generator state gives the same map on the same device."""


class VolumeGenerator(Protocol):
    """Label map -> CT on the same grid."""

    def generate(self, labels: LabelVolume, text: str, rng: torch.Generator, progress: Progress, *, steps: int | None = None) -> CTVolume:
        """One CT in HU. Any subset of the bundle's labels may be present."""
