"""Patterns that a person wrote for a test: refused where they could take for ever on some answer."""

from __future__ import annotations

import re

LONGEST = 500
# A repeated group that itself repeats or chooses, such as (a+)+ or (a|ab)*.
_NESTED_REPEAT = re.compile(r"[+*}]\)*[+*{]|\([^()]*[+*|][^()]*\)[+*{]")


def why_not(pattern: str) -> str:
    """Return what is wrong with a pattern, empty where nothing is."""
    if len(pattern) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    if _NESTED_REPEAT.search(pattern):
        return "it repeats what repeats"
    try:
        re.compile(pattern)
    except re.error as error:
        return error.msg if error.pos is None else f"{error.msg}, at character {error.pos + 1}"
    return ""


def matches(answer: str, pattern: str) -> bool:
    """Return whether a pattern is found in an answer; one that is refused is found nowhere."""
    return not why_not(pattern) and re.search(pattern, answer) is not None
