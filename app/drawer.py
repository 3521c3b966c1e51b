"""The log of the present run, in a drawer at the right (Ctrl+L)."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, QTimer, QUrl, Signal
from PySide6.QtGui import QDesktopServices, QKeyEvent
from PySide6.QtWidgets import QApplication, QFrame, QHBoxLayout, QLineEdit, QPlainTextEdit, QVBoxLayout

from app.i18n import clock, duration, loss, size
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.label import TextLabel
from engine.paths import show_name

# The end of a file is enough for a log, and keeps a long run's file from being read whole.
EVENT_BYTES, WORDS_BYTES = 512 * 1024, 64 * 1024
WIDTH = 400


class LogDrawer(QFrame):
    """What a run said: its events worth a line, then the last words of its process.

    Signals:
        closed: the drawer was closed by the person.
    """

    closed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("drawer")
        self.setAccessibleName("Log")
        self._folder: Path | None = None
        self._stamp: tuple[int, int] = (-1, -1)
        self._lines: list[str] = []
        self._build()
        self._timer = QTimer(self)
        self._timer.setInterval(1000)
        self._timer.timeout.connect(self._read)
        self.hide()

    def _build(self) -> None:
        self.setFixedWidth(current_theme().px(WIDTH))
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 16)
        column.setSpacing(10)
        head = QHBoxLayout()
        self._title = TextLabel("Log", "heading")
        head.addWidget(self._title)
        head.addStretch(1)
        head.addWidget(
            button(icon="x", kind="ghost", name="Close log", tip="Esc", on_click=self.close_drawer)
        )
        column.addLayout(head)
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("Filter lines")
        self.filter.setAccessibleName("Filter lines")
        self.filter.setClearButtonEnabled(True)
        self.filter.textChanged.connect(self._fill)
        column.addWidget(self.filter)
        self.view = QPlainTextEdit(readOnly=True)
        self.view.setAccessibleName("Log lines")
        self.view.setMaximumBlockCount(5000)
        self.view.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
        column.addWidget(self.view, 1)
        foot = QHBoxLayout()
        foot.setSpacing(8)
        foot.addWidget(button("Copy", "copy", compact=True, on_click=self._on_copy_pressed))
        foot.addWidget(button("Open folder", "folder", compact=True, on_click=self._on_folder_pressed))
        foot.addStretch(1)
        column.addLayout(foot)
        self._restyle()
        current_theme().changed.connect(self._restyle)

    def open_for(self, folder: Path | None) -> None:
        """Show the log of a job's folder; None says that there is no run to look at."""
        self._folder, self._stamp = folder, (-1, -1)
        self._title.setText(f"Log of {show_name(folder.name, 40)}" if folder else "Log")
        self._read()
        self.show()
        self._timer.start()
        self.filter.setFocus()

    def close_drawer(self) -> None:
        """Close it."""
        self._timer.stop()
        self.hide()
        self.closed.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.close_drawer()
        else:
            super().keyPressEvent(event)

    def _read(self) -> None:
        if self._folder is None:
            self._lines = ["No run is chosen. Open one under Runs."]
            self._fill()
            return
        events, words = self._folder / "events.jsonl", self._folder / "child.log"
        stamp = (_length(events), _length(words))
        if stamp != self._stamp:
            self._stamp = stamp
            said = _tail(words, WORDS_BYTES).decode("utf-8", "replace").split("\n")
            self._lines = _event_lines(events) + [show_name(line, 2000) for line in said if line.strip()]
            self._fill()

    def _fill(self) -> None:
        wanted = self.filter.text().strip().lower()
        shown = [line for line in self._lines if wanted in line.lower()]
        bar = self.view.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 4
        place = bar.value()
        self.view.setPlainText("\n".join(shown) or "Nothing yet.")
        bar.setValue(bar.maximum() if at_end else place)

    def _restyle(self) -> None:
        self.view.setFont(current_theme().font("least", mono=True))

    def _on_copy_pressed(self) -> None:
        QApplication.clipboard().setText(self.view.toPlainText())

    def _on_folder_pressed(self) -> None:
        if self._folder is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder)))


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _tail(path: Path, limit: int) -> bytes:
    if not path.is_file():
        return b""
    with open(path, "rb") as file:
        end = file.seek(0, 2)
        file.seek(max(0, end - limit))
        return file.read()


def _event_lines(path: Path) -> list[str]:
    from engine.events import decode  # the window opens without it

    lines = []
    for raw in _tail(path, EVENT_BYTES).split(b"\n"):
        if not raw.startswith(b"{"):
            continue
        try:
            event = decode(raw)
        except ValueError:
            continue  # the first line of a tail is rarely whole
        words = _words(event)
        if words:
            lines.append(f"{clock(event.time)}  {show_name(words, 2000)}")
    return lines


def _words(event: object) -> str:
    """Return an event as one line, or nothing for those that only feed the charts."""
    kind = getattr(event, "type", "")
    make = _LINES.get(kind)
    return make(event) if make is not None else ""


_LINES = {
    "started": lambda e: (
        f"Started on {e.device or e.host}, process {e.pid}"
        + (f", going on from step {e.resumed_from_step}" if e.resumed_from_step is not None else "")
    ),
    "model_loaded": lambda e: f"Model loaded in {duration(e.seconds)}, {e.dtype}",
    "data_prepared": lambda e: (
        f"Data prepared: {e.train_examples} to train on, {e.validation_examples} to check"
    ),
    "evaluated": lambda e: (
        f"Step {e.step}: {e.split} loss {loss(e.loss)}" + (", the best so far" if e.is_best else "")
    ),
    "checkpoint_saved": lambda e: f"Step {e.step}: checkpoint saved, {size(e.bytes)}",
    "log": lambda e: e.message,
    "warned": lambda e: f"Warning {e.code}: {e.message} {e.hint}",
    "paused": lambda e: f"Paused at step {e.step}",
    "resumed": lambda e: f"Resumed at step {e.step}",
    "finished": lambda e: f"Finished after {duration(e.seconds)}",
    "stopped": lambda e: f"Stopped at step {e.step}",
    "failed": lambda e: f"Failed {e.code}: {e.message} {e.hint}",
}
