"""What the tests of the wizard stand on: rows of data, an open page, and waiting until it is calm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from app.pages.wizard.wizard import WizardPage
from app.services import Services
from engine.hardware.devices import probe


def write_rows(file: Path) -> Path:
    """Write sixty prompts with answers of three lengths."""
    lines = [
        {"prompt": f"Where is parcel {n}?", "completion": f'{{"queue": "post", "number": {n}}}' * (1 + n % 3)}
        for n in range(60)
    ]
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")
    return file


def open_page(qtbot: Any, services: Services) -> WizardPage:
    """Return the wizard, shown as the window shows it; it knows this machine without watching it."""
    services.hardware.machine = services.hardware.machine or probe()
    page = WizardPage(services)
    qtbot.addWidget(page)
    page.resize(1240, 844)
    page.show()
    page.shown()
    return page


def settle(qtbot: Any, page: WizardPage) -> None:
    """Wait until nothing is being looked at."""

    def calm() -> bool:
        timers = [timer.isActive() for timer in page.state._timers.values()]
        return page.settled() and not page.services.background.busy and not any(timers)

    qtbot.waitUntil(calm, timeout=30_000)
    qtbot.wait(10)
    qtbot.waitUntil(calm, timeout=30_000)


def ready(qtbot: Any, page: WizardPage, model: Path, data: Path) -> None:
    """Choose a model and data and wait until both are known."""
    page.state.set_values({"model.path": str(model), "data.train": [str(data)], "data.max_length": 64})
    settle(qtbot, page)
