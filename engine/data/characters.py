"""What characters are: words and signs, writing systems, and those that nobody sees."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

WORD, SOLO, DIGIT, HIDDEN, KEY = 1, 2, 4, 8, 16
_CODES = 0x110000

# Written without blanks: each character counts as a word.
_NO_BLANKS = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x2E80, 0x2FDF),
    (0x3005, 0x3007),
    (0x3040, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x1F000, 0x1FAFF),
    (0x20000, 0x3FFFF),
)
_SIGNS = "+*/%&@#\\-=<>^|~$"  # what tells one sum or one line of code from another
_HIDDEN = (
    (0x00, 0x08),
    (0x0B, 0x0C),
    (0x0E, 0x1F),
    (0x7F, 0x84),
    (0x86, 0x9F),
    (0xAD, 0xAD),
    (0x061C, 0x061C),
    (0x180E, 0x180E),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF9, 0xFFFB),
    (0xE0000, 0xE0FFF),
)
SCRIPTS: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = (
    ("Latin", ((0x41, 0x5A), (0x61, 0x7A), (0xAA, 0xAA), (0xBA, 0xBA), (0xC0, 0xD6), (0xD8, 0xF6),
               (0xF8, 0x2AF), (0x1D00, 0x1D25), (0x1E00, 0x1EFF), (0x2C60, 0x2C7F), (0xA720, 0xA7FF),
               (0xFF21, 0xFF3A), (0xFF41, 0xFF5A))),
    ("Greek", ((0x370, 0x373), (0x376, 0x3FF), (0x1F00, 0x1FFF))),
    ("Cyrillic", ((0x400, 0x52F), (0x1C80, 0x1C88), (0x2DE0, 0x2DFF), (0xA640, 0xA69F))),
    ("Armenian", ((0x531, 0x588),)),
    ("Hebrew", ((0x5D0, 0x5F2), (0xFB1D, 0xFB4F))),
    ("Arabic", ((0x620, 0x64A), (0x66E, 0x6D3), (0x6D5, 0x6D5), (0x6E5, 0x6FF), (0x750, 0x77F),
                (0x8A0, 0x8C9), (0xFB50, 0xFDFF), (0xFE70, 0xFEFC))),
    ("Syriac", ((0x700, 0x74F),)),
    ("Devanagari", ((0x900, 0x97F), (0xA8E0, 0xA8FF))),
    ("Bengali", ((0x980, 0x9FF),)),
    ("Gurmukhi", ((0xA00, 0xA7F),)),
    ("Gujarati", ((0xA80, 0xAFF),)),
    ("Oriya", ((0xB00, 0xB7F),)),
    ("Tamil", ((0xB80, 0xBFF),)),
    ("Telugu", ((0xC00, 0xC7F),)),
    ("Kannada", ((0xC80, 0xCFF),)),
    ("Malayalam", ((0xD00, 0xD7F),)),
    ("Sinhala", ((0xD80, 0xDFF),)),
    ("Thai", ((0xE00, 0xE7F),)),
    ("Lao", ((0xE80, 0xEFF),)),
    ("Tibetan", ((0xF00, 0xFFF),)),
    ("Myanmar", ((0x1000, 0x109F),)),
    ("Georgian", ((0x10A0, 0x10FF), (0x1C90, 0x1CBF))),
    ("Ethiopic", ((0x1200, 0x139F),)),
    ("Khmer", ((0x1780, 0x17FF),)),
    ("Japanese kana", ((0x3041, 0x309F), (0x30A1, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F))),
    ("Chinese characters", ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))),
    ("Korean", ((0x1100, 0x11FF), (0x3131, 0x318E), (0xAC00, 0xD7A3))),
)  # fmt: skip
RIGHT_TO_LEFT = ("Hebrew", "Arabic", "Syriac")


def _class_of(ranges: tuple[tuple[int, int], ...]) -> str:
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


_HIDDEN_RUN = re.compile(f"[{_class_of(_HIDDEN)}]+")
_RTL_LETTER = re.compile(f"[{''.join(_class_of(r) for name, r in SCRIPTS if name in RIGHT_TO_LEFT)}]")
# Scripts in which the joiners decide how letters are written (Arabic, Indic, Mongolian ...).
_JOINING = re.compile("[\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ua840-\uabff\ufb50-\ufeff]")
_BREAKING = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u4e00-\u9fff]")
_JOINERS = frozenset("\u200c\u200d")
_DIRECTION = frozenset("\u200e\u200f\u061c")


@cache
def class_table() -> NDArray[np.uint8]:
    """Return the classes of every code point.

    Bits: WORD of words, SOLO a word by itself, DIGIT 0 to 9, HIDDEN unseen, KEY what long keys are made of.
    """
    table = np.zeros(_CODES, np.uint8)
    named = "".join(map(unicodedata.category, map(chr, range(0x10000)))).encode()
    major = np.frombuffer(named, np.uint8)[::2]
    table[:0x10000][np.isin(major, np.frombuffer(b"LNM", np.uint8))] = WORD
    table[:0x10000][major == ord("S")] = SOLO
    table[0x10000:0x1D000] = WORD
    for sign in _SIGNS:
        table[ord(sign)] = SOLO
    for first, last in _NO_BLANKS:
        part = table[first : last + 1]
        part[(part > 0) | (first >= 0x10000)] = SOLO
    table[ord("0") : ord("9") + 1] |= DIGIT
    for char in b"-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ":
        table[char] |= KEY
    for first, last in _HIDDEN:
        table[first : last + 1] = HIDDEN
    return table


@cache
def lower_table() -> NDArray[np.uint32]:
    """Return every code point as a small letter, where that is one code point."""
    table = np.arange(_CODES, dtype=np.uint32)
    for code in range(0x1F000):
        low = chr(code).lower()
        if len(low) == 1:
            table[code] = ord(low)
    return table


@cache
def script_table() -> NDArray[np.uint8]:
    """Return the number of the writing system of every letter: its place in SCRIPTS + 1, else 0."""
    table = np.zeros(_CODES, np.uint8)
    for number, (_, ranges) in enumerate(SCRIPTS, 1):
        for first, last in ranges:
            table[first : last + 1] = number
    return table


def hidden_spans(text: str) -> list[tuple[int, int]]:
    """Return [first, last) of every run of characters that are there but not seen.

    Left out is what a script or an emoji is written with: joiners in Persian or Hindi, flags, families.
    """
    return [(m.start(), m.end()) for m in _HIDDEN_RUN.finditer(text) if not _belongs(text, m)]


def _belongs(text: str, run: re.Match[str]) -> bool:
    """Say whether an unseen run is part of how its neighbours are written."""
    found = run[0]
    before = text[run.start() - 1] if run.start() else ""
    after = text[run.end() : run.end() + 1]
    if found[-1] == "\U000e007f" and before == "\U0001f3f4":
        return len(found) <= 8
    if set(found) <= _JOINERS and (_JOINING.match(before) or _JOINING.match(after)):
        return True
    if len(found) > 1:
        return set(found) <= _DIRECTION and bool(_RTL_LETTER.search(text))
    if found == "\u200b":
        return bool(_BREAKING.match(before) or _BREAKING.match(after))
    if found == "\u200d":
        return before >= "\u2190" and after >= "\u2190" and not (before.isalpha() or after.isalpha())
    if found in _DIRECTION:
        return bool(_RTL_LETTER.search(text))
    if "\U000e0100" <= found <= "\U000e01ef":
        return "\u3400" <= before <= "\u9fff" or before >= "\U00020000"
    return False


def marked(text: str) -> str:
    """Return `text` with every unseen character shown as its mark, `<U+202E>`."""
    shown, end = [], 0
    for first, last in hidden_spans(text):
        shown += [text[end:first], *(f"<U+{ord(c):04X}>" for c in text[first:last])]
        end = last
    return "".join([*shown, text[end:]])
