"""The sections of the settings: look, language, folders, hardware, privacy, shortcuts, about."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from PySide6.QtCore import QLocale, Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QSlider,
    QWidget,
)

from app.i18n import number, set_language, size
from app.pages.preferences_estimates import EstimatesSection
from app.pages.preferences_folders import FoldersSection
from app.pages.preferences_hub import HubSection
from app.pages.preferences_library import LibrarySection
from app.pages.preferences_notices import NoticesSection
from app.pages.preferences_section import Section
from app.services import Services
from app.theme.style import LARGEST_TEXT, SMALLEST_TEXT
from app.widgets.button import button
from app.widgets.label import text_label
from app.widgets.theme_preview import ThemePreview
from engine import paths
from engine.errors import EngineError
from engine.report import system_report

LABEL_WIDTH = 150
LANGUAGES = (
    ("en", "English: 4,812.5"),
    ("de", "Deutsch: 4.812,5"),
    ("fr", "Français: 4 812,5"),
    ("de_CH", "Schweiz: 4’812.5"),
)
PACKAGES = (
    "tunesmith",
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "tokenizers",
    "PySide6-Essentials",
    "pyqtgraph",
)
SHORTCUTS = (
    ("Home, New run, Runs, Experiments, Merge, Chat, Settings", "Ctrl+1 … Ctrl+7"),
    ("New run", "Ctrl+N"),
    ("Open or import a file", "Ctrl+O"),
    ("Commands, runs and pages by name", "Ctrl+K"),
    ("Search on this page", "Ctrl+F"),
    ("The page's primary action", "Ctrl+Enter"),
    ("Help at the field", "F1"),
    ("Close the topmost layer", "Esc"),
    ("Back", "Alt+Left"),
    ("Log of the run", "Ctrl+L"),
    ("Settings", "Ctrl+,"),
    ("Larger, smaller, usual text", "Ctrl+Plus, Ctrl+Minus, Ctrl+0"),
    ("Rename, delete a run", "F2, Del"),
    ("Next, previous changed answer of an evaluation", "J, K"),
)


class LookSection(Section):
    """Theme and text size."""

    key = "look"

    def __init__(self, services: Services) -> None:
        super().__init__(services, "Look", "theme dark light system text size font")
        themes = QWidget()
        themes.setAccessibleName("Theme")
        row = QHBoxLayout(themes)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(16)
        self.themes: dict[str, ThemePreview] = {}
        for name, words in (("dark", "Dark"), ("light", "Light"), ("system", "As the system")):
            made = ThemePreview(name, words)
            made.clicked.connect(lambda _checked=False, name=name: self._choose_theme(name))
            self.themes[name] = made
            row.addWidget(made)
        row.addStretch(1)
        self.add_row("Theme", themes)
        sizes = QWidget()
        line = QHBoxLayout(sizes)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(12)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Text size")
        self.slider.setRange(SMALLEST_TEXT, LARGEST_TEXT)
        self.slider.setSingleStep(5)
        self.slider.setPageStep(10)
        self.slider.setMaximumWidth(320)
        self.percent = text_label("", "mono")
        self.percent.setMinimumWidth(48)
        line.addWidget(self.slider, 1)
        line.addWidget(self.percent)
        line.addWidget(
            button("Usual", compact=True, on_click=lambda: self.slider.setValue(100), tip="Ctrl+0")
        )
        line.addStretch(1)
        self.add_row("Text size", sizes, "Everything grows with it. Ctrl+Plus and Ctrl+Minus do the same.")
        self.refresh()
        self.slider.valueChanged.connect(self._on_size_changed)
        services.theme.changed.connect(self.refresh)

    def refresh(self) -> None:
        theme = self.services.theme
        self.themes[theme.name].setChecked(True)
        self.slider.blockSignals(True)
        self.slider.setValue(theme.text_size)
        self.slider.blockSignals(False)
        self.percent.setText(f"{theme.text_size} %")

    def _choose_theme(self, name: str) -> None:
        self.services.theme.set_theme(name)
        self.services.settings.change(theme=name)

    def _on_size_changed(self, percent: int) -> None:
        step = round(percent / 5) * 5
        self.services.theme.set_text_size(step)
        self.services.settings.change(text_size=self.services.theme.text_size)


class LanguageSection(Section):
    """How figures are written."""

    key = "language"

    def __init__(self, services: Services) -> None:
        super().__init__(services, "Language", "language numbers dates english deutsch")
        self.choice = QComboBox()
        system = QLocale.system()
        self.choice.addItem(f"As the system: {system.toString(4812.5, 'f', 1)}", "system")
        for code, words in LANGUAGES:
            self.choice.addItem(words, code)
        self.choice.setMaximumWidth(320)
        place = self.choice.findData(services.settings.value.language)
        self.choice.setCurrentIndex(max(0, place))
        self.choice.currentIndexChanged.connect(self._on_chosen)
        hint = "How numbers are grouped. The words of the program are English; other languages come later."
        self.add_row("Numbers as in", self.choice, hint)

    def _on_chosen(self, place: int) -> None:
        code = str(self.choice.itemData(place))
        set_language(code)
        self.services.settings.change(language=code)


class HardwareSection(Section):
    """What this computer has, and what the program may do with it."""

    key = "hardware"

    def __init__(self, services: Services) -> None:
        super().__init__(services, "Hardware", "gpu cpu memory driver")
        self.facts = text_label("Looking at the hardware", "body", wrap=True, selectable=True)
        self.add_row("This computer", self.facts)
        services.hardware.probed.connect(self._show)
        if services.hardware.machine is not None:
            self._show(services.hardware.machine)

    def _show(self, machine: Any) -> None:
        lines = [f"{machine.cpu_name}, {number(machine.cores)} cores, {size(machine.ram_total_bytes)} memory"]
        for gpu in machine.devices:
            lines.append(f"{gpu.name}, {size(gpu.total_bytes)}, driver {gpu.driver}")
        if not machine.devices:
            lines.append("No NVIDIA GPU: training uses the processor, which is right for small models.")
        self.facts.setText("\n".join(lines))


class PrivacySection(Section):
    """What leaves the computer: nothing by itself."""

    key = "privacy"

    def __init__(self, services: Services) -> None:
        super().__init__(services, "Privacy", "privacy network offline token telemetry")
        for line in (
            "Nothing is sent anywhere. There is no telemetry and no account.",
            "The network is used only after you press something that says so, such as Download.",
            "Data, models and chats stay in the folders above. Training and chat run offline.",
            "Downloads come through one process of their own, which ends with this program.",
            "Notices are handed to the desktop of this computer; nothing listens for others.",
        ):
            self.body.addWidget(text_label(line, "dim", wrap=True))


class ShortcutsSection(Section):
    """Every key of the window."""

    key = "shortcuts"

    def __init__(self, services: Services) -> None:
        keys = " ".join(f"{words} {keys}" for words, keys in SHORTCUTS)
        super().__init__(services, "Shortcuts", f"keyboard keys {keys}")
        grid = QGridLayout()
        grid.setHorizontalSpacing(24)
        grid.setVerticalSpacing(7)
        grid.setColumnStretch(0, 1)
        for row, (words, pressed) in enumerate(SHORTCUTS):
            grid.addWidget(text_label(words, "body", wrap=True), row, 0)
            grid.addWidget(text_label(pressed, "mono_dim"), row, 1)
        self.body.addLayout(grid)


class AboutSection(Section):
    """Versions, licences, a report to send."""

    key = "about"

    def __init__(self, services: Services) -> None:
        super().__init__(services, "About", "about version licence report log")
        self.body.addWidget(text_label(f"Tunesmith {_version('tunesmith')}", "strong", selectable=True))
        words = (
            "Apache-2.0. Fonts Inter and JetBrains Mono under the SIL Open Font License. Qt under the LGPL."
        )
        self.body.addWidget(text_label(words, "dim", wrap=True))
        self.body.addWidget(text_label(_versions(), "small", wrap=True, selectable=True))
        row = QHBoxLayout()
        row.setSpacing(10)
        row.addWidget(button("Copy system report", "copy", on_click=self._copy))
        row.addWidget(button("Open the log", "log", on_click=self._open_log))
        row.addStretch(1)
        self.body.addLayout(row)

    def _copy(self) -> None:
        machine = self.services.hardware.machine
        self.services.background.run(lambda: system_report(machine), self._put_on_clipboard, self._say)

    def _put_on_clipboard(self, report: str) -> None:
        QApplication.clipboard().setText(report)
        self.services.notify("The report is copied. It holds no names and no tokens.", "ok")

    def _say(self, error: EngineError) -> None:
        self.services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)

    def _open_log(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(paths.home() / "logs")))


SECTIONS = (
    LookSection,
    LanguageSection,
    FoldersSection,
    LibrarySection,
    HardwareSection,
    NoticesSection,
    EstimatesSection,
    HubSection,
    PrivacySection,
    ShortcutsSection,
    AboutSection,
)


def _versions() -> str:
    return ", ".join(f"{name} {_version(name)}" for name in PACKAGES[1:])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
