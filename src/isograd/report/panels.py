"""The panels of training logs: which logged numbers are drawn, under which names, and which share an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from isograd.report.figures import curve_panel
from isograd.report.runs import Run
from isograd.report.summary import Method

__all__ = ["REINFORCED", "TRAINED", "Panel", "domain_panels", "log_panels"]

Panel = tuple[str, str, Markup]
"""Title, note, drawing."""
Wanted = tuple[tuple[str, str, str, tuple[str, ...]], ...]

_LOSS = "loss/"
_OUTSIDE = ("outside/below", "outside/above")
_CLIPPED = ("clip_ratio/low_mean", "clip_ratio/high_mean")

# Key of the log, title, note, and the keys whose panels share one vertical axis with it.
TRAINED: Final[Wanted] = (
    ("loss", "loss, all domains", "", ()),
    ("consistency", "isomer consistency term", "", ()),
    ("grad_norm", "gradient norm", "before clipping", ()),
    ("conflict", "conflict rate", "share of entries that one domain pushes up and another down", ()),
    ("mask/mean", "share that the mask lets through", "mean over entries that have a gradient", ()),
)
REINFORCED: Final[Wanted] = (
    ("reward", "reward", "mean of a generation", ()),
    ("entropy", "entropy", "nats a token", ()),
    (
        "cancellation/residual",
        "cancellation residual",
        "of pushes at tokens that the whole group shares; 0: all cancel, 1: none",
        (),
    ),
    (
        "cancellation/residual_any",
        "residual, any sharers",
        "at tokens that two answers or more share; partly signal",
        (),
    ),
    ("cancellation/shared", "shared tokens", "share of tokens that two answers or more share", ()),
    ("learning_tax/norm", "learning tax: norm", "share of the squared update at tokens that all share", ()),
    ("learning_tax/kl", "learning tax: KL", "share of the divergence at tokens that all share", ()),
    ("drift", "drift of equals", "nats, between equally rewarded answers", ()),
    ("outside/below", "ratios below the range", "share of tokens, clipped or not", _OUTSIDE),
    ("outside/above", "ratios above the range", "share of tokens, clipped or not", _OUTSIDE),
    ("clip_ratio/low_mean", "clipped below", "share of tokens", _CLIPPED),
    ("clip_ratio/high_mean", "clipped above", "share of tokens", _CLIPPED),
    ("completions/mean_length", "length of completions", "tokens", ()),
)


def log_panels(methods: Sequence[Method], wanted: Wanted, prefix: str) -> list[Panel]:
    """A panel of each wanted number that any run logged; ``prefix`` is unique on the page."""
    panels = []
    for number, (key, title, note, together) in enumerate(wanted):
        name = "Loss, all domains" if key == "loss" else f"Value, {title}"
        panel = curve_panel(methods, key, f"{prefix}-{number}", name, together)
        if panel is not None:
            panels.append((title, note, panel))
    return panels


def domain_panels(methods: Sequence[Method], runs: Sequence[Run]) -> list[Panel]:
    """A panel of the loss of each domain, all on one vertical axis."""
    keys = sorted({key for run in runs for row in run.training for key in row if key.startswith(_LOSS)})
    names = [key.removeprefix(_LOSS) for key in keys]
    # The key of a drawing is not its name: that comes from a file and would have to be a valid id.
    drawn = [
        (name, "", curve_panel(methods, key, f"domain-{number}", f"Loss, {name}", keys))
        for number, (key, name) in enumerate(zip(keys, names, strict=True))
    ]
    return [(name, note, panel) for name, note, panel in drawn if panel is not None]
