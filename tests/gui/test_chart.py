"""A chart: what it draws, how keys and mouse move it, what it says and gives away."""

from array import array

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QGuiApplication

from app.theme.style import apply_theme
from app.widgets.chart import Chart
from app.widgets.chart_axis import log_ticks, round_ticks
from app.widgets.chart_card import ChartCard, choice_button, scale_button, smoothing_button
from app.widgets.chart_flags import ChartFlags
from app.widgets.chart_group import ChartGroup, HorizontalLine, SeriesSpec
from app.widgets.chart_menu import chart_menu

STEPS = array("d", range(1, 301))
LOSS = array("d", (2.0 - 1.0 * step / 300 + 0.1 * (step % 3) for step in range(1, 301)))


@pytest.fixture
def group():
    return ChartGroup()


@pytest.fixture
def chart(qtbot, qapp, group):
    apply_theme(qapp, "dark")
    made = Chart(
        "Loss",
        [SeriesSpec("loss", "train", "accent", "smooth"), SeriesSpec("val", "validation", "series2", "dots")],
        lambda v: f"{v:.2f}",
        group,
        told=lambda v: f"{v:.3f}",
    )
    qtbot.addWidget(made)
    made.resize(700, 320)
    made.set_series("loss", STEPS, LOSS)
    made.set_series("val", array("d", [100, 200, 300]), array("d", [1.7, 1.2, 1.3]))
    made.show()
    qtbot.waitExposed(made)
    made.setFocus()
    made.refresh()
    return made


def drawn(chart, name="loss"):
    return chart._curves[name].line.getData()


def test_that_the_whole_run_is_shown_with_every_point(chart):
    x, y = drawn(chart)
    assert list(x) == list(STEPS)
    assert list(y) == list(LOSS)
    assert chart.stretch() == (0.0, 300.0)
    low, high = chart.box.viewRange()[1]
    assert low < min(LOSS) and high > max(LOSS)


def test_that_appended_values_are_added_and_taken_back_ones_vanish(chart):
    steps, values = array("d", STEPS), array("d", LOSS)
    steps.append(301)
    values.append(9.0)
    chart.set_series("loss", steps, values)
    chart.refresh()
    assert drawn(chart)[1][-1] == 9.0
    del steps[150:], values[150:]
    chart.set_series("loss", steps, values, version=1)
    chart.refresh()
    assert drawn(chart)[0][-1] == 150


def test_that_keys_move_the_crosshair_and_it_is_said(qtbot, chart, group):
    qtbot.keyClick(chart, Qt.Key.Key_Left)
    assert group.step == 300
    qtbot.keyClick(chart, Qt.Key.Key_Left)
    assert group.step == 299
    qtbot.keyClick(chart, Qt.Key.Key_Left, Qt.KeyboardModifier.ShiftModifier)
    assert group.step == 289
    qtbot.keyClick(chart, Qt.Key.Key_Home)
    assert group.step == 1
    qtbot.keyClick(chart, Qt.Key.Key_End)
    assert chart.spoken_crosshair().startswith("step 300, train ")
    assert "validation 1.300" in chart.spoken_crosshair()
    lines = chart.overlay.pointed.lines
    assert [token for token, _ in lines] == ["accent", "series2"]
    qtbot.keyClick(chart, Qt.Key.Key_Escape)
    assert group.step is None and chart.overlay.pointed is None


def test_that_keys_zoom_and_zero_shows_all(qtbot, chart, group):
    qtbot.keyClick(chart, Qt.Key.Key_Plus)
    start, end = chart.stretch()
    assert end - start == pytest.approx(300 / 1.6)
    assert len(drawn(chart)[0]) < 200
    for _ in range(20):
        qtbot.keyClick(chart, Qt.Key.Key_Plus)
    start, end = chart.stretch()
    assert end - start == pytest.approx(8)
    qtbot.keyClick(chart, Qt.Key.Key_End)
    assert chart.stretch()[1] >= 300
    qtbot.keyClick(chart, Qt.Key.Key_Minus)
    assert chart.stretch()[1] <= 300
    qtbot.keyClick(chart, Qt.Key.Key_0)
    assert group.stretch is None and chart.stretch() == (0.0, 300.0)


def test_that_the_mouse_points_to_the_nearest_step_and_a_click_chooses_it(qtbot, chart, group):
    port = chart.view.viewport()
    middle = QPoint(round(chart.box.mapViewToScene(chart.box.viewRect().center()).x()), 100)
    qtbot.mouseMove(port, middle)
    qtbot.waitUntil(lambda: group.step is not None, timeout=30_000)
    assert group.step == pytest.approx(150, abs=2)
    with qtbot.waitSignal(chart.chosen) as chosen:
        qtbot.mouseClick(port, Qt.MouseButton.LeftButton, pos=middle)
    assert chosen.args == [group.step]


def test_that_l_switches_to_a_logarithmic_axis_and_back(qtbot, chart):
    qtbot.keyClick(chart, Qt.Key.Key_L)
    assert chart.logarithmic
    assert np.allclose(drawn(chart)[1], np.log10(LOSS))
    qtbot.keyClick(chart, Qt.Key.Key_L)
    assert np.allclose(drawn(chart)[1], LOSS)


def test_that_zeros_on_a_logarithmic_axis_are_gaps(qtbot, chart):
    chart.set_series("loss", array("d", [1, 2, 3]), array("d", [1.0, 0.0, 2.0]), version=5)
    chart.set_log(True)
    assert np.isnan(drawn(chart)[1][1])


def test_that_m_toggles_smoothing_and_the_slider_sets_it(qtbot, chart):
    control = smoothing_button(chart)
    qtbot.addWidget(control)
    assert control.text() == "smoothing 0.90"
    smoothed = chart._curves["loss"].over.getData()[1]
    assert np.ptp(smoothed[100:]) < np.ptp(np.array(LOSS[100:]))
    qtbot.keyClick(chart, Qt.Key.Key_M)
    assert chart.smoothing == 0.0
    assert control.text() == "not smoothed"
    assert not chart._curves["loss"].over.isVisible()
    qtbot.keyClick(chart, Qt.Key.Key_M)
    assert chart.smoothing == 0.9
    chart.set_smoothing(5.0)
    assert chart.smoothing == 0.99


def test_that_charts_of_a_group_share_crosshair_and_stretch(qtbot, chart, group):
    other = Chart("Rate", [SeriesSpec("rate", "rate")], group=group)
    qtbot.addWidget(other)
    other.set_series("rate", STEPS, array("d", (1.0 / s for s in STEPS)))
    other.resize(300, 200)
    other.show()
    qtbot.keyClick(chart, Qt.Key.Key_Plus)
    assert other.stretch() == chart.stretch()
    qtbot.keyClick(chart, Qt.Key.Key_0)
    qtbot.keyClick(chart, Qt.Key.Key_Left)
    assert other.overlay.pointed is not None
    assert other.overlay.pointed.lines[0][1].startswith("0.0033")
    assert other.overlay.pointed.heading == ""


def test_that_x_can_mean_epochs_and_points_stay_where_they_belong(qtbot, chart, group):
    group.set_axis("epoch", lambda v: f"{v:.2f}", STEPS, array("d", (s / 100 for s in STEPS)))
    assert drawn(chart)[0][-1] == pytest.approx(3.0)
    qtbot.keyClick(chart, Qt.Key.Key_End)
    assert group.step == 300
    assert group.step_at(1.5) == pytest.approx(150)


def test_that_levels_ticks_and_star_are_drawn(chart):
    chart.set_levels([HorizontalLine(4.0, "capacity", "dim", False), HorizontalLine(3.0, "plan", "ok")])
    chart.set_ticks([100, 200])
    chart.set_star((200, 1.2))
    chart.refresh()
    assert chart.box.viewRange()[1][1] > 4.0
    assert [item.label.format for item in chart._level_items] == ["capacity", "plan"]
    assert len(chart._marks.getData()[0]) == 4
    assert chart._stars.getData()[0][0] == 200


def test_that_the_picture_and_the_values_can_be_copied(qtbot, chart):
    qtbot.keyClick(chart, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    image = QGuiApplication.clipboard().image()
    assert image.width() >= 700
    both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    qtbot.keyClick(chart, Qt.Key.Key_C, both)
    lines = QGuiApplication.clipboard().text().split("\n")
    assert lines[0] == "step,train,validation"
    assert lines[100] == f"100,{LOSS[99]!r},1.7"
    assert lines[1].endswith(",")


def test_that_t_shows_the_table_newest_first_and_back(qtbot, chart):
    card = ChartCard(chart, "help", legend=True)
    qtbot.addWidget(card)
    card.resize(700, 320)
    card.show()
    chart.setFocus()
    qtbot.keyClick(chart, Qt.Key.Key_T)
    assert card.shows_table
    model = card._table.model()
    assert model.rowCount() == 300
    assert model.index(0, 0).data() == "300"
    assert model.index(0, 2).data() == "1.300"
    assert model.index(1, 2).data() == ""
    qtbot.keyClick(card._table, Qt.Key.Key_T)
    assert not card.shows_table
    chart.setParent(None)


def test_that_colours_follow_the_theme_at_once(qtbot, qapp, chart):
    def ground(widget):
        return widget._curves["loss"].over.opts["pen"].color()

    assert ground(chart) == QColor("#7A97FF")
    apply_theme(qapp, "light")
    assert ground(chart) == QColor("#3F5FE0")
    apply_theme(qapp, "dark")


def test_that_controls_tell_what_holds(qtbot, chart):
    scale = scale_button(chart)
    seen = []
    axis = choice_button("Bottom", [("steps", lambda: seen.append("s")), ("time", lambda: seen.append("t"))])
    for control in (scale, axis):
        qtbot.addWidget(control)
    scale.click()
    assert scale.text() == "logarithmic" and chart.logarithmic
    axis.menu().actions()[1].trigger()
    assert axis.text() == "time" and seen == ["t"]


def test_that_a_chart_without_values_says_so(qtbot, qapp):
    made = Chart("Loss", [SeriesSpec("loss", "train")])
    qtbot.addWidget(made)
    made.resize(300, 200)
    made.show()
    made.refresh()
    assert made.overlay.empty_words == "nothing yet"
    qtbot.keyClick(made, Qt.Key.Key_Left)
    assert made.group.step is None


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [(0, 302, 6, [0, 100, 200, 300]), (0.4, 2.4, 5, [0.5, 1, 1.5, 2]), (0, 1, 2, [0, 0.5, 1]), (5, 5, 3, [])],
)
def test_that_ticks_are_round(low, high, most, expected):
    assert round_ticks(low, high, most) == pytest.approx(expected)


def test_that_logarithmic_ticks_are_decades_or_parts_of_one():
    assert [round(10**v, 6) for v in log_ticks(-4, -1, 5)] == [0.0001, 0.001, 0.01, 0.1]
    assert [round(10**v, 3) for v in log_ticks(0, 0.4, 5)] == pytest.approx([1, 1.5, 2, 2.5])


def test_that_a_right_click_offers_the_same_with_keys(chart):
    menu = chart_menu(chart)
    keys = {action.text(): action.shortcut().toString() for action in menu.actions() if action.text()}
    assert keys["Copy picture"] == "Ctrl+C" and keys["As a table"] == "T"
    next(action for action in menu.actions() if action.text() == "Logarithmic").trigger()
    assert chart.logarithmic


def test_f29_that_jumps_are_marked_on_the_curve_on_every_axis(chart, group):
    flags = ChartFlags(chart)
    flags.show([(10.0, 1.9), (250.0, 1.25), (260.0, 1e300)])

    def marked():
        return [list(values) for values in flags._item.getData()]

    assert marked() == [[10.0, 250.0], [1.9, 1.25]]  # what no picture can hold is left out
    chart.set_log(True)
    assert marked()[1] == pytest.approx([np.log10(1.9), np.log10(1.25)])
    group.set_axis("epoch", str, STEPS, array("d", (step / 100 for step in STEPS)))
    assert marked()[0] == pytest.approx([0.1, 2.5])
    flags.show([])
    assert marked() == [[], []]
