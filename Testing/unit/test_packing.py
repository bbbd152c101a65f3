"""Weights in int8 and fp16: what comes back, how much smaller it is, and what is refused."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from sketch2ct import bundle
from sketch2ct.packing import FROM, LEVELS, SCALE, packed, unpacked


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    wide = torch.randn(16, 4, 5, 5, 5) * torch.logspace(-4, 2, 16).view(-1, 1, 1, 1, 1)  # outputs of very different size
    return {"conv.weight": wide, "conv.bias": torch.randn(16), "small.weight": torch.randn(4, 4), "count": torch.tensor([7])}


def test_every_output_keeps_its_own_precision() -> None:
    before, after = weights(), unpacked(packed(weights(), small=True))
    assert set(after) == set(before)
    wide = before["conv.weight"].flatten(1)
    error = (after["conv.weight"].flatten(1) - wide).abs().amax(1)
    assert (error <= 0.51 * wide.abs().amax(1) / LEVELS * 1.002).all()
    assert (error > 0).all()
    assert torch.allclose(after["small.weight"], before["small.weight"], rtol=1e-3)
    assert after["count"].dtype == torch.int64 and int(after["count"]) == 7
    assert all(v.dtype == torch.float32 for k, v in after.items() if k != "count")


def test_only_large_tensors_of_networks_become_int8() -> None:
    stored = packed(weights(), small=True)
    assert weights()["conv.weight"].numel() >= FROM > weights()["small.weight"].numel()
    assert stored["conv.weight"].dtype == torch.int8 and stored["conv.weight" + SCALE].dtype == torch.float16
    assert stored["small.weight"].dtype == stored["conv.bias"].dtype == torch.float16
    assert all(v.dtype != torch.int8 for v in packed(weights(), small=False).values())


def test_an_output_of_zeros_stays_zero_and_packing_twice_changes_nothing_more() -> None:
    tensors = {"w": torch.cat([torch.zeros(1, FROM), torch.randn(3, FROM)])}
    once = unpacked(packed(tensors, small=True))
    assert not once["w"][0].any()
    assert torch.allclose(unpacked(packed(once, small=True))["w"], once["w"], rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(bad: float, tmp_path) -> None:
    with pytest.raises(ValueError, match="w holds"):
        packed({"w": torch.tensor([1.0, bad])}, small=True)
    with pytest.raises(ValueError, match="train that stage again"):
        bundle.save(tmp_path / "toy", {}, {"mask": {"w": torch.tensor([bad])}}, "card", "CC0")


def test_a_bundle_stores_its_networks_small_and_gives_them_back(tmp_path) -> None:
    saved = bundle.save(tmp_path / "toy", {}, {"mask": weights(), "atlas": weights()}, "card", "CC0")
    on_disk = load_file(saved.folder / "models" / "mask.safetensors")
    assert on_disk["conv.weight"].dtype == torch.int8
    assert load_file(saved.folder / "models" / "atlas.safetensors")["conv.weight"].dtype == torch.float16
    assert set(saved.weights("mask")) == set(saved.weights("atlas")) == set(weights())
