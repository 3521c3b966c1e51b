"""The Modelfile of an export: from the template that was trained, never from a model's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError
from engine.models.weight_files import read_json
from engine.paths import show_name
from engine.runtime.export_gguf import Made
from engine.runtime.gguf.proof import TALKS, Finding, Trained
from engine.runtime.gguf.read import ReadBack
from engine.runtime.gguf.vocabulary import written_bos
from engine.runtime.ollama.go_template import GoTemplateError
from engine.runtime.ollama.modelfile import Command, parse_modelfile, write_modelfile
from engine.runtime.ollama.templates import Known, find_known, say
from engine.runtime.target import Target

# generation_config.json -> (Ollama's parameter, least, most)
_NUMBERS = {
    "temperature": ("temperature", 0.0, 10.0),
    "top_p": ("top_p", 0.0, 1.0),
    "top_k": ("top_k", 0, 100_000),
    "min_p": ("min_p", 0.0, 1.0),
}


def ollama_form(target: Target) -> Known:
    """Return the template in Ollama's language; raises EngineError MODEL-05 where there is none."""
    template = load_template(target.base.path, target.chat_template)
    known = find_known(template, ModelTokenizer(target.base.path))
    if known is None:
        raise EngineError(
            f"The chat template {show_name(template.name)} cannot be said in Ollama's language here.",
            "Export the GGUF alone: it carries the template, and programs such as llama-server use it.",
            "MODEL-05",
            field="format",
        )
    return known


def modelfile_of(form: Known, target: Target, made: Made) -> str:
    """Return the Modelfile's text; raises EngineError MODEL-05 for texts that it cannot hold."""
    commands: list[Command] = [("from", f"./{made.path.name}"), ("template", form.text)]
    system = target.system_prompt or form.system
    if system:
        commands.append(("system", system))
    commands += [("stop", word) for word in stop_words(made.trained)]
    commands += _numbers(made.plain)
    return write_modelfile(commands)


def stop_words(trained: Trained) -> list[str]:
    """Return the texts at which an answer ends: that of the trained end, and that of the EOS token."""
    found = [trained.end, trained.tokenizer.eos_id]
    return list(dict.fromkeys(trained.tokenizer.token(i) for i in found if i is not None))


def _numbers(plain: Path) -> list[Command]:
    """Return the sampling that the model's makers chose; no penalty unless they did: training had none."""
    file = plain / "generation_config.json"
    values: dict[str, Any] = read_json(file) if file.is_file() else {}
    found: list[Command] = []
    if values.get("do_sample") is True:
        for name, (ours, least, most) in _NUMBERS.items():
            value = values.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
                found.append((ours, f"{value:g}"))
    penalty = values.get("repetition_penalty")
    usable = isinstance(penalty, int | float) and 0.1 <= penalty <= 10
    return [*found, ("repeat_penalty", f"{penalty if usable else 1:g}")]


def prove_modelfile(path: Path, made: Made) -> Finding:
    """Read the Modelfile back, render conversations by it and by the trained template, compare the bytes."""
    try:
        commands = parse_modelfile(path.read_text("utf-8"))
    except ValueError as error:
        return Finding(False, f"The Modelfile cannot be read back: {error}.")
    values = dict(commands)
    source = path.parent / values.get("from", "")
    if not source.is_file():
        return Finding(False, "The Modelfile names a file that is not there.")
    stops = [value for name, value in commands if name == "stop"]
    trained = made.trained
    for word in stop_words(trained):
        if word not in stops:
            return Finding(
                False, f"The Modelfile does not stop at {show_name(word)}, which ends a trained answer."
            )
    system = values.get("system", "")
    if trained.system_prompt and system != trained.system_prompt:
        return Finding(False, "The Modelfile's system prompt is not the one of the training.")
    adds = bool(ReadBack(source).values.get("tokenizer.ggml.add_bos_token"))
    front = written_bos(trained.template, trained.tokenizer) if adds else ""
    compared = 0
    for talk in TALKS:
        said = talk if talk[0][0] == "system" or not system else (("system", system), *talk)
        try:
            wanted = trained.talk(said)
        except EngineError:
            continue
        try:
            found = front + say(values.get("template", ""), talk, system)
        except (GoTemplateError, LookupError, TypeError) as error:
            return Finding(False, f"The Modelfile's template cannot be run: {show_name(str(error))}.")
        if found != wanted:
            return Finding(
                False,
                "The Modelfile's template does not write what the model was trained with: "
                f"{show_name(found, 80)!r} instead of {show_name(wanted, 80)!r}.",
            )
        compared += 1
    return Finding(True, figures={"conversations": compared, "stops": stops})
