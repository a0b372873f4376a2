"""Per-domain gradients of every LoRA layer from one forward and one backward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from isograd.capture._layers import Layer, check_layer, find_layers, refuse_half_precision
from isograd.capture._merging import merging_for
from isograd.capture._rows import RowPlan, plan_rows, token_segments
from isograd.capture._sum import ProcessMean
from isograd.capture._tap import Tap, check_rows
from isograd.common.errors import UserError
from isograd.gradients import GlobalMethod, LocalMethod, LowRank, State, retract

__all__ = ["DomainCapture"]


class DomainCapture:
    """Runs a method that compares the domains' gradients inside the backward pass of a PEFT model.

    At a LoRA layer with input rows x and output-gradient rows d, the gradient of domain k's loss with respect to the
    effective weight ``W = W0 + s * B @ A`` is exactly ``G_k = K * D_k' X_k`` over the rows of domain k: whatever K
    is, nothing but this product is needed beside the ordinary backward pass, and no gradient of the base weight (it
    may be quantized); autograd's own gradients of A and B are left out. Exact under gradient checkpointing of both
    kinds, gradient accumulation, and several processes. ::

        capture = DomainCapture(model, make_method("iga", tau=1.0), num_domains=4)
        capture.set_step(step, total)
        with capture.micro_batch(domains):
            loss = torch.stack([loss_of_domain_k ...]).mean()
            loss.backward()
        capture.write_gradients()
        optimizer.step()

    Loss convention: the scalars backpropagated in a window (the micro-batches of one optimizer step) sum to
    ``mean_k L_k``; that is where the factor K comes from. With several processes their *mean* over processes does, as
    ``DistributedDataParallel`` has it. Whatever is added to the loss counts for the domain of the row through which
    its gradient flows, so a term that compares the rows of a set gives each domain its own rows' share.

    Memory of a local method in weight space: with one micro-batch per window, one dense [m n] matrix of one layer at
    a time, plus a tile (or K of them, where the method needs whole layers or there are several processes). With
    more, the mask can only be computed from the summed gradients, so K dense gradients of every layer are held
    between them: K times the adapted base weights in float32. Prefer a larger batch with gradient checkpointing.
    Global methods and factor space hold K gradients of A and B.

    Several processes: no mask or weight is taken from one process's rows alone. Gradients are averaged first, K dense
    matrices of each layer in weight space, K gradients of A and B otherwise; all processes then write the same.

    Args:
        model: a PEFT model (or any module that holds PEFT LoRA layers); its adapter is the one trained.
        method: a local or a global method.
        num_domains: K, at least 2.
        adapter: name of the adapter; by default the active one.
        seed: names the random test matrices of a randomized SVD, which depend on the seed and the shape only, and
            the draws of methods, which depend on the seed and the step: a resumed run repeats an uninterrupted one.
        keep_dense: keep the dense per-domain gradients in :attr:`dense_gradients` (tests, research; K dense
            gradients of every layer in memory).
        only_reads: leave autograd's gradients of A and B to the optimizer; they are left out of the backward pass
            otherwise. For a look at the domains' gradients beside another way of training.

    Raises:
        UserError: what could not be exact: LoRA dropout, DoRA or another variant, lora_bias, LoRA on embeddings or
            convolutions, several active adapters, a merged adapter, trainable parameters that are not A or B,
            half-precision factors for a method that retracts; the line names the layer and the mend.
    """

    def __init__(
        self,
        model: nn.Module,
        method: LocalMethod | GlobalMethod,
        *,
        num_domains: int,
        adapter: str | None = None,
        seed: int = 0,
        keep_dense: bool = False,
        only_reads: bool = False,
    ) -> None:
        if num_domains < 2:
            raise UserError(f"num_domains is {num_domains}; a method that compares domains needs at least 2")
        self.num_domains = num_domains
        self.layers = find_layers(model, adapter)
        if isinstance(method, LocalMethod) and method.retracts:
            refuse_half_precision(self.layers)
        self._only_reads = only_reads
        self._method = method
        self._merging = merging_for(method, seed, ProcessMean(), keep_dense=keep_dense)
        self._plan: RowPlan | None = None
        self._complete = False
        self._fired: set[str] = set()
        self._seen = [0] * num_domains
        self._open = False
        self._left_out: list[nn.Parameter] = []
        self._handles = []
        for layer in self.layers:
            self._handles.append(layer.module.register_forward_pre_hook(self._pre_hook(layer)))
            self._handles.append(layer.module.register_forward_hook(self._hook(layer), with_kwargs=True))

    @property
    def method(self) -> LocalMethod | GlobalMethod:
        """The method as it is at the current step of its schedule."""
        return self._merging.method

    @property
    def dense_gradients(self) -> dict[str, Float[Tensor, "K m n"]]:
        """Layer name -> per-domain gradients of the last finished window; empty unless ``keep_dense``."""
        return self._merging.dense

    def set_step(self, step: int, total: int) -> None:
        """Say which optimizer step comes next, for schedules and for the names of random draws.

        Without it the method is as it will be after its schedule, and draws the same at every step.

        Args:
            step: optimizer steps taken so far.
            total: optimizer steps of the whole run.
        """
        self._merging.step = step
        self._merging.method = self._method.at(step, total)  # type: ignore[assignment]

    @property
    def states(self) -> dict[str, State]:
        """What the method remembers between steps, by layer; save it with a checkpoint and set it when resuming."""
        return {name: state for name, state in self._merging.states.items() if state}

    @states.setter
    def states(self, states: dict[str, State]) -> None:
        self._merging.states = dict(states)

    @contextlib.contextmanager
    def micro_batch(self, domains: Int[Tensor, " rows"], first: bool = True, last: bool = True) -> Iterator[None]:
        """Capture the forward and backward pass inside the block; outside of one the hooks do nothing.

        Args:
            domains: domain index of each row of the batch, in any order, in any numbers.
            first: this micro-batch begins a window; whatever an unfinished one left is dropped.
            last: this micro-batch ends the window.

        Raises:
            UserError: bad domain indices; a window that began without ``first``; a domain without any row in the
                whole window; a layer that ran twice, or on other rows than those given.
        """
        method = self.method
        paired = isinstance(method, LocalMethod) and method.paired
        plan = plan_rows(domains, self.num_domains, paired=paired)
        if first:
            self._clear()
            self._merging.mean.begin()
            for layer in self.layers:
                check_layer(layer)  # adapters can be merged or switched between steps
            self._open = True
        elif not self._open:
            raise UserError("micro_batch(first=False) without an open window; pass first=True to the first micro-batch")
        self._seen = [a + b for a, b in zip(self._seen, plan.counts, strict=True)]
        if last and 0 in self._seen:
            raise UserError(
                f"domain {self._seen.index(0)} has no row in this optimizer step; keep whole isomer sets in a batch"
            )
        self._plan, self._complete = plan, first and last
        self._fired.clear()
        try:
            yield
        except BaseException:
            self._clear()
            raise
        finally:
            self._plan = None
            self._put_back()  # where a layer raised
        if last:
            with torch.no_grad(), self._full_precision():
                self._merging.finish()
            self._open = False

    @torch.no_grad()
    def write_gradients(self, *, learning_rate: float | None = None) -> None:
        """Set ``.grad`` of every LoRA A and B to the method's gradient, whatever it held, and clear.

        A layer that took no part in the window gets None, as from autograd. Where the method keeps Adam's second
        moment raw, what autograd accumulated is kept as ``.raw_grad``, and the norm of ``.grad``, by which its
        clipping can be told, as ``.masked_norm``. Where the method retracts, the step is taken
        here and now, ``s B A <- best rank-r approximation of (s B A - learning_rate * direction)``, and every
        ``.grad`` is None: gradient clipping and the optimizer, with its weight decay, have nothing to act on.

        Args:
            learning_rate: of this step; for methods that retract.

        Raises:
            UserError: no window was finished since the last call, a method that retracts got no learning rate, or the
                capture only reads.
        """
        if self._only_reads:
            raise UserError("this capture only reads: make one with only_reads=False to train by its method")
        updates = self._merging.updates
        if self._open or not updates:
            raise UserError("no captured gradients: run forward and backward inside micro_batch(..., last=True) first")
        for layer in self.layers:
            update = updates.get(layer.name)
            if isinstance(update, LowRank):
                if learning_rate is None:
                    raise UserError("this method retracts: pass write_gradients(learning_rate=...)")
                with self._full_precision():
                    _retract(layer, update, learning_rate)
                update = None
            for index, factor in enumerate((layer.A, layer.B)):
                if factor.requires_grad:
                    raw = factor.grad
                    factor.grad = None if update is None else update[index].to(factor.dtype)
                    if self._keeps_raw and factor.grad is not None:
                        factor.raw_grad = raw  # type: ignore[attr-defined]
                        factor.masked_norm = torch.linalg.vector_norm(factor.grad)  # type: ignore[attr-defined]
        updates.clear()

    def remove(self) -> None:
        """Take the hooks off the model and free what is held."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._clear()

    def _full_precision(self) -> torch.autocast:
        """Autocast off, where a caller has it on: it would round what is computed here."""
        return torch.autocast(self.layers[0].A.device.type, enabled=False)

    def _clear(self) -> None:
        self._open = False
        self._seen = [0] * self.num_domains
        self._merging.clear()

    @property
    def _keeps_raw(self) -> bool:
        method = self.method
        return isinstance(method, LocalMethod) and method.keeps_raw_second_moment

    def _plan_for(self, layer: Layer) -> RowPlan | None:
        return self._plan if torch.is_grad_enabled() and not layer.module.disable_adapters else None

    def _pre_hook(self, layer: Layer) -> Any:
        """Keep the weights of A and B out of autograd's graph: their gradients as a whole would go unread."""

        def forward_pre_hook(_: nn.Module, _args: tuple[Any, ...]) -> None:
            if self._plan_for(layer) is not None and not (self._only_reads or self._keeps_raw):
                self._left_out = [factor for factor in (layer.A, layer.B) if factor.requires_grad]
                for factor in self._left_out:
                    factor.requires_grad_(False)

        return forward_pre_hook

    def _put_back(self) -> None:
        for factor in self._left_out:
            factor.requires_grad_(True)
        self._left_out = []

    def _hook(self, layer: Layer) -> Any:
        def forward_hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            self._put_back()
            plan = self._plan_for(layer)
            if plan is None:
                return None
            x = args[0] if args else kwargs["x"]
            check_rows(layer, plan, x, output)
            return Tap.apply(output, x, layer.A, layer.B, self._record, layer, plan)

        return forward_hook

    @torch.no_grad()
    def _record(self, layer: Layer, plan: RowPlan, x: Tensor, grad: Tensor) -> None:
        """Called once per layer, in its backward."""
        if plan is not self._plan:
            raise UserError(f"layer {layer.name}: backward ran outside of its micro_batch block; move it inside")
        if layer.name in self._fired:
            raise UserError(
                f"layer {layer.name}: ran twice in one pass (a shared module, or two forward passes), so its domains' "
                "gradients cannot be told apart; leave it out of target_modules, or run one forward per micro_batch"
            )
        self._fired.add(layer.name)
        X, D, segments = token_segments(plan, x, grad)
        # A backward pass called under autocast must not round these products.
        with torch.autocast(D.device.type, enabled=False):
            self._merging.add(layer, X, D, segments, plan, complete=self._complete)


def _retract(layer: Layer, direction: LowRank, learning_rate: float) -> None:
    A, B = layer.A.to(direction.right.dtype), layer.B.to(direction.right.dtype)
    step = LowRank(direction.left * (-learning_rate / layer.scaling), direction.right)
    new_A, new_B = retract(A, B, step, A.shape[0])
    layer.A.copy_(new_A)
    layer.B.copy_(new_B)
