"""What to measure: held-out rows, tests of one's own, the general set, benchmarks; and how."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from app.evaluating import BASES, all_seconds, offer_figures, questions, time_words
from app.theme.style import current_theme
from app.theme.tokens import GAP
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.drop_zone import DropZone
from app.widgets.label import TextLabel
from app.widgets.notice import Notice
from app.widgets.offer_list import OfferLine, OfferList
from app.widgets.scroll import vertical_scroll
from app.widgets.switch import Switch
from engine.benchmarks.spec import GENERAL, OWN_TESTS
from engine.runs.evaluation_offers import Offer, Offers

GROUPS = {
    "yours": "YOUR OWN",
    "general": "WHAT MAY BE FORGOTTEN",
    "made": "MADE HERE",
    "hub": "BENCHMARKS OF THE HUB",
}
LIMITS = (50, 200, 1000)
LONG_SECONDS, LONG_LIMIT = 600.0, 200  # beyond it a limit is proposed
SIDE_WIDTH = 340


class ChoicePanel(QWidget):
    """The list at the left, the settings at the right.

    Signals:
        changed: something else is to be measured, or otherwise.
        file_requested: a benchmark is to get a file of the person's own.
        file_dropped: a file of tests was dropped.
        file_removed: a benchmark's own questions are wanted again.
        download_requested: a benchmark is to be brought to this computer.
    """

    changed = Signal()
    file_requested = Signal(str)
    file_dropped = Signal(object)
    file_removed = Signal(str)
    download_requested = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._offers = Offers()
        self._ticked: set[str] = set()
        self._proposed = False
        self._targets: list[str] = []
        self._downloading = ""
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GAP)
        self.list = OfferList()
        self.list.ticked.connect(self._on_ticked)
        self.list.pressed.connect(self._on_pressed)
        listed = Card("What to measure")
        listed.body.addWidget(vertical_scroll(self.list), 1)
        row.addWidget(listed, 1)
        self._side = QWidget()
        column = QVBoxLayout(self._side)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GAP)
        column.addWidget(self._build_how())
        column.addWidget(self._build_drop())
        column.addStretch(1)
        row.addWidget(self._side)
        self._fit()
        current_theme().changed.connect(self._fit)

    def _fit(self) -> None:
        self._side.setFixedWidth(current_theme().px(SIDE_WIDTH))

    # -- making --------------------------------------------------------------------------------------------
    def _build_how(self) -> Card:
        card = Card("How")
        self._build_fields()
        card.body.addLayout(self._build_grid())
        self.base_words = TextLabel("", "small", wrap=True)
        self.total = TextLabel("", "strong", wrap=True)
        self.total_note = TextLabel("", "small", wrap=True)
        self.busy_note = Notice("warn")
        self.busy_note.hide()
        card.body.addWidget(self.base_words)
        card.body.addSpacing(6)
        for widget in (self.total, self.total_note, self.busy_note):
            card.body.addWidget(widget)
        return card

    def _build_fields(self) -> None:
        self.target_box = QComboBox()
        self.target_box.setAccessibleName("Measured")
        self.target_box.setAccessibleDescription("The result of the run, or one of its checkpoints")
        self.target_box.activated.connect(lambda _: self.changed.emit())
        self.limit_field = QLineEdit(placeholderText="all")
        self.limit_field.setAccessibleName("Questions at most, of each benchmark")
        self.base_switch = Switch()
        self.base_switch.setChecked(True)
        self.base_switch.setAccessibleName("Base too")
        self.base_switch.toggled.connect(lambda _: self._on_changed())
        self.seed_field = QLineEdit(placeholderText="as shipped")
        self.seed_field.setAccessibleName("Seed of made questions")
        for field in (self.limit_field, self.seed_field):
            field.textChanged.connect(lambda _: self._on_changed())
        self.wrong = TextLabel("", "small", wrap=True)
        self.wrong.set_token("bad")

    def _build_grid(self) -> QGridLayout:
        """Place the fields behind their names, the usual limits under theirs."""
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(10)
        grid.setColumnStretch(1, 1)
        rows: tuple[tuple[str, QWidget], ...] = (
            ("Measured", self.target_box),
            ("Questions at most", self.limit_field),
            ("Base too", self.base_switch),
            ("Seed", self.seed_field),
        )
        line = 0
        for words, widget in rows:
            grid.addWidget(TextLabel(words, "dim"), line, 0)
            grid.addWidget(widget, line, 1)
            line += 1
            if widget is self.limit_field:
                grid.addLayout(self._build_limits(), line, 0, 1, 2)
                grid.addWidget(self.wrong, line + 1, 0, 1, 2)
                line += 2
        return grid

    def _build_limits(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(6)
        row.addStretch(1)
        for count in LIMITS:
            made = button(f"{count:,}", compact=True, name=f"At most {count} questions of each")
            made.clicked.connect(lambda _checked=False, n=count: self.limit_field.setText(str(n)))
            row.addWidget(made)
        row.addWidget(button("All", compact=True, name="All questions", on_click=self.limit_field.clear))
        return row

    def _build_drop(self) -> DropZone:
        zone = DropZone(
            "Drop your own test file here",
            "Lines with prompt and expected, a table, or any data whose last answer is expected.",
            ("Choose a file…", lambda: self.file_requested.emit(OWN_TESTS)),
            upright=True,
        )
        zone.dropped.connect(lambda files: self.file_dropped.emit(files[0]))
        self.drop_zone = zone
        return zone

    # -- what is chosen ------------------------------------------------------------------------------------
    @property
    def names(self) -> list[str]:
        """Return what is to be measured, as `evaluate --benchmark` takes it."""
        return [offer.name for offer in self.chosen]

    @property
    def chosen(self) -> list[Offer]:
        """Return the offers that are ticked and can be measured."""
        return [offer for offer in self._offers.of(list(self._ticked)) if not offer.problem]

    @property
    def limit(self) -> int | None:
        """Return how many questions of each are asked at most; None for all. 2k and 2,000 are read."""
        text = self.limit_field.text().strip().lower().replace(",", "").replace(" ", "")
        if text in ("", "all"):
            return None
        factor = 1000 if text.endswith("k") else 1
        digits = text.removesuffix("k")
        return int(digits) * factor if digits.isdigit() else 0

    @property
    def base_too(self) -> bool:
        """Return whether the base is asked too; the forgetting check needs it."""
        return self.base_switch.isChecked() or GENERAL in self._ticked

    @property
    def seed(self) -> int | None:
        """Return another seed for made questions, None for their own."""
        text = self.seed_field.text().strip()
        return int(text) if text.isdigit() and self._makes else None

    @property
    def target(self) -> str:
        """Return what is measured: the run or one of its checkpoints."""
        return self._targets[max(0, self.target_box.currentIndex())] if self._targets else ""

    @property
    def _makes(self) -> bool:
        return any(offer.made for offer in self.chosen)

    @property
    def problem(self) -> str:
        """Return what keeps it from being started, empty where nothing does."""
        seed = self.seed_field.text().strip()
        if self.limit == 0:
            return "Questions at most: use 1 or more, or leave it empty for all."
        if seed and not (seed.isdigit() and int(seed) < 2**31):
            return "Seed: use a whole number of 0 or more, or leave it empty."
        return "" if self.chosen else "Tick something to measure."

    def plan(self) -> list[tuple[str, float]]:
        """Return the label of each benchmark with the seconds foreseen for it."""
        return plan_of(self.chosen, self.limit, 2 if self.base_too else 1)

    def seconds(self) -> float | None:
        """Return how long it will take, None where that is not known."""
        speakers = 2 if self.base_too else 1
        return all_seconds(self.chosen, self._offers.start_seconds, self.limit, speakers)

    # -- showing -------------------------------------------------------------------------------------------
    def show_run(self, run: Path, steps: Sequence[tuple[int, Path]]) -> None:
        """Begin anew for another run with its saved steps, the newest first."""
        self._offers, self._ticked, self._proposed = Offers(), set(), False
        self.limit_field.clear()
        self.seed_field.clear()
        self.base_switch.setChecked(True)
        self._targets = [str(run), *(str(folder) for _, folder in steps)]
        self.target_box.clear()
        self.target_box.addItems(["The result", *(f"Step {step:,}" for step, _ in steps)])
        self.list.show_lines([])
        self._show()

    def choose_target(self, target: str) -> None:
        """Measure the run, or one of its checkpoints."""
        if target in self._targets:
            self.target_box.setCurrentIndex(self._targets.index(target))

    def show_offers(self, offers: Offers) -> None:
        """Show what there is to measure on; what is proposed is ticked the first time."""
        before = {offer.name: offer.file for offer in self._offers.offers}
        self._offers = offers
        if not self._proposed and offers.offers:
            self._proposed = True
            self._ticked = {offer.name for offer in offers.offers if offer.proposed and not offer.problem}
            if (self.seconds() or 0.0) > LONG_SECONDS:
                self.limit_field.setText(str(LONG_LIMIT))
        else:
            given = [o.name for o in offers.offers if o.file and o.file != before.get(o.name)]
            self._ticked |= set(given)
        self._show()

    def tick(self, name: str) -> None:
        """Choose a benchmark."""
        self._ticked.add(name)
        self._show()

    def show_downloading(self, name: str) -> None:
        """Say which benchmark is on its way to this computer; an empty name says none."""
        self._downloading = name
        self._show()

    def show_problem(self) -> None:
        """Go to what keeps it from being started."""
        if self.limit == 0:
            self.limit_field.setFocus()
        elif self.chosen:
            self.seed_field.setFocus()
        elif self.list.rows:
            next(iter(self.list.rows.values())).box.setFocus()

    def show_busy(self, words: str) -> None:
        """Say that something else computes, or nothing."""
        self.busy_note.setHidden(not words)
        if words:
            self.busy_note.show_notice("warn", words, "Both get slower, and both need memory.")

    def _on_ticked(self, name: str, wanted: bool) -> None:
        (self._ticked.add if wanted else self._ticked.discard)(name)
        self._on_changed()

    def _on_pressed(self, name: str, act: str) -> None:
        signals = {
            "file": self.file_requested,
            "remove": self.file_removed,
            "download": self.download_requested,
        }
        signals[act].emit(name)

    def _on_changed(self) -> None:
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        speakers = 2 if self.base_too else 1
        self.list.show_lines([self._line(offer, speakers) for offer in self._offers.offers])
        forgetting = GENERAL in self._ticked
        self.base_switch.setEnabled(not forgetting)
        if forgetting and not self.base_switch.isChecked():
            self.base_switch.setChecked(True)
        said = "Base and adapter answer the same questions and are compared one by one."
        if forgetting:
            said = "The general set is asked before and after: the base answers too."
        elif not self.base_switch.isChecked():
            said = "The adapter alone: nothing says whether it got better."
        self.base_words.setText(said)
        self.seed_field.setEnabled(self._makes)
        problem = self.problem
        shown = problem if self._offers.offers else ""
        self.wrong.setText(shown)
        self.wrong.setHidden(not shown)
        _mark_wrong(self.limit_field, self.limit == 0)
        _mark_wrong(self.seed_field, self.limit != 0 and shown.startswith("Seed"))
        for label in (self.total, self.total_note):
            label.setHidden(bool(problem))
        self._show_total()

    def _show_total(self) -> None:
        chosen, limit = self.chosen, self.limit or None
        asked = sum(part.asked(limit) for offer in chosen for part in offer.parts)
        seconds = self.seconds()
        self.total.setText(" · ".join(filter(None, (questions(asked), time_words(seconds)))))
        found = {offer.basis for offer in chosen}
        weakest = next((basis for basis in ("", "formula", "ledger", "measured") if basis in found), "")
        who = "each asked of base and adapter" if self.base_too else "asked of the adapter"
        self.total_note.setText("; ".join(filter(None, (who, BASES[weakest] if seconds is not None else ""))))

    def _line(self, offer: Offer, speakers: int) -> OfferLine:
        presses: list[tuple[str, str]] = []
        if offer.file is not None:
            presses = [("remove", "Remove")]
        elif offer.problem and (offer.hub or offer.name == OWN_TESTS):
            presses = [("file", "Choose a file…")]
        if offer.hub and offer.problem and offer.file is None and self._downloading != offer.name:
            presses.append(("download", "Download"))
        count, seconds = offer_figures(offer, self.limit or None, speakers)
        problem = "Being downloaded…" if self._downloading == offer.name else offer.problem
        return OfferLine(
            id=offer.name,
            group=GROUPS[offer.group],
            label=offer.label,
            about=offer.about,
            count=count,
            time=seconds,
            time_tip=BASES[offer.basis],
            chosen=offer.name in self._ticked and not offer.problem,
            problem=problem,
            hint=offer.hint,
            file=offer.file.name if offer.file is not None else "",
            presses=tuple(presses),
        )


def _mark_wrong(field: QLineEdit, wrong: bool) -> None:
    if bool(field.property("invalid") == "true") != wrong:
        field.setProperty("invalid", "true" if wrong else "false")
        field.style().unpolish(field)
        field.style().polish(field)


def plan_of(offers: Sequence[Offer], limit: int | None, speakers: int) -> list[tuple[str, float]]:
    """Return the label of each benchmark with its seconds; where none are known each counts alike."""
    parts = [part for offer in offers for part in offer.parts]
    if any(part.seconds is None for part in parts):
        return [(part.label, float(part.asked(limit))) for part in parts]
    return [(part.label, part.asked(limit) * (part.seconds or 0.0) * speakers) for part in parts]
