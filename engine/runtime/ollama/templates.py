"""Our chat templates in the language of Ollama's Modelfile, and which of them a model's own template is.

A template is known by what it writes, not by its name: conversations are rendered both ways and compared
byte for byte. Go's templates cannot trim, so contents with blanks at their ends come out with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.data.templates import ChatTemplate
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError
from engine.runtime.gguf.proof import TALKS
from engine.runtime.gguf.vocabulary import written_bos
from engine.runtime.ollama.go_template import literal, messages_of, render

_MARK = "\U000f0003"
_TOOL = (("user", "A"), ("assistant", "B"), ("tool", "T"), ("tool", "U"))
_Said = Sequence[tuple[Sequence[tuple[str, str]], str]]


@dataclass(frozen=True)
class Known:
    """A template of Ollama's that writes what the model's own writes.

    `system` is the prompt that the model's template puts where none is said: Ollama's SYSTEM does the same.
    """

    name: str
    text: str
    system: str = ""


def go_templates(bos: str, eos: str, dropped: bool) -> dict[str, str]:
    """Return each of our templates; `dropped` leaves the first BOS token to the program, which adds one."""

    def begin(usual: str) -> str:
        return "" if dropped else literal(bos or usual)

    def end(usual: str) -> str:
        return literal(eos or usual)

    turns = "{{ range .Messages }}"
    named = "<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n"
    ours = "<|im_start|>assistant\n"
    called = turns + "<|{{ .Role }}|>\n{{ .Content }}"
    return {
        "chatml": turns + named + "{{ end }}" + ours,
        "qwen": _qwen(named) + ours,
        "llama3": begin("<|begin_of_text|>")
        + turns
        + "<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>{{ end }}"
        + "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "phi": called + "<|end|>\n{{ end }}<|assistant|>\n",
        "zephyr": called + end("</s>") + "\n{{ end }}<|assistant|>\n",
        "gemma": begin("<bos>") + _gemma(),
        "llama2": _llama2(literal(bos or "<s>"), end("</s>"), dropped),
        "mistral": begin("<s>")
        + '{{ $system := "" }}'
        + turns
        + '{{ if eq .Role "system" }}{{ $system = .Content }}'
        + '{{ else if eq .Role "assistant" }} {{ .Content }}'
        + end("</s>")
        + "{{ else }}[INST] {{ if $system }}{{ $system }}\n\n{{ end }}{{ .Content }} [/INST]"
        + '{{ $system = "" }}{{ end }}{{ end }}',
        "deepseek": begin("<｜begin▁of▁sentence｜>")
        + turns
        + '{{ if eq .Role "system" }}{{ .Content }}{{ else if eq .Role "assistant" }}<｜Assistant｜>'
        + "{{ .Content }}"
        + end("<｜end▁of▁sentence｜>")
        + "{{ else }}<｜User｜>{{ .Content }}{{ end }}{{ end }}<｜Assistant｜>",
        "vicuna": "{{ range $i, $m := .Messages }}"
        + '{{ if eq .Role "system" }}{{ if eq $i 0 }}{{ .Content }} {{ end }}'
        + '{{ else if eq .Role "assistant" }} {{ .Content }}'
        + end("</s>")
        + "{{ else }}USER: {{ .Content }} ASSISTANT:{{ end }}{{ end }}",
        "alpaca": _alpaca(literal(eos)),
        "plain": turns
        + '{{ if eq .Role "system" }}{{ .Content }}\n\n{{ else if eq .Role "assistant" }} {{ .Content }}'
        + literal(eos)
        + '\n\n{{ else }}{{ if eq .Role "tool" }}Tool: {{ else }}User: {{ end }}{{ .Content }}\n\nAssistant:'
        + "{{ end }}{{ end }}",
    }


def _gemma() -> str:
    """Gemma has no place for a system prompt: it stands before the next question."""
    return (
        '{{ $system := "" }}{{ range .Messages }}{{ if eq .Role "system" }}{{ $system = .Content }}{{ else }}'
        '<start_of_turn>{{ if eq .Role "assistant" }}model\n{{ else }}user\n'
        '{{ if $system }}{{ $system }}\n\n{{ end }}{{ $system = "" }}{{ end }}'
        "{{ .Content }}<end_of_turn>\n{{ end }}{{ end }}<start_of_turn>model\n"
    )


def _qwen(named: str) -> str:
    """Answers of tools stand together in a turn of the user."""
    return (
        "{{ $open := false }}{{ range .Messages }}"
        '{{ if eq .Role "tool" }}{{ if not $open }}<|im_start|>user{{ $open = true }}{{ end }}'
        "\n<tool_response>\n{{ .Content }}\n</tool_response>"
        "{{ else }}{{ if $open }}<|im_end|>\n{{ $open = false }}{{ end }}" + named + "{{ end }}{{ end }}"
        "{{ if $open }}<|im_end|>\n{{ end }}"
    )


def _llama2(bos: str, eos: str, dropped: bool) -> str:
    """Llama 2 begins each question with BOS; the first is the program's where it adds one."""
    return (
        '{{ $system := "" }}{{ $first := ' + ("true" if dropped else "false") + " }}{{ range .Messages }}"
        '{{ if eq .Role "system" }}{{ $system = .Content }}'
        '{{ else if eq .Role "assistant" }} {{ .Content }} ' + eos + "{{ else }}"
        "{{ if not $first }}" + bos + "{{ end }}{{ $first = false }}[INST] "
        '{{ if $system }}<<SYS>>\n{{ $system }}\n<</SYS>>\n\n{{ $system = "" }}{{ end }}'
        "{{ .Content }} [/INST]{{ end }}{{ end }}"
    )


def _alpaca(eos: str) -> str:
    usual = (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
    )
    return (
        '{{ range $i, $m := .Messages }}{{ if eq $i 0 }}{{ if eq .Role "system" }}{{ .Content }}\n\n'
        "{{ else }}" + usual + "{{ end }}{{ end }}"
        '{{ if eq .Role "assistant" }}{{ .Content }}' + eos + "\n\n"
        '{{ else if ne .Role "system" }}### Instruction:\n{{ .Content }}\n\n### Response:\n{{ end }}{{ end }}'
    )


def find_known(template: ChatTemplate, tokenizer: ModelTokenizer) -> Known | None:
    """Return Ollama's form of a template, None where none of ours writes what it writes."""
    bos, eos = (tokenizer.tokens.get(name, "") for name in ("bos_token", "eos_token"))
    dropped = written_bos(template, tokenizer)
    ours = go_templates(bos, eos, bool(dropped))
    for talks in ((*TALKS, _TOOL), TALKS):
        said = [(talk, _of_model(template, talk, dropped)) for talk in talks]
        found = _matching(ours, [(talk, text) for talk, text in said if text is not None])
        if found is not None:
            return found
    return None


def _matching(ours: Mapping[str, str], wanted: _Said) -> Known | None:
    for name, text in ours.items():
        if not wanted:
            break
        if all(say(text, talk) == said for talk, said in wanted):
            return Known(name, text)
        system = _default_system(text, wanted)
        if system and all(say(text, talk, system) == said for talk, said in wanted):
            return Known(name, text, system)
    return None


def say(text: str, talk: Sequence[tuple[str, str]], system: str = "") -> str:
    """Return what Ollama sends to the model for a conversation, before it adds a BOS token."""
    return render(text, messages_of([{"role": r, "content": c} for r, c in talk], system))


def _of_model(template: ChatTemplate, talk: Sequence[tuple[str, str]], dropped: str) -> str | None:
    try:
        made = [{"role": role, "content": content} for role, content in talk]
        return template.render(made, add_generation_prompt=True).removeprefix(dropped)
    except EngineError:
        return None


def _default_system(text: str, wanted: _Said) -> str:
    """Return the prompt that the model's template says by itself where a conversation has none."""
    for talk, said in wanted:
        if talk[0][0] != "system":
            before, _, after = say(text, talk, _MARK).partition(_MARK)
            if said.startswith(before) and said.endswith(after) and len(said) > len(before) + len(after):
                return said[len(before) : len(said) - len(after)]
    return ""
