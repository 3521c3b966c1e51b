"""The right column of Home: whether the machine is ready, what fits here, what takes room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QApplication, QHBoxLayout, QVBoxLayout, QWidget

from app.i18n import number, size
from app.services import Services
from app.storage import Storage, measure
from app.tips import tip_of_the_day
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.label import ElidedLabel, TextLabel, hairline, text_label
from app.widgets.mark import Mark
from app.widgets.meter import Meter, Part, StackedBar
from engine.paths import show_name

if TYPE_CHECKING:
    from app.drafts import Draft
    from app.fits import Fit
    from app.readiness import Line

STATE_MARKS = {"ok": ("check", "ok"), "warn": ("triangle", "warn"), "bad": ("octagon", "bad")}
DRIVER_HELP = (
    "Update the driver of the NVIDIA GPU from nvidia.com/drivers or your distribution, "
    "restart the computer, then press the card again."
)


class ReadinessCard(Card):
    """The checks of this machine, each with its repair."""

    def __init__(self, services: Services) -> None:
        self._again = button(
            icon="refresh", kind="ghost", name="Check again", compact=True, on_click=self.refresh
        )
        super().__init__("Looking at this machine", self._again)
        self._services = services
        self.lines: list[Line] = []
        self._rows = QVBoxLayout()
        self._rows.setSpacing(8)
        self.body.addLayout(self._rows)

    def refresh(self) -> None:
        """Make the checks again, in the background."""
        self._services.background.run(_examine, self.show_lines, self._on_failed)

    def show_lines(self, lines: list[Line]) -> None:
        """Show what the checks found."""
        from app.readiness import headline

        self.lines = lines
        self.set_title(headline(lines)[0])
        _clear(self._rows)
        for place, line in enumerate(lines):
            if place:
                self._rows.addWidget(hairline())
            self._rows.addWidget(self._row(line))

    def _row(self, line: Line) -> QWidget:
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        layout.addWidget(Mark(*STATE_MARKS[line.state], size=14))
        words = QVBoxLayout()
        words.setSpacing(1)
        words.addWidget(text_label(line.title, "small_text", wrap=True))
        words.addWidget(text_label(line.detail, "least", wrap=True))
        layout.addLayout(words, 1)
        if line.repair:
            layout.addWidget(button(line.repair_words, compact=True, on_click=self._repairs()[line.repair]))
        row.setAccessibleName(f"{line.title}: {line.detail}")
        return row

    def _repairs(self) -> dict[str, Callable[[], object]]:
        return {
            "driver": lambda: self._services.notify(
                "The GPU's driver is too old or does not answer.", "warn", hint=DRIVER_HELP
            ),
            "setup": self._copy_setup,
            "starter": self._fetch_starter,
            "folder": lambda: self._services.navigate("settings", {"section": "folders"}),
            "space": lambda: self._services.navigate("settings", {"section": "folders"}),
        }

    def _copy_setup(self) -> None:
        from app.readiness import SETUP_COMMAND

        QApplication.clipboard().setText(SETUP_COMMAND)
        hint = "Run it in a terminal in Tunesmith's folder, then start again."
        self._services.notify(f"Copied: {SETUP_COMMAND}", "ok", hint=hint)

    def _fetch_starter(self) -> None:
        from engine.models.library import ensure_starter

        self.set_title("Bringing the starter model to disk")
        self._again.setEnabled(False)
        self._services.background.run(ensure_starter, self._on_starter_ready, self._on_failed)

    def _on_starter_ready(self, _: Any) -> None:
        self._again.setEnabled(True)
        self._services.notify("The starter model is on disk.", "ok")
        self.refresh()

    def _on_failed(self, error: Any) -> None:
        self._again.setEnabled(True)
        self._services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)
        if self.lines:
            self.show_lines(self.lines)


class FitsCard(Card):
    """Sizes of models against this machine's memory."""

    def __init__(self, services: Services) -> None:
        super().__init__("What fits here")
        self._services = services
        self._rows = QVBoxLayout()
        self._rows.setSpacing(8)
        self.body.addLayout(self._rows)
        self._note = TextLabel("", "least", wrap=True)
        self.body.addWidget(self._note)

    def refresh(self) -> None:
        """Ask the planner, in the background."""
        self._services.background.run(_what_fits, self.show_fits)

    def show_fits(self, answer: tuple[list[Fit], float]) -> None:
        """Show a bar for each model size and method."""
        fits, memory_bytes = answer
        _clear(self._rows)
        for fit in fits:
            row = QWidget()
            column = QVBoxLayout(row)
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(4)
            head = QHBoxLayout()
            head.addWidget(text_label(fit.name, "small_text"))
            head.addStretch(1)
            head.addWidget(text_label(size(fit.bytes), "mono_dim"))
            column.addLayout(head)
            column.addWidget(Meter(fit.bytes / memory_bytes, fit.token, name=fit.name))
            row.setAccessibleName(
                f"{fit.name} needs {size(fit.bytes)} of {size(memory_bytes)}: {fit.verdict}"
            )
            self._rows.addWidget(row)
        self._note.setText(
            f"of {size(memory_bytes)}, rough, batch 1, {number(1024)} tokens, checkpointing where it helps"
        )


class StorageCard(Card):
    """What takes room on the disk."""

    def __init__(self, services: Services) -> None:
        super().__init__("Storage", button("Folders…", kind="link", compact=True, on_click=self._on_pressed))
        self._services = services
        self._bar = StackedBar(legend=True)
        self.body.addWidget(self._bar)

    def refresh(self) -> None:
        """Measure the folders, in the background."""
        self._services.background.run(measure, self.show_storage)

    def show_storage(self, storage: Storage) -> None:
        """Show the folders' sizes against what is left on the disk."""
        parts = [
            Part(place.name, place.bytes, place.token, size(place.bytes))
            for place in storage.places
            if place.bytes
        ]
        free = Part("free", 0, "edge", size(storage.free_bytes))
        self._bar.set([*parts, free], storage.used_bytes + storage.free_bytes)

    def _on_pressed(self) -> None:
        self._services.navigate("settings", {"section": "folders"})


class TipCard(Card):
    """One tip a day, until it is sent away for good."""

    def __init__(self, services: Services) -> None:
        away = button(icon="x", kind="ghost", compact=True, name="No more tips", on_click=self._dismiss)
        super().__init__("Tip", away)
        self._services = services
        self.body.addWidget(text_label(tip_of_the_day(), "small", wrap=True))
        self.setHidden(services.settings.value.tip_dismissed)

    def _dismiss(self) -> None:
        self._services.settings.change(tip_dismissed=True)
        self.hide()


class DraftCard(Card):
    """The unfinished run, one press away."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        row = QHBoxLayout()
        row.setSpacing(12)
        row.addWidget(Mark("edit", "accent"))
        self._words = ElidedLabel("", "body")
        row.addWidget(self._words, 1)
        row.addWidget(button("Go on with it", compact=True, on_click=self._go_on))
        self.body.addLayout(row)
        self.hide()

    def refresh(self) -> None:
        """Look for a draft, in the background."""
        self._services.background.run(_load_draft, self.show_draft, lambda _error: self.hide())

    def show_draft(self, draft: Draft | None) -> None:
        """Show an unfinished run that has data by now, or nothing."""
        begun = draft is not None and bool(draft.recipe.data.train)
        self.setHidden(not begun)
        if draft is not None and begun:
            data = Path(draft.recipe.data.train[0]).name
            model = Path(draft.recipe.model.path).name
            self._words.setText(
                f"Unfinished: {show_name(model)} on {show_name(data)}, at {draft.step.capitalize()}"
            )

    def _go_on(self) -> None:
        self._services.navigate("wizard")


def _clear(layout: QVBoxLayout) -> None:
    while (item := layout.takeAt(0)) is not None:
        widget = item.widget()
        if widget is not None:
            widget.deleteLater()


# What only the background needs is imported there: the first paint does not wait for it.
def _examine() -> list[Line]:
    from app.readiness import examine

    return examine()


def _what_fits() -> tuple[list[Fit], float]:
    from app.fits import what_fits

    return what_fits()


def _load_draft() -> Draft | None:
    from app.drafts import load_draft

    return load_draft()
