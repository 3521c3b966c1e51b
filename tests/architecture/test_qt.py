"""The installed Qt: a release that kills the window is kept out, and the shipped fonts load."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

from packaging.version import Version
from PySide6.QtGui import QFontDatabase
from pytestqt.qtbot import QtBot

from tests.architecture.source import ROOT

NONE_CALLS = """
import os, sys
os.environ["QT_QPA_PLATFORM"] = "offscreen"
from PySide6 import QtGui, QtWidgets
app = QtWidgets.QApplication([])
transform, path = QtGui.QTransform(), QtGui.QPainterPath()
line, label = QtWidgets.QLineEdit(), QtWidgets.QLabel()
before = sys.getrefcount(None)
for _ in range(1500):
    transform.setMatrix(1, 0, 0, 0, 1, 0, 0, 0, 1)
    line.setText("a")
    path.moveTo(0, 0)
    label.setText("x")
print(sys.getrefcount(None) - before)
"""


def test_that_pyside_is_older_than_the_release_that_loses_none() -> None:
    assert Version(importlib.metadata.version("PySide6-Essentials")) < Version("6.12")


def test_that_6000_qt_calls_that_return_none_keep_it() -> None:
    # PySide6 6.12.0 drops a reference to None in such calls; before Python 3.12 the interpreter then aborts.
    done = subprocess.run([sys.executable, "-c", NONE_CALLS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert abs(int(done.stdout)) < 100


def test_that_the_shipped_fonts_load_under_their_names(qtbot: QtBot) -> None:
    families: set[str] = set()
    for path in sorted((ROOT / "resources" / "fonts").glob("*/*.[ot]tf")):
        number = QFontDatabase.addApplicationFont(str(path))
        assert number >= 0, path.name
        families.update(QFontDatabase.applicationFontFamilies(number))
        assert (path.parent / "LICENSE.txt").is_file()
    assert {"Inter", "JetBrains Mono"} <= families
