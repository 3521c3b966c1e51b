"""Conversations as pieces between marks: what an outline becomes under one tokenizer.

A tokenizer splits a text at its marks first, so for byte-level tokenizers the ids of a conversation are those
of its pieces, one after the other. Where an answer's tokens begin and end is then counted, not searched.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass

from engine.data.marks import Marks
from engine.data.outlines import Outline, Outlines, Roles, begins, position
from engine.data.stand_ins import BOTH, TRIM, Condition, Part, Words
from engine.data.tokenizer import ModelTokenizer

# After so many words and so many constant characters.
Place = tuple[int, int]
_SPLITTERS = ("ByteLevel", "Digits", "Split", "Punctuation")


@dataclass(frozen=True, slots=True)
class Answer:
    """Tokens of message `message`: piece `piece` without its first `head`, and the mark behind it."""

    message: int
    piece: int
    head: list[int]


@dataclass(frozen=True, slots=True)
class Piece:
    """Words with constant text before and after them; `often` where many rows are like to have the same."""

    parts: tuple[Part, ...]
    often: bool

    def text(self, contents: list[str]) -> str:
        """Return the piece of a row."""
        made = [p if isinstance(p, str) else TRIM[p.trim](contents[p.index]) for p in self.parts]
        return "".join(made)


@dataclass(frozen=True, slots=True)
class Plan:
    """Ids `constant[0]`, piece 0, `constant[1]`, piece 1, ...; `answers` None: only all of it can be told."""

    conditions: tuple[Condition, ...]
    constants: tuple[list[int], ...]
    pieces: tuple[Piece, ...]
    answers: tuple[Answer, ...] | None


def is_bytewise(tokenizer: ModelTokenizer) -> bool:
    """Say whether every token stands for certain bytes, and pieces between marks are encoded apart."""
    bare = tokenizer.bare
    model = bare.model
    if type(model).__name__ != "BPE" or model.dropout or model.byte_fallback:
        return False
    if model.continuing_subword_prefix or model.end_of_word_suffix or bare.encode_special_tokens:
        return False
    if bare.normalizer is not None and type(bare.normalizer).__name__ != "NFC":
        return False
    if bare.pre_tokenizer is None:
        return False
    kinds = json.loads(bare.pre_tokenizer.__getstate__())
    kinds = kinds["pretokenizers"] if kinds["type"] == "Sequence" else [kinds]
    if not any(k["type"] == "ByteLevel" for k in kinds):
        return False
    for kind in kinds:
        removes = kind.get("behavior") == "Removed"
        if kind["type"] not in _SPLITTERS or kind.get("add_prefix_space") or removes:
            return False
    added = bare.get_added_tokens_decoder()
    if any(t.lstrip or t.rstrip or t.single_word for t in added.values()):
        return False
    return tokenizer.special_ids <= added.keys()


class Planner:
    """The plans of one tokenizer and one template."""

    def __init__(self, tokenizer: ModelTokenizer, outlines: Outlines) -> None:
        self.tokenizer, self.outlines = tokenizer, outlines
        self.is_exact = is_bytewise(tokenizer)
        added = tokenizer.bare.get_added_tokens_decoder() if self.is_exact else {}
        self._ids = {token.content: number for number, token in added.items()}
        self.marks = Marks(self._ids)
        self._normal = tokenizer.bare.normalizer is None
        self._plans: dict[Roles, Plan | None] = {}

    def forget(self) -> None:
        """Make all plans anew: what the template writes has changed."""
        self._plans.clear()

    def plan(self, roles: Roles) -> Plan | None:
        """Return the plan of a shape; None where its rows have to be rendered whole."""
        if roles not in self._plans:
            if len(self._plans) >= 4096:
                return None
            self._plans[roles] = self._make(roles) if self.is_exact else None
        return self._plans[roles]

    def is_safe(self, piece: str) -> bool:
        """Say whether a piece is encoded as it stands: without marks, and already in normal form."""
        if self.marks.stand_in(piece):
            return False
        return self._normal or piece.isascii() or unicodedata.is_normalized("NFC", piece)

    def _make(self, roles: Roles) -> Plan | None:
        whole = self.outlines.outline(roles)
        if whole is None:
            return None
        laid = self._lay(whole, roles)
        if laid is None:
            return None
        conditions = dict.fromkeys(whole.conditions)
        answers = self._answers(roles, whole, laid.pieces, conditions)
        pieces = tuple(p.piece for p in laid.pieces)
        return Plan(tuple(conditions), tuple(laid.constants), pieces, answers)

    def _lay(self, whole: Outline, roles: Roles) -> _Laid | None:
        """Cut an outline at its marks; None where a mark could be taken for part of another."""
        laid = _Laid(self.tokenizer, roles)
        for part in whole.parts:
            if isinstance(part, Words):
                laid.add(part)
                continue
            for text, is_mark in self.marks.split(part):
                if not is_mark:
                    laid.add(text)
                elif self.marks.is_apart(text):
                    laid.close(text, self._ids[text])
                else:
                    return None
        laid.close()
        return laid

    def _answers(
        self, roles: Roles, whole: Outline, pieces: list[_Placed], conditions: dict[Condition, None]
    ) -> tuple[Answer, ...] | None:
        """Return where the answers of a shape are; what that takes for granted is added to `conditions`."""
        made: list[Answer] = []
        needed: list[Condition] = []
        for i in (i for i, role in enumerate(roles) if role == "assistant"):
            before = self.outlines.outline(roles[:i], True)
            upto = whole if i == len(roles) - 1 else self.outlines.outline(roles[: i + 1])
            if before is None or upto is None or not (begins(whole, before) and begins(whole, upto)):
                return None
            answer = self._answer(i, position(before), position(upto), pieces)
            if answer is None:
                return None
            made.append(answer)
            needed += [*before.conditions, *upto.conditions, ("full", Words(i, BOTH), "")]
        conditions.update(dict.fromkeys(needed))
        return tuple(made)

    def _answer(self, message: int, start: Place, end: Place, pieces: list[_Placed]) -> Answer | None:
        """Return an answer that begins before the words of its piece and ends behind the mark after it."""
        for number, placed in enumerate(pieces):
            parts = placed.piece.parts
            if not any(isinstance(p, Words) and p.index == message for p in parts):
                continue
            first = parts[0] if isinstance(parts[0], str) else ""
            skipped = start[1] - placed.start[1]
            if start[0] != placed.start[0] or not 0 <= skipped <= len(first):
                return None
            if placed.mark not in self.tokenizer.special_ids or placed.end > end:
                return None
            head = self.tokenizer.encode(first[:skipped])
            covered = sum(len(self.tokenizer.token(t)) for t in head)
            return Answer(message, number, head) if covered == len(first[:skipped].encode()) else None
        return None


@dataclass(slots=True)
class _Placed:
    """A piece, where it begins, and where the mark behind it ends."""

    piece: Piece
    start: Place
    end: Place
    mark: int | None


class _Laid:
    """The pieces of an outline as they are found, from its beginning to its end."""

    def __init__(self, tokenizer: ModelTokenizer, roles: Roles) -> None:
        self._tokenizer, self._roles = tokenizer, roles
        self.constants: list[list[int]] = [[]]
        self.pieces: list[_Placed] = []
        self._parts: list[Part] = []
        self._start = self._at = (0, 0)

    def add(self, part: Part) -> None:
        """Put words or a constant text behind what is there."""
        self._parts.append(part)
        words, constant = self._at
        self._at = (words + 1, constant) if isinstance(part, Words) else (words, constant + len(part))

    def close(self, mark: str = "", number: int | None = None) -> None:
        """End a piece, at a mark or at the end of all."""
        self._at = self._at[0], self._at[1] + len(mark)
        words = [p for p in self._parts if isinstance(p, Words)]
        if words:
            often = all(self._roles[w.index] == "system" for w in words)
            piece = Piece(tuple(self._parts), often)
            self.pieces.append(_Placed(piece, self._start, self._at, number))
            self.constants.append([])
        elif self._parts:
            text = "".join(p for p in self._parts if isinstance(p, str))
            self.constants[-1] += self._tokenizer.encode(text)
        if number is not None:
            self.constants[-1].append(number)
        self._parts, self._start = [], self._at
