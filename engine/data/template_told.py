"""What is told of a chat template that is not ours: what it leaves out, adds, or asks the clock for."""

from __future__ import annotations

from engine.data.check import Check
from engine.data.templates import ChatTemplate
from engine.paths import show_name

_TURNS = {"system": "the system message", "user": "what is asked", "assistant": "what is answered"}


def template_checks(template: ChatTemplate | None) -> list[Check]:
    """Return what a probe found of a template; nothing for one of ours."""
    facts = template.facts if template is not None else {}
    made = []
    if facts.get("missing"):
        left_out = " and ".join(_TURNS.get(role, show_name(str(role), 20)) for role in facts["missing"])
        made.append(
            Check(
                "template_hides",
                "warn",
                1,
                "The chat template hides or changes words",
                f"In a trial of it {left_out} did not come out word for word. "
                "Look at an example as the model gets it, or choose one of the built-in templates.",
            )
        )
    if facts.get("adds"):
        words = show_name(str(facts["adds"]), 200)
        made.append(
            Check(
                "template_adds",
                "info",
                1,
                "The chat template adds words of its own",
                f"In all conversations, or in those without a system message, it writes: {words}",
            )
        )
    if facts.get("clock"):
        made.append(
            Check(
                "template_clock",
                "info",
                1,
                "The chat template writes the date",
                "All rows get the date on which the run begins; a chat later gets the date of its day.",
            )
        )
    return made
