"""How a conversation becomes text: the model's own chat template, one of ours, or a person's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError

from engine.data import sandbox
from engine.data.sandbox import MAX_SOURCE
from engine.errors import EngineError
from engine.paths import resources, show_name
from engine.probes import proof
from engine.probes.proof import Question
from engine.probes.verdicts import digest_of

BUILT_IN = (
    *("chatml", "llama3", "llama2", "mistral", "gemma", "phi", "qwen", "deepseek"),
    *("zephyr", "vicuna", "alpaca", "plain"),
)
SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
OWN = "of the model"
MAX_JSON_BYTES = 16 << 20
_REASONING = ("reasoning_content", "thinking", "reasoning")


class ChatTemplate:
    """A chat template with the special tokens it writes.

    `facts` is what a probe found that it leaves out, adds, or asks the clock for; empty for one of ours.
    """

    def __init__(
        self,
        source: str,
        name: str,
        tokens: dict[str, str] | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.source = source
        self.facts = dict(facts or {})
        self.name = name
        self.tokens = dict(tokens or {})
        try:
            self._compiled = sandbox.compile_template(source)
        except (TemplateError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self.stopped(_why(error)) from error
        self.has_generation = "endgeneration" in source
        self._knows_tools = "tools" in source
        self._knows_calls = "tool_calls" in source

    @cached_property
    def takes_system(self) -> bool:
        """Say whether a system message is written, in a place of its own or before the question."""
        words = "\U000f0001system\U000f0002"
        roles = (("system", words), ("user", "a"), ("assistant", "b"))
        try:
            return words in self.render([{"role": role, "content": text} for role, text in roles])
        except EngineError:
            return False

    def render(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]] | None = None,
        add_generation_prompt: bool = False,
    ) -> str:
        """Return the text of a conversation. Raises EngineError MODEL-06 when the template refuses it."""
        return self.render_marked(messages, tools, add_generation_prompt)[0]

    def render_marked(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]] | None = None,
        add_generation_prompt: bool = False,
    ) -> tuple[str, list[tuple[int, int]]]:
        """Return the text and the character ranges inside the template's generation markers."""
        values = {
            **self.tokens,
            "messages": self._adapt(messages, tools),
            "tools": list(tools) if tools else None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            return sandbox.run(self._compiled, values)
        except (
            TemplateError,
            TypeError,
            ValueError,
            KeyError,
            AttributeError,
            IndexError,
            ArithmeticError,
            RecursionError,
            MemoryError,
        ) as error:
            raise self.stopped(_why(error)) from error

    def stopped(self, why: str) -> EngineError:
        """Return the error of a template that may not be used."""
        return EngineError(
            f"The chat template {self.name} was stopped: {why}.",
            "Choose one of the built-in templates, or another model.",
            "MODEL-06",
            field="data.chat_template",
        )

    def _adapt(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] | None
    ) -> list[dict[str, Any]]:
        """Write tools and tool calls into the text where the template knows nothing of them."""
        adapted = []
        for message in messages:
            made = {k: v for k, v in message.items() if v is not None}
            reasoning = next((made[key] for key in _REASONING if key in made), None)
            if reasoning is not None:
                made = {"thinking": reasoning, **made, "reasoning_content": reasoning}
            if made.get("tool_calls") and not self._knows_calls:
                written = [
                    f"<tool_call>\n{json.dumps(call['function'], ensure_ascii=False)}\n</tool_call>"
                    for call in made.pop("tool_calls")
                ]
                made["content"] = "\n".join([*filter(None, [made.get("content", "")]), *written])
            adapted.append(made)
        if tools and not self._knows_tools:
            words = "You can call these functions:\n" + json.dumps(list(tools), ensure_ascii=False)
            if adapted and adapted[0]["role"] == "system":
                adapted[0] = {**adapted[0], "content": f"{adapted[0]['content']}\n\n{words}"}
            else:
                adapted.insert(0, {"role": "system", "content": words})
        return adapted


def _why(error: BaseException) -> str:
    """Return why a template ended: in its own words (`raise_exception`), the sandbox's, or by its kind."""
    if isinstance(error, MemoryError):
        return "it needs too much memory"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, TemplateError) and str(error):
        return show_name(str(error).rstrip("."), 300)
    return f"it does not fit this conversation ({type(error).__name__})"


def read_special_tokens(model_folder: Path) -> dict[str, str]:
    """Return the named special tokens of a model's tokenizer (bos_token, eos_token, ...), as plain text."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        for key, value in _read_json(model_folder / name).items():
            text = value.get("content") if isinstance(value, dict) else value
            if key in SPECIAL_NAMES and isinstance(text, str) and text:
                found[key] = text
    return found


def _read_json(path: Path) -> dict[str, Any]:
    """Return a small JSON object, empty where there is no such file."""
    if not path.is_file():
        return {}
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_JSON_BYTES + 1)
        if len(text) > MAX_JSON_BYTES:
            raise ValueError("too large")
        found = json.loads(text.decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        raise EngineError(
            f"{path.name} is damaged: it cannot be read as JSON.",
            "Download the model again.",
            "MODEL-02",
            file=str(path),
        ) from None
    return found if isinstance(found, dict) else {}


def load_template(model_folder: str | Path, choice: str = "auto") -> ChatTemplate:
    """Return the template a recipe asks for.

    `choice` is auto (the model's own, else a sound default), one of BUILT_IN, a file, or the template itself.
    """
    folder = Path(model_folder)
    tokens = read_special_tokens(folder)
    if choice == "auto":
        own = _own_template(folder)
        if own is not None:
            return _proven(own, OWN, tokens)
        return load_built_in(_default_name(folder), tokens)
    if choice in BUILT_IN:
        return load_built_in(choice, tokens)
    if "{%" in choice or "{{" in choice:
        return _proven(choice, "of the recipe", tokens)
    path = Path(choice).expanduser()
    if path.suffix in (".jinja", ".j2", ".txt") and path.is_file():
        return _proven(_strip_end(_text_of(path)), show_name(path.name), tokens)
    raise EngineError(
        f"There is no chat template {show_name(choice)}.",
        f"Allowed: auto, {', '.join(BUILT_IN)}, or a .jinja file.",
        "REC-01",
        field="data.chat_template",
    )


def _proven(source: str, name: str, tokens: dict[str, str]) -> ChatTemplate:
    """Return a template of others once a probe has found it sound; raises EngineError MODEL-06."""
    facts = proof.proven(_question(source, name, tokens), field="data.chat_template")
    return ChatTemplate(source, name, tokens, facts)


def _question(source: str, name: str, tokens: dict[str, str]) -> Question:
    values = {"source": source[: MAX_SOURCE + 1], "name": name, "tokens": tokens}
    return Question("template", digest_of(source, tokens), name, values)


def own_question(folder: Path) -> tuple[Question, ...]:
    """Return what will be asked of the model's own template, empty where it has none."""
    source = _own_template(folder)
    return () if source is None else (_question(source, OWN, read_special_tokens(folder)),)


def _text_of(path: Path) -> str:
    """Return the text of a template's file, no more of it than is refused."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(MAX_SOURCE + 2)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"{show_name(path.name)} is damaged: it cannot be read as text.",
            "Choose one of the built-in templates, or download the model again.",
            "MODEL-02",
            file=str(path),
        ) from error


def load_built_in(name: str, tokens: dict[str, str]) -> ChatTemplate:
    """Return one of our templates, writing the model's own special tokens where it has them."""
    path = resources("templates", f"{name}.jinja")
    return ChatTemplate(_strip_end(path.read_text("utf-8")), name, tokens)


def _strip_end(text: str) -> str:
    """Take away the line end an editor puts at the end of a file: it would stand in every conversation."""
    return text[:-1] if text.endswith("\n") else text


def _own_template(folder: Path) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return _text_of(file)
    found = _read_json(folder / "tokenizer_config.json").get("chat_template")
    if found is None:
        found = _read_json(folder / "chat_template.json").get("chat_template")
    if isinstance(found, list):
        named = {t.get("name"): t.get("template") for t in found if isinstance(t, dict)}
        found = named.get("default", next(iter(named.values()), None))
    return found if isinstance(found, str) and found else None


def _default_name(folder: Path) -> str:
    """Return chatml where the tokenizer has its marks as single tokens, else plain words."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return "plain"
    facts = proof.proven(proof.file_question("tokenizer", path), file=str(path))
    return "chatml" if facts.get("chatml") is True else "plain"
