"""A server on this computer that speaks the part of the hub's published interface that its client uses."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" * 6 + "c0ff"
SET = "some/set"
MODEL = "some/model"


class Hub:
    """What the server has and how it behaves; `seen` are the requests that came, `tokens` those sent along.

    `mode`: well, gated, missing, revision, login (a page answers everything), login_files (for files alone),
    short (files come cut), broken (the connection ends in the middle, once), busy, forged (another content),
    stall (half of each large file comes, then nothing until `go_on`), elsewhere (files lie at `other`).
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.mode = "well"
        self.seen: list[str] = []
        self.tokens: list[str] = []
        self.url = ""
        self.broken: set[str] = set()
        self.go_on = threading.Event()
        self.other = ""


class _Answer(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.seen.append(f"{self.command} {path}")
        hub.tokens += [t for t in [self.headers.get("Authorization")] if t]
        if hub.mode == "login" or (hub.mode == "login_files" and "/resolve/" in path):
            return self.send(200, b"<html>Sign in to the network</html>", {"Content-Type": "text/html"})
        refused = {
            "gated": (401, "GatedRepo"),
            "missing": (404, "RepoNotFound"),
            "revision": (404, "RevisionNotFound"),
            "busy": (503, ""),
            "proxy": (407, ""),
        }
        open_to_all = hub.mode == "gated" and path.startswith("/api/")
        if hub.mode in refused and not open_to_all:
            status, code = refused[hub.mode]
            return self.send(status, b'{"error": "no"}', {"X-Error-Code": code, "X-Error-Message": "no"})
        return self.resolve(path) if "/resolve/" in path else self.api(path)

    def api(self, path: str) -> None:
        if path.startswith((f"/api/datasets/{SET}/tree/", f"/api/models/{MODEL}/tree/")):
            return self.send(200, json.dumps([self.entry(name) for name in self.hub.files]).encode())
        if path.startswith(f"/api/models/{MODEL}"):
            siblings = [{"rfilename": n, "size": len(c), **self.entry(n)} for n, c in self.hub.files.items()]
            return self.send(200, json.dumps({"id": MODEL, "sha": COMMIT, "siblings": siblings}).encode())
        if path in (f"/api/datasets/{SET}", f"/api/datasets/{SET}/revision/main"):
            siblings = [{"rfilename": name} for name in self.hub.files]
            facts = {"id": SET, "sha": COMMIT, "private": False, "tags": [], "siblings": siblings}
            return self.send(200, json.dumps({**facts, "downloads": 0, "likes": 0}).encode())
        self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def entry(self, name: str) -> dict[str, object]:
        content = self.hub.files[name]
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
        if name.endswith((".parquet", ".safetensors")):
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "sha256": digest, "size": len(content), "pointerSize": 130}
        return entry

    def resolve(self, path: str) -> None:
        name = path.partition(f"/resolve/{COMMIT}/")[2]
        if name not in self.hub.files:
            return self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
        if self.hub.mode == "elsewhere":
            return self.send(302, b"", {"Location": self.hub.other + path, **self.marks(name)})
        content = self.hub.files[name]
        marks = self.marks(name)
        if self.command == "HEAD":
            return self.send(200, content, marks)
        if self.hub.mode == "forged":
            content = content[::-1]
        if self.hub.mode == "short":
            content = content[: len(content) // 2]
        begin = self.headers.get("Range", "")
        if begin:
            at = int(begin.removeprefix("bytes=").partition("-")[0])
            marks["Content-Range"] = f"bytes {at}-{len(content) - 1}/{len(content)}"
            return self.send(206, content[at:], marks)
        if self.hub.mode == "stall" and len(content) > 1 << 20:
            return self.send(200, content, marks, len(content) // 2, wait=True)
        breaks = self.hub.mode == "broken" and name not in self.hub.broken
        self.hub.broken.add(name)
        self.send(200, content, marks, len(content) // 2 if breaks else None)

    def marks(self, name: str) -> dict[str, str]:
        content = self.hub.files[name]
        etag = hashlib.sha256(content).hexdigest()
        return {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', "X-Linked-Size": str(len(content))}

    def send(
        self,
        status: int,
        content: bytes,
        marks: dict[str, str] | None = None,
        only: int | None = None,
        *,
        wait: bool = False,
    ) -> None:
        self.send_response(status)
        for name, value in (marks or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:only])
        if wait:
            self.hub.go_on.wait(60)
        if only is not None:
            self.close_connection = True


@contextmanager
def serving() -> Iterator[Hub]:
    """Run the server on a free port of this computer."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answer", (_Answer,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
