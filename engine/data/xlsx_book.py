"""A workbook opened with care: its size, its sheets, its texts and which of its styles are dates."""

from __future__ import annotations

import posixpath
import re
import tempfile
import zipfile
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, BinaryIO
from xml.etree.ElementTree import Element, ParseError
from xml.parsers import expat

from engine.data.source import Source
from engine.data.steady import open_regular
from engine.data.unpack import ARCHIVE_ERRORS, MAX_RATIO, damaged, zip_members
from engine.errors import EngineError

MAX_UNPACKED_BYTES = 1 << 30
RATIO_FROM_BYTES = 16 << 20
MAX_PART_BYTES = 4 << 20
MAX_STYLE_BYTES = 32 << 20
MAX_TEXT = 16 << 20
# A name or an attribute longer than this is none of a workbook's.
MAX_TOKEN_BYTES = 1 << 20
CHUNK = 1 << 16
OLD_OFFICE = b"\xd0\xcf\x11\xe0"
EXPORT = "Export it as JSONL, CSV, XLSX or Parquet without a password."
AGAIN = "Open it in a spreadsheet program and save it again."
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")

Start = Callable[[str, dict[str, str]], None]
Other = Callable[[str], None]


class Damaged(ValueError):
    """A part of the workbook that is not as it must be; the text says what."""


@dataclass(frozen=True)
class Sheet:
    """One sheet of cells: its name, the part of the file that holds it, whether a person sees it."""

    name: str
    path: str
    hidden: bool


class Book:
    """An open workbook. Raises EngineError: DATA-08 for a bomb, DATA-12 for what is none or is locked."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._file: BinaryIO = open_regular(source.path)
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> None:
        head = self._file.read(1 << 10)
        if head.startswith(OLD_OFFICE):
            raise self.source.refusal(_old_kind(self._file, head), hint=EXPORT)
        members = zip_members(self.source.path, self._file)
        _bound(self.source, members)
        self._archive = zipfile.ZipFile(self._file)
        self._names = {m.filename for m in members}
        if any(n.endswith("workbook.bin") for n in self._names):
            raise self.source.refusal("is a binary workbook (.xlsb); it cannot be read.", hint=EXPORT)
        path = self._targets("", "officeDocument").get("", "xl/workbook.xml")
        book = self._tree(path)
        self.sheets = self._sheets(path, book)
        self.mac_dates = any(
            e.get("date1904") in ("1", "true") for e in book.iter() if _local(e.tag) == "workbookPr"
        )
        kinds = {"strings": "sharedStrings", "styles": "styles"}
        paths = {k: self._targets(path, kind).get("") for k, kind in kinds.items()}
        strings = paths["strings"] if paths["strings"] in self._names else None
        self.strings = Strings(self.part(strings) if strings else None)
        styles = paths["styles"] if paths["styles"] in self._names else None
        self.dates = self._dates(styles) if styles else frozenset()

    def __enter__(self) -> Book:
        return self

    def __exit__(self, *_: object) -> None:
        self.strings.close()
        self._archive.close()
        self._file.close()

    @property
    def names(self) -> list[str]:
        """Return the names of its parts."""
        return sorted(self._names)

    def part(self, path: str, limit: int = MAX_UNPACKED_BYTES) -> IO[bytes]:
        """Return a part of the workbook as a stream."""
        if path not in self._names:
            raise Damaged(f"its part {path} is missing")
        if self._archive.getinfo(path).file_size > limit:
            raise Damaged(f"its part {path} is larger than {limit >> 20} MiB")
        return self._archive.open(path)

    def _tree(self, path: str) -> Element:
        from defusedxml.ElementTree import fromstring

        with self.part(path, MAX_PART_BYTES) as file:
            tree: Element = fromstring(file.read(), forbid_dtd=True)
        return tree

    def _targets(self, path: str, kind: str) -> dict[str, str]:
        """Return relation -> path for what a part is related to; the first of the kind also under ""."""
        folder, name = posixpath.split(path)
        relations = posixpath.join(folder, "_rels", f"{name}.rels")
        found: dict[str, str] = {}
        for each in self._tree(relations) if relations in self._names else ():
            if each.get("TargetMode") == "External" or not each.get("Type", "").endswith(f"/{kind}"):
                continue
            target = posixpath.normpath(posixpath.join("/", folder, each.get("Target", ""))).lstrip("/")
            found[each.get("Id", "")] = target
            found.setdefault("", target)
        return found

    def _sheets(self, path: str, book: Element) -> tuple[Sheet, ...]:
        targets = self._targets(path, "worksheet")
        found = []
        for each in (e for e in book.iter() if _local(e.tag) == "sheet"):
            relation = next((v for k, v in each.attrib.items() if _local(k) == "id"), "")
            if relation in targets and relation:
                hidden = each.get("state", "visible") != "visible"
                found.append(Sheet(each.get("name", ""), targets[relation], hidden))
        return tuple(found)

    def _dates(self, path: str) -> frozenset[int]:
        """Return the numbers of the cell styles that show a number as a date or a time."""
        formats: dict[int, str] = {}
        styles: list[int] = []
        inside: list[str] = []

        def start(name: str, attributes: dict[str, str]) -> None:
            if name == "numFmt":
                formats[int(attributes["numFmtId"])] = attributes.get("formatCode", "")
            elif name == "xf" and inside[-1:] == ["cellXfs"]:
                styles.append(int(attributes.get("numFmtId", 0)))
            inside.append(name)

        def end(_: str) -> None:
            inside.pop()

        with self.part(path, MAX_STYLE_BYTES) as file:
            for _ in walk(file, start, end, lambda _: None):
                continue
        if not any(styles):
            return frozenset()
        from openpyxl.styles.numbers import BUILTIN_FORMATS, is_date_format

        known = {**BUILTIN_FORMATS, **formats}
        return frozenset(at for at, number in enumerate(styles) if is_date_format(known.get(number)))

    def date(self, value: float) -> object:
        """Return the date or time that a cell's number stands for; raises ValueError or OverflowError."""
        from openpyxl.utils.datetime import MAC_EPOCH, WINDOWS_EPOCH, from_excel

        moment: object = from_excel(value, MAC_EPOCH if self.mac_dates else WINDOWS_EPOCH)
        return moment


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _bound(source: Source, members: list[zipfile.ZipInfo]) -> None:
    """Refuse a workbook that would unpack to too much, is locked, or is packed by a rare method."""
    total = sum(m.file_size for m in members)
    packed = max(1, min(source.path.stat().st_size, sum(m.compress_size for m in members)))
    dense = [m for m in members if m.file_size > RATIO_FROM_BYTES]
    if total > MAX_UNPACKED_BYTES or any(m.file_size > MAX_RATIO * max(1, m.compress_size) for m in dense):
        limit = f"{MAX_UNPACKED_BYTES >> 30} GiB" if total > MAX_UNPACKED_BYTES else f"{MAX_RATIO} times"
        raise source.refusal(
            f"is larger than {limit} after unpacking: {total:,} bytes out of {packed:,}.",
            "DATA-08",
            "Check that it is what you expect, then split it yourself.",
        )
    if any(m.flag_bits & 0x1 for m in members):
        raise source.refusal("is protected by a password.", hint=EXPORT)
    if any(m.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for m in members):
        raise source.refusal("is packed by a method that no spreadsheet program uses.", hint=AGAIN)


def _old_kind(file: BinaryIO, head: bytes) -> str:
    """Tell an encrypted workbook from an old one by the names in the directory of its container."""
    sector = 1 << min(int.from_bytes(head[30:32], "little"), 16)
    file.seek((int.from_bytes(head[48:52], "little") + 1) * sector)
    if "EncryptedPackage".encode("utf-16-le") in file.read(max(sector, 1 << 12)):
        return "is protected by a password."
    return "is an old Office document (such as .xls); it cannot be read."


def walk(file: IO[bytes], start: Start, end: Other, text: Other) -> Iterator[None]:
    """Parse XML piece by piece, calling back with names that have no prefix; yields after each piece.

    Document types, and with them every entity, are refused. Raises Damaged.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def started(name: str, attributes: dict[str, str]) -> None:
        start(name.rpartition(" ")[2], attributes)

    def typed(*_: object) -> None:
        raise Damaged("it holds a document type, which can hide a bomb")

    parser.StartElementHandler = started
    parser.EndElementHandler = lambda name: end(name.rpartition(" ")[2])
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = typed
    parser.EntityDeclHandler = typed
    fed = 0
    while piece := file.read(CHUNK):
        parser.Parse(piece, False)
        fed += len(piece)
        if fed - max(0, parser.CurrentByteIndex) > MAX_TOKEN_BYTES:
            raise Damaged("it holds a name or a mark longer than 1 MiB")
        yield
    parser.Parse(b"", True)
    yield


class Text:
    """Gathers the text of one cell or shared string; what is only a reading aid (rPh) is left out."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._open = False
        self._aside = 0

    def start(self, name: str) -> None:
        self._aside += name == "rPh"
        self._open = name in ("t", "v") and not self._aside

    def end(self, name: str) -> None:
        self._aside -= name == "rPh"
        self._open = False

    def add(self, text: str) -> None:
        if self._open:
            self._length += len(text)
            if self._length > MAX_TEXT:
                raise Damaged("the text of a cell is longer than 16 MiB")
            self._pieces.append(text)

    def take(self) -> str:
        """Return the text gathered, with the characters that workbooks write as _xHHHH_, and begin anew."""
        text = "".join(self._pieces)
        self._pieces.clear()
        self._length = 0
        if "_x" not in text or not _ESCAPED.search(text):
            return text
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


class Strings:
    """The texts that the cells of all sheets share, read as far as they are asked for.

    Beyond 32 MiB they lie in a temporary file without a name.
    """

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file
        self._text = Text()
        self._kept = tempfile.SpooledTemporaryFile(max_size=32 << 20)  # noqa: SIM115 - closed in close()
        self._ends = array("Q", [0])
        start = self._text.start
        self._walk = walk(file, lambda name, _: start(name), self._ended, self._text.add) if file else None

    def _ended(self, name: str) -> None:
        self._text.end(name)
        if name == "si":
            self._kept.write(self._text.take().encode("utf-8", "surrogatepass"))
            self._ends.append(self._kept.tell())

    def __getitem__(self, at: int) -> str:
        while at + 1 >= len(self._ends):
            self._kept.seek(0, 2)
            if at < 0 or self._walk is None or next(self._walk, self) is self:
                raise Damaged("a cell names a text that the workbook does not hold")
        self._kept.seek(self._ends[at])
        return self._kept.read(self._ends[at + 1] - self._ends[at]).decode("utf-8", "surrogatepass")

    def close(self) -> None:
        """Let go of the texts."""
        self._kept.close()
        if self._file is not None:
            self._file.close()


ERRORS = (*ARCHIVE_ERRORS, expat.ExpatError, ParseError)


def refused(source: Source, error: Exception) -> EngineError:
    """Return the error for a workbook whose parts cannot be read; ERRORS are what that shows as."""
    why = str(error) if isinstance(error, Damaged) else "its parts are not as they are written"
    if type(error).__module__.startswith("defusedxml"):
        why = "it holds a document type, which can hide a bomb"
    if isinstance(error, OSError):
        return damaged(source.path, "a workbook", error)
    return source.refusal(f"is a workbook that is cut or damaged: {why}.", hint=AGAIN)
