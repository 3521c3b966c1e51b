"""What the tests of the plan stand on: a 7B model without its weights, and machines with a GPU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEvent, QPointF
from PySide6.QtGui import QEnterEvent
from PySide6.QtWidgets import QApplication, QWidget

from app.pages.wizard.wizard import WizardPage
from app.services import Services
from engine.hardware.devices import Gpu, Machine
from tests.gui.wizard_place import open_page, ready, settle, write_rows

SEVEN_BILLION = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


def machine_with(gigabytes: float) -> Machine:
    """Return a machine with one GPU of so much memory (GB)."""
    size = int(gigabytes * 1e9)
    gpu = Gpu("NVIDIA RTX 4090", "GPU-1", size, size, "560.0", (8, 9))
    return Machine("cpu", 8, 16, 64 * 10**9, 48 * 10**9, (gpu,))


def seven_billion(folder: Path, tiny_model: Path) -> Path:
    """Write the shapes of a 7B model with the tiny model's tokenizer; weights are not needed to plan."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SEVEN_BILLION), encoding="utf-8")
    for file in tiny_model.iterdir():
        if "token" in file.name or file.suffix == ".jinja":
            shutil.copy(file, folder / file.name)
    return folder


def page_with(
    qtbot: Any, services: Services, model: Path, folder: Path, gigabytes: float, step: str = "model"
) -> WizardPage:
    """Return the wizard at a step with model and data chosen, on a machine with a GPU of so much memory."""
    services.hardware.machine = machine_with(gigabytes)
    page = open_page(qtbot, services)
    ready(qtbot, page, model, write_rows(folder / "tickets.jsonl"))
    if step != page.step_name:
        page.go_to(step)
        settle(qtbot, page)
    return page


def point_at(widget: QWidget) -> None:
    """Bring the pointer over a widget."""
    middle = QPointF(widget.rect().center())
    QApplication.sendEvent(widget, QEnterEvent(middle, middle, middle))


def leave(widget: QWidget) -> None:
    """Take the pointer away from a widget."""
    QApplication.sendEvent(widget, QEvent(QEvent.Type.Leave))
