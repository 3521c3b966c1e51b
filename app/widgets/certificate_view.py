"""How near a merged model is to base + adapter: each figure with its limit, drawn, then the verdict."""

from __future__ import annotations

import math
from typing import Any

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QWidget

from app.i18n import tr
from app.theme.style import current_theme
from app.widgets.label import TextLabel, number_label

LOW, HIGH = 1e-8, 10.0  # what the scale of differences spans


class _Scale(QWidget):
    """A bar as long as the value, with a line at the limit; differences stand on a logarithmic scale."""

    def __init__(self, value: float, limit: float | None, good: bool, logarithmic: bool) -> None:
        super().__init__()
        self._value, self._limit, self._good, self._log = value, limit, good, logarithmic
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        current_theme().changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(140), current_theme().px(16))

    def _at(self, value: float) -> float:
        if not self._log:
            return max(0.0, min(1.0, value))
        value = max(LOW, min(HIGH, value))
        return (math.log10(value) - math.log10(LOW)) / (math.log10(HIGH) - math.log10(LOW))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        height = theme.px(8)
        bar = QRectF(0, (self.height() - height) / 2, self.width(), height)
        painter.setPen(theme.color("line"))
        painter.setBrush(theme.color("raised"))
        painter.drawRoundedRect(bar.adjusted(0.5, 0.5, -0.5, -0.5), height / 2, height / 2)
        painter.setPen(theme.color("ok" if self._good else "bad"))
        painter.setBrush(theme.color("ok" if self._good else "bad"))
        filled = QRectF(
            bar.left(), bar.top(), max(float(height), bar.width() * self._at(self._value)), height
        )
        painter.drawRoundedRect(filled.adjusted(0.5, 0.5, -0.5, -0.5), height / 2, height / 2)
        if self._limit is not None:
            x = bar.left() + (bar.width() - 2) * self._at(self._limit)
            painter.fillRect(QRectF(x, 0, 2, self.height()), theme.color("text"))


class CertificateView(QWidget):
    """The figures of `fidelity` as rows: words, bar with limit, number."""

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(14)
        self._grid.setVerticalSpacing(10)
        self._grid.setColumnStretch(1, 1)

    def show_fidelity(self, told: dict[str, Any]) -> None:
        """Show a certificate as `merge` answers it."""
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        limits = told.get("limits") or {}
        rows: list[tuple[str, float | None, float | None, bool, str]] = []
        for key, words in (
            ("max_logit_difference", tr("largest logit difference")),
            ("mean_kl", tr("mean divergence (KL)")),
        ):
            value, limit = told.get(key), limits.get(key)
            good = value is not None and (limit is None or value <= limit)
            rows.append((words, value, limit, good, "-" if value is None else f"{value:.1e}"))
        top1 = float(told.get("top1_agreement") or 0.0)
        least = limits.get("top1_agreement")
        rows.append(
            (tr("same next word"), top1, least, least is None or top1 >= least, f"{top1 * 100:.1f} %")
        )
        same, prompts = int(told.get("same_answers") or 0), int(told.get("prompts") or 0)
        rows.append((tr("same answers"), same / max(1, prompts), None, True, f"{same} / {prompts}"))
        for row, (words, value, limit, good, text) in enumerate(rows):
            label = TextLabel(words, "small")
            number = number_label(text)
            number.set_token("ok" if good else "bad")
            number.setAccessibleName(f"{words} {text}")
            self._grid.addWidget(label, row, 0)
            self._grid.addWidget(_Scale(value or 0.0, limit, good, row < 2), row, 1)
            number.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self._grid.addWidget(number, row, 2)
