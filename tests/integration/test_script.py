"""The stand-alone script of a run: without Tunesmith it takes the same rows and tells the same losses."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineError
from engine.runs import script, store
from engine.runtime import train
from tests.integration.conftest import MakeRun, MakeTraining, events_of, losses, run_to_end

# Runs scripts one after the other where nothing of this project can be imported.
ALONE = """
import importlib.util, os, runpy, sys
from pathlib import Path
sys.path[:] = [p for p in sys.path if not (Path(p) / "engine").is_dir()]
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in str(f)]
assert importlib.util.find_spec("engine") is None
for path in sys.argv[1:]:
    print("script", path)
    os.chdir(Path(path).parent)
    sys.argv = [path]
    runpy.run_path(path, run_name="__main__")
"""
PLAIN = {"adapter__lora_dropout": 0.0, "adapter__r": 4}
LONG = {**PLAIN, "training__max_steps": 6, "training__num_train_epochs": 3}


def alone(*scripts: Path) -> dict[Path, list[float]]:
    """Run scripts in a child that cannot import this project; return the losses of each."""
    done = subprocess.run(
        [sys.executable, "-I", "-X", "utf8", "-c", ALONE, *map(str, scripts)],
        capture_output=True,
        text=True,
        cwd=scripts[0].parent,
        env={"HF_HUB_OFFLINE": "1", "HOME": str(scripts[0].parent), "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.split(r"^script .*\n", done.stdout, flags=re.M)[1:]
    found = [[float(v) for v in re.findall(r"^step \d+  loss (\S+)", text, re.M)] for text in told]
    return dict(zip(scripts, found, strict=True))


def formatted(*scripts: Path) -> None:
    checks = (
        ["check", "--isolated", "--select", "E,F,W,I", "--line-length", "320"],
        ["format", "--isolated", "--check", "--diff"],
    )
    for words in checks:
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--no-cache", *map(str, scripts)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


SETTINGS: dict[str, dict[str, Any]] = {
    # 48 rows in batches of 5 and windows of 4: the last window of an epoch has 2 batches, the last batch 3 rows
    "dora, accumulation, decay, clipping, wsd": {
        "adapter__use_dora": True,
        "training__per_device_train_batch_size": 5,
        "training__gradient_accumulation_steps": 4,
        "training__weight_decay": 0.1,
        "training__max_grad_norm": 0.2,
        "training__lr_scheduler_type": "warmup_stable_decay",
        "training__warmup_steps": 2,
    },
    "packing, muon, cosine, patterns, rank-stabilised": {
        "data__packing": True,
        "training__optim": "muon",
        "data__max_length": 128,
        "training__per_device_train_batch_size": 2,
        "adapter__use_rslora": True,
        "adapter__target_modules": ["query", "mlp"],
        "adapter__rank_pattern": {"mlp": 3},
        "adapter__alpha_pattern": {"down_proj": 7},
        "training__lr_scheduler_type": "cosine_with_min_lr",
        "training__warmup_steps": 0.3,
    },
    "raw text in pieces, whole model, groups": {
        "data__too_long": "split",
        "data__max_length": 24,
        "adapter__method": "full",
        "adapter__r": 16,
        "training__learning_rate": 1e-3,
        "training__weight_decay": 0.05,
        "training__lr_scheduler_type": "one_cycle",
        "training__warmup_steps": 2,
    },
    "vera, adafactor, doubles, system prompt, last answer": {
        "adapter__method": "vera",
        "training__learning_rate": 1e-2,
        "training__optim": "adafactor",
        "data__dedupe": True,
        "data__train_on": "last",
        "data__system_prompt": 'Say "what"\nit\'s \u2028 {{ like }}. """ \\',
        "training__lr_scheduler_type": "linear",
    },
    "olora, LoRA+, trained whole, in file order": {
        "adapter__init_lora_weights": "olora",
        "adapter__modules_to_save": ["norm"],
        "training__loraplus_lr_ratio": 4.0,
        "training__optim": "sgd",
        "data__shuffle": False,
        "data__validation_split": 0.0,
        "training__lr_scheduler_type": "polynomial",
    },
}


@pytest.fixture
def text_rows(tmp_path: Path) -> Path:
    texts = [f"Line {i} of a text that goes on. " * (1 + i % 4) for i in range(40)]
    return write_rows(tmp_path / "texts.jsonl", [{"text": text} for text in texts])


def test_that_scripts_repeat_the_losses_of_their_runs(
    make_training: MakeTraining, make_run: MakeRun, text_rows: Path, tmp_path: Path
) -> None:
    expected: dict[Path, list[float]] = {}
    child = make_run(**LONG, name="a real child", training__learning_rate=2e-2)
    assert run_to_end(child) == "finished"
    runs = [("child", child, True)]
    for name, options in SETTINGS.items():
        own = {"data__train": [str(text_rows)]} if name.startswith("raw") else {}
        run = make_training(**{**LONG, **options, **own})
        for _ in range(6):
            train.take_step(run)
        runs.append((name, run.job.folder, False))
    for number, (_, folder, check) in enumerate(runs):
        out = tmp_path / "scripts" / f"{number}" / "train.py"
        told = script.write_script(folder, out, check=check)
        assert told["rows"] == "read", told
        assert told["verified"] is check and told["files"] == [str(out)]
        assert len(out.read_text().splitlines()) < 320
        expected[out] = [v for v in losses(folder).values() if v is not None]
    formatted(*expected)
    found = alone(*expected)
    for (name, _, _), out in zip(runs, expected, strict=True):
        assert len(found[out]) == 6 and found[out] == pytest.approx(expected[out], abs=1e-4), name
    first = next(iter(expected))
    assert (first.parent / "adapter" / "adapter_model.safetensors").exists()
