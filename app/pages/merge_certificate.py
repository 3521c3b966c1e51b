"""The right side of Merge: how near the last merged model is to base + adapter, and what to do with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from app.i18n import duration, size, tr
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.certificate_view import CertificateView
from app.widgets.label import TextLabel
from app.widgets.notice import Notice

WAITING = (
    "The merged model is loaded again and compared with base and adapter on prompts of the run. "
    "Its largest difference, and whether it would say the same, will stand here."
)


class MergeCertificate(Card):
    """The verdict with its figures.

    Signals:
        chat_requested: chat with the merged model.
        folder_requested: show its folder.
    """

    chat_requested = Signal()
    folder_requested = Signal()

    def __init__(self) -> None:
        super().__init__(tr("Certificate of the last merge"))
        self.waiting = TextLabel(tr(WAITING), "dim", wrap=True)
        self.verdict = Notice("info")
        self.figures = CertificateView()
        self.after = QWidget()
        row = QHBoxLayout(self.after)
        row.setContentsMargins(0, 6, 0, 0)
        row.setSpacing(8)
        row.addWidget(button(tr("Chat with it"), "chat", "primary", on_click=self.chat_requested.emit))
        row.addWidget(button(tr("Open folder"), "folder-open", on_click=self.folder_requested.emit))
        row.addStretch(1)
        for widget in (self.waiting, self.verdict, self.figures, self.after):
            self.body.addWidget(widget)
        self.body.addStretch(1)
        self.show_result(None)

    def show_result(self, result: dict[str, Any] | None) -> None:
        """Show what a merge answered, or that there was none yet."""
        fidelity = result.get("fidelity") if result else None
        self.waiting.setHidden(bool(fidelity))
        for widget in (self.verdict, self.figures, self.after):
            widget.setHidden(not fidelity)
        if not result or not fidelity:
            return
        passed, name = bool(fidelity["passed"]), Path(result["out"]).name
        agrees, differs = tr("{name} agrees with base + adapter"), tr("{name} differs from base + adapter")
        words = tr("Compared at {n} positions of {m} prompts in {dtype}. {size}, merged in {time}.").format(
            n=fidelity["tokens"],
            m=fidelity["prompts"],
            dtype=fidelity["dtype"],
            size=size(result["bytes"]),
            time=duration(result["seconds"]),
        )
        hint = "" if passed else " " + tr("Do not use it; merge again, or in float32.")
        self.verdict.show_notice(
            "ok" if passed else "bad", (agrees if passed else differs).format(name=name), words + hint
        )
        self.figures.show_fidelity(fidelity)
