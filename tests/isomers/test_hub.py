"""Pushing to and loading from a hub that answers over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from datasets import load_dataset
from hub_server import TOKEN, Hub, serving
from huggingface_hub import DatasetCard, constants

from isograd.common.errors import UserError
from isograd.isomers import IsomerSet, from_dataset, load_from_hub, load_isomers, push_to_hub, save_isomers

REPO = "someone/isomers"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub, and a client with a token for it."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serving() as server:
        yield server


def test_what_is_pushed_is_loaded(hub: Hub, tmp_path: Path, sets: list[IsomerSet]) -> None:
    address = push_to_hub(iter(sets), REPO, endpoint=hub.address)
    assert address == f"{hub.address}/datasets/{REPO}"
    assert hub.commits == [("Isomer sets: 12 in split train", ["data/train-00000-of-00001.parquet", "README.md"], [])]
    assert hub.private == set()
    assert load_from_hub(REPO, endpoint=hub.address) == sets
    # As a stranger to isograd would: the repository's folder, by its card.
    folder = tmp_path / "clone"
    for path, content in hub.repos[REPO].items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    assert load_isomers(folder / "data" / "train-00000-of-00001.parquet") == sets
    cloned = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "datasets"))
    assert list(from_dataset(cloned)) == sets


def test_splits_live_side_by_side_and_a_push_replaces_its_own(hub: Hub, tmp_path: Path, sets: list[IsomerSet]) -> None:
    file = tmp_path / "sets.jsonl"
    save_isomers(sets[:4], file)
    push_to_hub(sets, REPO, endpoint=hub.address)
    hub.repos[REPO]["data/test-00000-of-00002.parquet"] = hub.repos[REPO]["data/test-00001-of-00002.parquet"] = b"old"
    push_to_hub(file, REPO, split="test", private=True, endpoint=hub.address)
    assert hub.commits[1] == (
        "Isomer sets: 4 in split test",
        ["data/test-00000-of-00001.parquet", "README.md"],
        ["data/test-00000-of-00002.parquet", "data/test-00001-of-00002.parquet"],
    )
    # It was public before, and nobody asked to change that.
    assert hub.private == set()
    assert (load_from_hub(REPO, endpoint=hub.address), load_from_hub(REPO, "test", endpoint=hub.address)) == (
        sets,
        sets[:4],
    )
    card = DatasetCard(hub.repos[REPO]["README.md"].decode())
    assert [entry["split"] for entry in card.data.configs[0]["data_files"]] == ["test", "train"]
    with pytest.raises(UserError, match=rf"^{REPO}: has no split 'validation' \(data/validation-\*\.parquet\)$"):
        load_from_hub(REPO, "validation", endpoint=hub.address)


def test_a_new_repository_can_be_private_and_its_license_chosen(hub: Hub, sets: list[IsomerSet]) -> None:
    push_to_hub(sets, REPO, private=True, dataset_license="cc-by-4.0", endpoint=hub.address)
    assert hub.private == {REPO}
    assert DatasetCard(hub.repos[REPO]["README.md"].decode()).data.license == "cc-by-4.0"
    with pytest.raises(UserError, match=r"^someone/isomers: Invalid metadata in README\.md\. .*license"):
        push_to_hub(sets, REPO, dataset_license="no-such-license", endpoint=hub.address)


def test_the_token_is_in_no_file_and_no_message(
    hub: Hub, sets: list[IsomerSet], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    push_to_hub(sets, REPO, endpoint=hub.address)
    hub.refuse["/api"] = 403
    with pytest.raises(UserError) as caught:
        push_to_hub(sets, REPO, endpoint=hub.address)
    assert hub.texts
    printed = capfd.readouterr()
    for text in (*map(str, hub.texts), str(hub.repos), str(caught.value), caplog.text, printed.out, printed.err):
        assert TOKEN not in text


@pytest.mark.parametrize(
    ("start", "status", "message"),
    [
        ("/api/repos/create", 401, r"the hub does not know you \(401\); log in with `hf auth login`, or set HF_TOKEN"),
        ("/api/repos/create", 403, r"your token may not do this \(403\); use a token with write access to it"),
        ("/api/datasets/someone/isomers/commit", 403, r"your token may not do this \(403\)"),
        ("/api/datasets/someone/isomers/tree", 404, r"the hub has no such dataset, or it is private \(404\)"),
        ("/api/datasets/someone/isomers/commit", 413, r"the hub answered 413; try again later"),
    ],
)
def test_refusals_are_one_line(hub: Hub, sets: list[IsomerSet], start: str, status: int, message: str) -> None:
    if "create" in start:
        # A repository that is there already might still be written to; this one is not there.
        hub.refuse["/api/datasets"] = 404
    hub.refuse[start] = status
    with pytest.raises(UserError, match=rf"^{REPO}: {message}") as caught:
        push_to_hub(sets, REPO, endpoint=hub.address)
    assert "\n" not in str(caught.value)
    assert not hub.commits


def test_a_wrong_token_is_told(hub: Hub, sets: list[IsomerSet]) -> None:
    for act in (
        lambda: push_to_hub(sets, REPO, token="hf_wrong", endpoint=hub.address),
        lambda: load_from_hub(REPO, token="hf_wrong", endpoint=hub.address),
    ):
        with pytest.raises(UserError, match=r"^someone/isomers: the hub does not know you \(401\)"):
            act()


def test_what_is_not_there_is_told(hub: Hub, sets: list[IsomerSet]) -> None:
    with pytest.raises(UserError, match=r"the hub has no such dataset, or it is private \(404\)"):
        load_from_hub("someone/else", endpoint=hub.address)
    for name in ("a/b/c", "no spaces", "-x"):
        with pytest.raises(UserError, match="is not the id of a repository; write it as user/name"):
            push_to_hub(sets, name, endpoint=hub.address)
        with pytest.raises(UserError, match="is not the id of a repository; write it as user/name"):
            load_from_hub(name, endpoint=hub.address)


def test_without_a_network_it_is_one_line(hub: Hub, sets: list[IsomerSet], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        # Bound, and nobody listens.
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for act in (
            lambda: push_to_hub(sets, REPO, endpoint=endpoint),
            lambda: load_from_hub(REPO, endpoint=endpoint),
        ):
            with pytest.raises(UserError, match=r"^someone/isomers: the hub cannot be reached \(\w+\); check the net"):
                act()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set; unset it to use the hub"):
        push_to_hub(sets, REPO, endpoint=hub.address)


def test_nothing_is_made_on_the_hub_for_sets_that_cannot_be_read(
    hub: Hub, tmp_path: Path, sets: list[IsomerSet]
) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{}\n")
    with pytest.raises(UserError, match=r"broken\.jsonl:1: id: Field required"):
        push_to_hub(broken, REPO, endpoint=hub.address)
    with pytest.raises(UserError, match="there are no isomer sets to describe"):
        push_to_hub([], REPO, endpoint=hub.address)
    for split in ("", "../x", "a b", "train-1"):
        with pytest.raises(UserError, match="it must be letters, digits and underscores"):
            push_to_hub(sets, REPO, split=split, endpoint=hub.address)
    assert not hub.texts


def test_the_command_pushes(hub: Hub, tmp_path: Path, sets: list[IsomerSet]) -> None:
    file = tmp_path / "sets.parquet"
    save_isomers(sets, file)
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.address,
        "HF_TOKEN": TOKEN,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "home"),
    }

    def push(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "isograd", "isomers", "push", str(file), REPO, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=250)

    done = push("--private", "--split", "validation", "--license", "mit")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == f"{hub.address}/datasets/{REPO}"
    assert load_from_hub(REPO, "validation", endpoint=hub.address) == sets
    assert hub.private == {REPO}
    environment["HF_TOKEN"] = "hf_wrong"
    done = push()
    assert done.returncode == 2
    assert done.stderr == (
        f"isograd: error: {REPO}: the hub does not know you (401); log in with `hf auth login`, or set HF_TOKEN\n"
    )
