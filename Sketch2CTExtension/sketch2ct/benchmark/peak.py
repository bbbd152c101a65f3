"""What a device can do at most, and what a computation asks of it: floating-point operations and bytes.

The peak is measured, not looked up: the best rate of one large matrix product, and of one large copy. Operations are torch's own
count (a multiplication and an addition are two); bytes are what every single operation reads and writes, as if nothing were fused
or found in a cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

MATRIX = {"cpu": 2048, "cuda": 8192}  # side of the square matrices
COPY_BYTES = {"cpu": 2**28, "cuda": 2**30}  # far beyond any cache
SECONDS = 1.0  # spent on each rate
_MIN_RUNS = 3


@dataclass(frozen=True)
class Peak:
    """Best measured rates of a device: FLOP/s by precision, bytes/s of a copy; `reference` is the precision this system runs in."""

    flops_per_s: dict[str, float]
    bytes_per_s: float
    reference: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        rates = {name: round(rate) for name, rate in self.flops_per_s.items()}
        return {"flops_per_s": rates, "bytes_per_s": round(self.bytes_per_s), "reference": self.reference}


@dataclass
class Work:
    """What a computation asked for: floating-point operations, and bytes read and written."""

    flops: int = 0
    bytes: int = 0

    def against(self, seconds: float, peak: Peak, precision: str | None = None) -> dict[str, Any]:
        """As JSON, with the share (0..1) of the peak rates that doing it in so many seconds means."""
        best = peak.flops_per_s[precision or peak.reference]
        done = max(seconds, 1e-9)
        return {
            "flops": self.flops,
            "bytes": self.bytes,
            "precision": precision or peak.reference,
            "fraction_of_peak_flops": round(self.flops / done / best, 4),
            "fraction_of_peak_bandwidth": round(self.bytes / done / peak.bytes_per_s, 4),
        }


def measure(device: torch.device, matrix: int | None = None, copy_bytes: int | None = None, seconds: float = SECONDS) -> Peak:
    """The device's peak. Convolutions on CUDA run in TF32 unless that is switched off, so TF32 is the reference there."""
    side, size = matrix or MATRIX[device.type], copy_bytes or COPY_BYTES[device.type]
    rates = {"float32": _matmul(device, side, torch.float32, seconds)}
    reference = "float32"
    if device.type == "cuda":
        before = torch.get_float32_matmul_precision()
        try:
            torch.set_float32_matmul_precision("high")
            rates["tf32"] = _matmul(device, side, torch.float32, seconds)
        finally:
            torch.set_float32_matmul_precision(before)
        rates["float16"] = _matmul(device, side, torch.float16, seconds)
        reference = "tf32" if torch.backends.cudnn.allow_tf32 else "float32"
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    best = _best(device, lambda: target.copy_(source), seconds)
    return Peak(rates, 2 * 4 * source.numel() / best, reference)


def _matmul(device: torch.device, side: int, kind: torch.dtype, seconds: float) -> float:
    # Random, as real data are: a GPU runs constant matrices faster, because they cost it less power.
    rng = torch.Generator(device).manual_seed(0)
    a, b = (torch.rand((side, side), device=device, generator=rng).to(kind) for _ in range(2))
    out = torch.empty_like(a)
    return float(2 * side**3 / _best(device, lambda: torch.mm(a, b, out=out), seconds))


def _best(device: torch.device, run: Callable[[], Any], seconds: float) -> float:
    """The shortest of the runs that `seconds` hold, after one to warm up."""
    timed(device, run)
    found: list[float] = []
    while len(found) < _MIN_RUNS or sum(found) < seconds:
        found.append(timed(device, run))
    return min(found)


def timed(device: torch.device, run: Callable[[], Any]) -> float:
    """Seconds of one run, the device's queue waited for."""
    wait = (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)
    wait()
    start = time.perf_counter()
    run()
    wait()
    return max(time.perf_counter() - start, 1e-9)


@contextmanager
def counted() -> Iterator[Work]:
    """Counts the block's work; the result is complete when the block has ended."""
    work = Work()
    # The counter is the inner one: it takes composite operations apart before the bytes are counted.
    with _Bytes(work), FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION) as counter:
        yield work
    work.flops = int(counter.get_total_flops())


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


# torch's table knows the attention kernels of CUDA only
_CPU_ATTENTION: dict[Any, Any] = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}


class _Bytes(TorchDispatchMode):
    """Adds up the bytes of each operation's distinct input and output tensors; views move none."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = {id(x): x for x in tree_leaves((args, kwargs or {}, made)) if isinstance(x, Tensor)}
            self._work.bytes += sum(x.numel() * x.element_size() for x in tensors.values())
        return made


def half_on_cuda(device: torch.device) -> Any:
    """Half precision on CUDA, as the published systems run; nothing on the CPU."""
    return torch.autocast("cuda", dtype=torch.float16) if device.type == "cuda" else nullcontext()
