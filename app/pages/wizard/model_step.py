"""Step 1: which model. What is on this computer first, then folders, files and the hub."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QVBoxLayout, QWidget

from app import i18n
from app.fits import ladder
from app.pages.wizard import inquiries
from app.pages.wizard.fields import short_model
from app.pages.wizard.model_card import ModelCard
from app.pages.wizard.model_fetch import ModelFetch
from app.pages.wizard.model_list import ModelList, SizeLadder
from app.pages.wizard.refused_list import RefusedList
from app.pages.wizard.state import WizardState
from app.pages.wizard.step import Step, take_focus
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.label import TextLabel
from app.widgets.layer_view import LayerStrip
from app.widgets.notice import Notice
from app.widgets.pill import Pill
from app.widgets.plan_column import Advice
from app.widgets.typed_editors import LineField
from engine.errors import EngineError
from engine.jobs.fetch import download_model
from engine.models import library
from engine.models.refused import Refused

NO_MODEL = "There is no model on this computer yet."
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.\-]{0,95}/[A-Za-z0-9][\w.\-]{0,95}")


def hub_id_of(text: str) -> str:
    """Return the hub id in a pasted link or name, or an empty text."""
    plain = re.sub(r"^(https?://)?(www\.)?(huggingface\.co|hf\.co)/", "", text.strip())
    plain = "/".join(plain.split("?")[0].strip("/").split("/")[:2])
    return plain if _HUB_ID.fullmatch(plain) and not Path(text.strip()).expanduser().exists() else ""


def offline() -> bool:
    """Say whether the person has forbidden the network to the hub's client."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


class ModelStep(Step):
    """The list, the search field, the chosen model drawn."""

    name = "model"

    def __init__(self, state: WizardState) -> None:
        super().__init__(state)
        self._listing = self._again = False
        self.column.addWidget(self._build_choice())
        self.column.addWidget(self._build_chosen())
        self.ladder = SizeLadder()
        self.column.addWidget(self.ladder)
        self.more, _ = self.form_card("Which version", ["model.revision"])
        self.column.addWidget(self.more)
        self.column.addStretch(1)
        self._connect()

    def _build_choice(self) -> Card:
        tools = QWidget()
        row = QHBoxLayout(tools)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(button("Folder…", "folder", on_click=self._on_folder_pressed, compact=True))
        row.addWidget(button("GGUF file…", "file", on_click=self._on_file_pressed, compact=True))
        card = Card("Which model to teach", tools)
        self.search = LineField()
        self.search.setPlaceholderText("Filter, or paste a folder, a hub id or a hub link")
        self.search.setAccessibleName("Filter models, or name one")
        self.search.setClearButtonEnabled(True)
        self.search.installEventFilter(self)
        card.body.addWidget(self.search)
        self.found = Notice()
        self.found.hide()
        self.fetch = ModelFetch(self.found, self.state.services, self)
        self.fetch.brought.connect(self._on_brought)
        card.body.addWidget(self.found)
        self.list = ModelList()
        card.body.addWidget(self.list)
        self.refused = RefusedList()
        card.body.addWidget(self.refused)
        self.none = TextLabel("", "dim", wrap=True)
        self.none.hide()
        card.body.addWidget(self.none)
        return card

    def _build_chosen(self) -> Card:
        self.chosen = Card("Chosen")
        self.pill = Pill()
        self.chosen.header.addWidget(self.pill)
        self.error = Notice("bad")
        self.error.hide()
        self.drawing = QWidget()
        column = QVBoxLayout(self.drawing)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(10)
        self.strip = LayerStrip()
        self.about = TextLabel("", "small", wrap=True).make_selectable()
        self.place = TextLabel("", "mono_dim", wrap=True).make_selectable()
        column.addWidget(self.about)
        column.addWidget(self.strip)
        column.addWidget(self.place)
        self.card = ModelCard(self.state.services)
        column.addWidget(self.card)
        self.chosen.body.addWidget(self.error)
        self.chosen.body.addWidget(self.drawing)
        return self.chosen

    def _connect(self) -> None:
        self.list.chosen.connect(self.choose)
        self.list.looked_at.connect(self._on_model_looked_at)
        self.search.textChanged.connect(self._on_search_changed)
        self.search.returnPressed.connect(self._on_search_entered)
        self.state.model_changed.connect(self.show_model)
        self.state.data_changed.connect(self._on_data_changed)
        self.state.services.hardware.probed.connect(self._on_probed)

    def _on_data_changed(self) -> None:
        # The needs of a model are those with this data's lengths.
        if self.isVisible() and not self.state.data_busy:
            self.list_again()

    def _on_probed(self, machine: object) -> None:
        self.list_again()
        self._show_ladder()

    def _on_model_looked_at(self, line: inquiries.ModelLine | None) -> None:
        if line is None or line.path == self.state.recipe.model.path:
            self.ghost_changed.emit(None)
        else:
            self.ghost_changed.emit((line.facts.name, {"model.path": line.path}, line.facts))

    # -- showing -------------------------------------------------------------------------------------------
    def shown(self) -> None:
        self.list_again()
        self.show_model()
        self._show_ladder()

    def settled(self) -> bool:
        known = self.state.services.hardware.machine is not None
        return not self._listing and not self.state.model_busy and (self.ladder.filled or not known)

    def set_level(self, level: str) -> None:
        super().set_level(level)
        self.more.setVisible(level == "all")

    def _show_ladder(self) -> None:
        machine, own = self.state.services.hardware.machine, self.state.facts
        if machine is not None:
            self.state.services.background.run(
                lambda: ladder(machine, own), lambda answer: self.ladder.show_sizes(*answer)
            )

    def list_again(self) -> None:
        """Look for the models on this computer."""
        if self._listing:
            self._again = True
            return
        self._listing, self._again = True, False
        recipe, machine = self.state.recipe, self.state.services.hardware.machine
        data = self.state.data

        def taken(found: tuple[list[inquiries.ModelLine], list[Refused]]) -> None:
            self._listing = False
            if self._again:
                self.list_again()
            self.list.show_models(found[0])
            self.refused.show_refused(found[1])
            self._say_none()

        def failed(error: EngineError) -> None:
            self._listing = False
            self.none.setText(error.message)
            self.none.show()

        self.state.services.background.run(
            lambda: inquiries.list_models(recipe, machine, data), taken, failed
        )
        self.list.choose(self.state.recipe.model.path)

    def _say_none(self) -> None:
        words = self._filter_words()
        shown = self.list.filter(words) + self.refused.filter(words)
        words = "" if shown else "No model on this computer has these words in its name."
        if not self.list.rows:
            words = "No model on this computer can be used yet." if self.refused.rows else NO_MODEL
        self.none.setText(words)
        self.none.setVisible(bool(words) and not self._listing)

    def show_model(self) -> None:
        """Draw the chosen model, or say why there is none."""
        state, path = self.state, self.state.recipe.model.path
        self.list.choose(path)
        self.chosen.set_title(f"Chosen: {'starter model' if path == library.STARTER else short_model(path)}")
        error, facts = state.model_error, state.facts
        self.error.setVisible(error is not None and not state.model_busy)
        self.drawing.setVisible(error is None and facts is not None)
        if state.model_busy:
            converting = path.lower().endswith(".gguf")
            self.pill.set("converting, once" if converting else "looking at it", "dim")
        elif error is not None:
            self.pill.set("cannot be used", "bad")
            self.error.show_error(error, self._repairs(error))
        elif facts is not None:
            self.pill.set(*(("no weights", "warn") if facts.from_config else ("ready", "ok")))
            self._draw(facts)
            if self.isVisible():
                self._show_ladder()
        self.advice_changed.emit()

    def _draw(self, facts: Any) -> None:
        embedding = facts.vocab_size * facts.hidden_size / max(1, facts.parameters)
        self.strip.show_model(facts.layers, min(0.6, embedding), 0.0 if facts.tied else min(0.3, embedding))
        kinds = ", ".join(facts.groups)
        heads = f"{facts.heads} heads" + (
            f" ({facts.kv_heads} for keys)" if facts.kv_heads != facts.heads else ""
        )
        tied = "output head tied to the embedding" if facts.tied else "output head of its own"
        self.about.setText(
            f"{facts.layers} layers, width {i18n.number(facts.hidden_size)}, {heads}, "
            f"vocabulary {i18n.number(facts.vocab_size)}, {tied}. Can be adapted: {kinds}."
            + (f" {facts.left_aside}" if facts.left_aside else "")
        )
        self.place.setText(str(facts.path))
        self.card.set_model(facts.path, facts.name)

    def _repairs(self, error: EngineError) -> list[tuple[str, Any]]:
        path = self.state.recipe.model.path
        found: list[tuple[str, Any]] = []
        if path == library.STARTER:
            found.append(("Get the starter model", self._get_starter))
        elif error.code == "HUB-01" and hub_id_of(path):
            found.append((f"Download {short_model(path)}", lambda: self._download(path)))
        if path != library.STARTER:
            found.append(("Use the starter model", lambda: self.choose(library.STARTER)))
        found.append(("Look again", self.state.look_again))
        return found

    def facts(self) -> str:
        path, facts = self.state.recipe.model.path, self.state.facts
        name = "starter" if path == library.STARTER else short_model(path)
        if self.state.model_busy:
            return f"{name} · looking"
        return f"{name} · {i18n.short_number(facts.parameters)}" if facts is not None else name

    def advice(self) -> list[Advice]:
        facts = self.state.facts
        if facts is None:
            return []
        found = []
        if facts.from_config:
            text = "It can be planned and checked exactly. Training needs a folder that holds the weights."
            found.append(Advice("warn", "This folder has no weights", text))
        if not facts.chat_template:
            text = (
                "A plain one is used for conversations. For chat, a model whose name says Instruct is easier."
            )
            found.append(Advice("info", "This model brings no chat template", text))
        if facts.parameters < 4e8:
            text = "It learns formats and styles quickly. It does not gain knowledge it never had."
            found.append(Advice("info", "A small model", text))
        return found

    def focus_field(self, path: str) -> bool:
        if path == "model.path":
            self._reveal(self.search)
            take_focus(self.search)
            return True
        return super().focus_field(path)

    # -- choosing ------------------------------------------------------------------------------------------
    def choose(self, path: str) -> None:
        """Take a model into the recipe."""
        self.state.set_value("model.path", path)
        if path != library.STARTER:
            self.state.services.settings.remember("recent_models", path)
        self.list.choose(path)

    def _filter_words(self) -> str:
        text = self.search.text()
        return "" if hub_id_of(text) or os.sep in text else text

    def _on_search_changed(self, text: str) -> None:
        self._say_none()
        identity, path = hub_id_of(text), Path(text.strip()).expanduser()
        if text.strip() and path.is_absolute() and path.exists():
            self.found.show_notice("info", str(path), "", [("Use this", lambda: self._take_path(path))])
            self.found.show()
        elif identity:
            self._offer_hub(identity)
        else:
            self.found.hide()

    @staticmethod
    def _is_here(identity: str) -> bool:
        try:
            library.resolve_model(identity)
        except EngineError:
            return False
        return True

    def _offer_hub(self, identity: str) -> None:
        if not self._is_here(identity):
            if offline():
                text = "This program is told to stay offline (HF_HUB_OFFLINE). Models on disk still work."
                self.found.show_notice("warn", f"{identity} is not on this computer", text)
            else:
                text = "Nothing is downloaded before you press. It goes on while you fill the next steps."
                press = [("Download", lambda: self._download(identity))]
                self.found.show_notice("info", f"{identity} is not on this computer", text, press)
        else:
            press = [("Use it", lambda: self.choose(identity))]
            self.found.show_notice("ok", f"{identity} is on this computer", "", press)
        self.found.show()

    def _on_search_entered(self) -> None:
        text = self.search.text().strip()
        path = Path(text).expanduser()
        if text and path.is_absolute() and path.exists():
            self._take_path(path)
        elif hub_id_of(text) and self._is_here(hub_id_of(text)):
            self.choose(hub_id_of(text))
            self.search.clear()
        elif not hub_id_of(text) and self.list.shown_rows:
            self.choose(self.list.shown_rows[0].line.path)

    def _take_path(self, path: Path) -> None:
        self.choose(str(path))
        self.search.clear()

    def take_model(self, path: Path) -> None:
        """Use a folder or file that was dropped, and remember it in the library."""
        self.choose(str(path))

    def _on_folder_pressed(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Choose a model's folder")
        if chosen:
            self._take_path(Path(chosen))

    def _on_file_pressed(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "Choose a GGUF file", "", "GGUF models (*.gguf)")
        if chosen:
            self._take_path(Path(chosen))

    # -- the network, after a press --------------------------------------------------------------------------
    def _get_starter(self) -> None:
        self.fetch.begin("the starter model", lambda _: library.ensure_starter(), self.state.look_again)

    def _download(self, identity: str) -> None:
        self.fetch.begin(
            identity, lambda heard: download_model(identity, progress=heard), lambda: self.choose(identity)
        )

    def _on_brought(self, what: str) -> None:
        self.search.clear()
        self.list_again()
        self.state.services.notify(f"{what[0].upper()}{what[1:]} is on this computer.", "ok")

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self.search and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            if event.key() == Qt.Key.Key_Down:
                self.list.focus_first()
                return True
        return super().eventFilter(watched, event)
