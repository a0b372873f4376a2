"""Any weighting of torchjd, by name, on the Gramian that one backward pass gives."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.common.errors import UserError
from isograd.gradients._base import GlobalMethod

__all__ = ["TorchJd"]


@dataclass(frozen=True)
class TorchJd(GlobalMethod):
    """A weighting of torchjd (arXiv 2406.16232), which needs the extra ``isograd[torchjd]``.

    ``weighting="UPGrad"`` is its ``UPGradWeighting``, and so on; those that need only the Gramian, or only the number
    of domains, and remember nothing between steps. The scale is torchjd's own: some weights sum to 1 for equal domains
    (UPGrad, MGDA), PCGrad's and CAGrad's do not (use ours of the same names, which are means).

    Attributes:
        weighting: its name, without the ending ``Weighting``.
        options: keyword arguments of its constructor.

    Raises:
        UserError: torchjd, or a solver that this weighting needs, is missing; it has no such weighting on a Gramian; or
            it refuses the options.
    """

    weighting: str = "UPGrad"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._make()

    def weights(self, gramian: Float[Tensor, "K K"], rng: random.Random) -> Float[Tensor, " K"]:
        with torch.random.fork_rng(devices=[]):
            # torchjd draws from torch's global generator: that of the CPU, and no other is to be touched.
            torch.default_generator.manual_seed(rng.getrandbits(63))
            weights: Tensor = self._make()(gramian)
        return weights

    def _make(self) -> Any:
        try:
            from torchjd import aggregation
        except ImportError:
            raise UserError("torchjd is not installed; pip install 'isograd[torchjd]'") from None
        known = _known(aggregation)
        if self.weighting not in known:
            raise UserError(f"torchjd: no weighting {self.weighting!r}; there are: {', '.join(known)}")
        try:
            return getattr(aggregation, f"{self.weighting}Weighting")(**self.options)
        except ImportError as error:
            raise UserError(f"torchjd: {self.weighting}: {error}") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(f"torchjd: {self.weighting} refuses its options {self.options}: {error}") from None


def _known(aggregation: Any) -> list[str]:
    """Weightings of a Gramian, known by their aggregators, and those that look at nothing but the number of domains."""
    names = {"Constant", "Mean", "Random", "Sum"}
    for name, kind in vars(aggregation).items():
        if isinstance(kind, type) and issubclass(kind, aggregation.GramianWeightedAggregator):
            weighting = getattr(aggregation, f"{name}Weighting", None)
            if weighting is not None and not hasattr(weighting, "reset"):  # what can be reset remembers
                names.add(name)
    return sorted(names)
