"""What a library raises is for the log: no message of ours is made of its text."""

from __future__ import annotations

import ast

from tests.architecture.source import Source, dotted, sources

# Their errors are our own readers' (ValueError with words of ours), or the line is one of the log.
OWN_WORDS = {
    ("engine/recipe/codec.py", "ValueError"),
    ("engine/runtime/ollama/export.py", "ValueError"),
    ("engine/runtime/ollama/export.py", "LookupError"),
    ("engine/runtime/load.py", "ValueError"),
}
BASES = ("Error", "Exception", "Misfit", "Refused", "Wrong")


def own_errors() -> set[str]:
    """Return the names of the exceptions that are defined here."""
    classes = (n for s in sources("app", "engine") for n in ast.walk(s.tree) if isinstance(n, ast.ClassDef))
    return {c.name for c in classes if any(dotted(b).split(".")[-1].endswith(BASES) for b in c.bases)}


def kinds(handler: ast.ExceptHandler) -> list[str]:
    asked = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return [dotted(kind).split(".")[-1] for kind in asked if kind is not None]


def tells_its_text(handler: ast.ExceptHandler) -> bool:
    """Say whether a handler puts the text of what it caught into words (looking into it is no telling)."""
    looked = {id(n) for c in ast.walk(handler) if isinstance(c, ast.Compare) for n in ast.walk(c)}

    def is_it(node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id == handler.name

    for node in ast.walk(handler):
        if id(node) in looked:
            continue
        if isinstance(node, ast.FormattedValue) and is_it(node.value):
            return True
        if isinstance(node, ast.Attribute) and node.attr == "args" and is_it(node.value):
            return True
        named = dotted(node.func).split(".")[-1] if isinstance(node, ast.Call) else ""
        if named in ("str", "repr", "show_name", "show_text") and any(map(is_it, node.args)):  # type: ignore[attr-defined]
            return True
    return False


def raw(source: Source, own: set[str]) -> list[str]:
    found = []
    for handler in (n for n in ast.walk(source.tree) if isinstance(n, ast.ExceptHandler) and n.name):
        foreign = [kind for kind in kinds(handler) if kind not in own]
        if foreign and tells_its_text(handler) and not any((source.name, k) in OWN_WORDS for k in foreign):
            found.append(f"{source.at(handler)} tells the text of {', '.join(foreign)}")
    return found


def test_r18_that_no_message_is_the_raw_text_of_a_library() -> None:
    own = own_errors()
    assert {"EngineError", "Doubled", "GoTemplateError"} <= own
    found = [line for source in sources("app", "engine") for line in raw(source, own)]
    assert not found, found


def test_r18_that_the_check_sees_what_it_looks_for() -> None:
    code = "try:\n    pass\nexcept {kind} as error:\n    raise EngineError({words}, 'x', 'APP-01')\n"

    def seen(words: str, kind: str = "ValueError") -> bool:
        handler = ast.parse(code.format(kind=kind, words=words)).body[0].handlers[0]  # type: ignore[attr-defined]
        return tells_its_text(handler)

    assert seen("f'bad: {error}'") and seen("str(error)[:80]") and seen("error.args[0]")
    assert not seen("'a' if 'x' in str(error) else 'b'") and not seen("error.strerror")
