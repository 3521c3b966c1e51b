"""What is known of the one run that is selected in the library, under the table."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QSizePolicy, QVBoxLayout

from app.choices import is_whole
from app.i18n import duration, loss, number, when
from app.seals import lines
from app.tables.runs import about, state_icon, state_token, state_word, state_words
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.label import ElidedLabel, TextLabel, text_label
from app.widgets.loss_curve import LossCurve
from app.widgets.pill import Pill
from app.widgets.seal_view import SealRow
from engine.runs.store import RunSummary

FIGURES = (("step", "Step"), ("best", "Best validation"), ("time", "Time"))


class RunPreview(Card):
    """One run in more words, with what can be done with it; `go` is asked to navigate."""

    def __init__(self, go: Callable[[str, object], None]) -> None:
        super().__init__()
        self._go = go
        self._run: RunSummary | None = None
        row = QHBoxLayout()
        row.setSpacing(24)
        row.addLayout(self._words(), 4)
        self.curve = LossCurve()
        row.addWidget(self.curve, 5)
        self.body.addLayout(row)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def _words(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(8)
        head = QHBoxLayout()
        head.setSpacing(10)
        self.name = ElidedLabel("", "title")
        self.pill = Pill()
        head.addWidget(self.name, 1)
        head.addWidget(self.pill)
        self.seals = SealRow(words=False)
        head.addWidget(self.seals)
        column.addLayout(head)
        self.about = ElidedLabel("", "small")
        column.addWidget(self.about)
        self.reason = text_label("", "small", wrap=True, selectable=True)
        column.addWidget(self.reason)
        grid = QGridLayout()
        grid.setHorizontalSpacing(28)
        grid.setVerticalSpacing(2)
        self._figures: dict[str, TextLabel] = {}
        for place, (key, words) in enumerate(FIGURES):
            grid.addWidget(text_label(words, "small"), 0, place)
            self._figures[key] = text_label("", "number", selectable=True)
            grid.addWidget(self._figures[key], 1, place)
        grid.setColumnStretch(3, 1)
        column.addLayout(grid)
        column.addStretch(1)
        actions = QHBoxLayout()
        actions.setSpacing(8)
        self.open_button = button("Open", "chart", "primary", on_click=lambda: self._to("monitor"))
        self.chat_button = button("Chat with it", "chat", on_click=lambda: self._to("chat"))
        self.evaluate_button = button("Evaluate", "table", on_click=lambda: self._to("evaluate"))
        self.merge_button = button("Merge, export", "merge", on_click=lambda: self._to("merge"))
        for made in (self.open_button, self.chat_button, self.evaluate_button, self.merge_button):
            actions.addWidget(made)
        actions.addStretch(1)
        column.addLayout(actions)
        return column

    def show_run(self, run: RunSummary | None) -> None:
        """Show a run, or nothing."""
        self._run = run
        self.setHidden(run is None)
        if run is None:
            return
        self.name.setText(run.name)
        token = state_token(run)
        self.pill.set(state_word(run), token, state_icon(run))
        self.seals.show_seals(lines(run.seals))
        parts = (about(run), run.data, when(run.created), run.id)
        self.about.setText(" · ".join(part for part in parts if part))
        damage = f"Its result is damaged: {run.damage}. Open it to mend it." if run.damage else ""
        self.reason.setText(run.problem or damage or run.message)
        self.reason.set_token("bad" if token == "bad" else "dim")
        self.reason.setHidden(not self.reason.text())
        steps = f"{number(run.step)} / {number(run.total_steps)}" if run.total_steps else "–"
        at = f" @ {run.best_step}" if run.best_step is not None else ""
        self._figures["step"].setText(steps)
        self._figures["best"].setText(f"{loss(run.best_validation)}{at}")
        self._figures["time"].setText(duration(run.seconds))
        has_adapter = (run.folder / "adapter" / "adapter_config.json").is_file()
        for made in (self.chat_button, self.evaluate_button):
            made.setVisible(not run.damage and (has_adapter or is_whole(run.folder)))
        self.merge_button.setVisible(has_adapter and not run.damage)
        self.curve.show_curve(run.curve, run.step, state_token(run))
        self.setAccessibleName(f"{run.name}, {state_words(run)}")

    def _to(self, page: str) -> None:
        if self._run is not None:
            self._go(page, {"run": self._run.folder})
