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

    ::

        D = sum_k w_k g_k,   w = weighting(G),   G_jk = g_j' g_k

    ``weighting="UPGrad"`` is its ``UPGradWeighting``, and so on; those that need only the Gramian G, or only the number
    of domains, and remember nothing between steps. Shapes: g_k and D [p], the p elements of all A and B; G [K K],
    w [K]. The scale is torchjd's own: some weights sum to 1 for equal domains (UPGrad, MGDA), PCGrad's and CAGrad's do
    not (use ours of the same names, which are means). UPGrad, DualProj and CAGrad take gradients whose squared lengths
    sum to less than 1e-4 for zero: the first two are then the mean, CAGrad no step. OURS: nothing but that the weights
    of a Gramian with a NaN or an infinity are NaN, and that random draws are named.

    Attributes:
        weighting: its name, without the ending ``Weighting``. Default "UPGrad": torchjd's own method.
        options: keyword arguments of its constructor; a list becomes a tensor, float64. Default {}: torchjd's.

    Raises:
        UserError: torchjd, or a solver that this weighting needs, is missing; it has no such weighting on a Gramian; or
            it refuses the options, here or, with those that depend on the number of domains, at the first step.
    """

    weighting: str = "UPGrad"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._make()

    def weights(self, gramian: Float[Tensor, "K K"], rng: random.Random) -> Float[Tensor, " K"]:
        if not gramian.isfinite().all():  # factorizations refuse it; a NaN has to reach the optimizer
            return gramian.new_full((len(gramian),), torch.nan)
        with torch.random.fork_rng(devices=[]):
            # torchjd draws from torch's global generator: that of the CPU, and no other is to be touched.
            torch.default_generator.manual_seed(rng.getrandbits(63))
            try:
                weights: Tensor = self._make()(gramian)
            except (TypeError, ValueError) as error:
                made = f"{self.weighting} with the options {self.options}"
                raise UserError(f"torchjd: {made} refuses {len(gramian)} domains: {_line(error)}") from None
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
            # A list can only be meant for a tensor, the weights or preferences of the domains.
            options = {
                key: torch.tensor(value, dtype=torch.float64) if isinstance(value, list | tuple) else value
                for key, value in self.options.items()
            }
            return getattr(aggregation, f"{self.weighting}Weighting")(**options)
        except ImportError as error:
            raise UserError(f"torchjd: {self.weighting}: {_line(error)}") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(f"torchjd: {self.weighting} refuses its options {self.options}: {_line(error)}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _known(aggregation: Any) -> list[str]:
    """Weightings of a Gramian, known by their aggregators, and those that look at nothing but the number of domains."""
    names = {"Constant", "Mean", "Random", "Sum"}
    for name, kind in vars(aggregation).items():
        if isinstance(kind, type) and issubclass(kind, aggregation.GramianWeightedAggregator):
            weighting = getattr(aggregation, f"{name}Weighting", None)
            if weighting is not None and not hasattr(weighting, "reset"):  # what can be reset remembers
                names.add(name)
    return sorted(names)
