"""Samplers that keep what belongs together in one micro-batch: whole isomer sets, or every domain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from isograd.common.errors import UserError
from isograd.common.seeding import named_random

__all__ = ["DomainBatchSampler", "IsomerSampler", "TellEpoch", "group_sets", "train_sampler"]


def group_sets(set_ids: Sequence[str], domains: Sequence[str]) -> list[list[int]]:
    """Row indices of each set, in the order of their first rows; members in alphabetical order of their domains.

    Args:
        set_ids: the set of each row.
        domains: the domain of each row.

    Raises:
        UserError: the sets do not all hold the same domains, each once.
    """
    groups: dict[str, dict[str, int]] = {}
    for row, (set_id, domain) in enumerate(zip(set_ids, domains, strict=True)):
        members = groups.setdefault(set_id, {})
        if domain in members:
            raise UserError(f"isomer set {set_id!r} has two rows of domain {domain!r}; a set tells each domain once")
        members[domain] = row
    wanted = sorted(set(domains))
    for set_id, members in groups.items():
        lacking = [name for name in wanted if name not in members]
        if lacking:
            raise UserError(
                f"isomer set {set_id!r} lacks {', '.join(lacking)}: all sets must hold the same domains. "
                "Rows cut off by max_length are dropped: raise it if that is the reason"
            )
    return [[members[name] for name in wanted] for members in groups.values()]


class IsomerSampler(Sampler[int]):
    """Keeps sets whole: the rows of a set follow one another, so a batch size divisible by K never tears one apart.

    The shuffled order of epoch e is a function of (seed, e) alone, so a resumed run sees the same batches.

    Args:
        sets: row indices of each set, all of one length K.
        sets_per_batch: sets in one micro-batch; sets left over at the end of an epoch are left out.
        seed: of the named generator.
        shuffled: ``False`` keeps the order given in every epoch: a curriculum.
    """

    def __init__(self, sets: Sequence[Sequence[int]], sets_per_batch: int, seed: int, *, shuffled: bool = True) -> None:
        self.sets = sets
        self.shuffled = shuffled
        self.count = len(sets) // sets_per_batch * sets_per_batch
        self.seed = seed
        self.epoch = 0
        if not self.count:
            raise UserError(
                f"the dataset has {len(sets)} isomer sets but one micro-batch takes {sets_per_batch}; "
                "lower per_device_train_batch_size"
            )

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count * len(self.sets[0])

    def __iter__(self) -> Iterator[int]:
        order = list(range(len(self.sets)))
        if self.shuffled:
            named_random("distill", "set order", self.seed, self.epoch).shuffle(order)
        for index in order[: self.count]:
            yield from self.sets[index]


class DomainBatchSampler(Sampler[int]):
    """For rows that belong to no set: each micro-batch takes equally many rows of every domain.

    An epoch is one pass over the largest domain; smaller domains start over, freshly shuffled, as often as needed.

    Args:
        domains: the domain of each row.
        rows_per_domain: rows of each domain in one micro-batch.
        seed: of the named generator.
    """

    def __init__(self, domains: Sequence[str], rows_per_domain: int, seed: int) -> None:
        self.rows: dict[str, list[int]] = {name: [] for name in sorted(set(domains))}
        for row, name in enumerate(domains):
            self.rows[name].append(row)
        self.rows_per_domain = rows_per_domain
        self.batches = max(len(rows) for rows in self.rows.values()) // rows_per_domain
        self.seed = seed
        self.epoch = 0
        if not self.batches:
            raise UserError(
                f"no domain has {rows_per_domain} rows, which one micro-batch takes of each; "
                "lower per_device_train_batch_size"
            )

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches * self.rows_per_domain * len(self.rows)

    def __iter__(self) -> Iterator[int]:
        streams = {name: self._stream(name, rows) for name, rows in self.rows.items()}
        for _ in range(self.batches):
            for stream in streams.values():
                for _ in range(self.rows_per_domain):
                    yield next(stream)

    def _stream(self, name: str, rows: Sequence[int]) -> Iterator[int]:
        rng = named_random("distill", "row order", name, self.seed, self.epoch)
        while True:
            order = list(rows)
            rng.shuffle(order)
            yield from order


class TellEpoch(TrainerCallback):
    """Tells a sampler its epoch, which accelerate does not where one is resumed midway by several processes.

    Args:
        sampler: of the training data.
    """

    def __init__(self, sampler: IsomerSampler | DomainBatchSampler) -> None:
        self._sampler = sampler

    def on_epoch_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002 - as overridden
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002 - as overridden
        **_kwargs: Any,
    ) -> None:
        self._sampler.set_epoch(int(state.epoch or 0))


def train_sampler(dataset: Any, args: Any, num_domains: int) -> IsomerSampler | DomainBatchSampler:
    """The sampler of a dataset of isomer sets, or of rows with a domain each.

    Args:
        dataset: with the domain column, and ``set_id`` where rows belong to sets.
        args: an ``IsomerSFTConfig``.
        num_domains: K.

    Raises:
        UserError: sets that are not whole, too few rows, or a curriculum of rows without sets.
    """
    domains = dataset[args.domain_column]
    seed = args.seed if args.data_seed is None else args.data_seed
    per_domain = args.per_device_train_batch_size // num_domains
    if "set_id" in dataset.column_names:
        sets = group_sets(dataset["set_id"], domains)
        return IsomerSampler(sets, per_domain, seed, shuffled=args.train_sampling_strategy == "random")
    if args.train_sampling_strategy != "random":
        raise UserError("train_sampling_strategy 'sequential' is for isomer sets; these rows have no set_id")
    return DomainBatchSampler(domains, per_domain, seed)
