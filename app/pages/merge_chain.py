"""The chain of the page in words for its drawing: base and adapters, what comes of them, and its formats."""

from __future__ import annotations

from app.exporting import FORMATS, typed
from app.i18n import number, size, tr
from app.merging import Mixing
from app.pages.merge_board import token_of
from app.pages.merge_export import MergeExport
from app.widgets.merge_diagram import Station
from engine.models.merging import Judgement

Chain = tuple[list[Station], Station, list[Station]]
# The two that an export makes of it, in the fewest words.
LATER = (("gguf", "for llama.cpp, LM Studio"), ("ollama", "GGUF with its Modelfile"))


def chain_of(mixing: Mixing, judged: Judgement | None, part: str, export: MergeExport) -> Chain:
    """Return what the drawing shows."""
    if part == "export":
        return _exported(export)
    return _mixed(mixing, judged)


def _mixed(mixing: Mixing, judged: Judgement | None) -> Chain:
    if not mixing.sources:
        sources = [Station(tr("base"), tr("add an adapter"), "line", False)]
        return sources, Station(tr("result"), "", "line", False), _formats("", None, False)
    base = mixing.base
    facts = f"{tr('base')} · {base.dtype} · {size(base.weights_bytes)}"
    sources = [Station(base.name, facts, "dim", weight=0.8)]
    for place, (source, weight) in enumerate(zip(mixing.sources, mixing.weights, strict=True)):
        words = f"{number(weight, 2)} × {source.adapter.label} · {size(source.adapter.bytes)}"
        sources.append(Station(source.name, words, token_of(place), weight != 0, weight))
    ready = judged is not None and judged.methods[mixing.method] is None
    made = judged.bytes[mixing.method] if judged is not None and ready else None
    rank = judged.resulting_rank[mixing.method] if judged is not None and mixing.adapter_only else None
    parts = [mixing.method, f"r{rank}" if rank else "", size(made) if made else "", mixing.dtype_name]
    name = tr("new adapter") if mixing.adapter_only else tr("merged")
    merged = Station(name, " · ".join(part for part in parts if part), "ok" if ready else "line", ready)
    return sources, merged, _formats("adapter" if mixing.adapter_only else "safetensors", made, ready)


def _formats(active: str, made: float | None, ready: bool) -> list[Station]:
    """Return where the result can go: its folder now, the others by an export."""
    first = "adapter" if active == "adapter" else "safetensors"
    words = f"{size(made)} · {tr('what Merge writes')}" if made else ""
    found = [Station(tr(FORMATS[first][0]), words, "ok" if ready else "line", ready)]
    found += [Station(tr(FORMATS[name][0]), tr(about), "line", False) for name, about in LATER]
    return found


def _exported(export: MergeExport) -> Chain:
    what = export.what
    title, about = FORMATS[export.format]
    if what is None:
        sources = [Station(tr("model"), tr("reading"), "dim", False)]
        return sources, Station(tr("result"), "", "line", False), [Station(tr(title), "", "line", False)]
    base = what.base
    sources = [Station(base.name, f"{base.dtype} · {size(base.weights_bytes)}", "dim", weight=0.8)]
    if what.adapter is not None:
        words = f"{what.adapter.label} · {size(what.adapter.bytes)}"
        sources.append(Station(what.name, words, "accent"))
    ready = not what.refuses(export.format)
    kind = typed(export.format, export.kind)
    alone = export.format in ("adapter", "gguf-adapter", "script")
    name, middle = tr("merged"), tr("base and adapter as one")
    if what.adapter is None:
        name, middle = tr("unchanged"), tr("the model as it is")
    elif alone:
        name, middle = tr("alone"), tr("as it was trained, not merged")
    made = what.bytes(export.format, export.kind) if ready else None
    words = " · ".join(part for part in (kind or "", size(made) if made else "") if part) or tr(about)
    last = Station(tr(title), words, "ok" if ready else "line", ready)
    return sources, Station(name, middle, "ok" if ready else "line", ready), [last]
