"""Models that cannot be used are shown in the wizard, greyed, with the reason, and cannot be chosen."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from app import kept
from app.pages.merge import MergePage
from app.pages.wizard.model_step import ModelStep
from tests.gui.wizard_place import open_page

# Qt without a screen says so when a window has a smallest size or a menu opens.
pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")


def test_that_refused_models_stand_below_with_their_reason_and_are_never_chosen(
    qtbot: Any, services: Any, home: Any, tiny_model: Any
) -> None:
    for name in ("tiny", *(f"packed-{n}" for n in range(5))):
        shutil.copytree(tiny_model, home / "models" / name)
        if name != "tiny":
            config = json.loads((tiny_model / "config.json").read_bytes())
            config["quantization_config"] = {"quant_method": "gptq"}
            (home / "models" / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
    page = open_page(qtbot, services)
    step = page.steps["model"]
    assert isinstance(step, ModelStep)
    qtbot.waitUntil(lambda: len(step.refused.rows) == 5, timeout=30_000)
    assert [row.title.text() for row in step.list.rows] == ["tiny"]
    shown = [row for row in step.refused.rows if not row.isHidden()]
    assert len(shown) == 3 and step.refused.more.text() == "Show all 5"
    row = shown[0]
    assert (
        row.code.text() == "MODEL-05" and "gptq" in row.reason.text() and "full numbers" in row.reason.text()
    )
    assert row.accessibleName() == "packed-0: cannot be used, MODEL-05"
    before = page.state.recipe.model.path
    QTest.mouseClick(row, Qt.MouseButton.LeftButton)
    QTest.keyClick(row, Qt.Key.Key_Return)
    step.search.setText("packed")
    assert step.none.isHidden() and len([r for r in step.refused.rows if not r.isHidden()]) == 5
    QTest.keyClick(step.search, Qt.Key.Key_Return)
    assert page.state.recipe.model.path == before
    step.search.setText("no such model")
    assert step.refused.isHidden() and not step.none.isHidden()
    told = [thing for thing in kept.kept_things() if thing.name == "packed-4"]
    assert len(told) == 1 and told[0].detail.startswith("cannot be used: ") and told[0].bytes


def test_that_a_refused_adapter_is_offered_greyed_with_its_reason(
    qtbot: Any, services: Any, home: Any
) -> None:
    odd = home / "adapters" / "odd"
    odd.mkdir(parents=True)
    (odd / "adapter_config.json").write_text('{"peft_type": "PROMPT_TUNING"}', encoding="utf-8")
    (odd / "adapter_model.safetensors").write_bytes(b"")
    page = MergePage(services)
    qtbot.addWidget(page)
    page.shown()
    qtbot.waitUntil(lambda: page.settled() and bool(page.picker.refused), timeout=30_000)
    (entry, *_) = [act for act in page.picker.menu().actions() if act.text().startswith("odd")]
    assert "MODEL-" in entry.text() and not entry.isEnabled()
    page.finish()
