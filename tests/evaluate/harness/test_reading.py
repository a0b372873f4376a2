"""Where the answer stands in what a model wrote."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isograd.evaluate.harness.reading import last_boxed, read_label, read_number, read_text
from isograd.evaluate.harness.scoring import by_letter, by_maths, by_number, by_words


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"so \boxed{5}.", "5"),
        (r"\boxed{1} and then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\left\{1, 2\right.}", r"\left\{1, 2\right."),
        (r"\fbox{x}", "x"),
        (r"thus $\boxed 7$", "7"),
        (r"\boxed{3} and \boxed{4", "3"),
        (r"\boxed{a \boxed{b} c}", "b"),
        (r"{\boxed{3}", "3"),
        (r"}} \boxed{3}}}", "3"),
        (r"\boxed {3}", "3"),
        (r"\boxed{}", None),
        ("no box", None),
    ],
)
def test_the_last_box(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Steps.\nAnswer: 12", "12"),
        ("**Answer:** 12", "12"),
        ("Final answer: 12", "12"),
        ("Answer:\n12", "12"),
        ("2 + 2 = 4\n#### 4\n", "4"),
        ("The answer is 12.", "12."),
        ("Answer: 3\nNo: \\boxed{4}", "4"),
        ("\\boxed{4}\nAnswer: 3", "3"),
        ("Answer: $\\boxed{4}$", "4"),
        ("A first try: answer = 7\nAnswer: 8", "8"),
        ("an answer that is missing", None),
        ("Answer:", None),
        ("", None),
    ],
)
def test_the_text_after_the_last_mark(text: str, answer: str | None) -> None:
    assert read_text(text) == answer


def test_numbers_without_a_mark() -> None:
    assert read_number("First 3, then 4, which makes 1,200.") == "1200"
    assert read_number("none") is None


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Answer: True", "True"),
        ("Answer: true, because it rains", "True"),
        ("The answer is **False**.", "False"),
        ("Answer: \\boxed{\\text{Unknown}}", "Unknown"),
        ("Unknown.", "Unknown"),
        ("Answer: Truest", None),
        ("It may be True or False", None),
        ("Answer: not True", None),
        ("", None),
    ],
)
def test_labels(text: str, label: str | None) -> None:
    assert read_label(text, ["True", "False", "Unknown"]) == label


def test_a_label_that_begins_another() -> None:
    assert read_label("Answer: son-in-law", ["son", "son-in-law"]) == "son-in-law"
    assert read_label("Answer: son-in-law", ["son"]) is None
    assert read_label("Answer: son, not son-in-law", ["son", "son-in-law"]) == "son"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("#### 32.5", True),
        ("Answer: $32.50", True),
        ("Answer: 65/2", True),
        (r"\boxed{\frac{65}{2}}", True),
        ("which makes 32.5 coins in all.", True),
        ("Answer: 325", False),
        ("#### 32,5", False),
        ("", False),
    ],
)
def test_decimals_of_word_problems(text: str, right: bool) -> None:
    assert by_number({"gold": "32.5"}, [text]) == {"accuracy": float(right)}


@pytest.mark.parametrize(
    ("answer", "numbers"),
    [
        ("4 cups", ["4"]),
        ("64 cookies", ["64"]),
        ("6 fish", ["6"]),
        ("3 bolts.", ["3"]),
        ("240 miles per hour", ["240"]),
        ("460 per week", ["460"]),
        ("**4 cups**", ["4"]),
        ("60 miles/hour", ["60"]),
        ("150 cm^2", ["150"]),
        ("150 m²", ["150"]),
        ("John has 14 apples left.", ["14"]),
        ("the 12th", ["12"]),
        ("3 dozen", ["3"]),
        ("2 + 2 = 4 cups", ["4"]),
        ("4 cups = 32 ounces", ["32"]),
        ("1,000 cookies", ["1000"]),
        ("$18.00", ["18"]),
        ("$1,018.00 a week", ["1018"]),
        ("-4 degrees", ["-4"]),
        ("- 4 degrees", ["-4"]),
        ("\u22124 degrees", ["-4"]),
        ("-$4 a day", ["-4"]),
        ("in total - 4 cups", ["4"]),
        (".5 cups", ["0.5"]),
        ("3/4 cup", ["0.75"]),
        ("1 1/2", ["1.5"]),
        ("1 1/2 cups", ["1.5"]),
        # A share may be meant either way.
        ("3.5%", ["3.5", "0.035"]),
        # Two numbers, ranges, clocks: none of them is the answer.
        ("4 or 5 cups", []),
        ("3-4 cookies", []),
        ("3 to 4 cookies", []),
        ("4 cups (32 ounces)", []),
        ("2:30 pm", []),
        ("1,2 cups", []),
        ("1.000.000 cups", []),
        ("1/0 cups", []),
        # Words and signs that make another number of it.
        ("1.5 thousand dollars", []),
        ("2 and a half cups", []),
        ("2\u00bd cups", []),
        ("5\u00b2 cups", []),
        ("5 squared apples", []),
        ("not 7 cups", []),
        ("less than 5 cups", []),
        ("the square root of 3 cups", []),
        ("sqrt 3", []),
        ("3\u03c0 cups", []),
        ("3x", []),
        ("1e3 cups", []),
    ],
)
def test_numbers_with_units(answer: str, numbers: list[str]) -> None:
    # Every number that may be seen in the text, with either sign, and no other.
    seen = {found for found in re.findall(r"\d+", answer) if int(found)}
    for gold in sorted({*numbers, *seen, *(f"-{found}" for found in seen)}):
        right = {"accuracy": float(gold in numbers)}
        assert by_number({"gold": gold}, [f"It takes 9 steps.\nAnswer: {answer}"]) == right, gold


def test_a_number_with_its_unit_after_the_other_marks() -> None:
    for text in ("#### 3 bolts", "The answer is 3 bolts.", "\\boxed{3 bolts}", "\\boxed{3\\text{ bolts}}"):
        assert by_number({"gold": "3"}, [text]) == {"accuracy": 1.0}
        assert by_number({"gold": "4"}, [text]) == {"accuracy": 0.0}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("Answer: A\nNo: \\boxed{B}", "B"),
        ("\\boxed{A}\nAnswer: B", "B"),
        ("Answer: A\n#### B", "B"),
        ("#### B", "B"),
        ("Answer: A\nThe answer is (B).", "B"),
        ("Answer:\n**B**", "B"),
        ("Answer: $\\boxed{\\text{B}}$", "B"),
        ("Answer: B) it rains", "B"),
        ("So the final answer: B", "B"),
        ("(b)", "B"),
        ("Answer: B\nThe answer is not given.", None),
        ("Answer: Bread", None),
    ],
)
def test_letters_are_read_at_the_same_marks(text: str, letter: str | None) -> None:
    assert by_letter({"gold": "B"}, [text]) == {"accuracy": float(letter == "B")}
    assert by_letter({"gold": "A"}, [text]) == {"accuracy": 0.0}


def test_maths_without_a_mark_and_words_without_labels() -> None:
    assert by_maths({"gold": r"\frac{1}{2}"}, ["so we find $x = 0.5$"]) == {"accuracy": 1.0}
    assert by_maths({"gold": r"\frac{1}{2}"}, ["no idea"]) == {"accuracy": 0.0}
    free = {"gold": "Acme  Inc., Bolt Ltd.", "labels": []}
    assert by_words(free, ["Answer: acme inc., bolt ltd"]) == {"accuracy": 1.0}
    assert by_words(free, ["Answer: acme inc."]) == {"accuracy": 0.0}


@given(st.text(st.characters(blacklist_categories=("Cs",)), max_size=60), st.integers(-(10**9), 10**9))
def test_a_number_after_any_text_is_found(before: str, number: int) -> None:
    assert by_number({"gold": str(number)}, [f"{before}\n#### {number:,}"]) == {"accuracy": 1.0}
    assert by_number({"gold": str(number)}, [f"{before}\nAnswer: {number}"]) == {"accuracy": 1.0}
