"""The one maker of push buttons."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton, QSizePolicy

from app.theme.icons import set_icon
from app.widgets.label import set_tip
from engine.paths import show_text

KINDS = ("primary", "secondary", "danger", "link", "ghost", "chip")
_ICON_TOKENS = {"primary": "onaccent", "danger": "bad", "link": "accent"}


def button(
    text: str = "",
    icon: str | None = None,
    kind: str = "secondary",
    *,
    on_click: Callable[[], object] | None = None,
    tip: str = "",
    name: str = "",
    compact: bool = False,
) -> QPushButton:
    """Return a push button; `kind` is one of KINDS and `name` its accessible name where it has no text."""
    if kind not in KINDS:
        raise ValueError(f"{kind} is no kind of button; known are {', '.join(KINDS)}")
    made = QPushButton(show_text(text).replace("&", "&&"))
    made.setProperty("kind", kind)
    made.setCursor(Qt.CursorShape.PointingHandCursor)
    made.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
    made.setAccessibleName(show_text(name or text))
    made.setAutoDefault(False)
    if compact:
        made.setProperty("compact", "true")
    if kind == "chip":
        made.setCheckable(True)
    if icon:
        set_icon(made, icon, _ICON_TOKENS.get(kind, "text"))
    if tip or (name and not text):
        set_tip(made, tip or name)
    if on_click is not None:
        made.clicked.connect(lambda _checked=False: on_click())
    return made
