"""The program from its command line: what it imports, what it draws, what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from PySide6.QtGui import QImage

from app.application import PAGE_NAMES, parse


def test_that_importing_the_window_brings_in_neither_torch_nor_numpy() -> None:
    code = "import sys, app.window, app.pages.home; print([m for m in HEAVY if m in sys.modules])"
    code = code.replace("HEAVY", "('torch', 'numpy', 'pyqtgraph')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_that_a_page_can_be_drawn_from_the_command_line(tmp_path: Path) -> None:
    picture = tmp_path / "home.png"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "app",
            "--home",
            str(tmp_path / "home"),
            "--page",
            "home",
            "--screenshot",
            str(picture),
        ]
        + ["--size", "1100x700", "--theme", "light"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    drawn = QImage(str(picture))
    assert (drawn.width(), drawn.height()) == (1100, 700)
    assert len({drawn.pixel(x, y) for x in range(0, 1100, 25) for y in range(0, 700, 25)}) > 5


def test_that_a_wrong_size_is_refused_with_the_right_form() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "--page", "home", "--screenshot", "x.png", "--size", "big"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "1440x900" in done.stderr


def test_that_every_page_of_the_contract_has_a_name_here() -> None:
    wanted = (
        "home wizard-model wizard-data wizard-method wizard-training wizard-review monitor runs compare "
        "evaluate experiments merge chat settings"
    ).split()
    assert set(wanted) == set(PAGE_NAMES)
    assert parse(["--page", "wizard-data", "--size", "1100x700"]).size == (1100, 700)


def test_that_a_run_that_is_not_there_is_told_without_a_trace(tmp_path: Path) -> None:
    command = [
        "-m",
        "app",
        "--home",
        str(tmp_path),
        "--page",
        "monitor",
        "--run",
        "nothing",
        "--screenshot",
        "x.png",
    ]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 2
    assert "There is no run nothing" in done.stderr
    assert "Traceback" not in done.stderr
