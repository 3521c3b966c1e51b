"""The table of colours, one value for dark and one for light a name, and the contrast between two."""

from __future__ import annotations

# Values are those of the design; the comment says what each is for.
DARK: dict[str, str] = {
    "bg": "#131519",  # window
    "surface": "#1A1D23",  # cards, navigation, right column
    "raised": "#22262E",  # fields, secondary buttons, code, tooltips
    "accentbg": "#262E4A",  # selected row, chip, own chat bubble
    "line": "#2D323B",  # hairlines between things; never the only sign of a control
    "edge": "#737D8D",  # border of fields, checkboxes, unselected option cards, slider track
    "text": "#E9EBEE",
    "dim": "#98A1AE",  # second line, labels, axis numbers
    "accent": "#7A97FF",  # selection, focus, links, first series
    "onaccent": "#0D1020",  # text and marks on accent, ok, bad fills
    "ok": "#45BD8B",  # fits, finished
    "warn": "#E6A740",  # tight, advice
    "bad": "#EC756C",  # does not fit, failed, destructive
    "series2": "#F2A65A",  # orange: validation, second run
    "series3": "#4CC38A",  # green: third run, throughput
    "series4": "#59C5DE",  # cyan: fourth run, memory
    "series5": "#C58AF0",  # violet: fifth run, learning rate; always last and dashed
}

LIGHT: dict[str, str] = {
    "bg": "#F5F6F8",
    "surface": "#FFFFFF",
    "raised": "#F0F2F5",
    "accentbg": "#E6EBFF",
    "line": "#DDE1E7",
    "edge": "#7F8896",
    "text": "#1B1F26",
    "dim": "#5D6673",
    "accent": "#3F5FE0",
    "onaccent": "#FFFFFF",
    "ok": "#17774F",
    "warn": "#8F5A00",
    "bad": "#BF352F",
    "series2": "#B05410",
    "series3": "#17774F",
    "series4": "#0E7089",
    "series5": "#8145C8",
}

SCHEMES: dict[str, dict[str, str]] = {"dark": DARK, "light": LIGHT}

# The first series of a chart is the accent; beyond the first, colour is never the only difference.
SERIES: tuple[str, ...] = ("accent", "series2", "series3", "series4", "series5")

# Sizes in pixels at 100 % text size.
FONT_SIZES: dict[str, int] = {
    "headline": 24,
    "number": 18,
    "title": 17,
    "heading": 13,
    "body": 13,
    "small": 12,
    "least": 11,
}
FONT_WEIGHTS: dict[str, int] = {"headline": 600, "number": 600, "title": 600, "heading": 600}
MONO_ROLES: frozenset[str] = frozenset({"headline", "number"})

RADIUS_CONTROL, RADIUS_OPTION, RADIUS_CARD, RADIUS_CHIP = 6, 8, 10, 14
CONTROL_HEIGHT = 32
PAGE_PADDING, CARD_PADDING, GAP = 24, 16, 14
MOTION_MS = 150


def luminance(color: str) -> float:
    """Return the relative luminance of `#RRGGBB` (WCAG 2.2)."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two `#RRGGBB` colours (WCAG 2.2), 1 to 21."""
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def mix(first: str, second: str, share: float) -> str:
    """Return `first` with `share` (0 to 1) of `second` mixed in."""
    pairs = ((int(first[i : i + 2], 16), int(second[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in pairs)
