"""Put every hostile file to the verbs that open it, in one process that an audit hook watches.

usage: python -I -X utf8 audited_verbs.py REPOSITORY FILES.json HOME; prints {"offences", "answers", "heard"}
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

VERBS = {
    "models": (["models", "show"], ["models", "add"]),
    "adapters": (["adapters", "show"], ["adapters", "add"]),
    "data": (["data", "inspect"], ["data", "preview", "--row", "1", "--model", "TINY"]),
    "recipes": (["plan"], ["advise"]),
    "runs": (["runs", "show"], ["runs", "check"]),
}


def main() -> None:
    """Ask all verbs, and say what the hook heard."""
    root, files, home = sys.argv[1:]
    sys.path.insert(0, root)
    from tests.reliability.harness.audit import Audit

    asked = json.loads(Path(files).read_text())
    places = {str(Path(each)) for kind in asked["files"].values() for each in kind}
    audit = Audit(reads=[*places, asked["tiny"]], writes=[home, *asked["files"]["runs"]]).install()
    from engine.cli import main as engine

    answers = []
    for kind, paths in asked["files"].items():
        for path in paths:
            for verb in VERBS[kind]:
                words = [word.replace("TINY", asked["tiny"]) for word in verb]
                words[2:2] = [path]
                out, err = io.StringIO(), io.StringIO()
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    code = engine([*words, "--json"])
                answers.append(
                    [" ".join(words[:2]), path, code, out.getvalue()[-600:] + err.getvalue()[-600:]]
                )
    print("ANSWER" + json.dumps({"offences": audit.offences, "answers": answers, "heard": audit.heard}))


main()
