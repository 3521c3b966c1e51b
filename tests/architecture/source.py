"""The project's own Python files, parsed once: what they import, call and define."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Import:
    """One imported module; `inside` tells that it stands in a function, `typing_only` that it never runs."""

    module: str
    line: int
    inside: bool
    typing_only: bool


@dataclass(frozen=True)
class Source:
    """One file with its tree."""

    path: Path
    tree: ast.Module
    lines: int

    @property
    def name(self) -> str:
        """Return the path as it is written in the repository."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def module(self) -> str:
        """Return the dotted name."""
        return self.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def at(self, node: ast.AST) -> str:
        """Return where a node stands, for a message."""
        return f"{self.name}:{getattr(node, 'lineno', 0)}"

    def imports(self) -> list[Import]:
        """Return every import; `from a import b` counts as `a.b` where that is a module of ours."""
        found: list[Import] = []
        for node, inside, typing_only in _walk(self.tree, inside=False, typing_only=False):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                modules = [f"{base}.{a.name}" if is_module(f"{base}.{a.name}") else base for a in node.names]
            else:
                continue
            found += [Import(m, node.lineno, inside, typing_only) for m in modules]
        return found

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """Yield every call with the dotted name of what is called (empty for a call on an expression)."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield node, dotted(node.func)


def _walk(node: ast.AST, inside: bool, typing_only: bool) -> Iterator[tuple[ast.AST, bool, bool]]:
    """Yield every node with two facts: inside a function, under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        yield child, inside, typing_only
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        checking = isinstance(child, ast.If) and dotted(child.test).endswith("TYPE_CHECKING")
        yield from _walk(child, inside or function, typing_only or checking)


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for a name or an attribute of a name; `?.c` where the beginning is an expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else f"?.{node.attr}"
    return ""


@cache
def is_module(name: str) -> bool:
    """Say whether a dotted name is a module or package of this repository."""
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file() or path.is_dir()


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    """Return the parsed files below some folders, or single files, of the repository."""
    paths: list[Path] = []
    for folder in folders:
        place = ROOT / folder
        paths += [place] if place.is_file() else sorted(place.rglob("*.py"))
    return tuple(_parse(path) for path in paths)


@cache
def _parse(path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    return Source(path, ast.parse(text, filename=str(path)), text.count("\n"))


def below(module: str, package: str) -> bool:
    """Say whether a module is a package or lies in it."""
    return module == package or module.startswith(package + ".")
