"""What should not stand in training data: addresses, numbers, keys, marks typed as text.

Every search begins at what is rare (an at sign, seven digits close together, `sk-`) and looks closer only
there. What it finds should be right: it rather misses a number than takes a sum for one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from engine.data.batch import PARTS, Batch
from engine.data.characters import HIDDEN, KEY, hidden_spans

Span = tuple[int, int]
Finder = Callable[[Batch], Iterator[Span]]

_LOCAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*(?:\.[A-Za-z0-9_+-]+)*\Z")
_DOMAIN = re.compile(r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,6}(?![A-Za-z0-9(-])")
_NO_DOMAIN = re.compile(r"@(?:.*\.)?(?:example\.\w+|example|test|invalid|localhost|local)\Z", re.IGNORECASE)
_NO_ENDING = frozenset("py js ts c h cpp java rb go rs png jpg jpeg gif svg pdf txt md csv json html".split())
_NOBODY = frozenset("git user username name email your you someone example foo test noreply no-reply".split())

_CUE = re.compile(
    r"(?:\b(?:tel|phone|telephone|telefon|tél|téléphone|teléfono|mobile|mobil|cell|fax|whatsapp|тел|телефон)"
    r"|电话|手机|電話|携帯|전화|هاتف|טלפון)"
    r"(?:\W{0,2}(?:number|num|no|nr|is|号码|番号|号|是|は))*\W{0,4}\Z",
    re.IGNORECASE,
)
_INTERNATIONAL = re.compile(r"\+[1-9]\d{0,2}(?:[ .\-/]?\(?\d{1,5}\)?){1,6}")
_NATIONAL = (
    re.compile(r"(?:1[ .-])?\([2-9]\d\d\) ?\d{3}[ .-]\d{4}"),
    re.compile(r"(?:1[.-])?[2-9]\d\d([.-])\d{3}\1\d{4}"),
    re.compile(r"0[1-9](?:([ .-])\d\d)(?:\1\d\d){3}"),
    re.compile(r"\(?0[1-9]\d{1,4}\)?[ /-]\d{3,4}[ -]\d{3,4}"),
    re.compile(r"0[1-9]\d{1,3} ?/ ?\d{5,8}"),
    re.compile(r"1[3-9]\d-\d{4}-\d{4}"),
)
_START = re.compile(r"(?<![\w+./=#$(%€£-])[+(\d]|(?<=\()[+0]")
_LISTED = re.compile(r"\d[,;]? ?\Z")
_NUMBER = re.compile(r"\+\d{1,3}(?:\.\d{3})+|\+\d+\.\d+")
_CUED = re.compile(r"\+?\(?\d(?:[ .\-/()]{0,2}\d){6,14}")

_LONG = 16  # characters of a key without another between them
_MADE_KEY = re.compile(
    r"sk-(?=[\w-]*[A-Z])[A-Za-z0-9_-]{20,}|[rs]k_live_[A-Za-z0-9]{20,}"
    r"|gh[opsur]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{30,}|glpat-[A-Za-z0-9_-]{20,}"
    r"|A[KS]IA[A-Z2-7]{16}(?![\w-])|AIza[A-Za-z0-9_-]{35}(?![\w-])"
    r"|hf_[A-Za-z0-9]{30,}(?![\w-])|xox[abeoprs]-[A-Za-z0-9-]{16,}"
)
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}")
_PRIVATE = re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY(?: BLOCK)?-----\s*[A-Za-z0-9+/=:,\s-]{40}")
_NAMED_KEY = re.compile(
    r"(?:api[_-]?key|secret[_-]?key|client[_-]?secret|access[_-]?key|access[_-]?token|auth[_-]?token)[\"']?"
    r"\s*(?:=>|[:=])\s*[\"']([A-Za-z0-9_\-/+=.]{16,128})[\"']",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"your|example|placeholder|xxx|changeme|dummy|sample|test|1234567|abcdef|\.\.\.", re.IGNORECASE
)


def _places(text: str, wanted: str) -> Iterator[int]:
    at = text.find(wanted)
    while at >= 0:
        yield at
        at = text.find(wanted, at + len(wanted))


def emails(batch: Batch) -> Iterator[Span]:
    """Yield e-mail addresses, but for those of nobody (`user@example.com`, `git@github.com`)."""
    text = batch.text
    for at in _places(text, "@"):
        domain = _DOMAIN.match(text, at)
        local = _LOCAL.search(text, max(0, at - 64), at) if domain else None
        if domain is None or local is None:
            continue
        ending = domain[0].rsplit(".", 1)[1].lower()
        before = text[max(0, local.start() - 1) : local.start()]
        if before == "/" or (before == ":" and "://" in text[max(0, local.start() - 40) : local.start()]):
            continue  # a user within a web address
        if local[0].lower() in _NOBODY or _NO_DOMAIN.match(domain[0]) or ending in _NO_ENDING:
            continue
        yield local.start(), domain.end()


def _number_spans(batch: Batch, fewest: int) -> Iterator[Span]:
    """Yield [first, last) where so many digits stand with at most three other characters between any two."""
    at = batch.digits
    if len(at) < fewest:
        return
    ends = np.append(np.flatnonzero(np.diff(at) > 4), len(at) - 1)
    starts = np.append(0, ends[:-1] + 1)
    for i in np.flatnonzero(ends - starts + 1 >= fewest).tolist():
        yield int(at[starts[i]]), int(at[ends[i]]) + 1


def phones(batch: Batch) -> Iterator[Span]:
    """Yield telephone numbers: international, of usual national shapes, or called so by the word before."""
    text = batch.text
    for first, last in _number_spans(batch, 7):
        end = min(len(text), last + 1)
        for start in _START.finditer(text, max(0, first - 2), last):
            if found := _phone_at(text, start.start(), end):
                yield start.start(), found
                break


def _phone_at(text: str, at: int, end: int) -> int:
    """Return where a telephone number that begins at `at` ends, 0 for none."""
    if text[at].isdigit() and _LISTED.search(text, max(0, at - 3), at):
        return 0  # further on in a list of numbers
    shapes = (_INTERNATIONAL,) if text[at] == "+" else _NATIONAL
    for shape in shapes:
        found = shape.match(text, at, end)
        if found and _ends(text, found.end()) and 9 <= _digits(found[0]) <= 15:
            return 0 if _NUMBER.fullmatch(found[0]) else found.end()
    if text[at] != "+" and _CUE.search(text, max(0, at - 24), at):
        found = _CUED.match(text, at, end)
        if found and _ends(text, found.end()) and 7 <= _digits(found[0]) <= 13:
            return found.end()
    return 0


def _digits(text: str) -> int:
    return sum(c.isdigit() for c in text)


def _ends(text: str, at: int) -> bool:
    """Say whether nothing that belongs to a number or a word follows."""
    after = text[at : at + 2]
    if after[:1].isalnum() or after[:1] in ("_", "%", "="):
        return False
    return not (after[:1] in ("-", ".", "/", " ", ",") and after[1:].isdigit())


_CARD = re.compile(
    r"(?<![\w.,-])(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6(?:011|5\d\d))([ -]?)\d{4}\1\d{4}\1\d{4}(?![\w-])"
)
_AMEX = re.compile(r"(?<![\w.,-])3[47]\d\d([ -]?)\d{6}\1\d{5}(?![\w-])")


def cards(batch: Batch) -> Iterator[Span]:
    """Yield payment card numbers: the issuers' first digits, 15 or 16 of them, and a right check digit."""
    for first, last in _number_spans(batch, 15):
        for shape in (_CARD, _AMEX):
            for found in shape.finditer(batch.text, max(0, first - 1), last + 1):
                digits = [int(c) for c in found[0] if c.isdigit()]
                if len(digits) in (15, 16) and len(set(digits)) > 3 and _luhn(digits):
                    yield found.start(), found.end()


def _luhn(digits: list[int]) -> bool:
    doubled = [d if i % 2 else d * 2 for i, d in enumerate(digits, len(digits) % 2)]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def keys(batch: Batch) -> Iterator[Span]:
    """Yield secrets: keys and tokens of well-known makers, private keys, values of `api_key`."""
    text, seen = batch.text, -1
    for at in _places(text, "-----BEGIN "):
        if found := _PRIVATE.match(text, at):
            yield found.span()
    for first, last in _long_runs(batch):
        if found := _MADE_KEY.match(text, first, last + 1):
            if not _PLACEHOLDER.search(found[0]):
                yield found.span()
        elif found := _TOKEN.match(text, first):
            yield found.span()
        elif found := _NAMED_KEY.search(text, max(0, first - 100), last + 130):
            value = found[1]
            if found.start(1) > seen and not _PLACEHOLDER.search(value) and _random_looking(value):
                yield found.span(1)
            seen = max(seen, found.start(1))


def _long_runs(batch: Batch) -> Iterator[Span]:
    """Yield [first, last) of runs of 16 or more letters, digits, `-` and `_` that have a digit."""
    breaks = np.flatnonzero((batch.classes & KEY) == 0)
    long = np.flatnonzero(np.diff(breaks, prepend=-1) > _LONG)
    ends = breaks[long]
    starts = np.where(long > 0, breaks[long - 1] + 1, 0)
    digits = batch.digits
    some = np.searchsorted(digits, ends) > np.searchsorted(digits, starts)
    yield from zip(starts[some].tolist(), ends[some].tolist(), strict=True)


def _random_looking(value: str) -> bool:
    """Say whether a value has digits and letters, and 3 bits or more a character."""
    if not (any(c.isdigit() for c in value) and any(c.isalpha() for c in value)):
        return False
    shares = [n / len(value) for n in Counter(value).values()]
    return -sum(s * math.log2(s) for s in shares) >= 3.0


def special_finder(special_texts: frozenset[str]) -> Finder:
    """Return the finder of special tokens typed as text."""
    by_begin: dict[str, tuple[str, ...]] = {}
    for token in sorted(special_texts, key=len, reverse=True):
        if token.strip():
            begin = token[:3] if token[0].isalnum() else token[0]  # one rare character is found fastest
            by_begin[begin] = (*by_begin.get(begin, ()), token)
    return partial(_specials, tuple(by_begin.items()))


def _specials(begins: tuple[tuple[str, tuple[str, ...]], ...], batch: Batch) -> Iterator[Span]:
    text = batch.text
    for begin, tokens in begins:
        for at in _places(text, begin):
            if text.startswith(tokens, at):
                token = next(t for t in tokens if text.startswith(t, at))
                yield at, at + len(token)


def hidden(batch: Batch) -> Iterator[Span]:
    """Yield characters that are there but not seen."""
    at = np.flatnonzero(batch.classes & HIDDEN)
    done = -1
    for place in at.tolist():
        row = batch.row_at(place)
        if row > done:
            done, start = row, batch.offsets[PARTS * row]
            for first, last in hidden_spans(batch.row_text(row)):
                yield start + first, start + last
