"""The list of who could sit in a column: those of the loaded base first, others with what they cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from app.choices import Choice
from app.i18n import size, tr
from app.partners import needed_bytes

MOST = 12
Chosen = Callable[[Choice], object]


def offers_menu(
    parent: QWidget, choices: list[Choice], base_path: str, gpu: bool, on_chosen: Chosen, on_path: Chosen
) -> QMenu:
    """Return the menu. `base_path` is the loaded base; `on_path` takes a file or folder of the disk."""
    menu = QMenu(parent)
    menu.setToolTipsVisible(True)
    same = [c for c in choices if base_path and c.base_path == base_path and not c.whole]
    others = [c for c in choices if c not in same]
    sections = (
        (tr("On the loaded base: no more memory"), same, False),
        (tr("With a model of its own"), others, True),
    )
    for title, found, costs in sections:
        if found:
            head = menu.addAction(title)
            head.setEnabled(False)
        for choice in found[:MOST]:
            menu.addAction(words_of(choice, gpu, costs), lambda chosen=choice: on_chosen(chosen))
        if len(found) > MOST:
            more = menu.addMenu(tr("{n} more").format(n=len(found) - MOST))
            for choice in found[MOST:]:
                more.addAction(words_of(choice, gpu, costs), lambda chosen=choice: on_chosen(chosen))
    menu.addSeparator()
    menu.addAction(tr("Adapter or model folder…"), lambda: _ask(parent, on_path, folder=True))
    menu.addAction(tr("GGUF file…"), lambda: _ask(parent, on_path, folder=False))
    menu.aboutToHide.connect(menu.deleteLater)
    return menu


def words_of(choice: Choice, gpu: bool, costs: bool) -> str:
    """Return an entry: its name, its base, and the memory it would take."""
    parts = [choice.label.replace("&", "&&")]
    if costs and choice.has_adapter and not choice.whole:
        parts.append(tr("load its base {base}").format(base=choice.base))
    needed = needed_bytes(choice, gpu)
    if costs and needed:
        parts.append(size(needed))
    return " · ".join(parts)


def _ask(parent: QWidget, on_path: Chosen, folder: bool) -> None:
    if folder:
        chosen = QFileDialog.getExistingDirectory(parent, tr("Adapter or model folder"))
    else:
        chosen, _ = QFileDialog.getOpenFileName(parent, tr("GGUF file"), "", "GGUF (*.gguf)")
    if chosen:
        path = Path(chosen)
        on_path(Choice(path.name, str(path), path.stem, False))
