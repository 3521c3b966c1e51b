"""What is a link is asked in one place, which knows those of Windows too."""

from __future__ import annotations

from tests.architecture.source import sources

ASKS = {"is_symlink", "islink", "is_junction", "isjunction", "S_ISLNK"}


def test_that_links_are_asked_for_through_one_helper() -> None:
    found = [
        source.at(call)
        for source in sources("engine", "app")
        for call, name in source.calls()
        if name.rpartition(".")[2] in ASKS and source.name != "engine/links.py"
    ]
    assert not found, f"use engine.links.is_link: {found}"
