"""Write docs/errors.md from the error catalogue. usage: write_errors_page.py [FILE]"""

from __future__ import annotations

import sys
from pathlib import Path

from engine.error_catalogue import CATALOGUE

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
HEAD = """# What Tunesmith says when something is wrong

Every message carries one of these codes, in the window, on the command line (`--json` has it as `code`), in
`events.jsonl` and in `exit.json`. Names in braces stand for what differs from case to case; the place where
an error is found often says more than the form below: what happened, where, and what to do next. **error**
stops what was asked, **warning** asks what to do, **info** only informs. A run that ended with an error keeps
its saves. This page is written from the catalogue itself.
"""
AREAS = {
    "DATA": "Training data",
    "MODEL": "Models, adapters, tokenizers and templates",
    "RUN": "Runs",
    "DISK": "Disks and folders",
    "GPU": "GPUs",
    "REC": "Recipes and wrong calls",
    "HUB": "Downloads",
    "CHAT": "Chat",
    "APP": "The application itself",
}


def page() -> str:
    """Return the whole page."""
    lines = [HEAD]
    for area, title in AREAS.items():
        lines.append(f"## {title}\n\n| code | kind | what happened | what to do |\n|---|---|---|---|")
        lines += [
            f"| {code} | {entry.severity} | {entry.message} | {entry.hint} |"
            for code, entry in CATALOGUE.items()
            if code.startswith(f"{area}-")
        ]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    target.write_text(page(), encoding="utf-8")
