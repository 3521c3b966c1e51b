"""An answer whose words differ from another one's tinted; hidden characters stand in boxes."""

from __future__ import annotations

from PySide6.QtGui import QTextCharFormat

from app.theme.style import current_theme
from app.widgets.example_view import ExampleView
from app.widgets.visible_text import Piece

TINT = 0.24


class DifferenceView(ExampleView):
    """Read-only text; what the other answer lacks is tinted and underlined in the colour of a token."""

    def __init__(self, name: str) -> None:
        self._token = "accent"
        super().__init__()
        self.setAccessibleName(name)

    def set_token(self, token: str) -> None:
        """Tint in another colour what is shown from now on."""
        self._token = token

    def _text_format(self, piece: Piece) -> QTextCharFormat:
        theme = current_theme()
        made = QTextCharFormat()
        made.setFont(theme.font("small", mono=True))
        made.setForeground(theme.color("text"))
        if piece.trained:
            made.setBackground(theme.color(self._token, TINT))
            # Never by colour alone.
            made.setFontUnderline(True)
            made.setUnderlineColor(theme.color(self._token))
        return made
