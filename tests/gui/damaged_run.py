"""A finished run with saves and a result that are whole, and one byte of the result that is not."""

from __future__ import annotations

import json
from pathlib import Path

from engine import durable
from engine.runs import check
from tests.gui.monitor_runs import finished_run

RESULT = Path("adapter") / "adapter_model.safetensors"


def sound_run(name: str = "tickets-qlora-r16") -> Path:
    """Return a finished run with two saves and its result."""
    folder = finished_run(name)
    for step in (250, 300):
        _saved(folder / "checkpoints" / f"step-{step:08d}")
    _saved(folder / "adapter")
    note = json.loads((folder / "exit.json").read_bytes())
    digest = durable.sha256_file(folder / "adapter" / check.MANIFEST)
    durable.write_json(folder / "exit.json", {**note, "result": "adapter", "result_sha256": digest})
    return folder


def _saved(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}', encoding="utf-8")
    (folder / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 64)
    check.write_manifest(folder)


def flip(run: Path) -> None:
    """Change one byte of a run's result."""
    content = bytearray((run / RESULT).read_bytes())
    content[len(content) // 2] ^= 1
    (run / RESULT).write_bytes(content)
