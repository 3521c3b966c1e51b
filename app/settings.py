"""What a person has chosen for the whole application: read from settings.json, written there by a thread."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from PySide6.QtCore import QObject, QTimer, Signal

from app.workers.newest_writer import NewestWriter
from engine.durable import write_file
from engine.paths import settings_file

LOOK_MS = 50


class Settings(BaseModel):
    """All choices; a key that a newer version wrote is kept."""

    model_config = ConfigDict(frozen=True, extra="allow", validate_default=True)
    theme: Literal["dark", "light", "system"] = "dark"
    text_size: int = Field(default=100, ge=85, le=150)
    language: str = Field(default="en", max_length=16)
    page: str = "home"
    geometry: str = ""
    recent_models: list[str] = []
    recent_data: list[str] = []
    recent_recipes: list[str] = []
    form_level: Literal["simple", "all"] = "simple"
    tip_dismissed: bool = False
    last_seen: float = 0.0
    notify: bool = True
    notify_finished: bool = True
    notify_needs: bool = True


class SettingsStore(QObject):
    """The settings in force.

    Signals:
        changed: names of the fields that have another value now.
        not_kept: why the settings could not be written.
    """

    changed = Signal(list)
    not_kept = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.problem = ""
        self._value = self._read()
        self._writer = NewestWriter(_save, "settings.json")
        self._look = QTimer(self, interval=LOOK_MS)
        self._look.timeout.connect(self._look_for_problem)

    @property
    def value(self) -> Settings:
        """Return the settings as they are now."""
        return self._value

    def change(self, **changes: Any) -> None:
        """Change fields, write the file, tell everybody; a wrong value raises ValueError, changing none."""
        new = Settings.model_validate({**self._value.model_dump(), **changes})
        names = [name for name in changes if getattr(new, name) != getattr(self._value, name)]
        if not names:
            return
        self._value = new
        self.write()
        self.changed.emit(names)

    def remember(self, field: str, entry: str, keep: int = 10) -> None:
        """Put `entry` first in a list of recent things."""
        known = [other for other in getattr(self._value, field) if other != entry]
        self.change(**{field: [entry, *known][:keep]})

    def write(self) -> None:
        """Have settings.json written, whole or not at all."""
        self._writer.write((settings_file(), self._value))
        self._look.start()

    def flush(self) -> None:
        """Return once settings.json holds the settings in force, or could not be written."""
        self._writer.flush()

    def _look_for_problem(self) -> None:
        if not self._writer.busy:
            self._look.stop()
            if self._writer.problem:
                self.not_kept.emit(self._writer.problem)

    def _read(self) -> Settings:
        file = settings_file()
        if not file.is_file():
            return Settings()
        try:
            raw = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            self.problem = f"{file} cannot be read. The usual settings hold until one is changed."
            return Settings()
        return self._sound(raw if isinstance(raw, dict) else {})

    def _sound(self, raw: dict[str, Any]) -> Settings:
        """Return the readable part of a settings file: one wrong value does not cost the others."""
        try:
            return Settings.model_validate(raw)
        except ValidationError as error:
            wrong = {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
            self.problem = (
                f"settings.json: {', '.join(sorted(wrong))} had no valid value and went back to the usual."
            )
            return Settings.model_validate({key: value for key, value in raw.items() if key not in wrong})


def _save(job: tuple[Path, Settings]) -> None:
    file, settings = job
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, json.dumps(settings.model_dump(), indent=1, ensure_ascii=False) + "\n")
