"""The stand-alone script of a run: without Tunesmith it takes the same rows and tells the same losses."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineError
from engine.runs import script
from engine.runtime import train
from tests.integration.conftest import MakeRun, MakeTraining, losses, run_to_end

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


# What would end a string, a comment or a docstring, were it pasted into source.
HOSTILE = 'Say "what"\nit\'s \u2028 {{ like }}. """ \\ \'\'\' # {x}\nimport os; os.abort()'
SETTINGS: dict[str, dict[str, Any]] = {
    # 48 rows in batches of 5 and windows of 4: an epoch ends with 2 batches, the last of 3 rows
    "dora, accumulation, decay, clipping, wsd": {
        "adapter__use_dora": True,
        "training__per_device_train_batch_size": 5,
        "training__gradient_accumulation_steps": 4,
        "training__weight_decay": 0.1,
        "training__max_grad_norm": 0.2,
        "data__split_seed": 5,
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
        "data__system_prompt": HOSTILE,
        "name": HOSTILE,
        "training__lr_scheduler_type": "linear",
    },
    "olora, LoRA+, trained whole, in file order, rows kept": {
        "data__special_tokens": "text",
        "adapter__init_lora_weights": "olora",
        "adapter__modules_to_save": ["norm"],
        "training__loraplus_lr_ratio": 4.0,
        "training__optim": "sgd",
        "data__shuffle": False,
        "data__validation_split": 0.0,
        "training__lr_scheduler_type": "polynomial",
    },
}


def holds_as_data(path: Path, rows: Path) -> None:
    """What a person wrote stands in constants, word for word, and nowhere else."""
    tree = ast.parse(path.read_text())
    kinds = (ast.Import, ast.ImportFrom, ast.Assign, ast.FunctionDef, ast.If)
    assert ast.get_docstring(tree) and all(isinstance(node, kinds) for node in tree.body[1:])
    assert [isinstance(node, ast.If) for node in tree.body].index(True) == len(tree.body) - 1
    values = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert ast.literal_eval(values["SYSTEM_PROMPT"]) == HOSTILE
    assert ast.literal_eval(values["TRAIN_FILES"]) == [str(rows)]
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert "os" not in imported


@pytest.fixture
def text_rows(tmp_path: Path) -> Path:
    texts = [f"Line {i} of a text that goes on. " * (1 + i % 4) for i in range(40)]
    return write_rows(tmp_path / "texts.jsonl", [{"text": text} for text in texts])


@pytest.fixture
def hostile_rows(tmp_path: Path, sound_rows: Path) -> Path:
    folder = tmp_path / "data 'a' \"b\" {c}\nimport os; os.abort() # '''"
    folder.mkdir()
    return Path(shutil.copy(sound_rows, folder / "rows.jsonl"))


def test_that_scripts_repeat_the_losses_of_their_runs(
    make_training: MakeTraining, make_run: MakeRun, text_rows: Path, hostile_rows: Path, tmp_path: Path
) -> None:
    """One child for all scripts: most of their time is the import of transformers."""
    expected: dict[Path, list[float]] = {}
    child = make_run(**LONG, name="a real child", training__learning_rate=2e-2)
    assert run_to_end(child) == "finished"
    runs = [("child", child, True)]
    for name, options in SETTINGS.items():
        own = {"data__train": [str(text_rows)]} if name.startswith("raw") else {}
        if name.startswith("vera"):
            own = {"data__train": [str(hostile_rows)]}
        run = make_training(**{**LONG, **options, **own})
        for _ in range(6):
            train.take_step(run)
        runs.append((name, run.job.folder, False))
    for number, (name, folder, check) in enumerate(runs):
        out = tmp_path / "scripts" / f"{number}" / "train.py"
        told = script.write_script(folder, out, check=check)
        kept = name.endswith("rows kept")
        assert told["rows"] == ("kept" if kept else "read") and bool(told["reason"]) is kept
        assert told["verified"] is check and told["files"][0] == str(out) and len(told["files"]) == 1 + kept
        expected[out] = [v for v in losses(folder).values() if v is not None]
    assert len(next(iter(expected)).read_text().splitlines()) < 265
    formatted(*expected)
    holds_as_data(tmp_path / "scripts" / "4" / "train.py", hostile_rows)
    found = alone(*expected)
    for (name, _, _), out in zip(runs, expected, strict=True):
        assert len(found[out]) == 6 and found[out] == pytest.approx(expected[out], abs=1e-4), name
    first = next(iter(expected))
    assert (first.parent / "adapter" / "adapter_model.safetensors").exists()


def test_that_the_verb_takes_the_rows_of_the_run_where_the_file_changed(
    make_training: MakeTraining, sound_rows: Path, tmp_path: Path
) -> None:
    data = tmp_path / "own.jsonl"
    shutil.copy(sound_rows, data)
    run = make_training(data__train=[str(data)], **PLAIN)
    data.write_text(data.read_text().replace("cat", "lion"))
    words = ["script", str(run.job.folder), "--out", str(tmp_path / "again.py"), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "engine", *words], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["verified"] and told["rows"] == "kept" and "changed" in told["reason"]
    assert [Path(f).name for f in told["files"]] == ["again.py", "again.rows.safetensors"]
    assert told["bytes"] == sum(Path(f).stat().st_size for f in told["files"])
    with pytest.raises(EngineError, match="exists already"):
        script.write_script(run.job.folder, tmp_path / "again.py")
