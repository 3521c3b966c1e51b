"""One tip a day: short advice that costs nothing to try."""

from __future__ import annotations

import time

TIPS = (
    "Drop a file anywhere in this window. It is used as what it is: data, a model, an adapter, a recipe.",
    "A few hundred good examples teach a format. Many poor ones teach the poor ones.",
    "Close this window during a training if you like. It goes on, and the next start shows its whole curve.",
    "Ctrl+K finds pages, commands and runs by name.",
    "Validation loss rises while training loss falls? The run has gone on too long; the best step is kept.",
    "Rank 16 is a sound start. A higher rank costs memory and seldom helps small sets.",
    "In Chat, base and adapter answer the same question side by side. It shows at once what was learned.",
    "The same seed and data give the same run. Change one field at a time to learn what it does.",
    "Filter the runs by their fields, as in base:llama state:failed best<1.",
)


def tip_of_the_day(now: float | None = None) -> str:
    """Return today's tip; the same one all day."""
    day = int((time.time() if now is None else now) // 86400)
    return TIPS[day % len(TIPS)]
