"""Settings: held at once, kept on disk, readable again after damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QPushButton

from app import i18n
from app.pages.preferences import PreferencesPage
from app.services import Services
from app.settings import SettingsStore
from app.workers.newest_writer import flush_all
from engine import hub_token, paths
from tests.gui.drawn import nameless_controls, wait_until_nothing_is_cut


def shown(services: Services, qtbot, size: tuple[int, int] = (1240, 844)) -> PreferencesPage:
    page = PreferencesPage(services)
    qtbot.addWidget(page)
    page.resize(*size)
    page.show()
    page.shown()
    qtbot.waitUntil(lambda: not services.background.busy, timeout=30_000)
    return page


def kept() -> dict:
    flush_all()
    return json.loads(paths.settings_file().read_text())


def test_that_a_change_is_on_disk_and_read_again(services: Services) -> None:
    services.settings.change(theme="light", text_size=110)
    services.settings.change(text_size=120)
    assert kept()["theme"] == "light"
    assert SettingsStore().value.text_size == 120


def test_that_a_wrong_value_changes_nothing(services: Services) -> None:
    with pytest.raises(ValueError):
        services.settings.change(text_size=1000)
    assert services.settings.value.text_size == 100


def test_that_one_wrong_value_in_the_file_costs_only_itself(services: Services) -> None:
    paths.settings_file().write_text(json.dumps({"theme": "purple", "text_size": 130}))
    store = SettingsStore()
    assert (store.value.theme, store.value.text_size) == ("dark", 130)
    assert "theme" in store.problem


def test_that_a_broken_file_gives_the_usual_settings_and_says_so(services: Services) -> None:
    paths.settings_file().write_text("{no json")
    store = SettingsStore()
    assert store.value.theme == "dark"
    assert "cannot be read" in store.problem


def test_that_what_a_newer_version_wrote_is_kept(services: Services) -> None:
    paths.settings_file().write_text(json.dumps({"theme": "light", "hologram": True}))
    store = SettingsStore()
    store.change(text_size=110)
    assert kept()["hologram"] is True


def test_that_recent_things_come_first_once_and_at_most_ten(services: Services) -> None:
    for index in range(12):
        services.settings.remember("recent_data", f"/d/{index}")
    services.settings.remember("recent_data", "/d/5")
    assert services.settings.value.recent_data[0] == "/d/5"
    assert len(services.settings.value.recent_data) == 10
    assert services.settings.value.recent_data.count("/d/5") == 1


def test_that_pressing_a_small_window_switches_the_theme(services: Services, qtbot) -> None:
    page = shown(services, qtbot)
    qtbot.mouseClick(page.sections["look"].themes["light"], Qt.MouseButton.LeftButton)
    assert services.theme.scheme == "light"
    assert kept()["theme"] == "light"


def test_that_the_slider_changes_the_text_size_at_once(services: Services, qtbot) -> None:
    page = shown(services, qtbot)
    page.sections["look"].slider.setValue(123)
    assert services.theme.text_size == 125
    assert page.sections["look"].percent.text() == "125 %"
    assert kept()["text_size"] == 125


def test_that_the_language_changes_how_numbers_are_grouped(services: Services, qtbot) -> None:
    page = shown(services, qtbot)
    choice = page.sections["language"].choice
    assert i18n.number(4812) == "4,812"
    choice.setCurrentIndex(choice.findData("de"))
    assert i18n.number(4812) == "4.812"
    choice.setCurrentIndex(choice.findData("fr"))
    assert i18n.number(4812) == "4\u00a0812"
    assert kept()["language"] == "fr"


def test_that_the_folders_show_their_real_sizes_and_the_cache_can_be_emptied(
    services: Services, qtbot
) -> None:
    (paths.cache_dir() / "derived.bin").write_bytes(b"x" * 50_000)
    page = shown(services, qtbot)
    section = page.sections["folders"]
    free = next(b for b in section.findChildren(QPushButton) if b.accessibleName() == "Empty the cache")
    free.click()
    qtbot.waitUntil(lambda: not any(paths.cache_dir().iterdir()), timeout=30_000)


def test_that_a_folder_that_is_no_model_is_refused_with_the_reason(
    services: Services, qtbot, tmp_path: Path
) -> None:
    said: list[tuple[str, str]] = []
    services.notify = lambda text, kind="info", action=None, hint="": said.append((text, kind))
    page = shown(services, qtbot)
    page.sections["folders"].add_model(tmp_path)
    qtbot.waitUntil(lambda: bool(said), timeout=30_000)
    assert said[0][1] == "bad"
    assert not (paths.home() / "library.json").exists()


def test_that_the_search_leaves_only_what_matches(services: Services, qtbot) -> None:
    page = shown(services, qtbot)
    page.search.setText("theme")
    assert [key for key, section in page.sections.items() if section.isVisible()] == ["look"]
    page.search.setText("xyzzy")
    assert page.nothing.isVisible()
    page.search.clear()
    assert all(section.isVisible() for section in page.sections.values())


def test_that_a_section_can_be_opened_directly(services: Services, qtbot) -> None:
    page = shown(services, qtbot)
    page.open_with({"section": "about"})
    qtbot.waitUntil(lambda: page._area.verticalScrollBar().value() > 0, timeout=30_000)


def test_that_the_system_report_is_copied_without_names_of_folders(services: Services, qtbot) -> None:
    page = shown(services, qtbot)
    QGuiApplication.clipboard().clear()
    press = next(b for b in page.findChildren(QPushButton) if b.text() == "Copy system report")
    press.click()
    qtbot.waitUntil(lambda: bool(QGuiApplication.clipboard().text()), timeout=30_000)
    report = QGuiApplication.clipboard().text()
    assert "torch" in report and "Runs: none" in report
    assert str(Path.home()) not in report
    assert str(paths.home()) not in report
    assert services.toasts[-1][1] == "ok"  # type: ignore[attr-defined]


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [(1240, 844), (1036, 644)])
@pytest.mark.parametrize("text_size", [85, 100, 150])
def test_that_no_text_is_cut_and_every_control_has_a_name(services, qtbot, theme, size, text_size) -> None:
    services.theme.set_theme(theme)
    services.theme.set_text_size(text_size)
    page = shown(services, qtbot, size)
    wait_until_nothing_is_cut(page, qtbot)
    assert not nameless_controls(page)


def test_m40_that_a_token_goes_into_the_keyring_and_is_never_shown_again(
    services: Services, qtbot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept: list[str] = []
    real = hub_token.keep
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nothing"))
    monkeypatch.setattr(hub_token, "keep", kept.append)
    monkeypatch.setattr(hub_token, "kept", lambda: kept[-1] if kept else None)
    page = shown(services, qtbot)
    section = page.sections["hub"]
    assert "None" in section.where.text() and section.forget.isHidden()
    section.field.setText("hf_canary")
    assert "hf_canary" not in section.field.displayText()
    section.save.click()
    qtbot.waitUntil(lambda: "keyring" in section.where.text() and not section.forget.isHidden())
    assert kept == ["hf_canary"] and section.field.text() == ""
    section.forget.click()
    qtbot.waitUntil(lambda: section.forget.isHidden())
    assert kept[-1] == ""
    monkeypatch.setattr(hub_token, "keep", real)
    section.field.setText("two words")
    section.save.click()
    qtbot.waitUntil(lambda: not section.error.isHidden())
