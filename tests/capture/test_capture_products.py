"""From tokens to dense gradients: any rows, any domains, any zeros, any tiles."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig
from peft.tuners.lora.layer import LoraLayer
from torch import Tensor, nn

from isograd.capture import DomainCapture, _dense, _rows
from isograd.capture._dense import accumulate, by_set, merge_dense, merge_tokens
from isograd.capture._rows import plan_rows, token_segments
from isograd.gradients import Iga


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=200, deadline=None)
@given(
    domains=st.lists(st.integers(0, 2), min_size=1, max_size=6),
    length=st.integers(1, 5),
    zeros=st.sampled_from(["none", "padding", "prompt", "scattered", "a row", "a domain", "all"]),
    long_segment=st.sampled_from([0, 2, 10**6]),
    tile_bytes=st.sampled_from([1, 2**21]),
    seed=st.integers(0, 999),
)
def test_products_are_the_sums_of_outer_products(
    domains: list[int], length: int, zeros: str, long_segment: int, tile_bytes: int, seed: int
) -> None:
    K, m, n, rows = 3, 18, 4, len(domains)
    x, grad = random(rows, length, n, seed=seed), random(rows, length, m, seed=seed + 1)
    index = torch.tensor(domains)
    if zeros == "padding":
        grad[:, length - length // 2 :] = 0
    elif zeros == "prompt":
        grad[:, : length // 2] = 0
    elif zeros == "scattered":
        grad[torch.rand(rows, length, generator=torch.Generator().manual_seed(seed)) < 0.5] = 0
    elif zeros == "a row":
        grad[0] = 0
    elif zeros == "a domain":
        grad[index == domains[0]] = 0
    elif zeros == "all":
        grad.zero_()
    member = torch.nn.functional.one_hot(index, K).double()
    expected = K * torch.einsum("rk,rtm,rtn->kmn", member, grad, x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_rows, "_LONG_SEGMENT", {"cpu": long_segment})
        patch.setattr(_dense, "_TILE_BYTES", {"cpu": tile_bytes})
        plan = plan_rows(index, K)
        X, D, segments = token_segments(plan, x, grad)
        total = accumulate(None, X, D, segments, plan)
        torch.testing.assert_close(total, expected)
        torch.testing.assert_close(accumulate(total, X, D, segments, plan), 2 * expected)
        merged = Iga(tau=2.0).merge(expected)
        torch.testing.assert_close(merge_tokens(Iga(tau=2.0), X, D, segments, plan), merged)
        torch.testing.assert_close(merge_dense(Iga(tau=2.0), expected), merged)


@settings(max_examples=60, deadline=None)
@given(
    order=st.permutations([0, 1, 2] * 3),
    long_segment=st.sampled_from([0, 10**6]),
    tile_bytes=st.sampled_from([1, 2**21]),
    seed=st.integers(0, 999),
)
def test_products_by_set(order: list[int], long_segment: int, tile_bytes: int, seed: int) -> None:
    """The i-th rows of all domains are set i, wherever they stand; each set counts as if it were all there is."""
    K, S, m, n, length = 3, 3, 18, 4, 2
    x, grad = random(9, length, n, seed=seed), random(9, length, m, seed=seed + 1)
    expected = torch.zeros(S, K, m, n, dtype=torch.float64)
    for row, k in enumerate(order):
        expected[order[:row].count(k), k] = S * K * grad[row].mT @ x[row]
    method = Iga(tau=2.0, variance="set")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_rows, "_LONG_SEGMENT", {"cpu": long_segment})
        patch.setattr(_dense, "_TILE_BYTES", {"cpu": tile_bytes})
        plan = plan_rows(torch.tensor(order), K, paired=True)
        X, D, segments = token_segments(plan, x, grad)
        torch.testing.assert_close(by_set(accumulate(None, X, D, segments, plan), plan), expected)
        torch.testing.assert_close(merge_tokens(method, X, D, segments, plan), method.merge(expected))


def test_one_tiny_entry_anywhere_keeps_a_token() -> None:
    grad = torch.zeros(2, 3, 40)
    grad[0, 1, 30] = 1e-30
    _, D, segments = token_segments(plan_rows(torch.tensor([0, 1]), 2), torch.ones(2, 3, 5), grad)
    assert [(k, end - start) for k, start, end in segments] == [(0, 1)]
    assert D[segments[0][1]].abs().max() > 0


def test_half_precision_rows_multiply_as_the_layer_did_and_sum_in_float32() -> None:
    x, grad = random(2, 30, 5).float(), random(2, 30, 6).bfloat16()  # autocast: the layer rounded x itself
    plan = plan_rows(torch.tensor([0, 1]), 2)
    X, D, segments = token_segments(plan, x, grad)
    total = accumulate(None, X, D, segments, plan)
    expected = 2 * torch.einsum("rtm,rtn->rmn", grad.double(), x.bfloat16().double())
    assert total.dtype == torch.float32
    torch.testing.assert_close(total.double(), expected, rtol=1e-5, atol=1e-5)


def test_padding_splits_segments() -> None:
    grad = torch.ones(3, 50, 2)
    grad[:, 40:] = 0
    _, _, segments = token_segments(plan_rows(torch.tensor([0, 0, 1]), 2), grad, grad)
    assert segments == [(0, 0, 40), (0, 50, 90), (1, 100, 140)]


def test_full_rows_of_one_domain_are_one_segment() -> None:
    x = torch.ones(4, 50, 2)
    X, D, segments = token_segments(plan_rows(torch.tensor([0, 0, 1, 1]), 2), x, x)
    assert segments == [(0, 0, 100), (1, 100, 200)]
    assert X.data_ptr() == D.data_ptr() == x.data_ptr()  # nothing was copied


@pytest.mark.parametrize(
    ("bytes_", "K", "n", "m", "rows"),
    [(2**21, 4, 512, 1408, 256), (2**21, 4, 16, 24, 24), (1, 4, 512, 1408, 16), (2**21, 4, 500, 300, 256)],
)
def test_tiles(monkeypatch: pytest.MonkeyPatch, bytes_: int, K: int, n: int, m: int, rows: int) -> None:
    monkeypatch.setattr(_dense, "_TILE_BYTES", {"cpu": bytes_})
    assert _dense._tile_rows(torch.empty(1, n), K, m) == rows


class QuantizedLinear(nn.Module, LoraLayer):
    """Like the layers over 4-bit weights: a LoraLayer that is no ``lora.Linear`` and whose base has no gradient."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        LoraLayer.__init__(self, base)
        self._active_adapter = "default"
        self.update_layer("default", 2, lora_alpha=3, config=LoraConfig(r=2, init_lora_weights=False))

    def forward(self, x: Tensor) -> Tensor:
        result = nn.functional.linear(x, self.base_layer.weight.detach().round(decimals=1)).clone()
        output = self.lora_B["default"](self.lora_A["default"](x)) * self.scaling["default"]
        return result + output


def test_layers_over_quantized_weights() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(QuantizedLinear(nn.Linear(5, 4, bias=False)), nn.Tanh()).double()
    model[0].base_layer.requires_grad_(False)
    x, domains = random(4, 3, 5), torch.tensor([1, 0, 1, 0])
    model(x).square().mean().backward()
    expected = [parameter.grad.clone() for parameter in model.parameters() if parameter.requires_grad]
    capture = DomainCapture(model, Iga(tau=0.0, svd="none"), num_domains=2)
    with capture.micro_batch(domains):
        model(x).square().mean().backward()
    capture.write_gradients()
    for parameter, gradient in zip((p for p in model.parameters() if p.requires_grad), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_half_precision_on_a_gpu() -> None:
    x, grad = random(4, 6, 8), random(4, 6, 16)
    domains = torch.tensor([0, 1, 1, 0])
    half = (x.cuda().bfloat16(), grad.cuda().bfloat16())
    plan = plan_rows(domains, 2)
    X, D, segments = token_segments(plan, *half)
    total = accumulate(None, X, D, segments, plan)
    member = torch.nn.functional.one_hot(domains, 2).double()
    expected = 2 * torch.einsum("rk,rtm,rtn->kmn", member, half[1].cpu().double(), half[0].cpu().double())
    assert total.dtype == torch.float32
    torch.testing.assert_close(total.cpu().double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(merge_tokens(Iga(), X, D, segments, plan), merge_dense(Iga(), total))
