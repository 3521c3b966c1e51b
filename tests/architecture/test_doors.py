"""Who may touch tokenizers, templates, workbooks and GGUF heads: the modules behind the gate alone."""

from __future__ import annotations

from tests.architecture.source import below, sources

# What is dangerous to open -> the modules that do it, each behind `proof.proven` or inside the probe.
LIBRARIES = {
    "tokenizers": (
        *("engine.data.tokenizer", "engine.data.typed", "engine.data.probe_tokenizer"),
        "engine.data.special_tokens",
    ),
    "jinja2": (
        *("engine.data.sandbox", "engine.data.bounds", "engine.data.stand_ins", "engine.data.outlines"),
        "engine.data.templates",
    ),
    "openpyxl": ("engine.data.xlsx_book", "engine.data.xlsx_rows", "engine.data.xlsx_cells"),
    "engine.data.xlsx_rows": ("engine.data.readers", "engine.data.probe_workbook"),
    "engine.data.xlsx_book": (
        *("engine.data.xlsx_rows", "engine.data.xlsx_cells", "engine.data.probe_workbook"),
    ),
}
CALLS = {
    "read_gguf": ("engine.models.gguf_header", "engine.data.probe"),
    "ChatTemplate": ("engine.data.templates", "engine.data.probe_template"),
    "whole_tokenizer": ("engine.data.tokenizer", "engine.data.probe_tokenizer"),
    "Tokenizer.from_file": (),
    "Tokenizer.from_buffer": ("engine.data.tokenizer",),
}


def test_s1_that_strangers_files_are_opened_behind_the_gate_only() -> None:
    found = []
    for source in sources("app", "engine"):
        if below(source.module, "engine.runtime"):
            continue  # a child: it may die of it
        text = source.path.read_text("utf-8")
        if not any(word.rpartition(".")[2] in text for word in (*LIBRARIES, *CALLS)):
            continue
        for each in source.imports():
            for library, allowed in LIBRARIES.items():
                if below(each.module, library) and source.module not in allowed and not each.typing_only:
                    found.append(f"{source.name}:{each.line} imports {each.module}")
        for call, name in source.calls():
            if name in CALLS and source.module not in CALLS[name]:
                found.append(f"{source.at(call)} calls {name}")
    assert not found, found
