"""A card that says what happened, what it means here and what to do, with the buttons that do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QApplication, QFrame, QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from app.theme.icons import draw_icon
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.label import TextLabel
from engine.error_catalogue import CATALOGUE, severity
from engine.paths import show_name, show_text

KINDS = {
    "info": ("accent", "info"),
    "ok": ("ok", "check"),
    "warn": ("warn", "triangle"),
    "bad": ("bad", "octagon"),
}
KIND_OF = {"error": "bad", "warning": "warn", "info": "info"}
Action = tuple[str, Callable[[], object]]


class Notice(QFrame):
    """An inline error or piece of advice; `actions` are (text, what it does), the first one the likeliest."""

    def __init__(
        self,
        kind: str = "info",
        title: str = "",
        text: str = "",
        actions: Sequence[Action] = (),
        details: str = "",
        code: str = "",
    ) -> None:
        super().__init__()
        self.setObjectName("notice")
        self._kind = kind
        theme = current_theme()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(theme.px(42), theme.px(11), theme.px(14), theme.px(11))
        self._column.setSpacing(4)
        self._title = TextLabel("", "strong", wrap=True).make_selectable()
        self._text = TextLabel("", "small", wrap=True).make_selectable()
        self._column.addWidget(self._title)
        self._column.addWidget(self._text)
        self._buttons = QWidget()
        self._row = QHBoxLayout(self._buttons)
        self._row.setContentsMargins(0, 4, 0, 0)
        self._row.setSpacing(8)
        self._column.addWidget(self._buttons)
        self._details = QPlainTextEdit(readOnly=True)
        self._details.setAccessibleName("Details")
        self._details.setMaximumHeight(theme.px(180))
        self._details.hide()
        self._column.addWidget(self._details)
        self.show_notice(kind, title, text, actions, details, code)
        theme.changed.connect(self.update)

    def show_notice(
        self,
        kind: str,
        title: str,
        text: str = "",
        actions: Sequence[Action] = (),
        details: str = "",
        code: str = "",
    ) -> None:
        """Say something else; a `code` of the error catalogue brings its own lines into the details."""
        if kind not in KINDS:
            raise ValueError(f"{kind} is no kind of notice; known are {', '.join(KINDS)}")
        self._kind = kind
        self._title.setText(title)
        self._title.setHidden(not title)
        self._text.setText(f"{text} ({code})" if code and text else text or code)
        self._text.setHidden(not (text or code))
        self.setAccessibleName(show_text(f"{title} {text}".strip()))
        self._fill_buttons(actions, "\n\n".join(filter(None, (told_of(code), show_text(details, 60_000)))))
        self.update()

    def set_text(self, text: str) -> None:
        """Say something else in the second line alone; buttons and details stay."""
        self._text.setText(text)
        self._text.setHidden(not text)

    def show_error(self, error: BaseException, actions: Sequence[Action] = (), details: str = "") -> None:
        """Say an error: `message`, `hint` and `code` where it has them; its code says how grave it is."""
        message = getattr(error, "message", None) or str(error) or type(error).__name__
        hint, code = getattr(error, "hint", ""), getattr(error, "code", "")
        place = _place(getattr(error, "file", None), getattr(error, "line", None))
        kind = KIND_OF[severity(code)] if code else "bad"
        details = details or getattr(error, "detail", "")
        self.show_notice(kind, message, " ".join(filter(None, (hint, place))), actions, details, code)

    def _fill_buttons(self, actions: Sequence[Action], details: str) -> None:
        while (item := self._row.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        for text, act in actions:
            self._row.addWidget(button(text, on_click=act, compact=True))
        self._details.setPlainText(details)
        self._details.hide()
        if details:
            self._row.addWidget(
                button("Details", kind="link", compact=True, on_click=self._on_details_pressed)
            )
            self._row.addWidget(button("Copy", kind="link", compact=True, on_click=self._on_copy_pressed))
        self._row.addStretch(1)
        self._buttons.setHidden(not actions and not details)

    def _on_details_pressed(self) -> None:
        self._details.setVisible(self._details.isHidden())

    def _on_copy_pressed(self) -> None:
        QApplication.clipboard().setText(self._plain())

    def _plain(self) -> str:
        parts = (self._title.text(), self._text.text(), self._details.toPlainText())
        return "\n".join(part for part in parts if part)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        theme = current_theme()
        token, mark = KINDS[self._kind]
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color(token))
        painter.drawRoundedRect(QRectF(0, 0, theme.px(3), self.height()), 1.5, 1.5)
        side = theme.px(16)
        draw_icon(painter, mark, QRectF(theme.px(16), theme.px(12), side, side), token)


def _place(file: str | None, line: int | None) -> str:
    if not file:
        return ""
    shown = show_name(str(file), 300)
    return f"{shown}, line {line}" if line else shown


def told_of(code: str) -> str:
    """Return what the error catalogue says of a code in general: its kind, what it means, what to do."""
    entry = CATALOGUE.get(code)
    if entry is None:
        return ""
    message, hint = entry.plain()
    return f"{code} ({entry.severity})\nIn general: {message}\nTo do: {hint}"
