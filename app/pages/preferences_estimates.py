"""How good the estimates are: what was planned against what runs of this computer measured."""

from __future__ import annotations

import math
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QVBoxLayout, QWidget

from app.i18n import number, when
from app.pages.preferences_section import Section
from app.services import Services
from app.widgets.agreement_plot import AgreementPlot, Dot
from app.widgets.label import TextLabel, text_label
from engine.plan.corrected import device_label
from engine.plan.ledger import Correction, Entry, Figure, Ledger

SIDE_BY_SIDE = 620
LEGEND = (
    "A dot is a run, a ring a trial of a few steps, a triangle one outside the band. On the dashed line the "
    "formula alone would be right; the full line is its correction, the band around it holds the next run."
)
NOTHING = (
    "No run of this computer has been measured yet. Each run and each trial of 20 steps stores what it took, "
    "and the plans after it are corrected by that."
)


class EstimatesSection(Section):
    """Two plots, memory and speed, with a sentence each."""

    key = "estimates"
    short = "Estimates"

    def __init__(self, services: Services) -> None:
        super().__init__(
            services,
            "How good are the estimates?",
            "hardware plan estimate accuracy predicted measured memory speed ledger calibration band",
        )
        self._ledger = Ledger()
        self.nothing = text_label(NOTHING, "dim", wrap=True)
        self.body.addWidget(self.nothing)
        self.damage = text_label("", "dim", wrap=True)
        self.damage.set_token("warn")
        self.damage.hide()
        self.body.addWidget(self.damage)
        self.memory = AgreementPlot("Peak memory, planned and measured", "GB", _figure)
        self.speed = AgreementPlot("Speed, planned and measured", "tok/s", _figure)
        self.memory_words = text_label("", "small_text", wrap=True)
        self.speed_words = text_label("", "small_text", wrap=True)
        self._plots = QWidget()
        self._row = QBoxLayout(QBoxLayout.Direction.LeftToRight, self._plots)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(20)
        for title, plot, words in (
            ("Peak memory", self.memory, self.memory_words),
            ("Speed of training", self.speed, self.speed_words),
        ):
            self._row.addLayout(_column(title, plot, words), 1)
            # What is told of a dot may take a line more; nothing is to jump then.
            words.setMinimumHeight(3 * words.fontMetrics().lineSpacing())
            words.setAlignment(Qt.AlignmentFlag.AlignTop)
            plot.told.connect(lambda told, plot=plot, words=words: self._tell(plot, words, told))
        self.body.addWidget(self._plots)
        self.legend = text_label(LEGEND, "small", wrap=True)
        self.body.addWidget(self.legend)
        services.hardware.probed.connect(self._on_probed)
        self.show_ledger(Ledger())

    def refresh(self) -> None:
        self.services.background.run(Ledger.read, self.show_ledger)

    def _on_probed(self, machine: Any) -> None:
        self.show_ledger(self._ledger)

    def show_ledger(self, ledger: Ledger) -> None:
        """Show the runs that computed on what this computer computes on now."""
        self._ledger = ledger
        machine = self.services.hardware.machine
        device = device_label(machine) if machine is not None else None
        memory = self._show(self.memory, self.memory_words, "memory_bytes", device)
        speed = self._show(self.speed, self.speed_words, "seconds_per_token", device)
        for widget in (self._plots, self.legend):
            widget.setVisible(bool(memory or speed))
        self.nothing.setVisible(not (memory or speed))
        self.damage.setText(ledger.damage)
        self.damage.setVisible(bool(ledger.damage))

    def _show(self, plot: AgreementPlot, words: TextLabel, figure: Figure, device: str | None) -> int:
        known = [e for e in self._ledger.known(figure, device)] if device else []
        by = self._ledger.overall(figure, device or "")
        inverse = figure == "seconds_per_token"  # seconds a token are told as tokens a second
        if inverse:
            by = Correction(1 / by.factor, 1 / by.high, 1 / by.low, by.runs)
        dots = [_dot(entry, figure) for entry in known]
        said = _summary(dots, by, "faster" if inverse else "more memory", "slower" if inverse else "less")
        plot.show_dots(dots, by.factor, by.low, by.high, said)
        words.setText(said)
        return len(dots)

    def _tell(self, plot: AgreementPlot, words: TextLabel, told: str) -> None:
        words.setText(told or plot.accessibleDescription())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        narrow = self.width() < self.services.theme.px(SIDE_BY_SIDE)
        across, down = QBoxLayout.Direction.LeftToRight, QBoxLayout.Direction.TopToBottom
        self._row.setDirection(down if narrow else across)


def _column(title: str, plot: AgreementPlot, words: QWidget) -> QVBoxLayout:
    column = QVBoxLayout()
    column.setSpacing(6)
    column.addWidget(text_label(title, "strong"))
    column.addWidget(plot)
    column.addWidget(words)
    column.addStretch(1)
    return column


def _figure(value: float) -> str:
    """Return a round value of an axis with no more places than it has."""
    return number(value, max(0, -math.floor(math.log10(value) + 1e-9)))


def _tokens_a_second(value: float) -> str:
    places = 0 if value >= 10 else 1 if value >= 1 else 2
    return f"{number(value, places)}\u00a0tok/s"


def _dot(entry: Entry, figure: Figure) -> Dot:
    planned, measured = entry.pair(figure)
    if figure == "memory_bytes":
        planned, measured = planned / 1e9, measured / 1e9
        words = f"{number(measured, 2)} GB measured, {number(planned, 2)} GB planned"
    else:
        planned, measured = 1 / planned, 1 / measured
        words = f"{_tokens_a_second(measured)} measured, {_tokens_a_second(planned)} planned"
    gap = f" ({100 * (measured / planned - 1):+.0f}\u00a0%)"
    what = f"{entry.model}, {_method(entry)}, {entry.precision}"
    kind = "trial" if entry.source == "probe" else "run"
    name = entry.name or entry.run
    return Dot(
        planned,
        measured,
        f"{name} ({kind}, {when(entry.time)})\n{what}, {number(entry.steps)} steps\n{words}{gap}",
        entry.source == "probe",
    )


def _method(entry: Entry) -> str:
    return f"{entry.method} on {entry.quantization}" if entry.quantization else entry.method


def _summary(dots: list[Dot], by: Correction, more: str, less: str) -> str:
    if not dots:
        return "Nothing measured yet."
    runs = "One run" if len(dots) == 1 else f"{number(len(dots))} runs"
    inside = sum(by.low <= dot.measured / dot.planned <= by.high for dot in dots)
    ratio = by.factor
    how = "as the formula has it" if abs(ratio - 1) < 0.005 else ""
    if not how:
        how = (
            f"{number(ratio, 1)} times the formula"
            if ratio >= 2
            else f"{number(100 * abs(ratio - 1))}\u00a0% {more if ratio > 1 else less} than the formula"
        )
    low, high = number(100 * (1 - by.low / ratio)), number(100 * (by.high / ratio - 1))
    within = (
        f"{number(inside)} of {number(len(dots))} lie within {low}\u00a0% below and {high}\u00a0% above that."
    )
    return f"{runs}: {how}. {within}"
