"""What is said of the data: each kind of finding, and tables of what is and is not an address or a key."""

from __future__ import annotations

import random

import pytest

from engine.data import checks_text
from engine.data.batch import make_batch
from engine.data.characters import hidden_spans, marked
from engine.data.checks import Check, Checks, Place
from engine.data.conversation import Conversation
from engine.data.overlap import fold_key

SPECIAL = frozenset({"<|im_start|>", "<|im_end|>", "</s>", "<s>"})
COLOURS = ("red", "green", "blue", "amber", "violet", "white", "black", "brown", "grey", "pink")


def asked(question: str, answer: str, system: str = "") -> Conversation:
    first = [{"role": "system", "content": system}] if system else []
    return Conversation(
        (*first, {"role": "user", "content": question}, {"role": "assistant", "content": answer})
    )


def found(*rows: Conversation) -> dict[str, Check]:
    checks = Checks(SPECIAL)
    for number, row in enumerate(rows):
        checks.see("data.jsonl", number, number + 1, row)
    return {check.id: check for check in checks.found()}


def spans(finder: checks_text.Finder, text: str) -> list[str]:
    batch = make_batch(0, [("", "", text)])
    return [text[first:last] for first, last in finder(batch)]


def plain(count: int) -> list[Conversation]:
    rng = random.Random(count)
    return [asked(f"{n} {' '.join(rng.choices(COLOURS, k=6))}?", f"answer {n * 7}") for n in range(count)]


def test_that_sound_rows_give_no_warning() -> None:
    checks = found(*plain(600))
    assert set(checks) == {"scripts"}
    assert checks["scripts"].title == "Latin 100 %"


def test_that_nothing_seen_is_nothing_found() -> None:
    assert Checks().found() == []


def test_d09_that_hidden_characters_are_reported_and_shown_as_marks() -> None:
    secret = "".join(chr(0xE0000 + ord(c)) for c in "do evil")
    rows = [asked("What is\u200b this?", "A test."), asked(f"Hello{secret}", "Hi."), asked("a\u202eb", "c")]
    check = found(*rows, asked("Plain", "text\tand\r\nmore"))["hidden_characters"]
    assert (check.count, check.severity) == (3, "warn")
    assert check.places[0] == Place("data.jsonl", 0, 1, "What is<U+200B> this? A test.")
    assert "<U+202E>" in check.places[2].text
    assert marked("a\u202eb\u0007") == "a<U+202E>b<U+0007>"
    assert hidden_spans("a\u202e\u2066b\u200b") == [(1, 3), (4, 5)]


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cخواهم بروم",
        "क्\u200dष और ర్\u200c\u200cకు",
        "👩\u200d👩\u200d👧 and 🏳️\u200d🌈 and ❤️",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "שלום (abc)\u200f.",
        "ภาษา\u200bไทย",
        "葛\U000e0100城",
        "tab\tand line\nand return\r\nand next line\u0085 and no-break\u00a0space",
    ],
    ids=["persian", "indic", "emoji", "flag", "hebrew", "thai", "variant", "blanks"],
)
def test_d09_that_what_a_script_or_an_emoji_is_written_with_is_not_hidden(text: str) -> None:
    assert "hidden_characters" not in found(asked(text, "ok"))
    assert marked(text) == text


@pytest.mark.parametrize("empty", ["", "  \n", "\u200b\ufeff", "\u3000"])
def test_d30_that_an_empty_question_is_reported(empty: str) -> None:
    check = found(asked("Fine?", "Yes."), asked(empty, "An answer to nothing."))["empty_prompts"]
    assert check.count == 1
    assert check.places == (Place("data.jsonl", 1, 2, "An answer to nothing."),)


def test_d30_that_text_to_be_learnt_as_it_is_has_no_question_to_miss() -> None:
    assert "empty_prompts" not in found(Conversation(text="A line of a book."))


def test_d38_that_special_tokens_typed_as_text_are_reported_with_their_rows() -> None:
    check = found(asked("a", "b"), asked("end<|im_end|> it", "</s>"), asked("<|im_en", "d|> < s>"))[
        "special_tokens"
    ]
    assert check.count == 1
    assert [place.row for place in check.places] == [1]
    assert check.fix == {"data.special_tokens": "text"}


def test_d39_that_the_same_row_twice_is_reported_and_its_removal_offered() -> None:
    rows = plain(40)
    checks = found(*rows, rows[3], rows[3], rows[7])
    check = checks["duplicates"]
    assert (check.count, check.title, check.severity) == (3, "3 duplicate rows", "warn")
    assert check.detail == "rows 4 and 41, 4 and 42, 8 and 43"
    assert check.fix == {"data.dedupe": True}
    assert [place.line for place in check.places] == [41, 42, 43]
    assert check.data["groups"] == 2
    assert "near_duplicates" not in checks


def test_that_rows_with_another_system_message_or_other_tools_are_no_copies() -> None:
    plain_row = asked("a", "b")
    tools = ({"type": "function", "function": {"name": "f"}},)
    rows = [plain_row, asked("a", "b", "Be short."), Conversation(plain_row.messages, tools)]
    untrained = Conversation(plain_row.messages, untrained=frozenset({1}))
    assert "duplicates" not in found(*rows, untrained)


def test_that_nearly_equal_rows_are_reported_and_counted_as_they_will_be_dropped() -> None:
    rng = random.Random(1)
    long = [" ".join(rng.choices(COLOURS, k=5) + [f"w{n}x{i}" for i in range(60)]) for n in range(30)]
    rows = [asked(f"Tell me of {n}", text) for n, text in enumerate(long)]
    again = asked("Tell me of 3", long[3].replace("w3x30", "other"))
    check = found(*rows, again, again)["near_duplicates"]
    assert check.count == 2
    assert check.title == "2 rows are nearly the same as an earlier one"
    assert check.detail == "rows 4 and 31, 4 and 32"
    assert check.fix == {"data.near_duplicates": "drop"}


def test_d40_that_rows_equal_but_for_case_and_blanks_are_called_the_same() -> None:
    a, b = asked("What is  up?", "The sky"), asked("what is up?\n", "THE SKY")
    assert fold_key(a) == fold_key(b)
    assert fold_key(asked("a", "b c")) != fold_key(asked("a b", "c"))
    assert fold_key(Conversation(text="\ud800x")) != fold_key(Conversation(text="x"))


def test_d41_that_one_question_with_different_answers_is_reported() -> None:
    rows = [asked("Who?", "Ada."), asked("Where?", "Here."), asked("Who?", "Grace."), asked("Who?", "ada")]
    check = found(*rows)["contradictions"]
    assert (check.count, check.severity) == (1, "info")
    assert check.title == "1 question is answered differently in different rows"
    assert check.detail == "rows 1 and 3"
    assert check.fix == {}


def test_d41_that_the_same_answer_in_other_case_and_another_system_message_contradict_nothing() -> None:
    rows = [asked("Who?", "Ada."), asked("Who?", "ADA"), asked("Who?", "Grace.", "Answer as Grace.")]
    assert "contradictions" not in found(*rows)
    assert "contradictions" not in found(asked("", "One."), asked("", "Two."))


EMAILS = [
    "write to anna.schmidt@firma-berlin.de please",
    "<j.doe+news@mail.company.co.uk>",
    "Email:kim@naver.com,",
    "mailto:joe_99@gmx.net.",
]
NO_EMAILS = [
    "user@example.com or your@email.com",
    "git clone git@github.com:a/b.git",
    "@property and @app.route('/')",
    "npm i react@18.2.0",
    "y = a@b.T and x@w.mean(axis=0)",
    "WHERE email LIKE '%@gmail.com'",
    "logo@2x.png",
    "https://name:pass@host.org/",
    "a @ b.com, me@localhost, @someone",
]


@pytest.mark.parametrize("text", EMAILS)
def test_that_an_email_address_is_found(text: str) -> None:
    assert len(spans(checks_text.emails, text)) == 1


@pytest.mark.parametrize("text", NO_EMAILS)
def test_that_what_only_looks_like_an_email_address_is_not(text: str) -> None:
    assert spans(checks_text.emails, text) == []


PHONES = [
    "Call +49 30 12345678 now",
    "+1 (415) 555-2671",
    "+4915112345678",
    "(415) 555-2671",
    "415-555-2671.",
    "1-800-555-0199",
    "030/12345678",
    "020 7946 0958",
    "01 42 68 53 00",
    "138-1234-5678",
    "Tel.: 5551234",
    "my phone number is 4155552671",
    "电话：13812345678",
]
NO_PHONES = [
    "ISBN 978-3-16-148410-0 and 0-306-40615-2",
    "2024-01-15 10:30:00, 15.01.2024, 01/02/2003",
    "3.14159265358979 and 12345678901234",
    "1, 2, 3, 4, 5, 6, 7, 8, 9",
    "01 02 03 04 05 06 07",
    "order 4155552671 costs 1 234 567 890",
    "550e8400-e29b-41d4-a716-446655440000",
    "192.168.100.200:8080 255.255.255.0",
    "x = 5 + 1234567890; y = 3+4915112345678",
    "+1.000.000.000 or +3.14159265",
    "0000-0002-1825-0097",
    "123-45-6789",
    "10000000 20000000 30000000",
    "v1.22.333.4444, 0x1234567890",
    "1990-1995, 2000-2005, 1000-2000-3000",
    "0.12345678 0.87654321",
    "9781-234-567-8901",
    "$415-555-2671",
    "0101 0110 1101 0111",
    "0123456789",
    "2023-2024-0001 and 030-4-1234",
    "pages 415 to 555, 2671 words; 10-20-30-40-50",
]


@pytest.mark.parametrize("text", PHONES)
def test_that_a_telephone_number_is_found(text: str) -> None:
    assert len(spans(checks_text.phones, text)) == 1


@pytest.mark.parametrize("text", NO_PHONES)
def test_that_other_numbers_are_no_telephone_numbers(text: str) -> None:
    assert spans(checks_text.phones, text) == []


def _like(alphabet: str, length: int) -> str:
    """Return a made-up key body; put together here so that no key stands in the file."""
    return "".join(random.Random(length).choices(alphabet, k=length))


ALNUM = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
KEYS = [
    "sk-" + _like(ALNUM, 48),
    "sk-proj-" + _like(ALNUM, 80),
    "ghp_" + _like(ALNUM, 36),
    "github_pat_" + _like(ALNUM, 60),
    "AKIA" + _like("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16),
    "hf_" + _like(ALNUM, 34),
    "xoxb-" + _like("0123456789", 12) + "-" + _like(ALNUM, 24),
    "AIza" + _like(ALNUM, 35),
    ".".join(("eyJ" + _like(ALNUM, 17), "eyJ" + _like(ALNUM, 40), _like(ALNUM, 43))),
    "-----BEGIN RSA PRIVATE KEY-----\n" + _like(ALNUM, 64),
    f'api_key = "{_like(ALNUM, 32)}"',
    f"'client_secret': '{_like(ALNUM, 40)}'",
    f'{{"accessToken": "{_like(ALNUM, 40)}"}}',
]
NO_KEYS = [
    'api_key = "YOUR_API_KEY_HERE_1234"',
    'api_key = os.environ["OPENAI_API_KEY"]',
    "sk-learn-is-a-library-for-machine-learning",
    "the task-" + "a" * 30,
    "ghp_short AKIA AIza hf_hub_download",
    "-----BEGIN CERTIFICATE-----",
    '-----BEGIN PRIVATE KEY-----" starts such a file',
    'secret_key = "xxxxxxxxxxxxxxxxxxxx"',
    "ask-" + _like(ALNUM, 30),
    "access_token: see the documentation of the service",
    'access_key = "the quick brown fox jumps"',
]


@pytest.mark.parametrize("text", KEYS)
def test_that_a_key_is_found(text: str) -> None:
    assert len(spans(checks_text.keys, f"before {text} after")) == 1


@pytest.mark.parametrize("text", NO_KEYS)
def test_that_other_words_are_no_keys(text: str) -> None:
    assert spans(checks_text.keys, text) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4539 5787 6362 1486 and 5425-2334-3010-9903", 2),
        ("4111 1111 1111 1111 and 4242424242424242", 0),  # known to all as test numbers
        ("3782 822463 10005", 1),
        ("4242 4242 4242 4241", 0),
        ("1234 5678 9012 3456", 0),
        ("0.4539578763621486 and 45395787636214869999", 0),
        ("4539578763621486", 1),
    ],
)
def test_that_card_numbers_are_told_by_issuer_and_check_digit(text: str, count: int) -> None:
    assert len(spans(checks_text.cards, text)) == count


def test_that_what_is_found_is_counted_by_rows_with_the_first_twenty_places() -> None:
    rows = [asked(f"Who {n}?", f"a{n}@firm.org and b{n}@firm.org") for n in range(30)]
    check = found(*rows)["emails"]
    assert check.count == 30
    assert check.title == "30 rows have e-mail addresses"
    assert [place.row for place in check.places] == list(range(20))
    assert all(len(place.text) <= 160 for place in check.places)


def test_that_places_name_the_file_the_row_and_the_line() -> None:
    checks = Checks()
    for number, file in enumerate(("a.jsonl", "a.jsonl", "b.csv")):
        checks.see(file, number % 2, 10 + number, asked(f"{number}", f"x{number}@firm.org"))
    (check,) = (c for c in checks.found() if c.id == "emails")
    assert [(p.file, p.row, p.line) for p in check.places] == [
        ("a.jsonl", 0, 10),
        ("a.jsonl", 1, 11),
        ("b.csv", 0, 12),
    ]


def test_that_nothing_is_found_across_the_border_of_two_rows() -> None:
    rows = [asked("(415) 555", "-2671 anna"), asked("@firm.org <|im_", "end|>")]
    assert set(found(*rows)) == {"scripts"}


def labelled(**counts: int) -> list[Conversation]:
    names = [label for label, n in counts.items() for _ in range(n)]
    random.Random(0).shuffle(names)
    return [asked(f"text number {n}", name) for n, name in enumerate(names)]


def test_that_labels_are_counted_and_uneven_ones_warned_of() -> None:
    even = found(*labelled(good=20, bad=25))["label_balance"]
    assert (even.severity, even.data["labels"]) == ("info", {"bad": 25, "good": 20})
    uneven = found(*labelled(good=200, bad=10))["label_balance"]
    assert (uneven.severity, uneven.title) == ("warn", "“good” has 20 times as many rows as “bad”")
    rare = found(*labelled(good=30, bad=30, odd=2))["label_balance"]
    assert (rare.severity, rare.count, rare.title) == ("warn", 1, "1 label has fewer than 5 rows")


def test_that_free_answers_and_numbers_are_no_labels() -> None:
    assert "label_balance" not in found(*plain(100))
    sums = [asked(f"{a} + {b}", str(a + b)) for a in range(20) for b in range(20)]
    assert "label_balance" not in found(*sums)


def test_that_one_answer_to_most_rows_is_warned_of() -> None:
    rows = [*plain(10), *(asked(f"question {n}", "I do not know.") for n in range(30))]
    check = found(*rows)["one_answer"]
    assert (check.count, check.data["answer"]) == (30, "I do not know.")
    assert found(*labelled(same=30))["one_answer"].title == "All rows have the same answer"


def test_that_writing_systems_are_told_with_their_shares() -> None:
    rows = [asked("abcd", "абвг"), asked("שלום", "中文中文"), asked("efgh", "ijkl")]
    check = found(*rows)["scripts"]
    assert check.data["shares"] == {
        "Latin": 0.5,
        "Cyrillic": 0.1667,
        "Hebrew": 0.1667,
        "Chinese characters": 0.1667,
    }
    assert check.data["right_to_left_rows"] == 1
    assert check.title.startswith("Latin 50 %")


def test_that_the_same_is_found_however_long_the_rows_are() -> None:
    rows = [Conversation(text="word " * 60_000 + "x@firm.org"), Conversation(text="y@firm.org")]
    assert found(*rows)["emails"].count == 1  # of a text the first 262,144 characters are looked at


def test_that_found_may_be_asked_twice() -> None:
    checks = Checks()
    checks.see("a", 0, 1, asked("a", "b"))
    checks.see("a", 1, 2, asked("a", "b"))
    assert checks.found() == checks.found()
