"""The machine at the bottom of the navigation, and five minutes of its history on a click."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QSizePolicy, QVBoxLayout, QWidget

from app.i18n import number, size
from app.theme.style import current_theme
from app.widgets.label import ElidedLabel, TextLabel, hairline, set_tip
from app.widgets.meter import Meter
from app.widgets.spark import paint_curve

CPU_ONLY = "CPU only · small models"
CPU_ONLY_HELP = (
    "No NVIDIA GPU was found. Models up to about 500 million parameters train in minutes here, "
    "1 to 3 billion in hours. Larger ones need a GPU."
)
MOST_DEVICES = 2
HISTORY_SAMPLES = 300


def short_device(name: str) -> str:
    """Return a device's name without its maker."""
    for maker in ("NVIDIA ", "GeForce ", "Tesla ", "Quadro "):
        name = name.replace(maker, "")
    return name


def _whole(total: int) -> str:
    """Return a memory's size without a fraction where there is little room."""
    return f"{number(total / 1e9)} GB" if total >= 10e9 else size(total)


class _Block(QWidget):
    """A line of words, a bar, and a second line."""

    def __init__(self, name: str, token: str, second_line: bool) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(5)
        self.head = ElidedLabel("", "least")
        self.meter = Meter(0.0, token, name=name)
        self.tail = ElidedLabel("", "least")
        self.tail.setVisible(second_line)
        for widget in (self.head, self.meter, self.tail):
            column.addWidget(widget)

    def set_narrow(self, narrow: bool) -> None:
        self.head.setHidden(narrow)
        self.tail.setHidden(narrow or not self.tail.text())


class HardwareStrip(QWidget):
    """Devices, processor and memory as they are now.

    Signals:
        pressed: the person wants to see the history.
    """

    pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Hardware")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._narrow = False
        self._own_bytes = 0
        self._machine: Any = None
        self._devices: list[_Block] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(8, 0, 8, 0)
        self._column.setSpacing(10)
        self._column.addWidget(hairline())
        self._processor = _Block("Memory", "series4", second_line=False)
        self._processor.head.setText("Looking at the hardware")
        self._none = ElidedLabel("", "least")
        self._none.hide()
        self._column.addWidget(self._none)
        self._column.addWidget(self._processor)

    def set_narrow(self, narrow: bool) -> None:
        """Show the bars alone."""
        self._narrow = narrow
        for block in (*self._devices, self._processor):
            block.set_narrow(narrow)
        self._none.setHidden(narrow or bool(self._devices) or not self._none.text())

    def set_own_bytes(self, value: int) -> None:
        """Say how much of the first device's memory is ours; the rest is drawn as other programs'."""
        self._own_bytes = value

    def show_machine(self, machine: Any) -> None:
        """Take the machine's description (cpu_name, cores, ram_total_bytes, devices)."""
        self._machine = machine
        if not machine.devices:
            self._none.setText(CPU_ONLY)
            set_tip(self, CPU_ONLY_HELP)
            self._none.setHidden(self._narrow)

    def show_sample(self, sample: Any) -> None:
        """Take a sample (the fields of the hardware event)."""
        self._fit_devices(min(len(sample.devices), MOST_DEVICES))
        for block, device in zip(self._devices, sample.devices, strict=False):
            self._fill_device(block, device, len(sample.devices))
        total = self._machine.ram_total_bytes if self._machine is not None else 0
        share = sample.ram_used_bytes / total if total else 0.0
        self._processor.meter.set(share, "warn" if share > 0.92 else "series4")
        used, whole = number(sample.ram_used_bytes / 1e9, 1), _whole(total)
        self._processor.head.setText(f"CPU {number(sample.cpu_percent)} % · RAM {used} / {whole}")
        if sample.devices or self._narrow:
            set_tip(self, self._words())
        self.setAccessibleDescription(self._words())

    def _fill_device(self, block: _Block, device: Any, count: int) -> None:
        parts = [short_device(device.name), _whole(device.total_bytes)]
        if device.temperature_c is not None:
            parts.append(f"{number(device.temperature_c)} °C")
        block.head.setText(" · ".join(parts))
        total = device.total_bytes or 1
        own = min(self._own_bytes, device.used_bytes)
        block.meter.set(own / total, "accent", (device.used_bytes - own) / total)
        tail = f"VRAM {number(device.used_bytes / 1e9, 1)} / {_whole(device.total_bytes)}"
        if device.utilization is not None:
            tail += f" · {number(device.utilization)} %"
        if count > MOST_DEVICES:
            tail += f" · {count} GPUs"
        block.tail.setText(tail)

    def _fit_devices(self, count: int) -> None:
        while len(self._devices) > count:
            self._devices.pop().deleteLater()
        while len(self._devices) < count:
            block = _Block("Device memory", "accent", second_line=True)
            self._column.insertWidget(1 + len(self._devices), block)
            block.set_narrow(self._narrow)
            self._devices.append(block)
        if count:
            self._none.hide()

    def _words(self) -> str:
        lines = [line for block in self._devices for line in (block.head.text(), block.tail.text())]
        return "\n".join(filter(None, [*lines, self._none.text(), self._processor.head.text()]))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.pressed.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.pressed.emit()
        else:
            super().keyPressEvent(event)


class _History(QWidget):
    """One curve over the last five minutes with its scale, 0 to `top`."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._values: Sequence[float] = ()
        self._top, self._token = 100.0, token
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(280), current_theme().px(44))

    def show_values(self, values: Sequence[float], top: float) -> None:
        self._values, self._top = values, max(top, 1e-9)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        area = QRectF(self.rect()).adjusted(0, 1, 0, -1)
        painter.setPen(QPen(theme.color("line"), 1))
        for y in (area.top(), area.center().y(), area.bottom()):
            painter.drawLine(QPoint(0, round(y)), QPoint(self.width(), round(y)))
        width = area.width() * len(self._values) / HISTORY_SAMPLES
        shown = QRectF(area.right() - width, area.top(), width, area.height())
        paint_curve(painter, shown, self._values, self._token, bounds=(0.0, self._top))


class HardwarePanel(QFrame):
    """Five minutes of each device: memory, load, temperature."""

    def __init__(self, history: Callable[[], Sequence[Any]], machine: Any, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("toast")
        self._history, self._machine = history, machine
        self._rows: dict[str, tuple[TextLabel, _History]] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(16, 14, 16, 16)
        self._column.setSpacing(8)
        self._column.addWidget(TextLabel("Last 5 minutes", "heading"))
        if machine is not None:
            name = f"{machine.cpu_name}, {number(machine.cores)} cores"
            self._column.addWidget(TextLabel(name, "small", wrap=True))
            if not machine.devices:
                self._column.addWidget(TextLabel(CPU_ONLY_HELP, "small", wrap=True))
        self.setFixedWidth(current_theme().px(330))
        self.refresh()

    def refresh(self) -> None:
        """Draw what is known now."""
        samples = list(self._history())
        if not samples:
            return
        last = samples[-1]
        for index, device in enumerate(last.devices):
            same = [s.devices[index] for s in samples if len(s.devices) > index]
            self._show(
                f"{short_device(device.name)} memory",
                [d.used_bytes for d in same],
                device.total_bytes,
                f"{size(device.used_bytes)} of {size(device.total_bytes)}",
                "accent",
            )
            load = [d.utilization or 0.0 for d in same]
            heat = "" if device.temperature_c is None else f" · {number(device.temperature_c)} °C"
            self._show(
                f"{short_device(device.name)} load", load, 100, f"{number(load[-1])} %{heat}", "series3"
            )
        self._show("CPU", [s.cpu_percent for s in samples], 100, f"{number(last.cpu_percent)} %", "series2")
        total = self._machine.ram_total_bytes if self._machine is not None else last.ram_used_bytes
        used = [s.ram_used_bytes for s in samples]
        self._show("Memory", used, total, f"{size(used[-1])} of {size(total)}", "series4")

    def _show(self, name: str, values: Sequence[float], top: float, words: str, token: str) -> None:
        if name not in self._rows:
            label, curve = TextLabel("", "small_text"), _History(token)
            self._column.addWidget(label)
            self._column.addWidget(curve)
            self._rows[name] = (label, curve)
        label, curve = self._rows[name]
        label.setText(f"{name}   {words}")
        curve.show_values(values, top)
