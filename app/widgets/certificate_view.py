"""What a certificate rests on: each figure with its limit, drawn; the proofs of a file; each prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QVBoxLayout, QWidget

from app.i18n import tr
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.label import ElidedLabel, TextLabel, number_label, set_tip
from app.widgets.mark import Mark

LOW, HIGH = 1e-8, 10.0  # what the scale of differences spans
# What is proved of a file besides its answers.
CHECKS = {
    "file": "the file can be read",
    "values": "its shape is the model's",
    "tensors": "each tensor, read back and dequantised",
    "tokens": "texts become the same tokens",
    "template": "the chat template says the same",
    "stops": "it stops where training stopped",
    "modelfile": "the Modelfile, parsed back",
}


@dataclass(frozen=True)
class Figure:
    """One figure of a certificate; `value` and `limit` are shares where it is not `logarithmic`."""

    words: str
    text: str
    value: float
    limit: float | None
    good: bool
    logarithmic: bool


def figures_of(told: Mapping[str, Any]) -> list[Figure]:
    """Return the figures that a certificate holds, each beside its limit."""
    limits = told.get("limits") or {}
    found: list[Figure] = []
    for key, words in (
        ("max_logit_difference", tr("largest logit difference")),
        ("mean_logit_difference", tr("mean logit difference")),
        ("mean_kl", tr("mean divergence (KL)")),
    ):
        if key in told:
            value, limit = told[key], limits.get(key)
            good = value is not None and (limit is None or value <= limit)
            text = "-" if value is None else f"{value:.1e}"
            found.append(Figure(words, text, value or 0.0, limit, good, True))
    if "top1_agreement" in told:
        top1, least = float(told["top1_agreement"] or 0.0), limits.get("top1_agreement")
        good = least is None or top1 >= least
        found.append(Figure(tr("same next word"), f"{top1 * 100:.1f} %", top1, least, good, False))
    if "same_answers" in told and told.get("prompts"):
        same, prompts = int(told["same_answers"] or 0), int(told["prompts"])
        text = f"{same} / {prompts}"
        found.append(Figure(tr("same answers"), text, same / prompts, None, True, False))
    return found


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
    """The figures as rows (words, bar with limit, number), then proofs, then prompts on demand."""

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        self._grid = _grid(column)
        self._grid.setColumnStretch(1, 1)
        self._checks = _grid(column)
        self._checks.setColumnStretch(1, 1)
        self.prompts_button = button("", "chevron-down", "link", compact=True, on_click=self._on_prompts)
        column.addWidget(self.prompts_button)
        self.prompts = QWidget()
        self._prompts = _grid(None, self.prompts)
        self._prompts.setColumnStretch(1, 1)
        self.prompts.hide()
        column.addWidget(self.prompts)

    def show_fidelity(self, told: Mapping[str, Any]) -> None:
        """Show a certificate as merge, export and certify answer it."""
        for grid in (self._grid, self._checks, self._prompts):
            _clear(grid)
        for row, figure in enumerate(figures_of(told)):
            number = number_label(figure.text, "mono")
            number.set_token("ok" if figure.good else "bad")
            number.setAccessibleName(f"{figure.words} {figure.text}")
            number.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self._grid.addWidget(TextLabel(figure.words, "small"), row, 0)
            scale = _Scale(figure.value, figure.limit, figure.good, figure.logarithmic)
            self._grid.addWidget(scale, row, 1)
            self._grid.addWidget(number, row, 2)
        for row, (name, check) in enumerate((told.get("checks") or {}).items()):
            good = bool(check.get("passed"))
            words = tr(CHECKS.get(name, name)) + ("" if good else f": {check.get('reason', '')}")
            self._checks.addWidget(_verdict(good), row, 0)
            self._checks.addWidget(TextLabel(words, "small" if good else "small_text", wrap=True), row, 1)
        self._show_prompts(told)

    def _show_prompts(self, told: Mapping[str, Any]) -> None:
        each, texts = list(told.get("each") or ()), list(told.get("prompt_texts") or ())
        for row, (text, found) in enumerate(zip(texts, each, strict=False)):
            said = " ".join(str(text).split())
            largest = found["max_logit_difference"]
            figures = f"{found['same_words']} / {found['words']}"
            figures += " · -" if largest is None else f" · {largest:.1e}"
            label = ElidedLabel(said, "small")
            label.setAccessibleName(f"{said}: {figures}")
            number = number_label(figures, "mono_dim")
            set_tip(number, tr("positions with the same likeliest word, and the largest logit difference"))
            self._prompts.addWidget(_verdict(bool(found["same_answer"])), row, 0)
            self._prompts.addWidget(label, row, 1)
            self._prompts.addWidget(number, row, 2)
        self.prompts_button.setHidden(not each)
        words = tr("Each of the {n} prompts").format(n=len(each))
        self.prompts_button.setText(words)
        self.prompts_button.setAccessibleName(words)
        self.prompts.setVisible(bool(each) and not self.prompts.isHidden())

    def _on_prompts(self) -> None:
        self.prompts.setHidden(not self.prompts.isHidden())


def _grid(column: QVBoxLayout | None, parent: QWidget | None = None) -> QGridLayout:
    grid = QGridLayout(parent) if parent is not None else QGridLayout()
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(12)
    grid.setVerticalSpacing(6)
    if column is not None:
        column.addLayout(grid)
    return grid


def _verdict(good: bool) -> Mark:
    mark = Mark(f"seal-{'green' if good else 'red'}", "ok" if good else "bad", 16)
    mark.setAccessibleName(tr("passed") if good else tr("not passed"))
    return mark


def _clear(grid: QGridLayout) -> None:
    while (item := grid.takeAt(0)) is not None:
        widget = item.widget()
        if widget is not None:
            widget.hide()
            widget.deleteLater()
