"""The hub: which host is asked, and the token for what is not public; it is never shown again."""

from __future__ import annotations

import os

from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QWidget

from app.pages.preferences_section import Section
from app.services import Services
from app.widgets.button import button
from app.widgets.label import text_label
from app.widgets.notice import Notice
from app.widgets.typed_editors import LineField
from engine import hub_token
from engine.errors import EngineError
from engine.hub import HUB
from engine.paths import show_name

PLACES = {
    "environment": "In use: the token of HF_TOKEN, as this program was started.",
    "keyring": "In use: the token in this computer's keyring.",
    "login": "In use: the token that `hf auth login` left.",
    "": "None. Public models and data need none.",
}


class HubSection(Section):
    """Where downloads come from, and the token for what is not public."""

    key = "hub"
    short = "Hub"

    def __init__(self, services: Services) -> None:
        super().__init__(services, "Hugging Face hub", "hub token permission gated mirror endpoint download")
        mirror = os.environ.get("HF_ENDPOINT", "").rstrip("/")
        words = (
            f"{show_name(mirror)} (HF_ENDPOINT), a mirror: it gets no token."
            if mirror not in ("", HUB)
            else HUB
        )
        self.add_row("Asked for downloads", text_label(words, "mono_dim", wrap=True))
        self.where = text_label(PLACES[""], "body", wrap=True)
        self.add_row("Token", self.where)
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(8)
        self.field = LineField()
        self.field.setEchoMode(QLineEdit.EchoMode.Password)
        self.field.setPlaceholderText("hf_…")
        self.field.setAccessibleName("New token")
        self.field.returnPressed.connect(self.on_keep_pressed)
        self.save = button("Keep it", on_click=self.on_keep_pressed)
        self.forget = button("Forget it", on_click=lambda: self._keep(""))
        for each, stretch in ((self.field, 1), (self.save, 0), (self.forget, 0)):
            line.addWidget(each, stretch)
        hint = (
            "Kept in the keyring of the operating system, and given to the one process that downloads or "
            "sends: never to a training, a chat, a file or a log."
        )
        self.add_row("New token", row, hint)
        self.error = Notice("bad")
        self.error.hide()
        self.body.addWidget(self.error)
        self.forget.hide()

    def refresh(self) -> None:
        self.services.background.run(hub_token.place, self._show)

    def on_keep_pressed(self) -> None:
        """Put what was typed into the keyring; the field forgets it at once."""
        token = self.field.text().strip()
        if token:
            self._keep(token)

    def _keep(self, token: str) -> None:
        self.error.hide()
        self.services.background.run(lambda: hub_token.keep(token), self._on_kept, self._on_failed)

    def _on_kept(self, _nothing: object) -> None:
        self.field.clear()
        self.refresh()

    def _on_failed(self, error: EngineError) -> None:
        self.error.show_error(error)
        self.error.show()

    def _show(self, place: str) -> None:
        self.where.setText(PLACES[place])
        self.forget.setVisible(place == "keyring")
