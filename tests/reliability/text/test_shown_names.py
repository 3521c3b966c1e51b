"""Names of strangers on every page: seen as they are, turning nothing, drawing nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PySide6.QtGui import QColor, QImage

from app.services import Services
from app.window import MainWindow
from app.workers.run_queue import RunQueue
from engine import paths
from tests.gui.conftest import collected_here, home, services, settled_heap  # noqa: F401
from tests.gui.wizard_place import open_page, settle
from tests.reliability.text.strangers import odd_name, steering, strangers_run

# Pytest names a fixture by its argument.
# ruff: noqa: F811
pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")


@pytest.fixture
def odd(tmp_path: Path) -> str:
    image = QImage(40, 40, QImage.Format.Format_RGB32)
    image.fill(QColor("#FF0000"))
    file = tmp_path / "red.png"
    assert image.save(str(file))
    return odd_name(file)


def reds(window: MainWindow) -> bool:
    """Say whether a pixel of the window is of the picture's red, which no theme has."""
    picture = window.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    raw = bytes(picture.constBits())
    wanted = QColor("#FF0000").rgb().to_bytes(4, "little")
    at = raw.find(wanted)
    while at >= 0 and at % 4:
        at = raw.find(wanted, at + 1)
    return at >= 0


def test_m33_that_no_page_is_steered_by_the_names_of_a_strangers_run(
    services: Services,
    qtbot,
    tiny_model: Path,
    odd: str,
    tmp_path: Path,
) -> None:
    flat = odd.replace("/", "\u2215")
    model = paths.models_dir() / flat
    shutil.copytree(tiny_model, model)
    run = strangers_run(paths.runs_dir() / flat, odd, str(model), str(tmp_path / flat))
    window = MainWindow(services)
    services.run_queue = RunQueue(services)
    qtbot.addWidget(window, before_close_func=lambda _: setattr(services, "run_queue", None))
    window.resize(1440, 900)
    window.show()
    found: list[str] = []
    pages = [("home", None), ("runs", None), ("monitor", {"run": run}), ("evaluate", {"run": run})]
    pages += [("chat", {"run": run}), ("merge", {"run": run}), ("settings", None)]
    for page, argument in pages:
        window.navigate(page, argument)
        qtbot.wait(60)
        qtbot.waitUntil(lambda: not services.background.busy, timeout=60_000)
        found += [f"{page}: {line}" for line in steering(window)]
        assert not reds(window), f"{page} draws what a name asks for"
    for each in window.pages.values():
        each.finish()
    services.run_queue.close()
    assert not found, "\n".join(found)


def test_m33_that_the_wizard_is_not_steered_by_names_of_models_files_and_columns(
    services: Services,
    qtbot,
    tiny_model: Path,
    odd: str,
    tmp_path: Path,
) -> None:
    flat = odd.replace("/", "\u2215")
    model, data = tmp_path / flat, tmp_path / f"{flat}.csv"
    shutil.copytree(tiny_model, model)
    data.write_text(
        f'"{odd}","answer {odd}"\n' + "".join(f"q{n} {odd},a{n}\n" for n in range(30)), encoding="utf-8"
    )
    page = open_page(qtbot, services)
    page.state.set_values({"model.path": str(model), "data.train": [str(data)], "name": odd[:100]})
    found: list[str] = []
    for step in ("model", "data", "review"):
        page.go_to(step)
        settle(qtbot, page)
        found += [f"{step}: {line}" for line in steering(page)]
    assert not found, "\n".join(found)
