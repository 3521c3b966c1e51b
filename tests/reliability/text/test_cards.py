"""Cards and other long texts of strangers: Markdown without HTML, nothing opened, links ask, size bounded."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QColor, QGuiApplication, QImage, QTextDocument
from PySide6.QtWidgets import QLabel, QPushButton, QWidget

from app.widgets import card_view
from app.widgets.card_view import MOST_CELLS, MOST_LINES, CardView, bounded
from app.widgets.label import TextLabel, set_tip
from app.widgets.notice import Notice
from app.widgets.toast import Toast
from engine.errors import EngineError
from engine.models.card_text import MAX_BYTES, has_card, read_card
from tests.gui.conftest import collected_here, home, services, settled_heap  # noqa: F401

LONG = {
    "nested tables": "<table><tr><td>" * 25,
    "a wide table": "|" + "a|" * 100 + "\n|" + "-|" * 100 + "\n" + ("|" + "b|" * 100 + "\n") * 600,
    "a long table": "|" + "a|" * 8 + "\n|" + "-|" * 8 + "\n" + ("|" + "bbbb|" * 8 + "\n") * 5000,
    "one word": "a" * 250_000,
    "one line": "x " * 120_000,
    "many lines": "x\n\n" * 80_000,
    "headings": "# x\n" * 60_000,
    "quotes": ">" * 2000 + " x\n",
    "brackets": "[" * 50_000,
    "emphasis": "*a _b " * 20_000,
}


@pytest.fixture
def red(tmp_path: Path) -> Path:
    image = QImage(40, 40, QImage.Format.Format_RGB32)
    image.fill(QColor("#FF0000"))
    file = tmp_path / "red.png"
    assert image.save(str(file))
    return file


def reds(widget: QWidget) -> int:
    picture = widget.grab().toImage()
    wanted = QColor("#FF0000").rgb()
    return sum(picture.pixel(x, y) == wanted for x in range(picture.width()) for y in range(picture.height()))


def markups(red: Path) -> str:
    url = QUrl.fromLocalFile(str(red)).toString()
    return f'![x]({url}) <img src="{url}"> <style>@import url("{url}")</style>\n\n![y]({red.name})\n'


def test_m31_that_a_card_opens_no_picture_and_no_html(qtbot, red: Path, monkeypatch) -> None:
    monkeypatch.chdir(red.parent)
    view = CardView()
    qtbot.addWidget(view)
    view.resize(420, 300)
    view.show_card("# A model\n\n" + markups(red) + "<b>not bold</b>")
    view.show()
    assert reds(view) == 0
    assert "<b>not bold</b>" in view.toPlainText() and "<img" in view.toPlainText()
    # The same text in a plain document does open the picture: the test would see it.
    shown = QLabel(markups(red).split(" ", 1)[1])
    qtbot.addWidget(shown)
    shown.resize(300, 200)
    shown.setTextFormat(Qt.TextFormat.RichText)
    assert reds(shown) > 100


def test_m31_that_whatever_a_card_asks_for_is_one_clear_pixel(qtbot, red: Path) -> None:
    view = CardView()
    qtbot.addWidget(view)
    kinds = QTextDocument.ResourceType
    for kind in (kinds.ImageResource, kinds.HtmlResource, kinds.StyleSheetResource, kinds.MarkdownResource):
        for url in (
            QUrl.fromLocalFile(str(red)),
            QUrl("https://example.com/x.png"),
            QUrl("//server/share/x"),
        ):
            got = view.document().resource(kind, url)
            assert isinstance(got, QImage) and got.width() == got.height() == 1


def test_m31_that_a_link_asks_and_leads_to_the_web_only(qtbot, monkeypatch) -> None:
    opened: list[str] = []
    asked: list[str] = []
    answer = [False]
    monkeypatch.setattr(card_view, "ask", lambda parent, title, text, *_: asked.append(text) or answer[0])
    view = CardView(lambda url: opened.append(url.toString()))
    qtbot.addWidget(view)
    view.show_card("[a](https://example.com/a) [b](file:///etc/passwd)")
    view.anchorClicked.emit(QUrl("https://ex\u0430mple.com/a?x=1"))
    assert not opened and "https://xn--" in asked[0], "a letter that looks like another is told apart"
    for odd in (
        "file:///etc/passwd",
        "javascript:alert(1)",
        "smb://server/x",
        "tunesmith:x",
        "card.md",
        "https:",
    ):
        view.anchorClicked.emit(QUrl(odd))
    assert len(asked) == 1 and view.source().isEmpty()
    answer[0] = True
    view.anchorClicked.emit(QUrl("https://example.com/a"))
    assert opened == ["https://example.com/a"]


@pytest.mark.parametrize("name", LONG)
def test_m32_that_a_long_card_is_bounded_before_it_is_laid_out(qtbot, name: str) -> None:
    text, left = bounded(LONG[name])
    lines = text.split("\n")
    assert len(lines) <= MOST_LINES and text.count("|") <= MOST_CELLS
    assert max(map(len, lines)) <= card_view.LONGEST_LINE + 2
    assert max(map(len, text.split())) <= card_view.LONGEST_WORD + 2
    view = CardView()
    qtbot.addWidget(view)
    view.show_card(LONG[name])
    assert view.left_out == left
    assert ("lines are not shown" in view.toPlainText()) == (left > 0)


def test_m33_that_a_card_shows_what_turns_its_text(qtbot) -> None:
    view = CardView()
    qtbot.addWidget(view)
    view.show_card("---\nlicense: mit\n---\nnow \u202edlrow\x1b[2J")
    assert view.toPlainText() == "now <U+202E>dlrow<U+001B>[2J"


def test_m31_that_labels_tips_notices_and_toasts_read_no_markup(qtbot, red: Path) -> None:
    hostile = markups(red) + "\x1b\u202e"
    host = QWidget()
    qtbot.addWidget(host)
    label = TextLabel(hostile, wrap=True, parent=host)
    label.resize(400, 200)
    assert reds(label) == 0 and "<U+202E>" in label.text() and "<img" in label.text()
    set_tip(label, hostile)
    assert "<img" not in label.toolTip() and "&lt;img" in label.toolTip()
    notice, toast = Notice("bad"), Toast(hostile, "bad", None, hostile)
    for widget in (notice, toast):
        qtbot.addWidget(widget)
        widget.resize(600, 400)
    notice.show_error(EngineError(hostile, hostile, "MODEL-02", file=hostile), details=hostile)
    assert reds(notice) == 0 and reds(toast) == 0
    for text in (notice.accessibleName(), toast.accessibleName(), notice._plain()):
        assert not set("\x1b\u202e") & set(text)


def test_r18_that_details_say_what_a_code_means_and_can_be_copied(qtbot) -> None:
    notice = Notice("bad")
    qtbot.addWidget(notice)
    error = EngineError.of("RUN-08", a=1.0, b=9.0, step=7)
    notice.show_error(error, details="Traceback (most recent call last):\n  ...")
    presses = {b.text(): b for b in notice.findChildren(QPushButton)}
    presses["Details"].click()
    assert "RUN-08 (warning)" in notice._details.toPlainText()
    presses["Copy"].click()
    copied = QGuiApplication.clipboard().text()
    for words in ("Loss jumped from 1.0 to 9.0 at step 7.", "RUN-08", "To do: Usual once", "Traceback"):
        assert words in copied
    assert notice._kind == "warn", "a warning is not drawn as a failure"
    notice.show_notice("info", "All is well")
    assert not any(
        b.text() == "Details" and not b.isHidden() for b in notice._buttons.findChildren(QPushButton)
    ) or (notice._buttons.isHidden())


def test_r18_that_an_error_in_a_toast_can_be_copied(qtbot) -> None:
    toast = Toast("The disk is full. (DISK-01)", "bad", None, "Free some space.")
    qtbot.addWidget(toast)
    next(b for b in toast.findChildren(QPushButton) if b.accessibleName() == "Copy message").click()
    assert QGuiApplication.clipboard().text() == "The disk is full. (DISK-01)\nFree some space."


def test_m12_that_a_card_that_is_a_link_to_elsewhere_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "README.md").symlink_to(secret)
    with pytest.raises(EngineError) as caught:
        read_card(folder)
    assert caught.value.code == "MODEL-03"
    (folder / "README.md").unlink()
    assert not has_card(folder)
    (folder / "README.md").write_bytes(b"\xef\xbb\xbf# x\xff" + b"a" * (MAX_BYTES + 9))
    text = read_card(folder)
    assert text.startswith("# x\ufffd") and len(text) <= MAX_BYTES


def test_m31_that_the_wizard_shows_the_card_of_a_model(qtbot, services, tmp_path: Path) -> None:  # noqa: F811
    from app.pages.wizard.model_card import ModelCard

    press = ModelCard(services)
    qtbot.addWidget(press)
    press.set_model(tmp_path, "x")
    assert press.isHidden(), "there is no card"
    (tmp_path / "README.md").write_text("# Made of stars\n", encoding="utf-8")
    press.set_model(tmp_path, "tiny\u202e")
    assert not press.isHidden()
    press.press.click()
    qtbot.waitUntil(lambda: press.dialog is not None, timeout=30_000)
    assert "Made of stars" in press.dialog.view.toPlainText()
    assert "tiny<U+202E>" in press.dialog.windowTitle()
    press.dialog.close()
