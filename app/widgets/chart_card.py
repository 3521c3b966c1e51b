"""A chart in its card: title with help, legend, the value now, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import (
    QHBoxLayout,
    QHeaderView,
    QMenu,
    QPushButton,
    QSizePolicy,
    QSlider,
    QStackedWidget,
    QTableView,
    QWidget,
    QWidgetAction,
)

from app.theme.icons import set_icon
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.chart import Chart
from app.widgets.chart_words import SeriesTable
from app.widgets.label import TextLabel, set_tip


class LegendMark(QWidget):
    """A short piece of a line, or a dot, in the colour of a series."""

    def __init__(self, token: str, kind: str) -> None:
        super().__init__()
        self._token, self._kind = token, kind
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        current_theme().changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(16), current_theme().px(12))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle = self.height() / 2
        color = theme.color(self._token)
        style = Qt.PenStyle.DashLine if self._kind == "dots" else Qt.PenStyle.SolidLine
        painter.setPen(QPen(color, 2 if self._kind != "dots" else 1, style))
        painter.drawLine(0, round(middle), self.width(), round(middle))
        if self._kind == "dots":
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(color)
            side = theme.px(7)
            painter.drawEllipse(QRectF((self.width() - side) / 2, middle - side / 2, side, side))


class _ValueTable(QTableView):
    """The values of a chart.

    Signals:
        back_requested: T or Esc was pressed.
    """

    back_requested = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_T, Qt.Key.Key_Escape):
            self.back_requested.emit()
        else:
            super().keyPressEvent(event)


class ChartCard(Card):
    """A card that holds one chart, or the table behind it; `value` stands at the right of the title."""

    def __init__(self, chart: Chart, help_text: str, *, legend: bool = False) -> None:
        super().__init__(chart.title)
        self.chart = chart
        set_tip(self.title_label, help_text)
        self.title_label.setAccessibleDescription(help_text)
        self.value_label = TextLabel("", "mono_dim").make_selectable()
        self._legend = QWidget()
        if legend:
            self._build_legend()
        self.header.addWidget(self.value_label)
        self.layout().setContentsMargins(14, 12, 14, 8)
        self.layout().setSpacing(4)
        self._places = QStackedWidget()
        self._places.addWidget(chart)
        self.body.addWidget(self._places, 1)
        self._table: _ValueTable | None = None
        chart.table_requested.connect(self.toggle_table)

    def _build_legend(self) -> None:
        row = QHBoxLayout(self._legend)
        row.setContentsMargins(10, 0, 0, 0)
        row.setSpacing(6)
        for spec, _, _ in self.chart.series():
            row.addWidget(LegendMark(spec.token, spec.kind))
            row.addWidget(TextLabel(spec.label, "least"))
            row.addSpacing(6)
        self.header.insertWidget(1, self._legend)

    def show_value(self, words: str) -> None:
        """Show the value now."""
        if self.value_label.text() != words:
            self.value_label.setText(words)

    def add_control(self, control: QWidget) -> None:
        """Put a control at the right of the title."""
        self.header.addWidget(control)

    def toggle_table(self) -> None:
        """Show the values as a table, or the chart again."""
        if self._table is not None:
            self._places.removeWidget(self._table)
            self._table.deleteLater()
            self._table = None
            self.chart.setFocus()
            return
        table = _ValueTable()
        model = SeriesTable(self.chart.told)
        model.setParent(table)
        model.show_series(self.chart.series())
        table.setModel(model)
        table.setAccessibleName(f"{self.chart.title}, as a table")
        table.verticalHeader().hide()
        table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        table.setShowGrid(False)
        table.verticalHeader().setDefaultSectionSize(current_theme().px(26))
        table.setFont(current_theme().font("small", mono=True))
        table.back_requested.connect(self.toggle_table)
        self._table = table
        self._places.addWidget(table)
        self._places.setCurrentWidget(table)
        table.setFocus()

    @property
    def shows_table(self) -> bool:
        """Say whether the table is in front."""
        return self._table is not None


def _quiet_button(words: str, tip: str, opens: bool = False) -> QPushButton:
    """Return a control that stands back behind the chart; one that opens a menu has a chevron."""
    made = button(words, "chevron-down" if opens else None, "ghost", compact=True, tip=tip)
    made.setProperty("quiet", "true")
    if opens:
        set_icon(made, "chevron-down", "dim", 12)
        made.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
    return made


def smoothing_button(chart: Chart) -> QWidget:
    """Return a button that tells the smoothing and opens a slider for it."""
    made = _quiet_button("", "How much the curve is smoothed (M: on and off)", opens=True)
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(0, 99)
    slider.setAccessibleName("Smoothing")
    slider.setFixedWidth(current_theme().px(180))
    menu = QMenu(made)
    action = QWidgetAction(menu)
    action.setDefaultWidget(slider)
    menu.addAction(action)
    made.setMenu(menu)

    def show(share: float) -> None:
        made.setText(f"smoothing {share:.2f}" if share else "not smoothed")
        made.setAccessibleName(made.text())
        slider.blockSignals(True)
        slider.setValue(round(share * 100))
        slider.blockSignals(False)

    slider.valueChanged.connect(lambda value: chart.set_smoothing(value / 100))
    chart.smoothing_changed.connect(show)
    show(chart.smoothing)
    return made


def choice_button(name: str, choices: Sequence[tuple[str, Callable[[], object]]]) -> QWidget:
    """Return a button that tells the choice in force and opens the others; the first holds at the start."""
    made = _quiet_button(choices[0][0], name, opens=True)
    made.setAccessibleName(f"{name}: {choices[0][0]}")
    menu = QMenu(made)

    def choose(words: str, act: Callable[[], object]) -> None:
        made.setText(words)
        made.setAccessibleName(f"{name}: {words}")
        act()

    for words, act in choices:
        menu.addAction(words, lambda w=words, a=act: choose(w, a))
    made.setMenu(menu)
    return made


def scale_button(chart: Chart) -> QWidget:
    """Return a button between a linear and a logarithmic axis."""
    made = _quiet_button("linear", "Linear or logarithmic axis (L)")

    def show(logarithmic: bool) -> None:
        made.setText("logarithmic" if logarithmic else "linear")
        made.setAccessibleName(f"Scale: {made.text()}")

    made.clicked.connect(lambda: chart.set_log(not chart.logarithmic))
    chart.log_changed.connect(show)
    show(False)
    return made
