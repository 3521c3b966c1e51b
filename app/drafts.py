"""The unfinished run, kept on disk while it is typed and given back after a restart."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine import plain_yaml
from engine.durable import write_file
from engine.errors import EngineError
from engine.paths import home
from engine.recipe import codec
from engine.recipe.recipe import Recipe

STEPS = ("model", "data", "method", "training", "review")


@dataclass(frozen=True)
class Draft:
    """What is asked so far, where the person is, and what was typed but cannot be used yet."""

    recipe: Recipe = field(default_factory=Recipe)
    step: str = "model"
    preset: str = "balanced"
    alpha_linked: bool = True
    unread: dict[str, str] = field(default_factory=dict)


def draft_file() -> Path:
    """Return where the one draft lies."""
    return home() / "draft.yaml"


def save_draft(draft: Draft) -> None:
    """Write the draft, whole or not at all; raises OSError."""
    file = draft_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    values = {
        "step": draft.step,
        "preset": draft.preset,
        "alpha_linked": draft.alpha_linked,
        "unread": draft.unread,
        "recipe": draft.recipe.model_dump(mode="json"),
    }
    write_file(file, plain_yaml.dump(values))


def load_draft() -> Draft | None:
    """Return the draft, or None where none is; a draft whose recipe cannot be read raises EngineError."""
    file = draft_file()
    if not file.is_file():
        return None
    try:
        values, _ = plain_yaml.read(file.read_text(encoding="utf-8"), "The draft", str(file))
    except (OSError, UnicodeDecodeError, EngineError) as error:
        raise EngineError(
            "The unfinished run could not be read.", "A new one was begun.", "REC-01", file=str(file)
        ) from error
    if not isinstance(values, dict) or not isinstance(values.get("recipe"), dict):
        raise EngineError("The unfinished run is damaged.", "A new one was begun.", "REC-01", file=str(file))
    recipe = codec.loads(plain_yaml.dump(values["recipe"]), str(file))
    step = values.get("step")
    unread = values.get("unread")
    return Draft(
        recipe=recipe,
        step=step if step in STEPS else "model",
        preset=str(values.get("preset", "balanced")),
        alpha_linked=bool(values.get("alpha_linked", True)),
        unread={str(k): str(v) for k, v in unread.items()} if isinstance(unread, dict) else {},
    )


def delete_draft() -> None:
    """Remove the draft: its run has been started."""
    draft_file().unlink(missing_ok=True)
