"""Properties of every local method, in every form."""

from __future__ import annotations

import pytest
import torch
from gradient_cases import LOCAL, context, dense, draw, erm_gradient, kept, merged, name, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isograd.gradients import Iga, LocalMethod, SandMask, retract, tangent_projection

domains = st.integers(1, 6)
sizes = st.integers(1, 6)
seeds = st.integers(0, 999)

RELATIVE = [
    method
    for method in LOCAL
    # Here a raw variance meets a threshold or an exponent: the mask depends on the units of the loss.
    if not (isinstance(method, Iga) and method.normalization == "none")
    and not (isinstance(method, SandMask) and not method.relative)
]
BY_ROWS = [method for method in LOCAL if not method.whole_layer]


@pytest.mark.parametrize("method", LOCAL, ids=name)
class TestEveryLocalMethod:
    @settings(max_examples=10)
    @given(K=domains, m=sizes, n=sizes, seed=seeds)
    def test_equal_domains_give_the_erm_gradient(self, method: LocalMethod, K: int, m: int, n: int, seed: int) -> None:
        """Sets may differ: it is the domains within each that are equal. Of W, before a truncation of rank."""
        one = draw(method, 1, m, n, seed=seed)
        grads = one.expand(*one.shape[:-3], K, m, n).clone()
        torch.testing.assert_close(merged(method, grads), erm_gradient(method, grads), rtol=1e-9, atol=1e-11)

    @settings(max_examples=10)
    @given(K=domains, r=st.integers(1, 3), seed=seeds)
    def test_after_a_truncation_equal_domains_give_the_truncated_erm_gradient(
        self, method: LocalMethod, K: int, r: int, seed: int
    ) -> None:
        one = draw(method, 1, 7, 8, seed=seed)
        grads = one.expand(*one.shape[:-3], K, 7, 8).clone()
        erm = erm_gradient(method, grads)
        found = kept(method, grads, r)
        if method.space == "factor" or not isinstance(method, Iga) or method.svd == "none":
            torch.testing.assert_close(found, erm, rtol=1e-9, atol=1e-11)
        else:
            expected = dense(method.project(erm, context(r, method=method, like=grads)))
            assert (expected - erm).norm() > 0.1 * erm.norm()  # truncation is no small matter here
            torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)

    @settings(max_examples=10)
    @given(K=domains, seed=seeds)
    def test_equal_domains_of_no_more_than_the_rank_give_the_erm_gradient(
        self, method: LocalMethod, K: int, seed: int
    ) -> None:
        r = getattr(method, "rank", None) or 3
        one = normal(3, 1, 7, r, seed=seed) @ normal(r, 8, seed=seed + 1)  # of one row space, and so their mean too
        one = one if method.paired else one[0]
        grads = one.expand(*one.shape[:-3], K, 7, 8).clone()
        torch.testing.assert_close(kept(method, grads, r), erm_gradient(method, grads), rtol=1e-8, atol=1e-9)

    @settings(max_examples=10)
    @given(K=domains, seed=seeds)
    def test_the_order_of_domains_does_not_matter(self, method: LocalMethod, K: int, seed: int) -> None:
        grads = draw(method, K, 4, 5, seed=seed)
        order = torch.randperm(K, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(
            merged(method, grads[..., order, :, :]), merged(method, grads), rtol=1e-8, atol=1e-10
        )

    @settings(max_examples=10)
    @given(K=domains, m=sizes, n=sizes, seed=seeds)
    def test_the_gradients_are_left_as_they_are(self, method: LocalMethod, K: int, m: int, n: int, seed: int) -> None:
        grads = draw(method, K, m, n, seed=seed)
        before = grads.clone()
        direction = merged(method, grads)
        assert direction.shape == (m, n)
        assert torch.equal(grads, before)
        direction.zero_()  # and are not handed out again
        assert torch.equal(grads, before)

    @pytest.mark.parametrize("K", [1, 2, 3])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_zero_gradients_give_zero(self, method: LocalMethod, dtype: torch.dtype, K: int) -> None:
        grads = torch.zeros_like(draw(method, K, 6, 7), dtype=dtype)
        assert torch.equal(kept(method, grads, 2), torch.zeros(6, 7, dtype=dtype))

    def test_coordinates_without_gradient_stay_without(self, method: LocalMethod) -> None:
        grads = draw(method, 3, 6, 7)
        grads[..., 2, :] = 0.0
        grads[..., :, 4] = 0.0
        direction = merged(method, grads)
        assert direction.isfinite().all()
        assert direction[2].abs().max() < 1e-12
        assert direction[:, 4].abs().max() < 1e-12

    @pytest.mark.parametrize("bad", [torch.nan, torch.inf])
    def test_a_gradient_that_is_no_number_stays_visible(self, method: LocalMethod, bad: float) -> None:
        grads = draw(method, 3, 6, 7)
        grads[..., 1, 2, 3] = bad
        assert not kept(method, grads, 2).isfinite().all()

    @pytest.mark.parametrize("seed", range(3))
    def test_float32_gives_nearly_the_same(self, method: LocalMethod, seed: int) -> None:
        grads = draw(method, 4, 5, 6, seed=seed)
        single = merged(method, grads.float())
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), merged(method, grads.float().double()), rtol=1e-3, atol=1e-4)

    def test_the_same_draws_give_the_same_direction(self, method: LocalMethod) -> None:
        grads = draw(method, 4, 5, 6)
        assert torch.equal(merged(method, grads), merged(method, grads))
        assert torch.equal(kept(method, grads, 2), kept(method, grads, 2))


@pytest.mark.parametrize("method", BY_ROWS, ids=name)
class TestByRows:
    @settings(max_examples=10)
    @given(K=domains, m=sizes, n=sizes, seed=seeds)
    def test_rows_of_the_merge_are_the_merge_of_rows(
        self, method: LocalMethod, K: int, m: int, n: int, seed: int
    ) -> None:
        grads = draw(method, K, m, n, seed=seed)
        cut = m // 2
        rows = [method.merge(grads[..., :cut, :]), method.merge(grads[..., cut:, :])]
        # A vectorized exp may round the last bit otherwise at the end of a block.
        torch.testing.assert_close(torch.cat(rows), method.merge(grads), rtol=1e-13, atol=1e-15)
        assert torch.equal(merged(method, grads), method.merge(grads))


@pytest.mark.parametrize("method", RELATIVE, ids=name)
class TestHomogeneous:
    @settings(max_examples=10)
    @given(K=domains, seed=seeds, exponent=st.integers(-20, 20))
    def test_the_direction_has_the_scale_of_the_gradients(
        self, method: LocalMethod, K: int, seed: int, exponent: int
    ) -> None:
        grads = draw(method, K, 4, 5, seed=seed)
        scale = 2.0**exponent
        torch.testing.assert_close(merged(method, scale * grads) / scale, merged(method, grads), rtol=1e-8, atol=1e-10)


def test_the_methods_that_see_the_scale_do() -> None:
    """So that the list of exceptions above holds nothing that could be tested."""
    for method in (method for method in LOCAL if method not in RELATIVE):
        grads = draw(method, 3, 4, 5)
        assert (merged(method, 4 * grads) / 4 - merged(method, grads)).abs().max() > 1e-4


SIGNED = [method for method in LOCAL if method.space == "weight" and not method.paired]


@pytest.mark.parametrize("method", SIGNED, ids=name)
def test_opposite_gradients_give_the_opposite(method: LocalMethod) -> None:
    grads = draw(method, 3, 4, 5)
    torch.testing.assert_close(merged(method, -grads), -merged(method, grads), rtol=1e-9, atol=1e-11)


class TestProjections:
    @settings(max_examples=20)
    @given(m=st.integers(1, 7), n=st.integers(1, 7), r=st.integers(1, 4), s=st.floats(0.1, 8.0), seed=seeds)
    def test_tangent_steps_of_the_factors_make_the_tangent_step_of_the_weight(
        self, m: int, n: int, r: int, s: float, seed: int
    ) -> None:
        A, B, D = normal(r, n, seed=seed), normal(m, r, seed=seed + 1), normal(m, n, seed=seed + 2)
        dA, dB = Iga(projection="tangent").factor_gradients(D, A, B, s)
        torch.testing.assert_close(s * (B @ dA + dB @ A), tangent_projection(D, A, B), rtol=1e-7, atol=1e-8)

    def test_tangent_steps_do_not_see_how_the_weight_is_split(self) -> None:
        A, B, D, R = normal(3, 7), normal(6, 3, seed=1), normal(6, 7, seed=2), normal(3, 3, seed=3)
        method = Iga(projection="tangent")
        steps = []
        for a, b in ((A, B), (R @ A, B @ torch.linalg.inv(R))):
            dA, dB = method.factor_gradients(D, a, b, 1.5)
            steps.append(b @ dA + dB @ a)
        torch.testing.assert_close(steps[0], steps[1], rtol=1e-8, atol=1e-9)

    def test_a_fresh_adapter(self) -> None:
        """B = 0: dA is 0 and dB follows the rows of A."""
        A, D = normal(2, 7), normal(6, 7, seed=2)
        dA, dB = Iga(projection="tangent").factor_gradients(D, A, torch.zeros(6, 2, dtype=A.dtype), 2.0)
        assert torch.equal(dA, torch.zeros_like(A))
        torch.testing.assert_close(2.0 * dB @ A, D @ torch.linalg.pinv(A) @ A)

    @pytest.mark.parametrize("projection", ["chain_rule", "retraction"])
    def test_the_others_follow_the_chain_rule(self, projection: str) -> None:
        A, B, D = normal(2, 7), normal(6, 2, seed=1), normal(6, 7, seed=2)
        dA, dB = Iga(projection=projection).factor_gradients(D, A, B, 1.5)  # type: ignore[arg-type]
        torch.testing.assert_close(dA, 1.5 * B.mT @ D)
        torch.testing.assert_close(dB, 1.5 * D @ A.mT)

    def test_only_retraction_retracts_and_it_has_a_low_rank_direction(self) -> None:
        assert [p for p in ("chain_rule", "tangent", "retraction") if Iga(projection=p).retracts] == ["retraction"]  # type: ignore[arg-type]
        method = Iga(projection="retraction", svd="exact")
        D = method.project(normal(6, 7), context(2))
        new_A, new_B = retract(torch.zeros(2, 7).double(), torch.zeros(6, 2).double(), D, 2)
        torch.testing.assert_close(new_B @ new_A, D.dense())  # type: ignore[union-attr]

    @pytest.mark.parametrize("svd", ["exact", "randomized"])
    def test_the_truncation(self, svd: str) -> None:
        method, D = Iga(svd=svd), normal(6, 7)  # type: ignore[arg-type]
        for rank, expected in ((2, 2), (6, 6), (9, 6)):
            direction = method.project(D, context(rank, method=method, like=D))
            assert direction.left.shape == (6, expected)  # type: ignore[union-attr]
            U, S, Vh = torch.linalg.svd(D, full_matrices=False)
            best = (U[:, :expected] * S[:expected]) @ Vh[:expected]
            torch.testing.assert_close(direction.dense(), best, rtol=1e-9, atol=1e-10)  # type: ignore[union-attr]

    def test_rank_overrides_the_adapter(self) -> None:
        D = normal(6, 7)
        assert Iga(rank=2).project(D, context(4, method=Iga(rank=2), like=D)).left.shape == (6, 2)  # type: ignore[union-attr]
        assert Iga(rank=2, oversample=3).test_columns(4) == 5
        assert Iga(oversample=3).test_columns(4) == 7
        assert Iga(svd="exact").test_columns(4) == Iga(svd="none").test_columns(4) == 0
        assert torch.equal(Iga(svd="none").project(D, context(4)), D)  # type: ignore[arg-type]

    def test_what_the_capture_asks(self) -> None:
        for method in LOCAL:
            own = isinstance(method, Iga)
            assert method.keeps_raw_second_moment == (own and method.second_moment == "raw")  # type: ignore[attr-defined]
            assert method.paired == (own and method.variance == "set")  # type: ignore[attr-defined]
            A, B, D = normal(2, 5), normal(4, 2), normal(4, 5)
            shapes: list[Tensor] = list(method.factor_gradients(D, A, B, 1.0))
            assert [one.shape for one in shapes] == [A.shape, B.shape]
