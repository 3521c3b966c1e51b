"""What is known of the one run that is selected in the library, under the table."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app.i18n import duration, loss, number, when
from app.tables.runs import about, state_icon, state_token, state_word, state_words
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.label import ElidedLabel, TextLabel, text_label
from app.widgets.pill import Pill
from app.widgets.spark import paint_curve, spoken
from engine.runs.store import RunSummary

FIGURES = (("step", "Step"), ("best", "Best validation"), ("time", "Time"))


class LossCurve(QWidget):
    """The training loss with its highest and lowest value and the steps at both ends."""

    def __init__(self) -> None:
        super().__init__()
        self._run: RunSummary | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        current_theme().changed.connect(self.update)

    def show_run(self, run: RunSummary) -> None:
        """Draw another run."""
        self._run = run
        self.setAccessibleName(f"Loss {spoken(run.curve)}")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(420), current_theme().px(150))

    def paintEvent(self, event: QPaintEvent) -> None:
        run, theme = self._run, current_theme()
        painter = QPainter(self)
        painter.setFont(theme.font("least", mono=True))
        if run is None or not run.curve:
            painter.setPen(theme.color("dim"))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, "No step has been made yet")
            return
        left, bottom = theme.px(52), theme.px(20)
        area = QRectF(left, theme.px(6), self.width() - left - 2, self.height() - bottom - theme.px(8))
        low, high = min(run.curve), max(run.curve)
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for share in (0.0, 0.5, 1.0):
            y = area.bottom() - share * area.height()
            painter.setPen(QPen(theme.color("line"), 1))
            painter.drawLine(round(area.left()), round(y), round(area.right()), round(y))
            painter.setPen(theme.color("dim"))
            place = QRectF(0, y - theme.px(8), left - theme.px(8), theme.px(16))
            painter.drawText(place, flags, loss(low + share * (high - low)))
        paint_curve(painter, area, run.curve, state_token(run), 1.8, (low, high))
        painter.setPen(theme.color("dim"))
        below = QRectF(area.left(), area.bottom() + theme.px(4), area.width(), theme.px(16))
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "step 1")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"step {number(run.step)}")


class RunPreview(Card):
    """One run in more words, with what can be done with it; `go` is asked to navigate."""

    def __init__(self, go: Callable[[str, object], None]) -> None:
        super().__init__()
        self._go = go
        self._run: RunSummary | None = None
        row = QHBoxLayout()
        row.setSpacing(24)
        row.addLayout(self._words(), 4)
        self.curve = LossCurve()
        row.addWidget(self.curve, 5)
        self.body.addLayout(row)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def _words(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(8)
        head = QHBoxLayout()
        head.setSpacing(10)
        self.name = ElidedLabel("", "title")
        self.pill = Pill()
        head.addWidget(self.name, 1)
        head.addWidget(self.pill)
        column.addLayout(head)
        self.about = ElidedLabel("", "small")
        column.addWidget(self.about)
        self.reason = text_label("", "small", wrap=True, selectable=True)
        column.addWidget(self.reason)
        grid = QGridLayout()
        grid.setHorizontalSpacing(28)
        grid.setVerticalSpacing(2)
        self._figures: dict[str, TextLabel] = {}
        for place, (key, words) in enumerate(FIGURES):
            grid.addWidget(text_label(words, "small"), 0, place)
            self._figures[key] = text_label("", "number", selectable=True)
            grid.addWidget(self._figures[key], 1, place)
        grid.setColumnStretch(3, 1)
        column.addLayout(grid)
        column.addStretch(1)
        actions = QHBoxLayout()
        actions.setSpacing(8)
        self.open_button = button("Open", "chart", "primary", on_click=lambda: self._to("monitor"))
        self.chat_button = button("Chat with it", "chat", on_click=lambda: self._to("chat"))
        self.merge_button = button("Merge", "merge", on_click=lambda: self._to("merge"))
        for made in (self.open_button, self.chat_button, self.merge_button):
            actions.addWidget(made)
        actions.addStretch(1)
        column.addLayout(actions)
        return column

    def show_run(self, run: RunSummary | None) -> None:
        """Show a run, or nothing."""
        self._run = run
        self.setHidden(run is None)
        if run is None:
            return
        self.name.setText(run.name)
        token = state_token(run)
        self.pill.set(state_word(run), token, state_icon(run))
        parts = (about(run), run.data, when(run.created), run.id)
        self.about.setText(" · ".join(part for part in parts if part))
        self.reason.setText(run.problem or run.message)
        self.reason.set_token("bad" if token == "bad" else "dim")
        self.reason.setHidden(not self.reason.text())
        steps = f"{number(run.step)} / {number(run.total_steps)}" if run.total_steps else "–"
        at = f" @ {run.best_step}" if run.best_step is not None else ""
        self._figures["step"].setText(steps)
        self._figures["best"].setText(f"{loss(run.best_validation)}{at}")
        self._figures["time"].setText(duration(run.seconds))
        has_adapter = (run.folder / "adapter" / "adapter_config.json").is_file()
        self.chat_button.setVisible(has_adapter)
        self.merge_button.setVisible(has_adapter)
        self.curve.show_run(run)
        self.setAccessibleName(f"{run.name}, {state_words(run)}")

    def _to(self, page: str) -> None:
        if self._run is not None:
            self._go(page, {"run": self._run.folder})
