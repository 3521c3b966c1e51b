"""One example as the model gets it: what is trained is tinted, special tokens stand in boxes."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QMimeData, QRectF, QSizeF, Qt, Signal
from PySide6.QtGui import (
    QFontMetricsF,
    QKeyEvent,
    QPainter,
    QPen,
    QPyTextObject,
    QResizeEvent,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
)
from PySide6.QtWidgets import QTextEdit

from app.theme.style import current_theme
from app.widgets.visible_text import Piece, is_right_to_left, pieces_of, split_marks
from engine.paths import show_text

__all__ = ["ExampleView", "split_marks"]

BOX = QTextFormat.ObjectTypes.UserObject + 1
NAME, KIND, TRAINED, CUT = (QTextFormat.Property.UserProperty + number for number in range(1, 5))
OBJECT = "\ufffc"
LINE_HEIGHT = 150.0
LEAST_HEIGHT, MOST_HEIGHT = 64, 330
# kind: (border, fill, words) as tokens; an empty one is not drawn.
BOX_TOKENS = {
    "token": ("edge", "surface", "dim"),
    "trained": ("accent", "accentbg", "accent"),
    "hidden": ("warn", "", "warn"),
    "gap": ("", "surface", "dim"),
    "cut": ("bad", "surface", "bad"),
}


class BoxDrawing(QPyTextObject):
    """Draws the boxes that stand in the text for special tokens and for what cannot be seen."""

    def intrinsicSize(self, document: QTextDocument, place: int, format: QTextFormat) -> QSizeF:
        theme = current_theme()
        weight = 600 if format.property(KIND) == "cut" else None
        metrics = QFontMetricsF(theme.font("least", weight, mono=True))
        width = metrics.horizontalAdvance(str(format.property(NAME))) + theme.px(9)
        # A little lower than a line of text, so that a box does not push the lines apart.
        return QSizeF(width, metrics.ascent() + theme.px(1))

    def drawObject(
        self, painter: QPainter, rect: QRectF, document: QTextDocument, place: int, format: QTextFormat
    ) -> None:
        theme, kind = current_theme(), str(format.property(KIND))
        trained = kind == "token" and bool(format.property(TRAINED)) and not format.property(CUT)
        border, fill, words = BOX_TOKENS["trained" if trained else kind]
        metrics = QFontMetricsF(theme.font("least", mono=True))
        box = QRectF(rect.left() + 1, 0, rect.width() - 2, metrics.height() + theme.px(1))
        box.moveBottom(rect.bottom() + metrics.descent())
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.color(border), 1) if border else Qt.PenStyle.NoPen)
        painter.setBrush(theme.color(fill) if fill else Qt.BrushStyle.NoBrush)
        radius = theme.px(3)
        painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), radius, radius)
        painter.setFont(theme.font("least", 600 if kind == "cut" else None, mono=True))
        painter.setPen(theme.color(words))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, str(format.property(NAME)))
        painter.restore()


class ExampleView(QTextEdit):
    """Read-only text that can be selected; copying gives the text itself, with what the boxes stand for.

    Signals:
        paged: -1 or 1, when Page Up or Page Down was pressed.
    """

    paged = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setProperty("flat", "true")
        self.setAccessibleName("The example as the model gets it")
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self._boxes = BoxDrawing(self)
        self.document().documentLayout().registerHandler(BOX, self._boxes)
        self._pieces: list[Piece] = []
        self._places: list[tuple[int, str]] = []
        current_theme().changed.connect(self._draw)

    @property
    def pieces(self) -> list[Piece]:
        """Return what is drawn."""
        return list(self._pieces)

    def show_example(
        self,
        segments: Sequence[tuple[str, bool]],
        marks: frozenset[str] = frozenset(),
        cut_segments: Sequence[tuple[str, bool]] = (),
        cut_name: str = "cut here",
    ) -> None:
        """Show (text, is it trained) pieces and those beyond the cut; `marks` are special tokens."""
        self._pieces = pieces_of(segments, marks, cut_segments, cut_name)
        words = "".join(piece.text for piece in self._pieces)[:400]
        self.setAccessibleDescription(show_text(words))
        self._draw()
        self.moveCursor(QTextCursor.MoveOperation.Start)

    def whole_text(self) -> str:
        """Return the text that is shown, with what the boxes stand for."""
        return "".join(piece.text for piece in self._pieces)

    # -- drawing -------------------------------------------------------------------------------------------
    def _draw(self) -> None:
        self.clear()
        self.document().setDocumentMargin(2)
        self._places = []
        cursor = self.textCursor()
        cursor.beginEditBlock()
        last = len(self._pieces) - 1
        for number, piece in enumerate(self._pieces):
            if piece.kind == "text":
                # The line end that most templates close with would only show as an empty line.
                text = piece.text.removesuffix("\n") if number == last else piece.text
                cursor.insertText(text, self._text_format(piece))
            else:
                self._places.append((cursor.position(), piece.text))
                cursor.insertText(OBJECT, self._box_format(piece))
        self._direct(cursor)
        cursor.endEditBlock()
        self._fit()

    def _direct(self, cursor: QTextCursor) -> None:
        """Let each line run as its first letter says, and give the lines air."""
        block = self.document().begin()
        while block.isValid():
            format = QTextBlockFormat()
            format.setLineHeight(LINE_HEIGHT, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
            way = is_right_to_left(block.text().replace(OBJECT, ""))
            format.setLayoutDirection(
                Qt.LayoutDirection.RightToLeft if way else Qt.LayoutDirection.LeftToRight
            )
            cursor.setPosition(block.position())
            cursor.setBlockFormat(format)
            block = block.next()

    def _text_format(self, piece: Piece) -> QTextCharFormat:
        theme = current_theme()
        made = QTextCharFormat()
        made.setFont(theme.font("small", mono=True))
        if piece.cut:
            made.setFontStrikeOut(True)
            made.setForeground(theme.color("dim"))
        elif piece.trained:
            made.setBackground(theme.color("accentbg"))
            made.setForeground(theme.color("text"))
        else:
            made.setForeground(theme.color("dim"))
        return made

    def _box_format(self, piece: Piece) -> QTextCharFormat:
        made = self._text_format(piece)
        made.setFontStrikeOut(False)
        made.setObjectType(BOX)
        told = ((NAME, piece.name), (KIND, piece.kind), (TRAINED, piece.trained), (CUT, piece.cut))
        for key, value in told:
            made.setProperty(key, value)
        return made

    def _fit(self) -> None:
        """Take the height of the text, between a few lines and a third of a page."""
        theme = current_theme()
        wanted = round(self.document().size().height()) + 6
        most = theme.px(MOST_HEIGHT)
        off, needed = Qt.ScrollBarPolicy.ScrollBarAlwaysOff, Qt.ScrollBarPolicy.ScrollBarAsNeeded
        self.setVerticalScrollBarPolicy(needed if wanted > most else off)
        self.setFixedHeight(max(theme.px(LEAST_HEIGHT), min(most, wanted)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    # -- what the person does ------------------------------------------------------------------------------
    def createMimeDataFromSelection(self) -> QMimeData:
        cursor = self.textCursor()
        # Qt's own object with other words: one made here would be let go after Python has ended.
        made = super().createMimeDataFromSelection()
        made.text()
        made.clear()
        made.setText(self._between(cursor.selectionStart(), cursor.selectionEnd()))
        return made

    def _between(self, start: int, end: int) -> str:
        """Return the text of a part of the document, with what its boxes stand for."""
        cursor = QTextCursor(self.document())
        parts, at = [], start
        for place, text in [*(p for p in self._places if start <= p[0] < end), (end, "")]:
            cursor.setPosition(at)
            cursor.setPosition(place, QTextCursor.MoveMode.KeepAnchor)
            parts += [cursor.selectedText().replace("\u2029", "\n"), text]
            at = min(place + 1, end)
        return "".join(parts)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        pace = {Qt.Key.Key_PageUp: -1, Qt.Key.Key_PageDown: 1}.get(Qt.Key(event.key()))
        if pace is None or event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            super().keyPressEvent(event)
        else:
            self.paged.emit(pace)
