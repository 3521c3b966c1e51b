"""What a person has chosen for the whole application: read from and written to settings.json at once."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from PySide6.QtCore import QObject, Signal

from engine.durable import write_file
from engine.paths import settings_file


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
    """

    changed = Signal(list)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.problem = ""
        self._value = self._read()

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
        """Write settings.json, whole or not at all."""
        file = settings_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, json.dumps(self._value.model_dump(), indent=1, ensure_ascii=False) + "\n")

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
