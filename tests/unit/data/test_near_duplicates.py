"""Rows that are nearly the same: known pairs, comparison with all pairs, scripts without blanks, order."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from engine.data.batch import make_batch
from engine.data.conversation import Conversation
from engine.data.near import NearIndex, shingles
from engine.data.near_search import similarity

SYLLABLES = "ka lo mi ten sur ro pa vel qui nor da fes ti mu ran el go bri sta".split()


def words(rng: random.Random, count: int) -> list[str]:
    return ["".join(rng.choices(SYLLABLES, k=rng.choice((1, 2, 3)))) for _ in range(count)]


def text(words_: list[str]) -> Conversation:
    return Conversation(text=" ".join(words_))


def asked(question: str, answer: str, system: str = "") -> Conversation:
    first = [{"role": "system", "content": system}] if system else []
    return Conversation(
        (*first, {"role": "user", "content": question}, {"role": "assistant", "content": answer})
    )


def near_to(conversations: list[Conversation]) -> list[int]:
    index = NearIndex()
    for conversation in conversations:
        index.add(conversation)
    return index.finish().near_to.tolist()


def sets(conversations: list[Conversation]) -> list[frozenset[int]]:
    """Return the exact sets of hashes that the signatures stand for."""
    batch = make_batch(0, [("", "", c.text or "") for c in conversations])
    hashes, part = shingles(batch)
    return [frozenset(hashes[part == 4 * row + 3].tolist()) for row in range(len(conversations))]


def jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0


def changed(rng: random.Random, row: list[str], share: float) -> list[str]:
    """Return a row with one passage of it written anew."""
    size = max(1, round(len(row) * share))
    at = rng.randrange(len(row) - size + 1)
    return [*row[:at], *words(rng, size), *row[at + size :]]


@pytest.fixture(scope="module")
def mixed() -> list[Conversation]:
    """400 rows of 30 to 250 words: 200 of their own, and 200 that share from nothing to all with one."""
    rng = random.Random(4)
    own = [words(rng, rng.randint(30, 250)) for _ in range(200)]
    like = [changed(rng, row, rng.choice((0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.5))) for row in own]
    rows = [text(row) for row in own + like]
    rng.shuffle(rows)
    return rows


def test_that_runs_of_three_words_are_hashed_alike_wherever_they_stand() -> None:
    first, second = sets(
        [Conversation(text="The cat, sat on the MAT."), Conversation(text="the cat sat\non the mat")]
    )
    assert first == second
    assert len(first) == 6


def test_that_the_similarity_estimated_is_that_of_the_sets(mixed: list[Conversation]) -> None:
    index = NearIndex()
    for row in mixed:
        index.add(row)
    index.finish()
    signatures = np.concatenate(index._signatures)
    exact = sets(mixed)
    pairs = [(i, j) for i, j in combinations(range(len(mixed)), 2) if jaccard(exact[i], exact[j]) > 0.2]
    a, b = np.array(pairs).T
    estimated = similarity(signatures[a], signatures[b])
    error = estimated - np.array([jaccard(exact[i], exact[j]) for i, j in pairs])
    assert len(pairs) > 150
    assert abs(error.mean()) < 0.01
    assert np.abs(error).max() < 0.2
    assert error.std() < 0.05


def test_that_every_pair_of_similarity_09_is_found_and_none_below_06(mixed: list[Conversation]) -> None:
    found = near_to(mixed)
    exact = sets(mixed)
    for i, j in combinations(range(len(mixed)), 2):
        if jaccard(exact[i], exact[j]) >= 0.9:
            assert found[j] == i, (i, j)
    for j, i in enumerate(found):
        assert i < 0 or (i < j and jaccard(exact[i], exact[j]) >= 0.6), (i, j)


@pytest.mark.parametrize("seed", range(3))
def test_that_groups_in_any_order_keep_their_first_row_alone(seed: int) -> None:
    rng = random.Random(seed)
    rows: list[tuple[int, Conversation]] = []
    for group in range(60):
        row = words(rng, 80)
        rows += [(group, text([*row[:40], f"x{n}", *row[40:]])) for n in range(rng.randint(1, 4))]
    rng.shuffle(rows)
    found = near_to([row for _, row in rows])
    first: dict[int, int] = {}
    for number, (group, _) in enumerate(rows):
        assert found[number] == first.get(group, -1)
        first.setdefault(group, number)


def test_that_the_same_rows_give_the_same_in_another_process(mixed: list[Conversation]) -> None:
    code = (
        "import sys; from engine.data.near import NearIndex\n"
        "from engine.data.conversation import Conversation\n"
        "index = NearIndex()\n"
        "for line in sys.stdin: index.add(Conversation(text=line.strip()))\n"
        "print(index.finish().near_to.tolist())"
    )
    root = Path(__file__).resolve().parents[3]
    given = "\n".join(row.text or "" for row in mixed)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        input=given,
        capture_output=True,
        text=True,
        cwd=root,
        env={"PYTHONHASHSEED": "77", "PATH": ""},
        check=True,
    )
    assert ran.stdout.strip() == str(near_to(mixed))


def test_that_a_row_is_compared_with_rows_of_earlier_batches() -> None:
    rng = random.Random(1)
    rows = [words(rng, 60) for _ in range(1500)]
    rows.append([*rows[3][:30], "other", *rows[3][31:]])
    found = near_to([text(row) for row in rows])
    assert found[1500] == 3
    assert set(found[:1500]) == {-1}


CHINESE = "学而时习之，不亦说乎？有朋自远方来，不亦乐乎？人不知而不愠，不亦君子乎？"
THAI = "โรบินซื้อลูกอมมาสามถุงและแบ่งให้เพื่อนห้าคนในวันเสาร์ที่ผ่านมา"
JAPANESE = "ジャネットのアヒルは1日に16個の卵を産みます。彼女は毎朝それを朝食に3個食べます。"
ARABIC = "كان هناك رجل يعيش في قرية صغيرة قرب البحر وكان يخرج كل صباح ليصطاد السمك ثم يعود في المساء الى بيته"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (CHINESE, CHINESE.replace("时", "時")),
        (THAI, THAI.replace("ห้าคน", "หกคน")),
        (JAPANESE, JAPANESE.replace("3個", "4個")),
        (ARABIC, ARABIC.removeprefix("كان ")),
    ],
    ids=["chinese", "thai", "japanese", "arabic"],
)
def test_that_rows_in_scripts_without_blanks_are_compared(first: str, second: str) -> None:
    other = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"
    assert near_to([Conversation(text=t) for t in (first, other, second)]) == [-1, -1, 0]


def test_that_sums_and_code_that_differ_in_a_sign_are_not_the_same() -> None:
    assert near_to([asked("What is 12 + 30?", "42"), asked("What is 12 - 30?", "42")]) == [-1, -1]
    assert near_to([asked("What is 12 + 30?", "42"), asked("what is 12 + 30", "42.")]) == [-1, 0]


def test_that_rows_of_one_template_are_not_the_same() -> None:
    template = (
        "You are given a message of a customer. Say in one word what it is about, and nothing else: " * 3
    )
    rng = random.Random(2)
    rows = [asked(template + " ".join(words(rng, 4)), rng.choice(("card", "loan"))) for _ in range(700)]
    assert set(near_to(rows)) == {-1}


def test_that_questions_about_one_passage_are_not_the_same() -> None:
    passage = " ".join(words(random.Random(3), 200))
    rows = [
        asked(f"{passage}\n\nHow many points were scored?", "308"),
        asked(f"{passage}\n\nWho won?", "Denver"),
    ]
    assert near_to(rows) == [-1, -1]
    rows = [asked(f"{passage}\n\n{question}", "yes") for question in ("Did they win?", "Was it in May?")]
    assert near_to(rows) == [-1, -1]


def test_that_one_answer_to_two_short_questions_is_not_the_same() -> None:
    answer = " ".join(words(random.Random(3), 60))
    assert near_to([asked("hi", answer), asked("hello", answer)]) == [-1, -1]


def test_that_the_system_message_does_not_count() -> None:
    rng = random.Random(5)
    system = " ".join(words(rng, 300))
    rows = [asked(" ".join(words(rng, 10)), " ".join(words(rng, 10)), system) for _ in range(5)]
    assert set(near_to(rows)) == {-1}


def test_that_a_copy_of_a_row_left_out_is_left_out_too() -> None:
    row = words(random.Random(6), 60)
    like = [*row[:30], "other", *row[31:]]
    index = NearIndex()
    for words_ in (row, like, like, row):
        index.add(text(words_))
    found = index.finish()
    assert found.copy_of.tolist() == [-1, -1, 1, 0]
    assert found.near_to.tolist() == [-1, 0, 0, -1]
    assert not found.capped


def test_that_rows_without_words_and_no_rows_are_never_near() -> None:
    assert near_to([]) == []
    assert near_to([Conversation(text=t) for t in ("...", "!!!", "?", "\ud800")]) == [-1, -1, -1, -1]
