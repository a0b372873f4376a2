"""Isomer sets on the Hugging Face Hub: a Parquet file for each split and a dataset card.

The token is the one of ``hf auth login`` or of ``HF_TOKEN``, or is passed in; it goes into no file and no message.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, errors

from isograd.common.errors import UserError
from isograd.isomers.card import Composition, shard
from isograd.isomers.files import iter_isomers, save_isomers
from isograd.isomers.schema import IsomerSet

__all__ = ["load_from_hub", "push_to_hub"]


def push_to_hub(
    sets: Iterable[IsomerSet] | str | os.PathLike[str],
    repo_id: str,
    *,
    split: str = "train",
    private: bool = False,
    dataset_license: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Upload sets as one split of a dataset repository, with a card, in one commit; returns the repository's address.

    The repository is made if need be. What it held of this split is replaced, its other splits stay; the card's tables
    describe this split.

    Args:
        sets: sets, or a file of them; gone through once.
        repo_id: ``user/name``.
        split: letters, digits and underscores.
        private: make a new repository private; one that exists stays as it is.
        dataset_license: see :func:`isograd.isomers.card.dataset_card`.
        token: instead of the one of ``HF_TOKEN`` or ``hf auth login``.
        endpoint: address of a hub other than the public one (or set ``HF_ENDPOINT``).

    Raises:
        UserError: the sets cannot be read or are none, ``split`` is no split's name, or the hub cannot be reached or
            refuses.
    """
    _check_split(split)
    composition = Composition()
    with tempfile.TemporaryDirectory() as folder:
        data, card = Path(folder) / "data.parquet", Path(folder) / "README.md"
        source = iter_isomers(sets) if isinstance(sets, str | os.PathLike) else sets
        save_isomers(composition.watch(source), data)
        # Before anything is made on the hub.
        composition.card(splits=[split])
        with _one_line_errors(repo_id):
            api = HfApi(endpoint=endpoint, token=token)
            address = api.create_repo(repo_id, repo_type="dataset", private=private or None, exist_ok=True)
            held = _shards(api.list_repo_files(address.repo_id, repo_type="dataset"))
            splits = [split, *sorted({name for name in held.values() if name != split})]
            card.write_text(
                composition.card(splits=splits, repo=address.repo_id, dataset_license=dataset_license), encoding="utf-8"
            )
            old = [path for path, name in held.items() if name == split and path != shard(split)]
            # One commit: card and data change together, or not at all.
            api.create_commit(
                address.repo_id,
                [
                    CommitOperationAdd(shard(split), data),
                    CommitOperationAdd("README.md", card),
                    *(CommitOperationDelete(path) for path in old),
                ],
                commit_message=f"Isomer sets: {composition.sets} in split {split}",
                repo_type="dataset",
            )
    return str(address)


def load_from_hub(
    repo_id: str,
    split: str = "train",
    *,
    revision: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> list[IsomerSet]:
    """Download a split that :func:`push_to_hub` uploaded, and read it as strictly as a local file.

    Raises:
        UserError: no such repository or split, the hub cannot be reached, or what it holds are not isomer sets.
    """
    _check_split(split)
    with _one_line_errors(repo_id):
        api = HfApi(endpoint=endpoint, token=token)
        folder = api.snapshot_download(
            repo_id, repo_type="dataset", revision=revision, allow_patterns=[shard(split, "*")]
        )
    files = sorted(Path(folder).glob(shard(split, "*")))
    if not files:
        raise UserError(f"{repo_id}: has no split {split!r} ({shard(split, '*')})")
    return [isomer_set for file in files for isomer_set in iter_isomers(file)]


def _check_split(split: str) -> None:
    if not re.fullmatch(r"\w+", split, re.ASCII):
        raise UserError(f"split is {split!r}; it must be letters, digits and underscores")


def _shards(files: Iterable[str]) -> dict[str, str]:
    """The split that each data file of a repository belongs to, by path."""
    found = ((path, re.fullmatch(r"data/(\w+)-\d+-of-\d+\.parquet", path)) for path in files)
    return {path: match[1] for path, match in found if match}


@contextlib.contextmanager
def _one_line_errors(repo_id: str) -> Iterator[None]:
    """Turn what the hub's client raises into one line; its own texts are long, and none of ours."""
    login = "log in with `hf auth login`, or set HF_TOKEN"
    try:
        yield
    except errors.HFValidationError:
        raise UserError(f"{repo_id!r} is not the id of a repository; write it as user/name") from None
    except errors.LocalTokenNotFoundError:
        raise UserError(f"{repo_id}: the hub asks who you are; {login}") from None
    except errors.OfflineModeIsEnabled:
        raise UserError(f"{repo_id}: HF_HUB_OFFLINE is set; unset it to use the hub") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise UserError(f"{repo_id}: the hub does not know you (401); {login}") from None
        if status == 403:
            raise UserError(
                f"{repo_id}: your token may not do this (403); use a token with write access to it"
            ) from None
        if status == 404:
            raise UserError(f"{repo_id}: the hub has no such dataset, or it is private (404); {login}") from None
        raise UserError(f"{repo_id}: the hub answered {status}; try again later") from None
    # The base of all errors of the client's HTTP library, whichever it is built upon; its uploader raises RuntimeError.
    except (errors.HTTPError, OSError, RuntimeError) as error:  # type: ignore[attr-defined]
        name = type(error).__name__
        raise UserError(f"{repo_id}: the hub cannot be reached ({name}); check the network and try again") from None
    except ValueError as error:
        # What the hub has against the card, a license that it does not know for one.
        raise UserError(f"{repo_id}: {' '.join(str(error).split())}") from None
