"""What a chat template must bear before anything of ours renders with it, and what it makes of four talks."""

from __future__ import annotations

import re
import signal
import sys
from typing import Any

from engine.data import sandbox
from engine.data.templates import ChatTemplate
from engine.errors import EngineError

SECONDS = 2.0
OWN_WORDS = 30  # letters of its own from which a template is said to add something
MOST_SHOWN = 200
DAY = 86_400.0
CLOCKS = (0.0, 400 * DAY)
SYSTEM, QUESTION, ANSWER = "Obey qzsystem.", "Tell me of qzquestion{}, please", "It is qzanswer{} indeed"
_WORD = re.compile(r"[^\W\d_]{2,}")


def _turn(number: int) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": QUESTION.format(number)},
        {"role": "assistant", "content": ANSWER.format(number)},
    ]


# Conversations of one and of two turns, with and without a system message, and one that waits for its answer.
CONVERSATIONS: tuple[tuple[list[dict[str, Any]], bool], ...] = (
    (_turn(1), False),
    (_turn(1) + _turn(2), False),
    ([{"role": "system", "content": SYSTEM}, *_turn(1)], False),
    (_turn(1)[:1], True),
)


def look(source: str, name: str, tokens: dict[str, str]) -> dict[str, Any]:
    """Return what it leaves out, adds and asks the clock for; raises EngineError MODEL-06 for a bomb.

    That it refuses a conversation (no system message, say) is its own affair: rows like that will be told.
    """
    _alarm(SECONDS)
    try:
        return _facts(ChatTemplate(source, name, tokens))
    finally:
        _alarm(0.0)


def _facts(template: ChatTemplate) -> dict[str, Any]:
    texts, missing = [], set()
    for messages, waits in CONVERSATIONS:
        said = [_rendered(template, messages, waits, clock) for clock in (CLOCKS[0], *CLOCKS)]
        if said[0] != said[1]:
            raise template.stopped("it writes another text each time")
        texts.append(said)
        missing |= {m["role"] for m in messages if said[0] is not None and m["content"] not in said[0]}
    if all(said[0] is None for said in texts):
        raise template.stopped(_why(template))
    return {
        "missing": sorted(missing - ({"system"} if not template.takes_system else set())),
        "adds": _added(texts[0][0] or "", CONVERSATIONS[0][0], template.tokens),
        "clock": any(said[1] != said[2] for said in texts),
    }


def _alarm(seconds: float) -> None:
    """Let the operating system end this process after so much of its time from here; 0 takes that back."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _rendered(
    template: ChatTemplate, messages: list[dict[str, Any]], waits: bool, clock: float
) -> str | None:
    """Return the text at a time, None where the template itself refuses the conversation."""
    sandbox.stop_clock(clock)
    try:
        return template.render([dict(m) for m in messages], add_generation_prompt=waits)
    except EngineError as error:
        if isinstance(error.__cause__, sandbox.SPENT):
            raise
        return None
    finally:
        sandbox.stop_clock(None)


def _why(template: ChatTemplate) -> str:
    try:
        template.render(_turn(1))
    except EngineError as error:
        return str(error.__cause__ or error.message)
    return "it refuses every conversation"


def _added(text: str, messages: list[dict[str, Any]], tokens: dict[str, str]) -> str:
    """Return the words a template writes of its own where they are more than marks and names of roles."""
    for known in (*(m["content"] for m in messages), *sorted(tokens.values(), key=len, reverse=True)):
        text = text.replace(known, "\n")
    text = re.sub(r"<\|?[\w/|. -]{1,40}\|?>|\[/?[A-Z_]{2,40}\]", "\n", text)
    lines = [line.strip() for line in text.split("\n") if len("".join(_WORD.findall(line))) >= OWN_WORDS / 2]
    words = " ".join(lines)
    return words[:MOST_SHOWN] if len("".join(_WORD.findall(words))) >= OWN_WORDS else ""
