"""A quick look at a file's lengths for the wizard: some rows spread over it, not all of them."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from engine.data.examples import Made, as_options, open_rows, tokenised_rows
from engine.data.readers import estimate_rows
from engine.data.report import Lengths
from engine.data.rows import Finding
from engine.data.templates import load_template
from engine.data.tokenizer import open_tokenizer

BINS = 40
# Up to this size the rows are counted one by one; larger files are estimated.
COUNTED_BYTES = 4 << 20


def sample_statistics(
    path: str | Path, model_folder: str | Path, data_section: Any = None, rows: int = 200
) -> dict[str, Any]:
    """Return figures of the first `rows` rows and an estimate of how many there are.

    `lengths` are tokens an example before cutting; `cut_rows` and `supervised_share` hold at the section's
    longest example. Raises EngineError for a file that cannot be used at all.
    """
    data = as_options(data_section)
    stream = open_rows(path, data.format, data.columns, data.system_prompt)
    tokenizer, template = open_tokenizer(model_folder), load_template(model_folder, data.chat_template)
    taken = islice(stream.conversations(), rows)
    lengths, supervised, problems = [], [], []
    seen, last_line = 0, 1
    for item in tokenised_rows(taken, template, tokenizer, data.train_on, stream.options):
        seen += 1
        if isinstance(item, Made):
            last_line = item.tokens.conversation.line
            lengths.append(len(item.tokens.ids))
            supervised.append(int(item.tokens.trained[1 : data.max_length].sum()))
        else:
            last_line = item.line or last_line
            problems.append(item)
    rest = stream.layout.source.size <= COUNTED_BYTES
    seen_all = seen < rows
    total = seen + (sum(1 for _ in stream.remaining()) if rest else 0)
    total = total if rest or seen_all else estimate_rows(stream.layout.source, seen, last_line)
    return _figures(lengths, supervised, problems, total, seen, data.max_length) | {
        "format": stream.mapping.format,
        "mapping": stream.mapping.columns,
        "columns": stream.columns,
        "reason": stream.mapping.reason,
        "alternatives": [other.as_dict() for other in stream.mapping.alternatives],
        "template": template.name,
        "exact": seen_all,
    }


def _figures(
    lengths: list[int], supervised: list[int], problems: list[Finding], total: int, seen: int, limit: int
) -> dict[str, Any]:
    figures = Lengths.of(lengths)
    counts, edges = np.histogram(lengths or [0], bins=BINS, range=(0, max(1, figures.longest)))
    kept = sum(min(n, limit) for n in lengths)
    usable = sum(n > 0 for n in supervised)
    return {
        "rows": total,
        "sampled": seen,
        "usable_rows": round(total * usable / max(1, seen)),
        "tokens": {
            "median": figures.median,
            "p95": figures.p95,
            "max": figures.longest,
            "total": round(figures.total * total / max(1, seen)),
        },
        "supervised_tokens": round(sum(supervised) * total / max(1, seen)),
        "supervised_share": sum(supervised) / max(1, kept),
        "cut_rows": round(sum(n > limit for n in lengths) * total / max(1, seen)),
        "lengths": lengths,
        "histogram": {"counts": counts.tolist(), "edges": [round(float(e), 2) for e in edges]},
        "problems": [p.as_dict() for p in problems[:100]],
    }
