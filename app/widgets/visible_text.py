"""Text made fit to be looked at: special tokens, hidden characters and the cut are told apart."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

LONGEST_LINE = 2_000
LONGEST_PIECE = 12_000
KEPT_AT_START, KEPT_AT_END = 7_000, 4_000

_NAMES = {
    0x00AD: "SHY",
    0x061C: "ALM",
    0x180E: "MVS",
    0x200B: "ZWSP",
    0x200C: "ZWNJ",
    0x200D: "ZWJ",
    0x200E: "LRM",
    0x200F: "RLM",
    0x202A: "LRE",
    0x202B: "RLE",
    0x202C: "PDF",
    0x202D: "LRO",
    0x202E: "RLO",
    0x2060: "WJ",
    0x2066: "LRI",
    0x2067: "RLI",
    0x2068: "FSI",
    0x2069: "PDI",
    0xFEFF: "BOM",
}
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_LINES = re.compile("[^\n]*\n|[^\n]+")
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of one kind: learnt or not, beyond the cut or not; `name` is written in a box in its place.

    `kind` is text, token (a special token), hidden (a character that cannot be seen), gap (`text` is left
    out and `name` says how much) or cut (the place of the cut).
    """

    text: str
    trained: bool = False
    cut: bool = False
    kind: str = "text"
    name: str = ""


def pieces_of(
    segments: Iterable[tuple[str, bool]],
    marks: frozenset[str] = frozenset(),
    cut_segments: Iterable[tuple[str, bool]] = (),
    cut_name: str = "cut here",
) -> list[Piece]:
    """Return the pieces of (text, is it learnt) segments; `marks` are special tokens, the cut ones follow."""
    kept = [Piece(text, trained) for text, trained in segments if text]
    beyond = [Piece(text, trained, cut=True) for text, trained in cut_segments if text]
    made = [part for piece in kept for part in _taken_apart(piece, marks)]
    if beyond:
        made.append(Piece("", kind="cut", name=cut_name))
        made += [part for piece in beyond for part in _taken_apart(piece, marks)]
    return _with_short_lines(made)


def _taken_apart(piece: Piece, marks: frozenset[str]) -> list[Piece]:
    found: list[Piece] = []
    for text, is_mark in split_marks(piece.text, marks):
        if is_mark:
            found.append(replace(piece, text=text, kind="token", name=token_name(text)))
        else:
            found += _hidden_apart(replace(piece, text=text))
    return found


def _hidden_apart(piece: Piece) -> list[Piece]:
    if len(piece.text) > LONGEST_PIECE:
        return _with_gap(piece)
    found, start, text = [], 0, piece.text
    for hit in _HIDDEN.finditer(text):
        at = hit.start()
        if text[at] in _JOINERS and _joins(text, at):
            continue
        if text[at] == "\r" and text[at + 1 : at + 2] == "\n":
            continue
        if at > start:
            found.append(replace(piece, text=text[start:at]))
        found.append(replace(piece, text=text[at], kind="hidden", name=hidden_name(text[at])))
        start = at + 1
    if start < len(text):
        found.append(replace(piece, text=text[start:]))
    return found


def _with_gap(piece: Piece) -> list[Piece]:
    """Keep the ends of a long text: the middle is left out of the view, not of the training."""
    first, last = piece.text[:KEPT_AT_START], piece.text[-KEPT_AT_END:]
    middle = piece.text[KEPT_AT_START:-KEPT_AT_END]
    gap = replace(piece, text=middle, kind="gap", name=f"{len(middle):,} characters not shown")
    return [*_hidden_apart(replace(piece, text=first)), gap, *_hidden_apart(replace(piece, text=last))]


def _joins(text: str, at: int) -> bool:
    """Say whether a joiner does its usual work: inside an emoji, or between letters of a joining script."""
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if not before or not after:
        return False
    if text[at] == "\u200d" and (ord(after) >= 0x2190 and unicodedata.category(after) in ("So", "Sk", "Sm")):
        return unicodedata.category(before) in ("So", "Sk", "Mn")
    return all(_is_joining(c) for c in (before, after))


def _is_joining(char: str) -> bool:
    """Say whether a letter is of a script that joins: Arabic to Khmer, no Latin, Greek, Cyrillic."""
    return 0x0600 <= ord(char) <= 0x18AF and unicodedata.category(char)[0] in "LM"


def _with_short_lines(pieces: Sequence[Piece]) -> list[Piece]:
    """Bound what stands on one line: a megabyte without a line end would stop the window."""
    made: list[Piece] = []
    room = LONGEST_LINE
    for piece in pieces:
        if piece.kind != "text":
            made.append(piece)
            continue
        for line in _LINES.findall(piece.text):
            body = line.rstrip("\n")
            if len(body) > room:
                left_out = len(body) - room
                made.append(replace(piece, text=body[:room]))
                name = f"{left_out:,} characters not shown"
                made.append(replace(piece, text=body[room:], kind="gap", name=name))
                room = 0
                line = line[len(body) :]
            else:
                room -= len(body)
            if line:
                made.append(replace(piece, text=line))
            if line.endswith("\n"):
                room = LONGEST_LINE
    return _joined(made)


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    made: list[Piece] = []
    for piece in pieces:
        if not piece.text and piece.kind == "text":
            continue
        last = made[-1] if made else None
        if last is not None and last.kind == piece.kind == "text" and _like(last) == _like(piece):
            made[-1] = replace(last, text=last.text + piece.text)
        else:
            made.append(piece)
    return made


def _like(piece: Piece) -> tuple[bool, bool]:
    return piece.trained, piece.cut


def split_marks(text: str, marks: frozenset[str]) -> list[tuple[str, bool]]:
    """Cut `text` into pieces and say of each whether it is one of `marks`."""
    known = sorted((mark for mark in marks if mark), key=len, reverse=True)
    if not known or not text:
        return [(text, False)] if text else []
    parts = re.split(f"({'|'.join(map(re.escape, known))})", text)
    return [(part, index % 2 == 1) for index, part in enumerate(parts) if part]


def token_name(token: str) -> str:
    """Return a special token as it is written in its box: `<|im_start|>` becomes im_start."""
    inner = token.strip("<>|[]\uff5c\u2581 ")
    return inner.replace("\u2581", " ") or token


def hidden_name(char: str) -> str:
    """Return what a character that cannot be seen is called: RLO, ZWSP, TAG a, U+0007."""
    code = ord(char)
    if 0xE0020 <= code <= 0xE007E:
        return f"TAG {chr(code - 0xE0000)}"
    return _NAMES.get(code, f"U+{code:04X}")


def is_right_to_left(text: str) -> bool:
    """Say whether a line runs from right to left: its first letter decides."""
    for char in text:
        way = unicodedata.bidirectional(char)
        if way in ("R", "AL", "L"):
            return way != "L"
    return False
