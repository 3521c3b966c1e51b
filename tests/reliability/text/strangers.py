"""What a stranger may send, with names that steer, turn, draw or run; and the walk that looks for them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from PySide6.QtCore import QAbstractTableModel, QSortFilterProxyModel, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QComboBox,
    QGroupBox,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QTabBar,
    QTextEdit,
    QWidget,
)

from engine import durable
from engine.events import Evaluated, Failed, Log, SampleGenerated, Started, Step, Warned, encode

STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066\u2067\ud800-\udfff]")
MOST_CELLS = 400


def odd_name(red: Path) -> str:
    """Return a name that rings, moves, turns and draws wherever it is not taken as text."""
    return f"n\x1b]0;x\x07\u202edlrow<img src='{red.as_uri()}'><b>b</b>%s{{0}}"


def strangers_run(folder: Path, name: str, model: str, data: str) -> Path:
    """Write the folder of a finished run as a stranger might have made it."""
    folder.mkdir(parents=True)
    spec = {"format": 1, "kind": "train", "id": folder.name, "name": name, "created": 1.7e9}
    durable.write_file(folder / "job.json", json.dumps(spec))
    recipe = {"name": name[:100], "model": {"path": model}, "data": {"train": [data], "system_prompt": name}}
    durable.write_file(folder / "recipe.yaml", json.dumps(recipe))
    events = [
        Started(job=name, pid=1, host=name, device=name),
        Warned(code="RUN-08", message=name, hint=name),
        Log(level="info", message=name),
        *[
            Step(
                step=n,
                total_steps=20,
                epoch=0.1 * n,
                loss=2.0 - 0.05 * n,
                learning_rate=1e-4,
                grad_norm=1.0,
                tokens=10,
                supervised_tokens=5,
                seconds=1.0,
                memory_bytes=1,
            )
            for n in range(1, 21)
        ],
        Evaluated(step=20, split="validation", loss=1.0, perplexity=2.7, metrics={name: 0.5}, is_best=True),
        SampleGenerated(step=20, prompt=name, text=name),
        Failed(code="DATA-02", message=name, hint=name),
    ]
    stamped = [
        e.model_copy(update={"seq": n, "time": 1.7e9 + n, "mono": float(n)}) for n, e in enumerate(events)
    ]
    durable.write_file(folder / "events.jsonl", b"".join(encode(event) for event in stamped))
    note = {"status": "failed", "code": "DATA-02", "message": name, "hint": name, "time": 1.7e9 + 30}
    durable.write_file(folder / "exit.json", json.dumps(note))
    (folder / "child.log").write_text(name + "\n", encoding="utf-8")
    return folder


def texts_of(root: QWidget) -> Iterator[tuple[str, str]]:
    """Yield (where, text) for every text that a window holds, shown now or not."""
    for widget in [root, *root.findChildren(QWidget)]:
        where = f"{type(widget).__name__} {widget.objectName()}"
        for kind in ("toolTip", "accessibleName", "accessibleDescription", "windowTitle", "statusTip"):
            yield f"{where}.{kind}", getattr(widget, kind)()
        if isinstance(widget, QLabel | QAbstractButton):
            yield where, widget.text()
        elif isinstance(widget, QLineEdit):
            yield where, widget.text() + widget.placeholderText()
        elif isinstance(widget, QPlainTextEdit | QTextEdit):
            yield where, widget.toPlainText()
        elif isinstance(widget, QGroupBox):
            yield where, widget.title()
        elif isinstance(widget, QComboBox):
            yield from ((where, widget.itemText(n)) for n in range(widget.count()))
        elif isinstance(widget, QTabBar):
            yield from ((where, widget.tabText(n)) for n in range(widget.count()))
        elif isinstance(widget, QAbstractItemView):
            yield from _cells(where, widget)
    yield from ((f"action of {type(a.parent()).__name__}", a.text()) for a in root.findChildren(QAction))


def _cells(where: str, view: QAbstractItemView) -> Iterator[tuple[str, str]]:
    model = view.model()
    if model is None:
        return
    roles = (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole)
    # A model of a list keeps its number of columns to itself: it is one.
    columns = model.columnCount() if isinstance(model, QAbstractTableModel | QSortFilterProxyModel) else 1
    for row in range(min(model.rowCount(), MOST_CELLS // max(1, columns))):
        for column in range(columns):
            for role in roles:
                text = model.data(model.index(row, column), role)
                if isinstance(text, str):
                    yield f"{where} cell {row},{column}", text


def steering(root: QWidget) -> list[str]:
    """Return the texts of a window that would steer or turn what is shown."""
    return sorted({f"{where}: {text[:60]!r}" for where, text in texts_of(root) if STEERS.search(text)})
