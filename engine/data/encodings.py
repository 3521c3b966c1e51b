"""Which old encoding some bytes may be: guesses for a person to choose from, never used to read unasked."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.data.options import ReadOptions
from engine.data.source import MAX_LINE_BYTES, as_text, peek

SAMPLE_BYTES = 1 << 15
PREVIEW_CHARACTERS = 200
# The letters of a script beyond ASCII, the frequent ones first (capitals count as their small letters).
_WESTERN = "éèàöäüíáóñçãêúßåøæâôîûùëïœìòõ"
_CENTRAL = "áéíěšřčžýůúąęłóśżćńźőűöüäđçâîăşţťďňľĺŕŁŚŻČŠŘŽ"
_CYRILLIC = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфёъіїєґўПВСНОКДМТАРБИГЕЧЗУЛЯФХЭШЖЦЮЙЩЁ"
_GREEK = "αοιετσνηυρπκμλςάόίήέύώωγδχθφβξζψϊϋΐΰ"
_HEBREW = "יוהלארתבמשנעדכחקפםטגצזסןךץףַָּ"
_ARABIC = "اليمونترعبدسقفكةحجهىصأشخطضذزغثإءآؤئظ،؛؟ًٌٍَُِّْپچژگ"
_THAI = "านรกอเงมย่้ลวดทสตะปบิคหแจพชขใไโีั์ุูึื็ผถซศณษฟธภญฎฏฐฑฒฆฉฌฝฤฬฮๆฯ"
_TURKISH = "ıişğçöüâîû"
_BALTIC = "āēīšūžėąųčęįģķļņõäöü"
_QUOTES = "“”‘’„–—…"
_PUNCTUATION = _QUOTES + "‚«»‹›·•°§€£¥¿¡\u00a0©®™±½¼²³ºª´№،؛؟、。「」『』（），：；！？《》〈〉【】・ー～"


@dataclass(frozen=True)
class _Candidate:
    label: str
    codec: str
    letters: str | Callable[[str, bytes], float]


def _japanese(text: str, _raw: bytes) -> float:
    kana = sum("\u3041" <= c <= "\u30ff" for c in text)
    wide = sum("\u4e00" <= c <= "\u9fff" for c in text)
    odd = _odd(text, kana + wide)
    return 1.1 - odd if kana > 0.12 * (kana + wide) and kana else 0.25 - odd


def _chinese(text: str, raw: bytes) -> float:
    """Return how much of a text is Chinese, frequent characters above all."""
    wide = sum("\u4e00" <= c <= "\u9fff" for c in text)
    kana = sum("\u3041" <= c <= "\u30ff" for c in text)
    common = sum(c in _HANZI for c in text)
    return (common * 6 + wide - 2 * kana) / max(1, wide * 2) - _odd(text, wide + kana) if raw else 0.0


def _korean(text: str, _raw: bytes) -> float:
    hangul = sum("\uac00" <= c <= "\ud7a3" for c in text)
    wide = sum("\u4e00" <= c <= "\u9fff" for c in text)
    common = sum(c in _HANGUL for c in text)
    return (common * 3 + hangul - 2 * wide) / max(1, hangul * 2 + wide) - _odd(text, hangul + wide)


def _odd(text: str, fitting: int) -> float:
    """Return the share of characters beyond ASCII that are neither of the script nor punctuation."""
    beyond = sum(c > "\x7f" for c in text)
    fitting += sum(c in _PUNCTUATION or "\uff01" <= c <= "\uff5e" for c in text)
    return max(0, beyond - fitting) / max(1, beyond)


_HANZI = frozenset(
    "的一是不了在人有我他这這中大来來上国國个個到说說们們为為子和你地出道也时時年得就那要下以生会會自"
    "着去之过過家学學对對可她里后後小么麼心多天而能好都然没沒日于於起还還发發成事只作当當想看文无無开開"
    "手十用主行方又如前所本见見经經头頭面公同三已老从從动動两兩长長权權人應及其或等平由法社保"
)
_HANGUL = frozenset("이다의는에을가하고지를로은한기사도리자있인어나대시아서정그수라것일과보부장전들해주만")
_CANDIDATES = (
    _Candidate("Western European (Windows-1252)", "cp1252", _WESTERN),
    _Candidate("Central European (Windows-1250)", "cp1250", _CENTRAL),
    _Candidate("Central European (ISO 8859-2)", "iso8859-2", _CENTRAL),
    _Candidate("Turkish (Windows-1254)", "cp1254", _TURKISH),
    _Candidate("Baltic (Windows-1257)", "cp1257", _BALTIC),
    _Candidate("Cyrillic (Windows-1251)", "cp1251", _CYRILLIC),
    _Candidate("Cyrillic (KOI8-R)", "koi8-r", _CYRILLIC),
    _Candidate("Cyrillic (DOS 866)", "cp866", _CYRILLIC),
    _Candidate("Cyrillic (ISO 8859-5)", "iso8859-5", _CYRILLIC),
    _Candidate("Greek (Windows-1253)", "cp1253", _GREEK),
    _Candidate("Greek (ISO 8859-7)", "iso8859-7", _GREEK),
    _Candidate("Hebrew (Windows-1255)", "cp1255", _HEBREW),
    _Candidate("Arabic (Windows-1256)", "cp1256", _ARABIC),
    _Candidate("Thai (Windows-874)", "cp874", _THAI),
    _Candidate("Japanese (Shift-JIS)", "cp932", _japanese),
    _Candidate("Japanese (EUC-JP)", "euc_jp", _japanese),
    _Candidate("Simplified Chinese (GB18030)", "gb18030", _chinese),
    _Candidate("Traditional Chinese (Big5)", "cp950", _chinese),
    _Candidate("Korean (CP949)", "cp949", _korean),
    _Candidate("Western European (DOS 850)", "cp850", _WESTERN),
    _Candidate("Western European (Mac)", "mac-roman", _WESTERN),
)
_WIDE = (("UTF-16 little endian", "utf-16-le"), ("UTF-16 big endian", "utf-16-be"))


def encoding_choices(head: bytes) -> list[tuple[str, str]]:
    """Return (name for a person, codec) of what some bytes may be, best guess first; Latin-1 always fits."""
    sample = _sample(head)
    scored: list[tuple[float, int, tuple[str, str]]] = []
    for order, (label, codec) in enumerate(_WIDE):
        if _text(head[:SAMPLE_BYTES], codec) is not None and head.count(0) > 0.15 * len(head):
            even, odd = head[::2].count(0), head[1::2].count(0)
            scored.append((2.0 if (odd > even) == (order == 0) else -1.0, order, (label, codec)))
    for order, candidate in enumerate(_CANDIDATES, 2):
        text = _text(sample, candidate.codec)
        if text is None:
            continue
        letters = candidate.letters
        score = letters(text, sample) if callable(letters) else _fit(text, letters)
        scored.append((score, -order, (candidate.label, candidate.codec)))
    scored.sort(key=lambda s: s[:2], reverse=True)
    return [choice for _, _, choice in scored] + [("Western European (Latin-1)", "latin-1")]


def guess_label(head: bytes) -> str:
    """Return the name of the most likely old encoding of some bytes: a guess for a hint."""
    return encoding_choices(head)[0][0]


def encoding_preview(path: str | Path, encoding: str, lines: int = 5) -> list[str]:
    """Return the first lines of a file that hold more than ASCII (or its first lines), read as an encoding.

    A byte that is not of the encoding is shown as U+FFFD. Raises EngineError REC-01 for an unknown encoding.
    """
    source = as_text(peek(path), ReadOptions(encoding="latin-1"))
    from engine.data.recode import codec_name

    codec = codec_name(encoding)
    with source.raw() as file:
        raw = file.read(min(1 << 20, MAX_LINE_BYTES))
    text = codecs.getincrementaldecoder(codec)("replace").decode(raw).lstrip("\ufeff")
    found = [line.strip()[:PREVIEW_CHARACTERS] for line in text.replace("\r", "\n").split("\n")]
    telling = [line for line in found if not line.isascii()]
    return (telling or [line for line in found if line])[:lines]


def _sample(head: bytes) -> bytes:
    """Return lines that hold more than ASCII, and of all others none: they are the same in every encoding."""
    kept: list[bytes] = []
    size = 0
    for line in head.split(b"\n"):
        if not line.isascii():
            kept.append(line)
            size += len(line)
            if size > SAMPLE_BYTES:
                break
    return b"\n".join(kept)[: 2 * SAMPLE_BYTES]


def _text(raw: bytes, codec: str) -> str | None:
    try:
        return codecs.getincrementaldecoder(codec)("strict").decode(raw)
    except UnicodeError:
        return None


def _fit(text: str, letters: str) -> float:
    """Return how well the characters beyond ASCII fit a script: 1 for frequent letters, below 0 for none."""
    weight = {c: max(-0.3, 1.0 - i / 28) for i, c in enumerate(letters)}
    own = unicodedata.name(letters[0]).split()[0]
    total, count, before = 0.0, 0, " "
    for char in text:
        if char > "\x7f":
            count += 1
            total += _value(char, before, weight, own)
        elif own != "LATIN" and char.isalpha() and before > "\x7f" and before.isalpha():
            total -= 0.7  # a Latin letter right behind one of another script
        before = char
    return total / max(1, count)


def _value(char: str, before: str, weight: dict[str, float], own: str) -> float:
    if char.lower() in weight:
        value = weight[char.lower()]
    elif char in _PUNCTUATION:
        return 0.7 if char in _QUOTES else 0.3
    else:
        category = unicodedata.category(char)
        if category in ("Cc", "Cn", "Co", "Cs"):
            return -2.0
        value = 0.1 if category[0] in "LM" and unicodedata.name(char, "").startswith(own) else -0.7
    if char.isupper() and before.isalpha():
        value -= 1.0 if before.islower() else 0.4  # a capital inside a word
    if own == "LATIN" and before > "\x7f" and before.isalpha():
        value -= 0.7  # two accents in a row are rare
    elif own != "LATIN" and before.isascii() and before.isalpha():
        value -= 0.7
    return value
