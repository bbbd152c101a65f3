"""What can be refused before torch is imported, so that a wrong request gets its answer at once. No torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import pairing, results
from .request import GenerationRequest


def read_request(path: Path) -> GenerationRequest:
    """A request file; a relative `context` in it is meant from the file's own folder. Raises BadRequest."""
    request = GenerationRequest.read(path)
    return request.with_changes(context=str(path.absolute().parent / request.context)) if request.context else request


def check(request: GenerationRequest, out: Path, *, replace: bool = False) -> None:
    """Raises what the engine would raise for this request before its first step."""
    plan = pairing.load(request).plan(request)
    results.check_out(out, replace=replace, voxels=int(np.prod(plan.grid.shape)) * request.samples)
