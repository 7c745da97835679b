"""DP-SGD on one client with Opacus: per-example clipping by hooks, noise from our own source.

Each step draws a Poisson batch by secret coins; an empty batch is a zero gradient plus
noise, never skipped and never drawn again. An example that raises has a zero gradient, so
that one unit's fault cannot take the others out of the sum. Source: Abadi et al. 2016,
arXiv:1607.00133.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn

from fedrec.errors import UnsafeUpdateError
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.randomness import RandomSource

_Example = TypeVar("_Example")

LossOf = Callable[[Sequence[_Example]], Tensor]


class SourceNoiseOptimizer(DPOptimizer):  # type: ignore[misc]
    """Opacus's optimizer with noise from a `RandomSource`: a torch generator is neither
    secret by default nor, unseeded, different from one client to the next."""

    def __init__(self, optimizer: torch.optim.Optimizer, *, plan: PrivacyPlan, source: RandomSource) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=plan.clip_norm,
            expected_batch_size=None,
            loss_reduction="sum",
        )
        self.source = source

    def add_noise(self) -> None:
        """Put the clipped sum plus noise of `noise_multiplier * max_grad_norm` into `p.grad`."""
        noise_std = self.noise_multiplier * self.max_grad_norm
        for parameter in self.params:
            noise = self.source.gaussian(parameter.numel(), noise_std=noise_std)
            noised = parameter.summed_grad.double().reshape(-1) + torch.from_numpy(noise)
            parameter.grad = noised.to(parameter.dtype).view_as(parameter)


def private_steps(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    examples: Sequence[_Example],
    loss_of: LossOf[_Example],
    *,
    plan: PrivacyPlan,
    learning_rate: float,
    source: RandomSource,
    positions_per_example: int = 1,
) -> None:
    """Move `parameters` by `plan.local.steps` private steps of size learning_rate / expected_batch.

    loss_of: (B,) losses of a batch, examples uncoupled. positions_per_example: rows that
    a module may see per example, summed before clipping.
    Raises UnsafeUpdateError if a step is not finite, a layer couples examples, or the plan
    has no local steps; what an example raises is never raised.
    """
    if plan.local is None:
        raise UnsafeUpdateError(f"A plan of mode {plan.mode} has no private steps. Train plainly and clip.")
    sgd = torch.optim.SGD(list(parameters), lr=learning_rate / plan.local.expected_batch)
    optimizer = SourceNoiseOptimizer(sgd, plan=plan, source=source)
    with per_example_gradients(model):
        for _ in range(plan.local.steps):
            coins = source.coins(len(examples), probability=plan.local.sampling_rate)
            batch = [example for example, heads in zip(examples, coins, strict=True) if heads]
            optimizer.zero_grad(set_to_none=True)
            fill_sound_gradients(model, parameters, batch, loss_of, positions_per_example=positions_per_example)
            optimizer.step()
            if not all(parameter.isfinite().all() for parameter in parameters):
                raise UnsafeUpdateError("A private step is not finite. Lower training.learning_rate; nothing was sent.")


def fill_sound_gradients(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    batch: Sequence[_Example],
    loss_of: LossOf[_Example],
    *,
    positions_per_example: int = 1,
) -> None:
    """As `fill_example_gradients`, with zeros for every example that raises.

    Raises UnsafeUpdateError where the recipe is at fault, whoever is in the batch.
    """

    def raises(examples: Sequence[_Example]) -> bool:
        try:
            fill_example_gradients(parameters, examples, loss_of, positions_per_example=positions_per_example)
        except UnsafeUpdateError:
            raise
        except Exception:
            _forget(model)
            return True
        return False

    # Outside the handler, as a traceback would keep the failed batch in memory.
    if not raises(batch):
        return
    rows = [torch.zeros((len(batch), *parameter.shape)) for parameter in parameters]
    for number, example in enumerate(batch):
        if not raises([example]):
            for row, parameter in zip(rows, parameters, strict=True):
                row[number] = parameter.grad_sample[0]  # type: ignore[attr-defined]
        _forget(model)
    for row, parameter in zip(rows, parameters, strict=True):
        parameter.grad_sample = row  # type: ignore[attr-defined]


def fill_example_gradients(
    parameters: Sequence[nn.Parameter],
    batch: Sequence[_Example],
    loss_of: LossOf[_Example],
    *,
    positions_per_example: int = 1,
) -> None:
    """Give every parameter its `grad_sample`: (B, *shape), one gradient per example."""
    if not batch:
        for parameter in parameters:
            parameter.grad_sample = torch.zeros((0, *parameter.shape))  # type: ignore[attr-defined]
        return
    with warnings.catch_warnings():
        # The towers' inputs need no gradient, which is what this hook warning is about.
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        loss_of(batch).sum().backward()  # type: ignore[no-untyped-call]
    for parameter in parameters:
        rows = parameter.grad_sample  # type: ignore[attr-defined]
        if rows is None:
            raise UnsafeUpdateError(
                f"A trained layer of shape {tuple(parameter.shape)} has no gradients: no head reads it. "
                "Leave it out of adapter.ranks."
            )
        # Modules inside the tower may see one row per position, those behind it one per example.
        if positions_per_example > 1 and len(rows) == len(batch) * positions_per_example:
            rows = rows.reshape(len(batch), positions_per_example, *parameter.shape).sum(1)
        if len(rows) != len(batch):
            raise UnsafeUpdateError(f"{len(rows)} gradients for {len(batch)} examples: a layer couples examples.")
        parameter.grad_sample = rows  # type: ignore[attr-defined]
    _silence_broken_examples(parameters)


def _silence_broken_examples(parameters: Sequence[nn.Parameter]) -> None:
    """Zero the whole gradient of an example that is not finite.

    Its clipped gradient is then within the bound, and no fault tells who was there.
    """
    grads: list[Tensor] = [parameter.grad_sample for parameter in parameters]  # type: ignore[attr-defined]
    sound = torch.stack([grad.flatten(1).isfinite().all(1) for grad in grads]).all(0)
    if not sound.all():
        for grad in grads:
            grad[~sound] = 0.0


def _forget(model: nn.Module) -> None:
    """Drop what Opacus's hooks noted of a pass, of which one that raised would disturb the next."""
    for module in model.modules():
        for name in ("activations", "max_batch_len"):
            if hasattr(module, name):
                delattr(module, name)
    for parameter in model.parameters():
        if hasattr(parameter, "_current_grad_sample"):
            del parameter._current_grad_sample
        if parameter.requires_grad:
            parameter._forward_counter = 0  # type: ignore[attr-defined]
            parameter.grad_sample = None  # type: ignore[attr-defined]
        parameter.grad = None


@contextmanager
def per_example_gradients(model: nn.Module) -> Iterator[None]:
    """Opacus's hooks on the model's trainable modules, removed again at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hooked = GradSampleModule(model, loss_reduction="sum", strict=False)
    try:
        yield
    finally:
        _forget(model)
        hooked.to_standard_module()
        for parameter in model.parameters():
            for name in ("grad_sample", "summed_grad"):
                if hasattr(parameter, name):
                    delattr(parameter, name)
            parameter.grad = None
