"""The same promises on a GPU: `pytest tests/gpu` on a machine that has one; elsewhere all of it is left out.

Needs nothing but the GPU: models and data are made here, nothing is downloaded, nobody is asked.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import (  # noqa: F401 - fixtures
    MakeTraining,
    make_run,
    make_training,
    sound_rows,
)

WIDE = """
import sys
from transformers import LlamaConfig, LlamaForCausalLM
import torch
torch.manual_seed(0)
LlamaForCausalLM(LlamaConfig(
    vocab_size=32000, hidden_size=1024, intermediate_size=2816, num_hidden_layers=8, num_attention_heads=16,
    num_key_value_heads=4, max_position_embeddings=2048, tie_word_embeddings=True,
    bos_token_id=1, eos_token_id=2, pad_token_id=0,
)).save_pretrained(sys.argv[1])
"""


@pytest.fixture(scope="session")
def wide_model(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """Return a model of 120 million values, so that memory is its own and not the library's."""
    folder = tmp_path_factory.mktemp("models") / "wide"
    shutil.copytree(tiny_model, folder)
    (folder / "model.safetensors").unlink()
    subprocess.run([sys.executable, "-c", WIDE, str(folder)], check=True)
    return folder


@pytest.fixture(scope="session")
def long_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 64 conversations that fill their 512 tokens."""
    path = tmp_path_factory.mktemp("data") / "long.jsonl"
    lines = []
    for number in range(64):
        answer = " ".join(f"Sentence {i} of answer {number} says {i * number}." for i in range(60))
        roles = (("user", f"Tell me about {number}."), ("assistant", answer))
        lines.append(json.dumps({"messages": [{"role": r, "content": c} for r, c in roles]}))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def wide(wide_model: Path, long_rows: Path) -> dict[str, Any]:
    """Return the options of a run whose memory is worth measuring."""
    return {
        "model__path": str(wide_model),
        "data__train": [str(long_rows)],
        "data__validation_split": 0.0,
        "data__max_length": 512,
        "data__shuffle": False,
        "training__per_device_train_batch_size": 8,
        "training__learning_rate": 2e-4,
    }


@pytest.fixture(autouse=True)
def _a_device_as_it_was() -> Iterator[None]:
    """Give all memory back after a test, and any bound on it."""
    import gc

    import torch

    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
