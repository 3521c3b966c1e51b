"""Short messages at the bottom right that leave by themselves, errors excepted."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtWidgets import QApplication, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.label import TextLabel
from app.widgets.mark import Mark
from engine.paths import show_text

SECONDS, UNDO_SECONDS, MOST = 6, 10, 3
WIDTH = 380
KIND_MARKS = {
    "info": ("info", "accent"),
    "ok": ("check", "ok"),
    "warn": ("triangle", "warn"),
    "bad": ("octagon", "bad"),
}


class Toast(QFrame):
    """One message with at most one action.

    Signals:
        closed: it has been read or its time is over.
    """

    closed = Signal()

    def __init__(
        self, text: str, kind: str, action: tuple[str, Callable[[], object]] | None, hint: str
    ) -> None:
        super().__init__()
        self.setObjectName("toast")
        self.setAccessibleName(show_text(text))
        theme = current_theme()
        self.text = text
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.px(12), theme.px(8), theme.px(6), theme.px(8))
        row.setSpacing(10)
        name, token = KIND_MARKS[kind]
        row.addWidget(Mark(name, token))
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(TextLabel(text, "body", wrap=True).make_selectable())
        if hint:
            words.addWidget(TextLabel(hint, "small", wrap=True).make_selectable())
        row.addLayout(words, 1)
        if action is not None:
            press = button(action[0], kind="link", on_click=lambda: self._do(action[1]))
            if kind == "bad":  # its words take the room beside the two icons
                words.addWidget(press, 0, Qt.AlignmentFlag.AlignLeft)
            else:
                row.addWidget(press)
        if kind == "bad":
            whole = "\n".join(filter(None, (text, hint)))
            row.addWidget(
                button(
                    icon="copy",
                    kind="ghost",
                    name="Copy message",
                    on_click=lambda: QApplication.clipboard().setText(whole),
                )
            )
        row.addWidget(button(icon="x", kind="ghost", name="Close message", on_click=self.close_now))
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(self.close_now)
        if kind != "bad":
            self._timer.start((UNDO_SECONDS if action else SECONDS) * 1000)

    def height_for(self, width: int) -> int:
        """Return the height that its words need at a width."""
        self.ensurePolished()
        layout = self.layout()
        layout.activate()
        edge = self.contentsMargins()  # its border lies around the layout
        inner = layout.heightForWidth(width - edge.left() - edge.right()) + edge.top() + edge.bottom()
        return max(inner, layout.sizeHint().height(), current_theme().px(48))

    def close_now(self) -> None:
        """Take the message away."""
        self._timer.stop()
        self.closed.emit()

    def _do(self, act: Callable[[], object]) -> None:
        self.close_now()
        act()


class ToastStack(QWidget):
    """The place of the toasts, lying over the bottom right corner of `host`."""

    def __init__(self, host: QWidget) -> None:
        super().__init__(host)
        self._host = host
        self.toasts: list[Toast] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(8)
        host.installEventFilter(self)
        self.hide()

    def show_message(
        self,
        text: str,
        kind: str = "info",
        action: tuple[str, Callable[[], object]] | None = None,
        hint: str = "",
    ) -> Toast:
        """Show a message; kind is info, ok, warn or bad (which stays until it is closed)."""
        while len(self.toasts) >= MOST:
            self._remove(next((toast for toast in self.toasts if toast._timer.isActive()), self.toasts[0]))
        toast = Toast(text, kind, action, hint)
        toast.closed.connect(lambda: self._remove(toast))
        self.toasts.append(toast)
        self._column.addWidget(toast)
        self._place()
        return toast

    def _remove(self, toast: Toast) -> None:
        if toast in self.toasts:
            self.toasts.remove(toast)
            self._column.removeWidget(toast)
            toast.hide()
            toast.deleteLater()
            self._place()

    def _place(self) -> None:
        self.setVisible(bool(self.toasts))
        if not self.toasts:
            return
        width = current_theme().px(WIDTH)
        heights = [toast.height_for(width) for toast in self.toasts]
        for toast, height in zip(self.toasts, heights, strict=True):
            toast.setFixedSize(width, height)
        height = sum(heights) + self._column.spacing() * (len(heights) - 1)
        self.setGeometry(self._host.width() - width - 24, self._host.height() - height - 24, width, height)
        self.raise_()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self._host and event.type() == QEvent.Type.Resize:
            self._place()
        return False
