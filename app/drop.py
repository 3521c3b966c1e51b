"""What can be dropped on the window, and the overlay that says what will happen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from app.theme.icons import draw_icon
from app.theme.style import current_theme
from engine.paths import show_name

DATA_ENDINGS = frozenset(".jsonl .ndjson .json .csv .tsv .parquet .arrow .xlsx .txt .md".split())
PACKED_ENDINGS = frozenset((".gz", ".zst", ".zip"))
# What the folder of a saved data set holds beside its rows.
DATA_MARKS = ("dataset_info.json", "dataset_dict.json", "state.json")
HEAD_BYTES = 65_536
_RECIPE_KEYS = frozenset("model adapter training evaluation checkpoint launcher".split())
_DATA_KEYS = frozenset(
    "messages conversations instruction prompt question seed_examples completion output answer".split()
)
_KEY = re.compile(r"^(\s*(?:- )?)([A-Za-z_]\w*):", re.M)
# A folder is looked into only so far: a home folder dropped by mistake must not be walked.
MOST_ENTRIES = 2000


@dataclass(frozen=True)
class Dropped:
    """One thing that can be used: what will happen, where, and with what."""

    kind: str
    sentence: str
    icon: str
    page: str
    argument: dict[str, object]


def classify(path: Path) -> Dropped | None:
    """Return what can be done with a file or folder, or None."""
    ending = path.suffix.lower()
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        return None
    if ending in (".yaml", ".yml") and not _holds_rows(path):
        return Dropped("recipe", "Read as recipe", "file", "wizard", {"recipe": path})
    if ending == ".gguf":
        return Dropped("model", "Use as model", "chip", "wizard", {"model": path})
    if ending in DATA_ENDINGS | PACKED_ENDINGS | {".yaml", ".yml"}:
        return Dropped("data", "Use as data", "database", "wizard", {"data": path})
    return None


def kind_of(path: Path) -> str:
    """Return recipe, data, model, adapter or run; a file of an unknown name is data, its content decides."""
    found = classify(path)
    return found.kind if found is not None else "data" if path.is_file() else ""


def _holds_rows(path: Path) -> bool:
    """Say whether a YAML file holds examples and no recipe: a list, or keys that only examples have."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES).decode("utf-8", "replace")
    except OSError:
        return False
    said = (line for line in head.splitlines() if line.strip())
    lines = [line for line in said if not line.lstrip().startswith(("#", "---"))]
    if lines and lines[0].startswith(("- ", "[")):
        return True
    keys = [(len(indent), name) for indent, name in _KEY.findall("\n".join(lines))]
    if any((not indent and name in _RECIPE_KEYS) or name == "train" for indent, name in keys):
        return False
    return any(name in _DATA_KEYS for _, name in keys)


def _folder(path: Path) -> Dropped | None:
    if (path / "adapter_config.json").is_file():
        return Dropped("adapter", "Import adapter", "layers", "chat", {"adapter": path})
    if (path / "job.json").is_file() and (path / "recipe.yaml").is_file():
        return Dropped("run", "Open this run", "list", "monitor", {"run": path})
    if (path / "config.json").is_file():
        return Dropped("model", "Use as model", "chip", "wizard", {"model": path})
    if any((path / name).is_file() for name in DATA_MARKS) or _holds_data_files(path):
        return Dropped("data", "Use as data", "database", "wizard", {"data": path})
    return None


def _holds_data_files(path: Path, deeper: bool = True) -> bool:
    """Say whether a folder, or its folder `data` or of a split, holds a file with rows."""
    for index, entry in enumerate(path.iterdir()):
        if index >= MOST_ENTRIES:
            return False
        if entry.suffix.lower() in DATA_ENDINGS | PACKED_ENDINGS and entry.is_file():
            return True
        named = entry.name.lower() in ("data", "train", "test", "validation", "default")
        if deeper and named and entry.is_dir() and _holds_data_files(entry, False):
            return True
    return False


class DropOverlay(QWidget):
    """Covers the window while something is held over it."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._sentence, self._name, self._icon, self._usable = "", "", "x", False
        self.hide()

    @property
    def sentence(self) -> str:
        """Return what the overlay says will happen."""
        return self._sentence

    def show_for(self, paths: Sequence[Path], sentence: str = "") -> bool:
        """Say what dropping `paths` will do, or `sentence`; return whether anything can be done."""
        found = classify(paths[0]) if paths else None
        self._usable = found is not None
        self._icon = found.icon if found else "x"
        self._sentence = sentence or (found.sentence if found else "Nothing here can use this")
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        self._name = f"{show_name(paths[0].name, 60)}{more}" if paths else ""
        parent = self.parentWidget()
        if parent is not None:
            self.setGeometry(parent.rect())
        self.setAccessibleName(f"{self._sentence}: {self._name}")
        self.raise_()
        self.show()
        self.update()
        return self._usable

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        token = "accent" if self._usable else "dim"
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), theme.color("bg", 0.86))
        frame = QRectF(self.rect()).adjusted(20, 20, -20, -20)
        pen = QPen(theme.color(token), 2, Qt.PenStyle.DashLine)
        painter.setPen(pen)
        painter.drawRoundedRect(frame, theme.px(12), theme.px(12))
        side = theme.px(40)
        middle = self.rect().center()
        mark = QRectF(middle.x() - side / 2, middle.y() - theme.px(70), side, side)
        draw_icon(painter, self._icon, mark, token)
        centre = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop
        painter.setFont(theme.font("headline", mono=False))
        painter.setPen(theme.color("text" if self._usable else "dim"))
        line = self.rect().adjusted(0, middle.y() - theme.px(16), 0, 0)
        painter.drawText(line, centre, self._sentence)
        painter.setFont(theme.font("body"))
        painter.setPen(theme.color("dim"))
        painter.drawText(line.adjusted(0, theme.px(38), 0, 0), centre, self._name)
