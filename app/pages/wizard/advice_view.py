"""The engine's advice as the wizard shows it: asked in the background after each plan, one card a finding."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from app import i18n
from app.pages.wizard.data_view import DataView
from app.pages.wizard.fields import step_of
from app.pages.wizard.plan_view import change_words, fixing
from app.pages.wizard.state import WizardState
from app.widgets.plan_figures import Advice, Source
from engine.advice import evidence
from engine.advice.advise import advise
from engine.advice.finding import SEVERITIES, Finding
from engine.advice.situation import Statistics, situation_of
from engine.errors import EngineError
from engine.hardware.devices import Machine
from engine.models.facts import ModelFacts
from engine.plan.ledger import Ledger
from engine.recipe.recipe import Recipe
from engine.runs.falls import falls_on

OF_MEMORY = ("R01", "R02")  # does not fit, tight: the plan has its own words and ways out
KINDS = {"error": "bad", "warn": "warn", "hint": "info"}


def statistics_of(view: DataView) -> Statistics | None:
    """Return what the rules may know of the data, None until rows were chosen."""
    if view.chosen is None or not view.train_examples:
        return None
    from engine.data.practice import practised
    from engine.data.report import Lengths  # numpy is loaded by now, in the background

    return Statistics(
        counts=view.counts,
        lengths=Lengths.of(view.lengths),
        max_length=view.max_length,
        rows=view.train_examples + view.validation_examples,
        truncated=view.truncated,
        duplicates=view.duplicates,
        overlap=int(view.chosen.overlap),
        answer_tokens=view.counts.supervised_tokens / max(1, view.train_examples),
        chat=view.format != "text",
        practice=practised(view.recipe.data),
    )


def findings_of(
    recipe: Recipe, facts: ModelFacts, data: DataView | None, machine: Machine | None
) -> list[Finding]:
    """Return what there is to say of a recipe; some dozens of plans, so not in the window's thread."""
    counted = statistics_of(data) if data is not None else None
    falls = falls_on(recipe)
    return advise(situation_of(recipe, facts, counted, machine, falls=falls, ledger=Ledger.read()))


class Adviser(QObject):
    """Asks for advice when the plan has changed; while one answer is made only the newest question is kept.

    Signals:
        changed: other findings.
    """

    changed = Signal()

    def __init__(self, state: WizardState) -> None:
        super().__init__(state)
        self._state = state
        self.findings: list[Finding] = []
        self._busy = self._again = False
        state.plan_changed.connect(self.ask)

    def settled(self) -> bool:
        """Say whether no answer is being made."""
        return not self._busy

    def ask(self) -> None:
        """Look at the recipe as it is."""
        state = self._state
        if self._busy:
            self._again = True
            return
        if state.facts is None or state.plans is None:
            self._take([])
            return
        recipe, facts, data, machine = state.recipe, state.facts, state.data, state.services.hardware.machine
        self._busy = True
        state.services.background.run(
            lambda: findings_of(recipe, facts, data, machine), self._answered, self._failed
        )

    def _answered(self, findings: list[Finding]) -> None:
        self._busy = False
        self._take(findings)

    def _failed(self, error: EngineError) -> None:
        # The plan says the same where model or data cannot be used.
        self._answered([])

    def _take(self, findings: list[Finding]) -> None:
        if findings != self.findings:
            self.findings = findings
            self.changed.emit()
        if self._again:
            self._again = False
            self.ask()

    def advice(self, step: str) -> list[Advice]:
        """Return the cards for a step: what is grave at every step, the rest where its field is.

        What makes an unfitting plan fit stands above them already.
        """
        plans = self._state.plans
        unfit = plans is not None and plans.now.verdict in ("tight", "too_large") and plans.now.suggestions
        shown = [f for f in self.findings if not (unfit and f.rule in OF_MEMORY)]
        here = [f for f in shown if f.severity == "error" or step == "review" or _step_of(f) == step]
        return [card_of(self._state, finding) for finding in _by_weight(here)]


def _by_weight(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def _step_of(finding: Finding) -> str:
    path = finding.field or next(iter(finding.fix), None)
    return step_of(path) if path else "review"


def card_of(state: WizardState, finding: Finding) -> Advice:
    """Return a finding as a card: its message, what the fix sets and saves, and its sources."""
    sources = tuple(source_of(name) for name in finding.evidence if name in evidence.load())
    title, _, rest = finding.message.partition(". ")
    fix = dict(finding.fix)
    if not fix:
        return Advice(KINDS[finding.severity], title, rest, sources=sources)
    saved = f"{i18n.size(finding.saves_bytes)} less" if finding.saves_bytes else ""
    made = fixing(state, KINDS[finding.severity], title, rest, "Apply", fix, saved)
    words = " ".join(filter(None, (rest, f"Sets {change_words(fix)}.")))
    return Advice(made.kind, title, words, made.action, fix, saved, sources)


def source_of(name: str) -> Source:
    """Return a piece of evidence for its card."""
    found = evidence.load()[name]
    return Source(found.id, found.title, found.source, found.figure, found.tag, found.link, found.correction)
