"""The chat child that answers as a merge would: a mix of adapters on one base, held in memory only."""

from __future__ import annotations

from typing import Any

from app.workers.chat_process import ChatProcess


class MixProcess(ChatProcess):
    """A chat child of its own for the board; what it holds can be let go at any time."""

    def load_mix(self, mixture: dict[str, Any], base: str, device: str = "auto") -> None:
        """Load a mix of adapters, started with the first one; ends in `loaded`, `failed` or `died`."""
        if not self.alive:
            self._start()
        self._tell["mixed"] = self.replied
        self.order("load", mixture=mixture, base=base, device=device)

    def drop(self) -> None:
        """End the child at once: nothing in it is kept, and its memory is wanted elsewhere."""
        if self._process is not None and self.alive:
            self._closing = True
            self._process.kill()
        self.close()
