"""The small parts: labels, pills, bars, notices, empty states, the pages that come later."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLabel, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from app.pages.later import ComparePage, ExperimentsPage
from app.theme.style import apply_theme, current_theme
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.hardware_strip import CPU_ONLY, HardwarePanel, HardwareStrip
from app.widgets.label import ElidedLabel, set_tip, text_label
from app.widgets.meter import Meter, Part, StackedBar
from app.widgets.notice import Notice
from app.widgets.pill import Pill
from app.widgets.spark import Sparkline
from engine.errors import EngineError
from engine.hardware.devices import Gpu, Machine
from engine.hardware.monitor import DeviceSample, HardwareSample
from tests.gui.drawn import nameless_controls, wait_until_nothing_is_cut


@pytest.fixture(autouse=True)
def theme(qapp: QApplication):
    yield apply_theme(qapp, "dark")
    apply_theme(qapp, "dark")


def test_that_labels_never_read_markup(qtbot) -> None:
    label = text_label("<b>bold</b> &amp;")
    qtbot.addWidget(label)
    assert label.textFormat() == Qt.TextFormat.PlainText
    assert label.text() == "<b>bold</b> &amp;"


def test_that_tooltips_show_markup_as_text(qtbot) -> None:
    label = text_label("x")
    qtbot.addWidget(label)
    set_tip(label, "<img src='file:///etc/passwd'>")
    assert "<img" not in label.toolTip()
    assert "&lt;img" in label.toolTip()


def test_that_a_label_keeps_its_font_after_being_shown_and_recoloured(qtbot) -> None:
    host = QWidget()
    qtbot.addWidget(host)
    label = text_label("Title", "title")
    QVBoxLayout(host).addWidget(label)
    host.show()
    label.set_token("bad")
    assert label.font().pixelSize() == 17
    assert label.palette().windowText().color() == current_theme().color("bad")


def test_that_labels_follow_theme_and_text_size(qtbot) -> None:
    label = text_label("x", "dim")
    qtbot.addWidget(label)
    current_theme().set_theme("light")
    assert label.palette().windowText().color() == current_theme().color("dim")
    current_theme().set_text_size(150)
    assert label.font().pixelSize() == round(13 * 1.5)
    current_theme().set_text_size(100)


def test_that_an_elided_label_keeps_the_whole_text_in_its_tooltip(qtbot) -> None:
    label = ElidedLabel("a rather long line that has no room")
    qtbot.addWidget(label)
    label.resize(60, 20)
    label.show()
    assert "no room" in label.toolTip()
    label.resize(600, 20)
    assert label.toolTip() == ""


@pytest.mark.parametrize("kind", ["accent", "ok", "warn", "bad", "dim"])
def test_that_a_pill_shows_its_word_and_says_it(qtbot, kind: str) -> None:
    pill = Pill("Training", kind)
    qtbot.addWidget(pill)
    assert pill.accessibleName() == "Training"
    pill.set("")
    assert pill.isHidden()


def test_that_wrong_kinds_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="purple"):
        Pill("x", "purple")
    with pytest.raises(ValueError, match="huge"):
        button("x", kind="huge")


def test_that_an_ampersand_in_a_button_is_an_ampersand(qtbot) -> None:
    made = button("Save & stop")
    qtbot.addWidget(made)
    assert made.text() == "Save && stop"
    assert made.accessibleName() == "Save & stop"


def test_that_a_pressable_card_answers_mouse_and_keys(qtbot) -> None:
    card = Card("x")
    card.make_pressable("Do it")
    qtbot.addWidget(card)
    card.resize(200, 100)
    card.show()
    with qtbot.waitSignal(card.pressed):
        qtbot.mouseClick(card, Qt.MouseButton.LeftButton)
    with qtbot.waitSignal(card.pressed):
        qtbot.keyClick(card, Qt.Key.Key_Return)


def test_that_a_meter_stays_within_its_bar(qtbot) -> None:
    meter = Meter(2.5)
    qtbot.addWidget(meter)
    assert meter.value == 1.0
    meter.set(-1)
    assert meter.value == 0.0


def test_that_a_stacked_bar_draws_each_part_in_its_colour_and_wraps_its_legend(qtbot) -> None:
    bar = StackedBar([Part("weights", 4, "accent", "4 GB"), Part("adapter", 2, "series2", "2 GB")], total=10)
    qtbot.addWidget(bar)
    bar.resize(400, bar.heightForWidth(400))
    image = bar.grab().toImage()
    at = [image.pixelColor(round(image.width() * share), 5) for share in (0.2, 0.5, 0.9)]
    assert at == [current_theme().color(token) for token in ("accent", "series2", "raised")]
    assert bar.heightForWidth(90) > bar.heightForWidth(400)
    assert "weights 4 GB" in bar.accessibleDescription()


def test_that_a_ghost_marks_the_end_after_a_change(qtbot) -> None:
    bar = StackedBar([Part("a", 2, "accent")], total=10, legend=False)
    qtbot.addWidget(bar)
    bar.resize(400, 12)
    before = bar.grab().toImage()
    bar.set_ghost(6)
    assert bar.grab().toImage() != before


def test_that_a_curve_with_gaps_draws_and_speaks(qtbot) -> None:
    curve = Sparkline([3.0, float("nan"), 2.0, 1.0])
    qtbot.addWidget(curve)
    curve.grab()
    assert curve.accessibleName() == "from 3 to 1, falling"
    curve.set([])
    assert curve.accessibleName() == "no values yet"


def test_that_a_notice_says_an_error_with_its_hint_place_and_code(qtbot) -> None:
    notice = Notice()
    qtbot.addWidget(notice)
    done: list[str] = []
    error = EngineError("Row is no JSON.", "Leave it out.", "DATA-02", file="a.jsonl", line=7)
    notice.show_error(error, [("Leave it out", lambda: done.append("left"))], details="trace")
    notice.show()
    words = " ".join(label.text() for label in notice.findChildren(QLabel))
    assert "Row is no JSON." in words
    assert "Leave it out. a.jsonl, line 7 (DATA-02)" in words
    buttons = {b.text(): b for b in notice.findChildren(QPushButton)}
    buttons["Leave it out"].click()
    assert done == ["left"]
    details = notice.findChild(QPlainTextEdit)
    assert details.isHidden()
    buttons["Details"].click()
    assert not details.isHidden()


def test_that_a_notice_can_say_something_else(qtbot) -> None:
    notice = Notice("bad", "First", "", [("A", lambda: None)])
    qtbot.addWidget(notice)
    notice.show_notice("ok", "Second")
    notice.show()
    qtbot.waitUntil(lambda: not any(b.isVisible() for b in notice.findChildren(QPushButton)), timeout=30_000)


@pytest.mark.parametrize("page_class", [ExperimentsPage, ComparePage])
@pytest.mark.parametrize("size", [(1240, 844), (1036, 644)])
def test_that_a_page_of_later_says_so_and_leads_on(services, qtbot, page_class, size) -> None:
    page = page_class(services)
    qtbot.addWidget(page)
    page.resize(*size)
    page.show()
    wait_until_nothing_is_cut(page, qtbot)
    assert page.state_pill.text == "Comes later"
    assert "not built yet" in " ".join(label.text() for label in page.findChildren(QLabel))
    for each in page.findChildren(QPushButton):
        with qtbot.waitSignal(page.navigate_requested):
            each.click()


def gpu_sample(used: int) -> HardwareSample:
    device = DeviceSample("GeForce RTX 4090", used, 24_000_000_000, 97.0, 61.0, 300.0)
    return HardwareSample((device,), 34.0, 11_800_000_000, 500_000_000, 64_000_000_000)


def test_that_the_strip_tells_a_gpu_with_memory_load_and_heat(qtbot) -> None:
    strip = HardwareStrip()
    qtbot.addWidget(strip)
    gpu = Gpu("GeForce RTX 4090", "GPU-1", 24_000_000_000, 20_000_000_000, "580.95", (8, 9))
    strip.show_machine(Machine("CPU", 16, 32, 64_000_000_000, 50_000_000_000, (gpu,)))
    strip.show_sample(gpu_sample(14_200_000_000))
    words = strip.accessibleDescription()
    assert "RTX 4090 · 24 GB · 61 °C" in words
    assert "VRAM 14.2 / 24 GB · 97 %" in words
    assert "CPU 34 % · RAM 11.8 / 64 GB" in words


def test_that_the_strip_without_a_gpu_says_what_that_means(qtbot) -> None:
    strip = HardwareStrip()
    qtbot.addWidget(strip)
    strip.show_machine(Machine("CPU", 2, 2, 25_000_000_000, 20_000_000_000, ()))
    strip.show_sample(HardwareSample((), 12.0, 3_000_000_000, 100_000_000, 25_000_000_000))
    assert CPU_ONLY in strip.accessibleDescription()
    assert "need a GPU" in strip.toolTip()


def test_that_pressing_the_strip_shows_five_minutes_of_history(qtbot) -> None:
    strip = HardwareStrip()
    qtbot.addWidget(strip)
    strip.resize(180, 120)
    strip.show()
    with qtbot.waitSignal(strip.pressed):
        qtbot.mouseClick(strip, Qt.MouseButton.LeftButton)
    history = [gpu_sample(used) for used in (1_000_000_000, 9_000_000_000, 14_200_000_000)]
    panel = HardwarePanel(lambda: history, None, strip)
    qtbot.addWidget(panel)
    words = " ".join(label.text() for label in panel.findChildren(QLabel))
    assert "14.2\u00a0GB of 24.0\u00a0GB" in words
    panel.grab()


def test_that_the_strip_has_no_nameless_control(qtbot) -> None:
    strip = HardwareStrip()
    qtbot.addWidget(strip)
    strip.show()
    assert not nameless_controls(strip)
