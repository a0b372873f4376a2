"""Every gradient method with settings under which it differs from ERM, for tests of the trainer."""

from __future__ import annotations

from typing import Any

Settings = dict[str, Any]

EXACT: Settings = {"svd": "exact"}
"""Small layers and few columns: the randomized SVD is no exact reference for sums in another order."""

ANYWHERE: dict[str, Settings] = {
    "erm": {"method": "erm"},
    "erm, tokens": {"method": "erm", "method_params": {"balance": "token"}},
    "irm": {"method": "irm", "method_params": {"weight": 3.0}},
    "vrex": {"method": "vrex", "method_params": {"weight": 5.0}},
    "group_dro": {"method": "group_dro", "method_params": {"eta": 5.0}},
    "and_mask": {"method": "and_mask", "method_params": {"tau": 0.7}},
    "and_mask, factors": {"method": "and_mask", "method_params": {"space": "factor"}},
    "sand_mask": {"method": "sand_mask", "method_params": {"tau": 0.3}},
    "sand_mask, factors": {"method": "sand_mask", "method_params": {"space": "factor", "tau": 0.3}},
    "pcgrad": {"method": "pcgrad"},
    "mgda": {"method": "mgda"},
    "cagrad": {"method": "cagrad"},
    "torchjd": {"method": "torchjd"},
    "iga": {"method": "iga", "method_params": {"tau": 3.0, **EXACT}},
    "iga, randomized": {"method": "iga", "method_params": {"tau": 3.0}},
    "iga, factors": {"method": "iga", "method_params": {"space": "factor", "tau": 3.0}},
    "iga, running": {"method": "iga", "method_params": {"variance": "running", **EXACT}},
    "iga, layer mean": {"method": "iga", "method_params": {"normalization": "layer_mean", **EXACT}},
    "iga, mean squared": {"method": "iga", "method_params": {"normalization": "mean_squared", **EXACT}},
    "iga, variance as it is": {"method": "iga", "method_params": {"normalization": "none", **EXACT}},
    "iga, input": {"method": "iga", "method_params": {"basis": "input", **EXACT}},
    "iga, singular": {"method": "iga", "method_params": {"basis": "singular", **EXACT}},
    "iga, tangent": {"method": "iga", "method_params": {"projection": "tangent", **EXACT}},
    "iga, raw second moment": {
        "method": "iga",
        "method_params": {"second_moment": "raw", **EXACT},
        "optim": "adamw_torch",
    },
    "iga, shuffled": {"method": "iga", "method_params": {"shuffled": True, **EXACT}},
    "iga, retraction": {"method": "iga", "method_params": {"projection": "retraction", **EXACT}, "learning_rate": 1.0},
    "erm and consistency": {"method": "erm", "consistency": "js"},
    "erm and kl": {"method": "erm", "consistency": "kl", "consistency_at": "steps"},
    "erm and hidden states": {"method": "erm", "consistency": "hidden_cosine", "consistency_at": "all"},
    "iga and consistency": {"method": "iga", "method_params": EXACT, "consistency": "logit_variance"},
}
"""Methods that accumulate, and that train in several processes."""

ONE_BATCH: dict[str, Settings] = {
    "fishr": {"method": "fishr", "method_params": {"weight": 1e4}},
    "iga, within sets": {"method": "iga", "method_params": {"variance": "set", **EXACT}},
}
"""Methods that take a step from one batch of one process."""

SEVERAL_PROCESSES: dict[str, Settings] = {
    **ANYWHERE,
    "fish": {"method": "fish", "method_params": {"step_size": 0.5}},
}

EVERY: dict[str, Settings] = {**SEVERAL_PROCESSES, **ONE_BATCH}

A_FEW = ("erm", "sand_mask", "pcgrad", "iga, randomized", "iga, factors", "fish")
"""One of each way through the trainer that several processes share."""
