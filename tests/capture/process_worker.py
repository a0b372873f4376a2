"""What each of two processes does in the tests of several processes; results go to files that the test reads."""

from __future__ import annotations

from pathlib import Path

import torch
from capture_models import K, batch, domain_losses, gradients, lora_model, token_counts
from torch import distributed

from isograd.capture import DomainCapture
from isograd.capture._sum import ProcessMean
from isograd.common.errors import UserError
from isograd.gradients import AndMask, GlobalMethod, Iga, LocalMethod, Mgda, PCGrad

METHODS: dict[str, LocalMethod | GlobalMethod] = {
    "iga": Iga(tau=2.0, svd="exact"),
    "factors": Iga(tau=2.0, space="factor"),
    "running": Iga(variance="running", svd="exact"),
    "and_mask": AndMask(tau=0.5),
    "pcgrad": PCGrad(),
    "mgda": Mgda(),
}
ORDER = [2, 0, 3, 0, 1, 3, 3, 1, 0, 2, 3]
SPLIT = 5  # rows of the first process; each has every domain, in other numbers


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    model = lora_model()
    early = DomainCapture(model, METHODS["iga"], num_domains=K)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    try:
        found = {"means": means(rank), "gradients": captured(rank), "refusal": refusal()}
        data = batch(ORDER)
        rows = slice(0, SPLIT) if rank == 0 else slice(SPLIT, None)
        part = {name: value[rows] for name, value in data.items()}
        with early.micro_batch(part["domains"]):
            (2 * domain_losses(model, part, K, token_counts(data, K)).mean()).backward()
        early.write_gradients()
        found["early"] = gradients(model)
    finally:
        distributed.destroy_process_group()
    torch.save(found, folder / f"{rank}.pt")


def means(rank: int) -> dict[str, list[torch.Tensor]]:
    mean = ProcessMean()
    assert mean.processes == 2
    one = [torch.full((2, 3), float(rank))]
    several = [torch.arange(6.0).view(2, 3) * (rank + 1), torch.tensor(10.0 * rank), torch.arange(4.0)[::2] + rank]
    double = [torch.tensor([1.0 + rank, 5.0], dtype=torch.float64)]
    strided = [torch.zeros(3, 2).T + rank]
    for tensors in (one, several, double, strided, []):
        mean(iter(tensors))
    return {"one": one, "several": several, "double": double, "strided": strided}


def captured(rank: int) -> dict[str, dict[str, torch.Tensor]]:
    """Gradients from half of the rows each; the loss is twice its share, as its mean over processes counts."""
    data = batch(ORDER)
    totals = token_counts(data, K)
    rows = slice(0, SPLIT) if rank == 0 else slice(SPLIT, None)
    mine = {name: value[rows] for name, value in data.items()}
    found = {}
    for name, method in METHODS.items():
        model = lora_model()
        capture = DomainCapture(model, method, num_domains=K)
        halves = [slice(0, 1), slice(1, None)] if name in ("iga", "mgda") else [slice(None)]  # with accumulation, too
        for number, half in enumerate(halves):
            part = {key: value[half] for key, value in mine.items()}
            with capture.micro_batch(part["domains"], first=number == 0, last=number == len(halves) - 1):
                (2 * domain_losses(model, part, K, totals).mean()).backward()
        capture.write_gradients()
        found[name] = gradients(model)
    return found


def refusal() -> str:
    model, data = lora_model(), batch([0, 1, 2, 3])
    capture = DomainCapture(model, Iga(variance="set"), num_domains=K)
    try:
        with capture.micro_batch(data["domains"]):
            domain_losses(model, data, K).mean().backward()
    except UserError as error:
        return str(error)
    return ""
