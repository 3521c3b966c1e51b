"""Colours, fonts and icons."""

import re

import pytest
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication

from app.theme.icons import icon, icon_names, pixmap
from app.theme.style import apply_theme, current_theme
from app.theme.tokens import DARK, LIGHT, SCHEMES, contrast
from engine.paths import resources

GROUNDS = ("bg", "surface", "raised", "accentbg")
# The lowest contrast over the four grounds, as the design gives it (dark, light).
LOWEST = {
    "text": (11.2, 13.9),
    "dim": (5.1, 4.9),
    "accent": (4.9, 4.5),
    "ok": (5.7, 4.7),
    "warn": (6.3, 4.9),
    "bad": (4.7, 4.7),
    "edge": (3.2, 3.0),
}


@pytest.mark.parametrize("token", LOWEST)
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_that_text_tokens_stand_out_from_every_ground(token, scheme):
    table = SCHEMES[scheme]
    lowest = min(contrast(table[token], table[ground]) for ground in GROUNDS)
    assert lowest >= (3.0 if token == "edge" else 4.5)
    assert lowest == pytest.approx(LOWEST[token][scheme == "light"], abs=0.1)


@pytest.mark.parametrize(("scheme", "expected"), [("dark", 6.9), ("light", 5.4)])
def test_that_text_on_accent_can_be_read(scheme, expected):
    assert contrast(SCHEMES[scheme]["onaccent"], SCHEMES[scheme]["accent"]) == pytest.approx(
        expected, abs=0.1
    )


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_that_series_colours_can_be_read_on_bg_surface_and_raised(scheme):
    table = SCHEMES[scheme]
    for token in ("series2", "series3", "series4", "series5"):
        assert min(contrast(table[token], table[ground]) for ground in GROUNDS[:3]) >= 4.5, token


def test_that_both_schemes_have_the_same_tokens():
    assert DARK.keys() == LIGHT.keys()
    assert all(re.fullmatch("#[0-9A-F]{6}", value) for table in SCHEMES.values() for value in table.values())


def test_that_switching_the_theme_changes_colours_at_once(qapp: QApplication, qtbot):
    theme = apply_theme(qapp, "dark")
    assert theme.color("bg") == QColor(DARK["bg"])
    with qtbot.waitSignal(theme.changed):
        theme.set_theme("light")
    assert current_theme().color("bg") == QColor(LIGHT["bg"])
    assert LIGHT["bg"] in qapp.styleSheet()
    theme.set_theme("dark")


def test_that_the_system_theme_resolves_to_dark_or_light(qapp: QApplication):
    theme = apply_theme(qapp, "system")
    assert theme.scheme in ("dark", "light")
    apply_theme(qapp, "dark")


def test_that_text_size_scales_fonts_and_stylesheet(qapp: QApplication):
    theme = apply_theme(qapp, "dark", 100)
    usual = theme.font("body").pixelSize()
    theme.set_text_size(150)
    assert theme.font("body").pixelSize() == round(usual * 1.5)
    theme.set_text_size(900)
    assert theme.text_size == 150
    theme.set_text_size(100)


def test_that_the_stylesheet_has_no_unfilled_token(qapp: QApplication):
    sheet = apply_theme(qapp, "dark").stylesheet()
    assert "$" not in sheet
    assert not re.search(r"\dsp\b", sheet)
    for file in re.findall(r'url\("([^"]+)"\)', sheet):
        assert resources().joinpath(file).is_file(), file


def test_that_every_icon_draws_something_in_the_token_colour(qapp: QApplication):
    theme = apply_theme(qapp, "dark")
    wanted = theme.color("accent")
    for name in icon_names():
        image = pixmap(name, "accent", 20, 1.0).toImage()
        seen = [image.pixelColor(x, y) for x in range(20) for y in range(20)]
        inked = [color for color in seen if color.alpha() > 200]
        assert inked, name
        assert all(abs(c.red() - wanted.red()) < 12 and abs(c.blue() - wanted.blue()) < 12 for c in inked), (
            name
        )
    assert not icon("home").isNull()
