"""Methods that want whole layers, whole sets, a memory, a schedule, or a step of W, through the capture."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from capture_models import (
    ORDERS,
    K,
    accumulate,
    assert_same,
    autograd,
    batch,
    checkpointing,
    dense_by_autograd,
    domain_losses,
    factors,
    gradients,
    lora_model,
    run,
    step,
)
from torch import Tensor, nn

from isograd.capture import DomainCapture, _dense
from isograd.capture._layers import Layer, find_layers
from isograd.common.errors import UserError
from isograd.gradients import (
    AndMask,
    Iga,
    LayerContext,
    LocalMethod,
    LowRank,
    SandMask,
    State,
    gaussian_test_matrix,
)

WHOLE = [
    AndMask(),
    AndMask(tau=0.5),
    SandMask(tau=0.0),
    SandMask(tau=0.4, relative=False),
    Iga(normalization="layer_mean", svd="none"),
    Iga(normalization="layer_mean"),
    Iga(basis="singular", svd="exact"),
    Iga(basis="input", svd="exact"),
    Iga(basis="singular", svd="exact", rank=2, normalization="layer_mean"),
    Iga(variance="running", svd="exact", tau=3.0),
    Iga(variance="running", normalization="mean_squared", svd="none"),
]
IN_ROWS = [
    AndMask(rescale=False),
    Iga(normalization="mean_squared", svd="none"),
    Iga(normalization="mean_squared", svd="exact"),
    Iga(projection="tangent", svd="exact"),
]


@pytest.fixture(autouse=True)
def _tiles_of_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smaller than a layer, so that rows and layers differ here."""
    monkeypatch.setattr(_dense, "_TILE_BYTES", {"cpu": 1})


def factor_gradients(
    method: LocalMethod,
    layer: Layer,
    grads: Tensor,
    state: State | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """What a method makes of the gradients of one layer, step by step."""
    rank = layer.A.shape[0]
    columns = method.test_columns(rank)
    matrix = gaussian_test_matrix(grads.shape[-1], columns, dtype=grads.dtype) if columns else None
    context = LayerContext(
        rank=rank,
        state={} if state is None else state,
        generator=generator or torch.Generator(),
        test_matrix=matrix,
    )
    kept = method.project(method.merge_layer(grads, context), context)
    with torch.no_grad():
        return method.factor_gradients(kept, layer.A, layer.B, layer.scaling)


def expected_of(
    method: LocalMethod,
    model: nn.Module,
    dense: dict[str, Tensor],
    states: dict[str, State] | None = None,
) -> dict[str, Tensor]:
    expected = {}
    for layer in find_layers(model, None):
        state = {} if states is None else states.setdefault(layer.name, {})
        dA, dB = factor_gradients(method, layer, dense[layer.name], state)
        expected |= {f"{layer.name}.lora_A.default.weight": dA, f"{layer.name}.lora_B.default.weight": dB}
    return expected


@pytest.mark.parametrize("method", [*WHOLE, *IN_ROWS], ids=str)
def test_it_is_the_method_on_the_separate_gradients(method: LocalMethod) -> None:
    assert method.whole_layer == (method in WHOLE)
    model, data = lora_model("qwen3"), batch(ORDERS["interleaved"])
    expected = expected_of(method, model, dense_by_autograd(model, data, K))
    dense = run(model, method, data, keep_dense=True)
    found = gradients(model)
    assert_same(found, expected_of(method, model, dense), 1e-12)
    assert_same(found, expected, 1e-8)
    run(model, method, data)  # tile by tile, where that is possible
    assert_same(gradients(model), found, 1e-12)


@pytest.mark.parametrize("method", [WHOLE[0], WHOLE[6], WHOLE[8]], ids=str)
def test_checkpointing_and_accumulation_change_nothing(method: LocalMethod) -> None:
    model, data = lora_model("gpt2"), batch(ORDERS["unequal"])
    run(model, method, data)
    expected = gradients(model)
    accumulate(model, DomainCapture(model, method, num_domains=K), data, 4)
    assert_same(gradients(model), expected, 1e-6)
    model = lora_model()
    run(model, method, data)
    expected = gradients(model)
    checkpointing(model, use_reentrant=False)
    run(model, method, data)
    assert_same(gradients(model), expected)


@pytest.mark.parametrize("method", [AndMask(), SandMask(), Iga(normalization="layer_mean")], ids=str)
def test_a_fresh_adapter(method: LocalMethod) -> None:
    model, data = lora_model(), batch(ORDERS["sorted"])
    with torch.no_grad():
        for name, parameter in factors(model).items():
            if "lora_B" in name:
                parameter.zero_()
    run(model, method, data)
    for name, grad in gradients(model).items():
        assert grad.isfinite().all()
        assert (grad.abs().max() > 0) == ("lora_B" in name)


class TestMemory:
    METHOD = Iga(variance="running", decay=0.75, svd="exact", tau=2.0)

    def test_running_averages_over_steps(self) -> None:
        model = lora_model()
        capture = DomainCapture(model, self.METHOD, num_domains=K)
        states: dict[str, State] = {}
        averages: dict[str, tuple[Tensor, Tensor]] = {}
        for seed in (2, 3, 4):
            data = batch(ORDERS["interleaved"], seed=seed)
            dense = dense_by_autograd(model, data, K)
            for name, grads in dense.items():
                now = grads.mean(0).square(), grads.square().mean(0)
                before = averages.get(name, now)
                averages[name] = tuple(0.75 * b + 0.25 * n for b, n in zip(before, now, strict=True))  # type: ignore[assignment]
            expected = expected_of(self.METHOD, model, dense, states)
            step(model, capture, data)
            assert_same(gradients(model), expected, 1e-7)
        assert capture.states.keys() == averages.keys()
        for name, (squared_mean, mean_square) in averages.items():
            assert_same(capture.states[name], {"squared_mean": squared_mean, "mean_square": mean_square}, 1e-9)

    def test_it_survives_a_restart(self) -> None:
        model, (one, two) = lora_model(), (batch(ORDERS["interleaved"], seed=seed) for seed in (2, 3))
        capture = DomainCapture(model, self.METHOD, num_domains=K)
        step(model, capture, one)
        saved = {name: {key: value.clone() for key, value in state.items()} for name, state in capture.states.items()}
        step(model, capture, two)
        expected = gradients(model)
        capture.remove()
        resumed = DomainCapture(model, self.METHOD, num_domains=K)
        resumed.states = saved
        assert resumed.states.keys() == saved.keys()
        step(model, resumed, two)
        assert_same(gradients(model), expected, 0.0)
        resumed.remove()
        run(model, self.METHOD, two)
        with pytest.raises(AssertionError):
            assert_same(gradients(model), expected, 1e-6)

    def test_an_unfinished_window_leaves_it_as_it_was(self) -> None:
        model, data = lora_model(), batch(ORDERS["sorted"])
        capture = DomainCapture(model, self.METHOD, num_domains=K)
        step(model, capture, data)
        before = {name: dict(state) for name, state in capture.states.items()}
        rows = {name: value[:4] for name, value in data.items()}
        with capture.micro_batch(rows["domains"], last=False):
            model(input_ids=rows["input_ids"]).logits.square().mean().backward()
        step(model, capture, batch(ORDERS["sorted"], seed=8))  # begins a window anew
        after = capture.states
        assert all(after[name][key] is not value for name, state in before.items() for key, value in state.items())

    @pytest.mark.parametrize("method", [Iga(), AndMask(), SandMask(), Iga(basis="singular")], ids=str)
    def test_others_remember_nothing(self, method: LocalMethod) -> None:
        model, data = lora_model(), batch(ORDERS["sorted"])
        capture = DomainCapture(model, method, num_domains=K)
        step(model, capture, data)
        assert capture.states == {}


class TestSteps:
    @pytest.mark.parametrize(
        ("number", "tau"), [(0, 0.0), (2, 0.0), (3, 2 / 3), (4, 4 / 3), (5, 2.0), (6, 2.0), (900, 2.0)]
    )
    @pytest.mark.parametrize("options", [{"svd": "none"}, {"normalization": "layer_mean", "svd": "none"}], ids=str)
    def test_a_schedule_of_tau(self, number: int, tau: float, options: dict[str, str]) -> None:
        model, data = lora_model("gpt2"), batch(ORDERS["sorted"])
        capture = DomainCapture(
            model,
            Iga(tau=2.0, tau_start=3, tau_ramp=2, **options),
            num_domains=K,  # type: ignore[arg-type]
        )
        capture.set_step(number, 1000)
        assert isinstance(capture.method, Iga)
        assert capture.method.tau == pytest.approx(tau)
        step(model, capture, data)
        found = gradients(model)
        capture.remove()
        run(model, Iga(tau=tau, **options), data)  # type: ignore[arg-type]
        assert_same(found, gradients(model), 1e-12)

    def test_a_schedule_goes_back_as_well(self) -> None:
        capture = DomainCapture(lora_model("gpt2"), Iga(tau=2.0, tau_start=3), num_domains=K)
        for number, tau in ((0, 0.0), (5, 2.0), (1, 0.0)):
            capture.set_step(number, 10)
            assert capture.method == Iga(tau=tau, tau_start=3)

    def test_random_draws(self) -> None:
        """Shuffled masks: the same at the same step, others at another step or seed, and shuffled indeed."""
        model, data = lora_model("gpt2"), batch(ORDERS["sorted"])

        def found(number: int, seed: int = 0, **options: object) -> dict[str, Tensor]:
            method = Directions(shuffled=True, tau=3.0, **options)  # type: ignore[arg-type]
            capture = DomainCapture(model, method, num_domains=K, seed=seed)
            capture.set_step(number, 10)
            step(model, capture, data)
            capture.remove()
            return dict(enumerate(method.seen))  # type: ignore[arg-type]

        one, again, later, elsewhere = found(4), found(4), found(5), found(4, seed=1)
        assert_same(one, again, 0.0)
        for number in one:
            assert not torch.allclose(one[number], later[number], rtol=1e-3)
            assert not torch.allclose(one[number], elsewhere[number], rtol=1e-3)
        straight = Directions(tau=3.0, svd="none")
        run(model, straight, data)
        mean = Directions(tau=0.0, svd="none")
        run(model, mean, data)
        for number, average in enumerate(mean.seen):
            mask, shuffled = straight.seen[number] / average, one[number] / average
            assert not torch.allclose(mask, shuffled, rtol=1e-3)
            torch.testing.assert_close(mask.flatten().sort()[0], shuffled.flatten().sort()[0], rtol=1e-6, atol=1e-9)

    def test_layers_of_one_shape_draw_for_themselves(self) -> None:
        model, data = lora_model("gpt2"), batch(ORDERS["sorted"])
        shuffled, straight = Directions(shuffled=True, tau=3.0), Directions(tau=3.0, svd="none")
        run(model, shuffled, data)
        run(model, straight, data)
        mean = Directions(tau=0.0, svd="none")
        run(model, mean, data)
        by_shape: dict[tuple[int, ...], list[list[int]]] = {}
        for one, two, average in zip(shuffled.seen, straight.seen, mean.seen, strict=True):
            places = (two / average).flatten().argsort().argsort()[(one / average).flatten().argsort()]
            by_shape.setdefault(tuple(one.shape), []).append(places.tolist())
        for several in by_shape.values():
            assert len({tuple(places) for places in several}) == len(several) == 2


@dataclass(frozen=True)
class Directions(Iga):
    """Iga that keeps the merged directions of the layers, in the order of the backward pass."""

    seen: list[Tensor] = field(default_factory=list, compare=False)

    def project(self, direction: Tensor | LowRank, context: LayerContext) -> Tensor | LowRank:
        assert isinstance(direction, Tensor)
        self.seen.append(direction.clone())
        return super().project(direction, context)


@dataclass(frozen=True)
class PickSet(LocalMethod):
    """The gradient of one domain in one set; by tiles, by whole layers, or by factors."""

    i: int = 0
    k: int = 0
    how: str = "tiles"

    @property
    def space(self) -> str:  # type: ignore[override]
        return "factor" if self.how == "factor" else "weight"

    @property
    def whole_layer(self) -> bool:
        return self.how == "layer"

    @property
    def paired(self) -> bool:
        return True

    def merge(self, grads: Tensor) -> Tensor:
        return grads[self.i, self.k]


class TestSets:
    ORDER = (2, 0, 1, 3, 1, 0, 3, 2)  # two sets, their members in any order

    def rows(self, model: nn.Module, data: dict[str, Tensor]) -> dict[tuple[int, int], dict[str, Tensor]]:
        """Gradients of (number of sets) * (each row's share of its domain's loss), by set and domain."""
        found = {}
        for row, k in enumerate(self.ORDER):
            alone = data | {"domains": torch.full_like(data["domains"], 1)}
            alone["domains"][row] = 0
            counts = torch.ones(2, dtype=torch.long)
            own, total = ((data["labels"][rows, 1:] != -100).sum() for rows in (row, data["domains"] == k))
            parameters = factors(model)
            share = domain_losses(model, alone, 2, counts)[0] / total
            assert own > 0
            grads = torch.autograd.grad(2 * share, list(parameters.values()))
            found[self.ORDER[:row].count(k), k] = dict(zip(parameters, grads, strict=True))
        return found

    @pytest.mark.parametrize("architecture", ["llama", "gpt2"])
    @pytest.mark.parametrize("how", ["tiles", "layer", "factor"])
    def test_gradients_of_rows(self, architecture: str, how: str) -> None:
        model, data = lora_model(architecture), batch(list(self.ORDER))
        for (i, k), expected in self.rows(model, data).items():
            run(model, PickSet(i, k, how), data)
            assert_same(gradients(model), expected)

    def test_the_mean_over_sets_is_the_gradient_of_the_domain(self) -> None:
        model, data = lora_model(), batch(list(self.ORDER))
        expected = dense_by_autograd(model, data, K)
        assert_same(run(model, Iga(variance="set"), data, keep_dense=True), expected)
        run(model, Iga(variance="set", tau=0.0, svd="none"), data)
        assert_same(gradients(model), autograd(model, data))

    @pytest.mark.parametrize(
        "options",
        [{"svd": "exact"}, {"svd": "exact", "normalization": "layer_mean"}, {"space": "factor"}],
        ids=str,
    )
    def test_one_set_is_a_batch(self, options: dict[str, str]) -> None:
        model, data = lora_model(), batch([3, 1, 0, 2])
        run(model, Iga(variance="set", **options), data)  # type: ignore[arg-type]
        found = gradients(model)
        run(model, Iga(**options), data)  # type: ignore[arg-type]
        assert_same(found, gradients(model))

    def test_what_differs_between_sets_is_no_conflict(self) -> None:
        """Members that agree within each set: nothing is masked, though sets differ."""
        model = lora_model()
        one = batch([0, 0], padding=False)
        data = {name: value.repeat_interleave(K, 0) for name, value in one.items()}
        data["domains"] = torch.arange(K).repeat(2)
        run(model, Iga(variance="set", tau=5.0, svd="none"), data)
        assert_same(gradients(model), autograd(model, data), 1e-9)

    @pytest.mark.parametrize("method", [Iga(variance="set"), Iga(variance="set", space="factor")], ids=str)
    def test_refusals(self, method: LocalMethod) -> None:
        model = lora_model()
        capture = DomainCapture(model, method, num_domains=K)
        unequal = torch.tensor(ORDERS["unequal"])
        with pytest.raises(UserError, match=r"^the domains have \[2, 1, 1, 3\] rows; .* needs whole isomer sets$"):
            capture.micro_batch(unequal).__enter__()
        for order in ([0, 1, 2, 3] * 2, [0, 1, 2, 3]):  # a single set in each piece, too
            data = batch(order)
            with (
                pytest.raises(UserError, match="one batch of one process: set gradient_accumulation_steps to 1"),
                capture.micro_batch(data["domains"], last=False),
            ):
                model(input_ids=data["input_ids"]).logits.square().mean().backward()
        step(model, capture, batch([0, 1, 2, 3] * 2))  # and it recovers


class TestRetraction:
    METHOD = Iga(projection="retraction", svd="exact", tau=0.7)

    @pytest.mark.parametrize("architecture", ["llama", "gpt2"])
    @pytest.mark.parametrize("fresh", [False, True])
    def test_it_is_descent_on_the_weight(self, architecture: str, fresh: bool) -> None:
        model, data = lora_model(architecture), batch(ORDERS["interleaved"])
        if fresh:
            with torch.no_grad():
                for name, parameter in factors(model).items():
                    if "lora_B" in name:
                        parameter.zero_()
        masked = Iga(tau=0.7)
        expected = {}
        for layer in find_layers(model, None):
            direction = masked.merge(dense_by_autograd(model, data, K)[layer.name])
            kept = best(direction, layer.A.shape[0])
            expected[layer.name] = best(product(layer) - 0.3 * kept, layer.A.shape[0])
        capture = DomainCapture(model, self.METHOD, num_domains=K)
        step(model, capture, data, learning_rate=0.3)
        assert_same({layer.name: product(layer) for layer in find_layers(model, None)}, expected, 1e-9)
        assert all(parameter.grad is None for parameter in factors(model).values())

    def test_the_learning_rate_must_be_given_and_can_be_given_late(self) -> None:
        model, data = lora_model(), batch(ORDERS["interleaved"])
        before = {name: parameter.detach().clone() for name, parameter in factors(model).items()}
        capture = DomainCapture(model, self.METHOD, num_domains=K)
        with pytest.raises(UserError, match=r"^this method retracts: pass write_gradients\(learning_rate=\.\.\.\)$"):
            step(model, capture, data)
        assert_same({name: parameter.detach() for name, parameter in factors(model).items()}, before, 0.0)
        capture.write_gradients(learning_rate=0.0)
        for layer in find_layers(model, None):
            A, B = before[f"{layer.name}.lora_A.default.weight"], before[f"{layer.name}.lora_B.default.weight"]
            torch.testing.assert_close(product(layer), layer.scaling * B @ A, rtol=0, atol=1e-10)
        with pytest.raises(UserError, match="no captured gradients"):
            capture.write_gradients(learning_rate=0.1)

    def test_autocast_rounds_nothing(self) -> None:
        data, found = batch(ORDERS["interleaved"]), []
        for enabled in (False, True):
            model = lora_model("gpt2", dtype=torch.float32)
            capture = DomainCapture(model, self.METHOD, num_domains=K)
            with capture.micro_batch(data["domains"]):
                domain_losses(model, data, K).mean().backward()
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                capture.write_gradients(learning_rate=0.5)
            found.append({layer.name: product(layer) for layer in find_layers(model, None)})
        assert_same(*found, 0.0)


def product(layer: Layer) -> Tensor:
    return (layer.scaling * layer.B @ layer.A).detach()


def best(matrix: Tensor, rank: int) -> Tensor:
    U, S, Vh = torch.linalg.svd(matrix.detach(), full_matrices=False)
    return (U[:, :rank] * S[:rank]) @ Vh[:rank]


@pytest.mark.parametrize("svd", ["exact", "none"])
def test_a_tangent_step_moves_the_weight_along_the_projected_direction(svd: str) -> None:
    model, data = lora_model("gpt2"), batch(ORDERS["interleaved"])
    dense = dense_by_autograd(model, data, K)
    run(model, Iga(projection="tangent", svd=svd, tau=0.7), data)  # type: ignore[arg-type]
    for layer in find_layers(model, None):
        direction = Iga(tau=0.7).merge(dense[layer.name])
        if svd == "exact":
            direction = best(direction, layer.A.shape[0])
        with torch.no_grad():
            moved = layer.scaling * (layer.B @ layer.A.grad + layer.B.grad @ layer.A)
            left, right = layer.B @ torch.linalg.pinv(layer.B), torch.linalg.pinv(layer.A) @ layer.A
        rest = direction - left @ direction
        torch.testing.assert_close(moved, left @ direction + rest @ right, rtol=0, atol=1e-9)


@pytest.mark.parametrize("space", ["weight", "factor"])
def test_a_raw_second_moment_sees_the_gradient_before_the_mask(space: str) -> None:
    model, data = lora_model(), batch(ORDERS["unequal"])
    expected = autograd(model, data)
    run(model, Iga(tau=2.0, space=space), data)  # type: ignore[arg-type]
    masked = gradients(model)
    assert not any(hasattr(parameter, "raw_grad") for parameter in factors(model).values())
    run(model, Iga(tau=2.0, space=space, second_moment="raw"), data)  # type: ignore[arg-type]
    assert_same(gradients(model), masked, 0.0)
    assert_same({name: parameter.raw_grad for name, parameter in factors(model).items()}, expected)
