"""Answers that are labels: few, short, and each many times."""

from __future__ import annotations

from collections import Counter

from engine.data.check import Check, counted, number

MOST_LABELS = 100
LONGEST_LABEL = 60
FEWEST_ROWS = 20
A_LABEL = 5  # rows that one label should have, and has on average
UNEVEN = 10
_KEPT = 2000


class Labels:
    """Counts the answers as long as they are few: at most 2,000 different ones of 200 characters."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.rows = 0
        self.short = 0

    def see(self, answer: str) -> None:
        """Count an answer."""
        self.rows += 1
        if len(answer) > 200:
            return
        answer = answer.strip()
        self.short += len(answer) <= LONGEST_LABEL
        if answer in self.counts or len(self.counts) < _KEPT:
            self.counts[answer] += 1

    def _are_labels(self) -> bool:
        counts = self.counts
        if self.rows < FEWEST_ROWS or self.short < self.rows or not 2 <= len(counts) <= MOST_LABELS:
            return False
        numbers = sum(label.lstrip("+-").replace(".", "", 1).isdigit() for label in counts)
        return self.rows >= A_LABEL * len(counts) and (numbers <= 20 or numbers * 2 < len(counts))

    def found(self) -> list[Check]:
        """Return how evenly the labels are spread, or the one answer that most rows have."""
        if self._are_labels():
            return [self._balance()]
        answer, count = max(self.counts.items(), key=lambda item: item[1], default=("", 0))
        if self.rows < FEWEST_ROWS or count * 2 <= self.rows:
            return []
        whole = count == self.rows
        title = "All rows have the same answer" if whole else "More than half of the rows have one answer"
        detail = f"{number(count)} of {number(self.rows)} answer “{answer[:80]}”."
        return [Check("one_answer", "warn", count, title, detail, data={"answer": answer, "rows": self.rows})]

    def _balance(self) -> Check:
        order = self.counts.most_common()
        (most, largest), (least, smallest) = order[0], order[-1]
        rare = [label for label, n in order if n < A_LABEL]
        title = f"{number(len(order))} labels"
        spread = f"From {counted(smallest, 'row', 'rows')} (“{least}”) to {number(largest)} (“{most}”)."
        data = {"labels": dict(order)}
        if not rare and largest <= UNEVEN * smallest:
            return Check("label_balance", "info", len(order), title, spread, data=data)
        if rare:
            title = f"{counted(len(rare), 'label has', 'labels have')} fewer than {A_LABEL} rows"
        else:
            title = f"“{most}” has {largest // smallest} times as many rows as “{least}”"
        why = f"{spread} A label seen seldom is seldom learnt: add rows of it."
        return Check("label_balance", "warn", len(rare) or len(order), title, why, data=data)
