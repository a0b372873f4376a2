"""The dataset card: valid for the hub, and its numbers are those of the sets."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard, DatasetCardData
from hypothesis import given
from hypothesis import strategies as st
from isomer_strategies import isomer_sets

from isograd.common.errors import UserError
from isograd.isomers import IsomerSet, create_isomers, dataset_card, save_isomers
from isograd.isomers.card import MOST_ROWS, Composition, shard


def tables(card: str) -> dict[str, list[dict[str, str]]]:
    """The tables of a card by their heading and their first column's name: rows as dicts."""
    found: dict[str, list[dict[str, str]]] = {}
    heading = ""
    for block in re.split(r"\n\n+", card):
        lines = block.strip().split("\n")
        if lines[0].startswith("#"):
            heading = lines[0].lstrip("# ")
        rows = [re.split(r" \| ", line[2:-2]) for line in lines if line.startswith("| ")]
        if rows:
            names, ruler, *body = rows
            assert len(ruler) == len(names)
            assert all(re.fullmatch("---:?", rule) for rule in ruler)
            assert all(len(row) == len(names) for row in body)
            cells = [[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in (names, *body)]
            found[f"{heading}/{cells[0][0]}"] = [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]
    return found


def mixed() -> list[IsomerSet]:
    """Two families, two splits, three seeds, cues and noise."""
    return [
        *create_isomers("arithmetic", seed=1, size=9, cue="member", noise=0.5),
        *create_isomers("arithmetic", seed=2, size=4, depth=3, cue="set"),
        *create_isomers("deduction", seed=3, size=5, split="id", domains=["law", "science"]),
    ]


def test_the_header_is_the_hubs() -> None:
    card = DatasetCard(dataset_card(mixed(), splits=["train", "test"]))
    assert isinstance(card.data, DatasetCardData)
    assert card.data.to_dict() == {
        "license": "apache-2.0",
        "task_categories": ["text-generation"],
        "tags": ["isograd", "reasoning", "logical-isomers"],
        "size_categories": ["n<1K"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": "train", "path": "data/train-*.parquet"},
                    {"split": "test", "path": "data/test-*.parquet"},
                ],
            }
        ],
    }
    assert card.text.lstrip().startswith("# Logical Isomer Sets\n")


def test_the_license_is_claimed_for_the_built_in_generator_alone(sets: list[IsomerSet]) -> None:
    foreign = sets[0].model_copy(
        update={"provenance": sets[0].provenance.model_copy(update={"generator": "some.model"})}
    )
    own = sets[0].model_copy(update={"members": (sets[0].members[0].model_copy(update={"domain": "at home"}),)})
    assert DatasetCard(dataset_card(sets)).data.license == "apache-2.0"
    assert DatasetCard(dataset_card([*sets, own])).data.license == "unknown"
    assert DatasetCard(dataset_card([*sets, foreign])).data.license == "unknown"
    assert DatasetCard(dataset_card([*sets, foreign], dataset_license="cc0-1.0")).data.license == "cc0-1.0"


def test_load_dataset_follows_the_header(tmp_path: Path) -> None:
    sets = mixed()
    save_isomers(sets[:9], tmp_path / shard("train", "00000-of-00001"))
    save_isomers(sets[9:], tmp_path / shard("test", "00000-of-00001"))
    # Nothing to do with the card: would be taken for data without its header.
    save_isomers(sets[:2], tmp_path / "data" / "other.parquet")
    (tmp_path / "README.md").write_text(dataset_card(sets[:9], splits=["train", "test"]))
    loaded = load_dataset(str(tmp_path), cache_dir=str(tmp_path / "cache"))
    assert {split: part.num_rows for split, part in loaded.items()} == {"train": 9, "test": 9}


def test_the_tables_count_the_sets() -> None:
    sets = mixed()
    found = tables(dataset_card(iter(sets)))
    members = [(isomer_set, member) for isomer_set in sets for member in isomer_set.members]
    noisy = sum(isomer_set.noisy for isomer_set in sets)
    assert 0 < noisy < 9
    (overview,) = found["Composition of the split `train`/sets"]
    assert overview == {
        "sets": "18",
        "members": str(len(members)),
        "families": "2",
        "domains": str(len({member.domain for _, member in members})),
        "structures": str(len({isomer_set.structure for isomer_set in sets})),
        "noisy sets": f"{noisy} ({noisy / 18:.1%})",
    }
    domains = Counter((isomer_set.family, member.domain) for isomer_set, member in members)
    rows = {row.pop("family"): row for row in found["Members by family and domain/family"]}
    assert {(family, domain): int(row[domain]) for family, row in rows.items() for domain in row} == {
        (family, domain): domains[family, domain] for family in rows for domain in {pair[1] for pair in domains}
    }
    true = Counter((isomer_set.family, str(isomer_set.graph.goal.value)) for isomer_set, _ in members)
    stated = Counter((isomer_set.family, member.answer) for isomer_set, member in members)
    assert true != stated
    assert {
        (row["family"], row["answer"]): (int(row["true"]), int(row["stated"])) for row in found["Answers/family"]
    } == {key: (true[key], stated[key]) for key in true | stated}
    assert {int(row["members"]): int(row["sets"]) for row in found["Sizes and depths/members"]} == Counter(
        len(isomer_set.members) for isomer_set in sets
    )
    assert {int(row["steps"]): int(row["sets"]) for row in found["Sizes and depths/steps"]} == Counter(
        len(isomer_set.members[0].steps) for isomer_set in sets
    )
    cues = Counter((member.domain, member.cue, member.answer) for _, member in members if member.cue)
    answers = {answer for _, _, answer in cues}
    assert {
        (row["domain"], row["cue"], answer): int(row[answer])
        for row in found["Shortcut cues/domain"]
        for answer in answers
        if row[answer] != "0"
    } == cues
    sources = found["Provenance/generator"]
    assert [tuple(row[name] for name in ("family", "split", "sets", "seeds")) for row in sources] == [
        ("arithmetic", "train", "9", "1"),
        ("arithmetic", "train", "4", "2"),
        ("deduction", "id", "5", "3"),
    ]
    assert {row["generator"] for row in sources} == {"isograd.symbolic"}
    assert ['"noise": 0.5' in row["options"] for row in sources] == [True, False, False]


def test_without_cues_there_is_no_table_of_cues() -> None:
    assert "Shortcut" not in dataset_card(create_isomers(size=2))


def test_long_tables_are_cut_and_say_so(sets: list[IsomerSet]) -> None:
    def numbered(number: int) -> IsomerSet:
        # More answers than there is room for columns.
        member = sets[0].members[0].model_copy(update={"cue": "word", "answer": f"answer {number:03}"})
        origin = sets[0].provenance.model_copy(update={"seed": number})
        return sets[0].model_copy(update={"members": (member,), "provenance": origin})

    card = dataset_card(map(numbered, range(MOST_ROWS + 7)))
    found = tables(card)
    assert len(found["Shortcut cues/domain"]) == len(found["Answers/family"]) == MOST_ROWS
    assert found["Shortcut cues/domain"][1]["stated answer"] == "answer 001"
    # One more in the table of answers: the true one.
    assert card.count("\n7 more rows are not shown.\n") == card.count("\n8 more rows are not shown.\n") == 1
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 57 more" in card


@pytest.mark.parametrize(
    ("count", "category"),
    [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**7, "n>10M")],
)
def test_size_categories(sets: list[IsomerSet], count: int, category: str) -> None:
    composition = Composition()
    composition.add(sets[0])
    composition.sets = count
    assert DatasetCard(composition.card()).data.size_categories == [category]


def test_no_sets_make_no_card() -> None:
    with pytest.raises(UserError, match="there are no isomer sets to describe"):
        dataset_card([])


@given(made=st.lists(isomer_sets(sound=True), min_size=1, max_size=3))
def test_no_text_breaks_a_table(made: list[IsomerSet]) -> None:
    card = dataset_card(made)
    assert tables(card)
    assert DatasetCard(card).data.license == "unknown"
    body = card.split("## Composition", 1)[1]
    assert all(char.isprintable() for char in body.replace("\n", ""))


def test_markup_in_names_is_text(sets: list[IsomerSet]) -> None:
    named = sets[0].model_copy(update={"family": "a|b\n<script>`*_x_*"})
    card = dataset_card([named])
    assert r"| a\|b \<script\>\`\*\_x\_\* |" in card
