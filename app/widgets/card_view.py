"""The one view of Markdown: a model's card, drawn without HTML, without a file or an address being opened.

Qt opens what an image or a style names unless `loadResource` answers; it answers here with one pixel. What a
stranger wrote is bounded first: Qt lays out a table of 40,000 cells, or a word of 250,000 letters, for
longer than a person waits.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from PySide6.QtCore import QUrl
from PySide6.QtGui import (
    QDesktopServices,
    QFont,
    QImage,
    QTextBlock,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
)
from PySide6.QtWidgets import QTextBrowser

from app.theme.style import current_theme
from app.widgets.label import set_tip
from app.widgets.question import ask
from engine.paths import show_text

MAX_CHARACTERS = 256 * 1024
MOST_LINES, LONGEST_LINE, LONGEST_WORD, MOST_CELLS = 1_500, 2_000, 200, 500
MARGIN, LINE_HEIGHT = 14, 125
_HEAD = re.compile(r"\A---[ \t]*\n.*?\n---[ \t]*(?:\n|\Z)", re.S)
_LONG_WORD = re.compile(rf"\S{{{LONGEST_WORD},}}")
_OPENED = ("http", "https")


def bounded(text: str) -> tuple[str, int]:
    """Return the part of a card that is drawn, and how many lines are left out."""
    whole = show_text(text[:MAX_CHARACTERS].replace("\r\n", "\n").replace("\r", "\n"), MAX_CHARACTERS)
    whole = _HEAD.sub("", whole, count=1)
    lines = whole.split("\n")
    drawn: list[str] = []
    cells = 0
    for line in lines:
        cells += line.count("|")
        if len(drawn) >= MOST_LINES or cells > MOST_CELLS:
            break
        cut = line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + " …"
        drawn.append(_LONG_WORD.sub(lambda word: word[0][:LONGEST_WORD] + " …", cut))
    left = len(lines) - len(drawn) + text[MAX_CHARACTERS:].count("\n")
    return "\n".join(drawn), left


class CardView(QTextBrowser):
    """Shows a card; a link is opened by the system's browser after a question only.

    `open_link` is what opens an address that a person agreed to.
    """

    def __init__(self, open_link: Callable[[QUrl], object] = QDesktopServices.openUrl) -> None:
        super().__init__()
        self.setObjectName("card_view")
        self.setAccessibleName("Card")
        self.setOpenLinks(False)
        self.setOpenExternalLinks(False)
        self.setUndoRedoEnabled(False)
        self.setSearchPaths([])
        self._open_link = open_link
        self._text = ""
        self.left_out = 0
        self.anchorClicked.connect(self._on_link_pressed)
        self.highlighted.connect(self._on_link_touched)
        current_theme().changed.connect(self._draw)

    def show_card(self, text: str) -> None:
        """Draw a card's Markdown; HTML in it is shown as it is written."""
        self._text, self.left_out = bounded(text)
        self._draw()
        self.moveCursor(QTextCursor.MoveOperation.Start)

    def loadResource(self, kind: int, name: QUrl) -> QImage:
        """Answer every image and style with one clear pixel: nothing is opened."""
        pixel = QImage(1, 1, QImage.Format.Format_ARGB32)
        pixel.fill(0)
        return pixel

    def _draw(self) -> None:
        document = self.document()
        document.setDefaultFont(current_theme().font("body"))
        document.setDocumentMargin(current_theme().px(MARGIN))
        more = f"\n\n---\n\n{self.left_out:,} more lines are not shown." if self.left_out else ""
        feature = QTextDocument.MarkdownFeature
        document.setMarkdown(
            self._text + more,
            QTextDocument.MarkdownFeature(feature.MarkdownDialectGitHub | feature.MarkdownNoHTML),
        )
        self._dress()

    def _dress(self) -> None:
        """Give headings, code and paragraphs the fonts of the theme, and some air."""
        cursor = QTextCursor(self.document())
        cursor.beginEditBlock()
        block = self.document().begin()
        while block.isValid():
            level = block.blockFormat().headingLevel()
            for fragment in [piece.fragment() for piece in block]:
                font = self._font(level, fragment.charFormat())
                if font is not None:
                    made = QTextCharFormat()
                    made.setFont(font)
                    cursor.setPosition(fragment.position())
                    end = fragment.position() + fragment.length()
                    cursor.setPosition(end, QTextCursor.MoveMode.KeepAnchor)
                    cursor.mergeCharFormat(made)
            cursor.setPosition(block.position())
            if cursor.currentTable() is None:
                cursor.mergeBlockFormat(self._air(block, level))
            block = block.next()
        cursor.endEditBlock()

    @staticmethod
    def _font(level: int, found: QTextCharFormat) -> QFont | None:
        theme = current_theme()
        if level:
            return theme.font("title" if level <= 1 else "heading", 600, mono=False)
        return theme.font("small", mono=True) if found.fontFixedPitch() else None

    @staticmethod
    def _air(block: QTextBlock, level: int) -> QTextBlockFormat:
        """Return the margins of a block: lines of code stand close on a ground of their own."""
        theme, made = current_theme(), QTextBlockFormat()
        made.setLineHeight(LINE_HEIGHT, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
        if block.blockFormat().hasProperty(QTextFormat.Property.BlockCodeFence):
            made.setBackground(theme.color("surface"))
            made.setLeftMargin(theme.px(10))
            return made
        made.setTopMargin(theme.px(14 if level else 4))
        made.setBottomMargin(theme.px(4 if block.textList() is None else 1))
        return made

    def _on_link_touched(self, url: QUrl) -> None:
        set_tip(self, _told(url) if not url.isEmpty() else "")

    def _on_link_pressed(self, url: QUrl) -> None:
        if url.scheme() not in _OPENED or not url.host():
            return
        title, words = "Open this link in your browser?", "The card of a model names it. It leads to"
        if ask(self, title, f"{words} {_told(url)}", "Open it", "Stay here"):
            self._open_link(url)


def _told(url: QUrl) -> str:
    """Return an address as the network writes it: letters that look like others cannot hide in it."""
    return bytes(url.toEncoded().data()).decode("ascii", "replace")[:400]
