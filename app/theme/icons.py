"""The application's own icons: SVG files drawn in the colour of a token."""

from __future__ import annotations

from functools import lru_cache

from PySide6.QtCore import QByteArray, QObject, QRectF, QSize, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QAbstractButton

from app.theme.style import current_theme
from engine.paths import resources


def icon(name: str, token: str = "text", size: int = 16, pad: int = 0) -> QIcon:
    """Return the icon `name` tinted by `token` as the theme is now, with a dimmed form when disabled.

    `pad` pixels stay empty at its right.
    """
    theme = current_theme()
    made = QIcon()
    for ratio in (1.0, 2.0):
        made.addPixmap(_drawn(name, theme.hex(token), size, ratio, pad), QIcon.Mode.Normal)
        made.addPixmap(_drawn(name, theme.hex("edge"), size, ratio, pad), QIcon.Mode.Disabled)
    return made


def pixmap(name: str, token: str = "text", size: int = 16, ratio: float = 2.0) -> QPixmap:
    """Return the icon as a pixmap of `size` logical pixels."""
    return _drawn(name, current_theme().hex(token), size, ratio)


def draw_icon(painter: QPainter, name: str, rect: QRectF, token: str = "text") -> None:
    """Draw the icon into `rect` in the colour of `token`."""
    QSvgRenderer(QByteArray(_tinted(name, current_theme().hex(token)))).render(painter, rect)


class _ButtonIcon(QObject):
    """Keeps one button's icon in the theme's colours; dies with the button."""

    def __init__(self, button: QAbstractButton) -> None:
        super().__init__(button)
        self.setObjectName("button_icon")
        self._button = button
        self.name, self.token, self.size = "", "text", 16
        current_theme().changed.connect(self.refresh)

    def refresh(self) -> None:
        theme = current_theme()
        scaled = theme.px(self.size)
        # Qt leaves only 4 px between icon and word; the rest is empty room inside the icon.
        pad = theme.px(3) if self._button.text() else 0
        self._button.setIcon(icon(self.name, self.token, scaled, pad))
        self._button.setIconSize(QSize(scaled + pad, scaled))


def set_icon(button: QAbstractButton, name: str, token: str = "text", size: int = 16) -> None:
    """Give a button an icon that follows the theme; calling it again replaces the icon."""
    keeper = button.findChild(_ButtonIcon, "button_icon", Qt.FindChildOption.FindDirectChildrenOnly)
    keeper = keeper or _ButtonIcon(button)
    keeper.name, keeper.token, keeper.size = name, token, size
    keeper.refresh()


def icon_names() -> list[str]:
    """Return the names of all icons."""
    return sorted(file.stem for file in resources("icons").glob("*.svg"))


@lru_cache(maxsize=256)
def _source(name: str) -> str:
    file = resources("icons", f"{name}.svg")
    if not file.is_file():
        raise ValueError(f"{name} is no icon; see resources/icons")
    return file.read_text(encoding="utf-8")


def _tinted(name: str, color: str) -> bytes:
    return _source(name).replace("currentColor", color).encode()


@lru_cache(maxsize=1024)
def _drawn(name: str, color: str, size: int, ratio: float, pad: int = 0) -> QPixmap:
    drawn = QPixmap(round((size + pad) * ratio), round(size * ratio))
    drawn.setDevicePixelRatio(ratio)
    drawn.fill(Qt.GlobalColor.transparent)
    painter = QPainter(drawn)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    QSvgRenderer(QByteArray(_tinted(name, color))).render(painter, QRectF(0, 0, size, size))
    painter.end()
    return drawn
