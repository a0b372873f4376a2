"""A right answer is worth more when the other members of its isomer set are solved as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from isograd.common.errors import UserError
from isograd.reinforce.rewards_answers import IsomerAnswer
from isograd.reinforce.rewards_base import Reward, Verdict, column_of, log_metric, require_finite

__all__ = ["IsomerAgreement", "agreements"]


def agreements(verdicts: Sequence[Verdict | None], sets: Sequence[Any], domains: Sequence[Any]) -> list[float | None]:
    """How well the other members of each completion's set are solved in this batch.

    With c_j = 1 where completion j is right and 0 where it is not, and the completions of the other members
    O_i = {j : set_j = set_i, domain_j != domain_i},

        a_i = (1 / |O_i|) sum_{j in O_i} c_j.

    Args:
        verdicts: on each completion; those that are ``None`` count for nobody.
        sets, domains: texts or whole numbers; a row with anything else stands alone.

    Returns:
        a_i, or ``None`` where O_i is empty.
    """
    keys = [(_key(name), _key(domain)) for name, domain in zip(sets, domains, strict=True)]
    # Sums by set and by member: what is left of a set without one of its members is the difference.
    counts: Counter[Hashable] = Counter()
    solved: Counter[Hashable] = Counter()
    for (name, domain), verdict in zip(keys, verdicts, strict=True):
        if verdict is not None and name is not None and domain is not None:
            for place in (name, (name, domain)):
                counts[place] += 1
                solved[place] += verdict is Verdict.RIGHT
    shares: list[float | None] = []
    for name, domain in keys:
        others = counts[name] - counts[name, domain] if name is not None and domain is not None else 0
        shares.append((solved[name] - solved[name, domain]) / others if others else None)
    return shares


def _key(value: Any) -> tuple[str, Hashable] | None:
    # The type's name keeps 1 and True, and a set called by a pair, apart.
    return (type(value).__name__, value) if isinstance(value, str | int) else None


@dataclass(frozen=True)
class IsomerAgreement:
    """A right answer earns a bonus for the share of its set's other members that are solved.

    The definition is isograd's own. With c_i = 1 where completion i is right, b_i what ``judge`` gives, and a_i the
    share of right completions among those of the *other* domains of its set in this batch (:func:`agreements`; 0 where
    the batch has none),

        r_i = b_i + bonus * (right - wrong) * c_i * a_i,

    which with the default worths is c_i (1 + bonus * a_i): wrong earns 0, right between 1 and 1 + ``bonus``.

    *When it acts.* The members of a set must be sampled together: rows as :func:`isograd.isomers.views.to_prompts`
    orders them, ``shuffle_dataset=False``, and a generation batch (of one process: each sees its own rows only) that
    holds whole sets. The metric ``isomer_agreement/together`` says for how many completions that was so.

    *What it does to advantages.* All completions of one prompt share a_i, so the bonus multiplies the spread of a group
    and never changes the order within it. With ``scale_rewards="group"`` (TRL's default) the division by the group's
    standard deviation takes it out again, and this reward alone trains as ``judge`` would. Use
    ``scale_rewards="none"`` or ``"batch"``: there, groups of sets that are solved throughout weigh more. Beside other
    rewards it acts under ``"group"`` too: it shifts the balance within a group from them to right answers, and can
    reorder completions by it.

    Args:
        judge: says what is right, and what the verdicts are worth without a bonus.
        bonus: at least 0.
        set_column, domain_column: where the set's id and the member's domain stand.
        name: what TRL logs it as.

    Raises:
        UserError: a judge that is no :class:`Reward`; a bonus that is negative or not finite; when called, a column
            that the dataset lacks.
    """

    judge: Reward = field(default_factory=IsomerAnswer)
    bonus: float = 0.5
    set_column: str = "set_id"
    domain_column: str = "domain"
    name: str = "isomer_agreement"

    def __post_init__(self) -> None:
        if not isinstance(self.judge, Reward):
            raise UserError(f"{self.name}: judge is {self.judge!r}; give a reward such as IsomerAnswer()")
        require_finite(self.name, bonus=self.bonus)
        if self.bonus < 0:
            raise UserError(f"{self.name}: bonus is {self.bonus}; give at least 0")

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, *, completions: Sequence[Any], **columns: Any) -> list[float | None]:
        verdicts = self.judge.verdicts(completions, columns)
        sets = column_of(self.name, columns, self.set_column, len(completions))
        domains = column_of(self.name, columns, self.domain_column, len(completions))
        shares = agreements(verdicts, sets, domains)
        known = [share for share in shares if share is not None]
        # Both are logged every time, because the trainer averages metrics over processes by name.
        log_metric(columns, f"{self.name}/together", len(known) / max(len(shares), 1))
        log_metric(columns, f"{self.name}/agreement", sum(known) / max(len(known), 1))
        return [self._reward(verdict, share or 0.0) for verdict, share in zip(verdicts, shares, strict=True)]

    def _reward(self, verdict: Verdict | None, share: float) -> float | None:
        base = self.judge.worth(verdict)
        if base is None or verdict is not Verdict.RIGHT:
            return base
        return base + self.bonus * (self.judge.right - self.judge.wrong) * share
