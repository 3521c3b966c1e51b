"""The look of the whole window: colours and fonts by name, and the one stylesheet made from them."""

from __future__ import annotations

import re
from pathlib import Path

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QFontInfo, QFontMetrics, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

from app.theme.tokens import FONT_SIZES, FONT_WEIGHTS, MONO_ROLES, SCHEMES, mix
from engine.paths import resources

SANS = ["Inter", "Noto Sans", "DejaVu Sans", "sans-serif"]
MONO = ["JetBrains Mono", "Noto Sans Mono", "DejaVu Sans Mono", "monospace"]
THEMES = ("dark", "light", "system")
SMALLEST_TEXT, LARGEST_TEXT = 85, 150
DESIGN_PIXELS = 10 * 96 / 72

_SCALED = re.compile(r"(\d+(?:\.\d+)?)sp\b")
_TOKEN = re.compile(r"\$([a-z_0-9]+)")


class Theme(QObject):
    """Colours and fonts as they are now; painted widgets ask at each paint and repaint on `changed`.

    Signals:
        changed: another theme or another text size holds from now on.
    """

    changed = Signal()

    def __init__(self, app: QApplication, name: str = "dark", text_size: int = 100) -> None:
        super().__init__(app)
        self._app = app
        self.name = name
        self.text_size = text_size
        self.high_contrast = _wants_high_contrast()
        hints = QGuiApplication.styleHints()
        hints.colorSchemeChanged.connect(self._on_system_scheme_changed)

    # -- what holds now ------------------------------------------------------------------------------------
    @property
    def scheme(self) -> str:
        """Return "dark" or "light", with "system" resolved."""
        if self.name != "system":
            return self.name
        light = QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Light
        return "light" if light else "dark"

    def hex(self, token: str) -> str:
        """Return the value of a token as `#RRGGBB`."""
        if self.high_contrast:
            token = {"line": "edge", "dim": "text"}.get(token, token)
        return SCHEMES[self.scheme][token]

    def color(self, token: str, alpha: float = 1.0) -> QColor:
        """Return the colour of a token, optionally see-through (`alpha` 0 to 1)."""
        color = QColor(self.hex(token))
        color.setAlphaF(alpha)
        return color

    def px(self, size: float) -> int:
        """Return a length of the design scaled by the text size."""
        return max(1, round(size * self.scale))

    @property
    def scale(self) -> float:
        """Return the factor between the design's sizes and the screen's."""
        return self.text_size / 100 * _system_factor()

    def font(self, role: str = "body", weight: int | None = None, mono: bool | None = None) -> QFont:
        """Return the font of a role (headline, number, title, heading, body, small, least).

        Numbers and headlines are monospaced unless `mono` says otherwise; Inter gets figures of equal width.
        """
        wide = role in MONO_ROLES if mono is None else mono
        font = QFont()
        font.setFamilies(MONO if wide else SANS)
        font.setPixelSize(self.px(FONT_SIZES[role]))
        font.setWeight(QFont.Weight(weight or FONT_WEIGHTS.get(role, 400)))
        if wide:
            # Ligatures would change how code and samples read.
            font.setFeature(QFont.Tag("calt"), 0)
        else:
            font.setFeature(QFont.Tag("tnum"), 1)
        return font

    def metrics(
        self, role: str = "body", weight: int | None = None, mono: bool | None = None
    ) -> QFontMetrics:
        """Return the measures of a role's font."""
        return QFontMetrics(self.font(role, weight, mono))

    # -- changing it ---------------------------------------------------------------------------------------
    def set_theme(self, name: str) -> None:
        """Switch to dark, light or system at once."""
        if name not in THEMES:
            raise ValueError(f"{name} is no theme; known are {', '.join(THEMES)}")
        if name != self.name:
            self.name = name
            self.apply()

    def set_text_size(self, percent: int) -> None:
        """Set the text size in percent, kept between 85 and 150."""
        percent = max(SMALLEST_TEXT, min(LARGEST_TEXT, int(percent)))
        if percent != self.text_size:
            self.text_size = percent
            self.apply()

    def apply(self) -> None:
        """Give the application this palette, font and stylesheet, and tell everybody."""
        self._app.setPalette(self._palette())
        self._app.setFont(self.font("body"))
        self._app.setStyleSheet(self.stylesheet())
        self.changed.emit()

    def stylesheet(self) -> str:
        """Return the stylesheet with tokens and scaled sizes (`12sp`) filled in."""
        values = {token: self.hex(token) for token in SCHEMES["dark"]}
        toward = "#FFFFFF" if self.scheme == "dark" else "#000000"
        values["accent_hover"] = mix(values["accent"], toward, 0.12)
        values["raised_hover"] = mix(values["raised"], toward, 0.06)
        values["bad_hover"] = mix(values["surface"], values["bad"], 0.16)
        values["icons"] = resources("icons").as_posix()
        values["sans"] = ", ".join(f'"{family}"' for family in SANS)
        values["mono"] = ", ".join(f'"{family}"' for family in MONO)
        values["scheme"] = self.scheme
        sheet = resources("theme", "style.qss").read_text(encoding="utf-8")
        sheet = _TOKEN.sub(lambda match: values[match[1]], sheet)
        return _SCALED.sub(lambda match: f"{self.px(float(match[1]))}px", sheet)

    def _palette(self) -> QPalette:
        palette = QPalette()
        role = QPalette.ColorRole
        for token, roles in {
            "bg": (role.Window,),
            "surface": (role.Base,),
            "raised": (role.AlternateBase, role.Button, role.ToolTipBase),
            "text": (role.WindowText, role.Text, role.ButtonText, role.ToolTipText, role.BrightText),
            "accent": (role.Link, role.LinkVisited, role.Accent),
            "accentbg": (role.Highlight,),
            "line": (role.Mid, role.Midlight, role.Light, role.Dark),
        }.items():
            for each in roles:
                palette.setColor(each, self.color(token))
        palette.setColor(role.HighlightedText, self.color("text"))
        palette.setColor(role.PlaceholderText, self.color("dim"))
        for each in (role.WindowText, role.Text, role.ButtonText):
            palette.setColor(QPalette.ColorGroup.Disabled, each, self.color("dim", 0.7))
        return palette

    def _on_system_scheme_changed(self) -> None:
        if self.name == "system":
            self.apply()


def apply_theme(app: QApplication, name: str = "dark", text_size: int = 100) -> Theme:
    """Give `app` a theme, made once and switched afterwards, and return it.

    Where it is the one that is on, nothing is done: a stylesheet is read and laid on every widget anew.
    """
    theme = app.property("tunesmith_theme")
    if isinstance(theme, Theme) and (theme.name, theme.text_size) == (name, text_size):
        return theme
    if not isinstance(theme, Theme):
        app.setStyle("Fusion")
        theme = Theme(app, name, text_size)
        app.setProperty("tunesmith_theme", theme)
    theme.name, theme.text_size = name, text_size
    theme.apply()
    return theme


def current_theme() -> Theme:
    """Return the application's theme; a dark one is applied where none is yet."""
    app = QApplication.instance()
    if not isinstance(app, QApplication):
        raise RuntimeError("the theme needs a QApplication")
    theme = app.property("tunesmith_theme")
    return theme if isinstance(theme, Theme) else apply_theme(app)


def load_fonts(folder: Path | None = None) -> list[str]:
    """Load the shipped fonts and return the families that are still missing."""
    folder = folder or resources("fonts")
    if folder.is_dir():
        for file in sorted(folder.rglob("*")):
            if file.suffix.lower() in (".ttf", ".otf"):
                QFontDatabase.addApplicationFont(str(file))
    known = set(QFontDatabase.families())
    return [family for family in ("Inter", "JetBrains Mono") if family not in known]


def _system_factor() -> float:
    """Return the system's font size over the design's 10 pt (13.3 px), never below the design itself.

    In pixels, because a point differs between systems; without a screen there is no system font.
    """
    if QGuiApplication.platformName() in ("offscreen", "minimal"):
        return 1.0
    pixels = QFontInfo(QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)).pixelSize()
    return max(1.0, min(1.6, pixels / DESIGN_PIXELS))


def _wants_high_contrast() -> bool:
    hints = QGuiApplication.styleHints()  # kept: what it hands out lives no longer than it does
    accessibility = hints.accessibility()
    return accessibility.contrastPreference() == Qt.ContrastPreference.HighContrast
