"""What goes into the engine and what comes out: one :class:`Job` and one :class:`Result` per fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklreg.engine.data import OutputUnits, Samples
from sklreg.engine.inputs import AS_GIVEN, InputMap


@dataclass(frozen=True)
class Static:
    """The choices that jobs must share to be trained together."""

    n_features: int
    hidden_layer_sizes: tuple[int, ...]
    n_outputs: int
    activation: str
    normalization: str | None
    loss: str
    solver: str
    schedule: str
    n_batches: int
    has_validation: bool
    weighted: bool
    is_sparse: bool
    dtype: torch.dtype
    device: torch.device
    penalty_groups: str = "weights"
    feature_groups: tuple[int, ...] | None = None  # the number of each feature's group; None: each is its own
    residual: bool = False
    scales_inputs: bool = False
    binned: tuple[int, ...] | None = None  # the feature of each bin

    @property
    def n_inputs(self) -> int:
        """Number of inputs of the first layer."""
        return self.n_features + len(self.binned or ())

    @property
    def layer_sizes(self) -> list[int]:
        """Number of units of each layer, from the inputs to the outputs."""
        return [self.n_inputs, *self.hidden_layer_sizes, self.n_outputs]

    @property
    def n_weights(self) -> int:
        """Number of weights of all layers."""
        return sum(n_in * n_out for n_in, n_out in pairwise(self.layer_sizes))


class Hyperparameters(NamedTuple):
    """The choices that differ freely between jobs trained together; ``inf`` switches a bound off."""

    learning_rate_init: float = 1e-3
    momentum: float = 0.9
    l1: float = 0.0
    l2: float = 0.0
    hierarchy: float = 1.0  # of "hierarchical" groups alone
    penalty_warmup: float = 0.0  # share of the steps over which the prox grows to its strength
    weight_decay: float = 0.0
    dropout: float = 0.0
    input_dropout: float = 0.0
    stochastic_depth: float = 0.0
    input_noise: float = 0.0
    swap_noise: float = 0.0
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    max_norm: float = float("inf")
    max_grad_norm: float = float("inf")
    weight_averaging: float = 0.0
    patience: float = float("inf")
    min_delta: float = 0.0
    max_iter: int = 100


class Committee:
    """What jobs have in common that are judged by their mean prediction, and stop together.

    They have equal static choices and units, and one validation set.
    """


class OptimizerState(NamedTuple):
    """What an optimizer remembers of one model between steps."""

    n_steps: int
    memory: list[Tensor]  # of one model
    raw: Tensor | None = None  # (S,) the state that is trained, where the module that came out is an average


@dataclass(frozen=True)
class Job:
    """One fit.

    ``y`` is given in ``units`` (float64), which change the path of the training and not its objective: losses and
    penalties are those of the target's own units.
    """

    static: Static
    hyperparameters: Hyperparameters
    train_set: Samples
    validation_set: Samples | None
    seed: int
    units: OutputUnits
    initial_output: Tensor  # (C,) what a new network predicts, in these units
    input_map: InputMap = AS_GIVEN  # of a new network; what is continued has its own
    start: nn.Sequential | None = None  # continue from this network instead of a new one
    optimizer_state: OptimizerState | None = None
    score: Callable[[NDArray[np.floating]], float] | None = None  # validation outputs (n, C) -> greater is better
    committee: Committee | None = None
    keeps_optimizer: bool = True  # its state is part of the result
    on_epoch: Callable[[dict[str, float], Callable[[], nn.Sequential]], bool] | None = None
    """Told of every epoch, with a function that makes the network as it is then; True stops this fit."""

    @property
    def n_steps(self) -> int:
        """Number of steps that were taken before this job."""
        return 0 if self.optimizer_state is None else self.optimizer_state.n_steps

    def tensors(self) -> list[Tensor]:
        """Return the tensors that hold the samples."""
        return self.train_set.tensors() + (self.validation_set.tensors() if self.validation_set else [])


@dataclass(frozen=True)
class Result:
    """What one fit left behind."""

    module: nn.Sequential
    history: list[dict[str, float]]
    best_iter: int
    diverged: bool
    optimizer_state: OptimizerState | None  # to go on from; after divergence, or if not kept, the one of the job
    n_together: int  # rows in the stack that this fit was one of


def column_of(jobs: Sequence[Job], name: str, dtype: torch.dtype | None = None) -> Tensor:
    """Return one hyperparameter of every job of a stack, ``(K,)``."""
    values = [getattr(job.hyperparameters, name) for job in jobs]
    return torch.tensor(values, dtype=dtype or jobs[0].static.dtype, device=jobs[0].static.device)
