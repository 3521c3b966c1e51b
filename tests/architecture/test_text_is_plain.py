"""Text that comes from files is never markup: labels and tooltips are made by two factories only."""

from __future__ import annotations

import ast

from tests.architecture.source import dotted, sources

FACTORY = "app/widgets/label.py"
# The one view of Markdown: without HTML, and with an answer of its own to whatever a text wants loaded.
CARD_VIEW = "app/widgets/card_view.py"
# These read their text as markup when it looks like it, or always; the factories turn that off.
RICH = {"QLabel", "QMessageBox", "QTextEdit", "QTextBrowser", "QTextDocument", "QErrorMessage", "QWhatsThis"}
RICH_METHODS = {
    "setHtml",
    "insertHtml",
    "appendHtml",
    "setMarkdown",
    "setToolTip",
    "setWhatsThis",
    "setStatusTip",
}
RICH_METHODS |= {"setOpenExternalLinks", "showMessage"}
# The tray's notices on Windows and macOS, which read no markup; the bus of Linux is written to by ourselves.
NOTICES = "app/desktop.py"


def is_safe_view(node: ast.ClassDef, name: str) -> bool:
    """Say whether a class reads no markup: no rich view, or a widget that only inserts text at a cursor."""
    rich = RICH.intersection(dotted(base).split(".")[-1] for base in node.bases)
    if not rich:
        return True
    if rich != {"QTextEdit"} or not name.startswith("app/widgets/"):
        return False
    for call in (n for n in ast.walk(node) if isinstance(n, ast.Call)):
        called = dotted(call.func)
        # These guess whether their text is markup; a cursor's insertText does not.
        if called in ("self.append", "self.setText") or (called == "?.__init__" and call.args):
            return False
    return True


def test_that_only_the_factories_make_what_could_read_markup() -> None:
    found = []
    for source in sources("app"):
        if source.name in (FACTORY, CARD_VIEW):
            continue
        for call, name in source.calls():
            parts = name.split(".")
            if source.name == NOTICES and parts[-1] == "showMessage":
                continue
            if parts[-1] in RICH or (len(parts) > 1 and parts[-2] in RICH) or parts[-1] in RICH_METHODS:
                found.append(f"{source.at(call)} {name}")
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef) and not is_safe_view(node, source.name):
                found.append(f"{source.at(node)} class {node.name}")
            if isinstance(node, ast.Attribute) and node.attr in ("RichText", "AutoText", "MarkdownText"):
                found.append(f"{source.at(node)} {node.attr}")
    assert not found, found


def test_that_the_label_factory_says_plain_text() -> None:
    (source,) = sources(FACTORY)
    labels = [
        n for n in ast.walk(source.tree) if isinstance(n, ast.ClassDef) and "QLabel" in map(dotted, n.bases)
    ]
    assert labels
    for each in labels:
        said = [n for n in ast.walk(each) if isinstance(n, ast.Attribute) and n.attr == "PlainText"]
        assert said, f"{each.name} does not set Qt.TextFormat.PlainText"
