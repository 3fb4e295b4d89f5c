"""What all estimators share: parameters and data in, a job for the engine, fitted attributes out."""

from __future__ import annotations

import functools
import os
import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from inspect import signature
from itertools import pairwise
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import sklearn
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn import config_context, get_config
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.metrics import check_scoring
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data
from torch import Tensor, nn

from sklreg._batched import hold_once, train_all_here
from sklreg._callbacks import CallbackSupportMixin, EpochTasks, with_callbacks
from sklreg._device import resolve_device
from sklreg._fitted import FittedNetworks
from sklreg._guards import all_or_nothing
from sklreg._holdout import check_validation_arguments, hold_out_for
from sklreg._inputs import learn_input_map
from sklreg._parameters import CONSTRAINTS
from sklreg._random import seed_of
from sklreg._regularizers import TECHNIQUES
from sklreg._table import Table, check_range, check_weight
from sklreg._warnings import warn_user
from sklreg.engine import (
    AS_GIVEN,
    Committee,
    CSRRows,
    Hyperparameters,
    InputMap,
    Job,
    OptimizerState,
    OutputUnits,
    Result,
    SelectInputs,
    SparseLinear,
    Static,
    batch_bounds,
    count_batches,
    input_map_of,
    layers_of,
)

Array = NDArray[Any]
_DRAW_OF_SAMPLES = 1  # beside a fit's seed: a stream of its own
_USUAL_AVERAGING = 0.99  # chosen with benchmarks/quality.py


class Passes(NamedTuple):
    """What ``partial_fit`` remembers between its passes."""

    seed: int
    n_passes: int
    solver: str
    optimizer_state: OptimizerState | None


class BaseRegularizedMLP(CallbackSupportMixin, FittedNetworks):
    """Base class of the estimators; do not use it directly.

    ``fit`` reads: check the data, encode the target, hold out a validation set, make a job, train, keep the result.
    """

    # Parameters; one that has a value here is not a parameter of every estimator.
    hidden_layer_sizes: int | tuple[int, ...]
    activation: str
    residual: bool = False
    stochastic_depth: float = 0.0
    input_scaling: str | None = None
    n_bins: int | None = None
    penalty_groups: str = "weights"
    hierarchy: float = 1.0
    weight_decay: float
    dropout: float
    input_dropout: float
    input_noise: float
    swap_noise: float
    penalty_warmup: float
    normalization: str | None
    max_norm: float | None
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0
    mixup_alpha: float
    cutmix_alpha: float
    solver: str
    learning_rate_init: float
    learning_rate: str
    momentum: float
    max_grad_norm: float | None
    weight_averaging: float | str
    batch_size: int | str
    max_iter: int
    early_stopping: bool | str
    bootstrap: bool = False
    validation_fraction: float
    patience: int
    min_delta: float
    scoring: str | Callable[..., float]
    warm_start: bool
    device: str
    dtype: str
    n_members: int = 1
    random_state: int | np.random.RandomState | None
    verbose: bool | int

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    def _store(self, parameters: dict[str, Any]) -> None:
        """Keep the constructor's parameters, and do nothing else with them."""
        for name, value in parameters.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    @classmethod
    def _get_param_names(cls) -> list[str]:
        # Each clone asks several times, and to look at forty parameters takes longer than the rest of it.
        return [*_names_of_parameters(cls, cls.__init__)]

    # What classifiers and regressors answer differently -------------------------------------------------------

    _y_numeric: ClassVar[bool]
    _n_outputs: int

    @abstractmethod
    def _learn_target(self, y: Array) -> None:
        """Learn what there is to predict (classes, number of outputs), and check that it can be."""

    @abstractmethod
    def _encode(self, y: Array) -> Array:
        """Return targets ``(n, C)`` for the engine, of labels or values that must fit what was learnt."""

    @abstractmethod
    def _perfect_outputs(self, targets: Array) -> Array:
        """Return outputs ``(n, C)`` that predict the targets."""

    @property
    @abstractmethod
    def _keep_strata(self) -> bool:
        """Whether every stratum must stay in training."""

    @abstractmethod
    def _strata(self, targets: Array) -> NDArray[np.int64]:
        """Return for each sample the stratum whose share a validation set must keep."""

    @abstractmethod
    def _learn_class_weight(self, targets: Array, weight: Array | None) -> None:
        """Learn what each class weighs, from all samples of a fit."""

    @abstractmethod
    def _class_weights(self, targets: Array) -> Array | None:
        """Return the weight that each sample has by its class."""

    @abstractmethod
    def _units(self, table: Table) -> tuple[OutputUnits, Tensor]:
        """Return the units in which to train, and the output, in these, that is best without inputs."""

    @abstractmethod
    def _scored_view(self, raw: Array, X: Any) -> Any:
        """Return what a scorer may ask of this estimator, answered from the network's outputs ``raw`` for ``X``."""

    @abstractmethod
    def _penalty_strengths(self) -> tuple[float, float]:
        """Return ``l1, l2``."""

    def _group_labels(self) -> tuple[int, ...] | None:
        """Return the number of each feature's group, or ``None`` where each is its own."""
        return None

    # Fitting --------------------------------------------------------------------------------------------------

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Fit the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, not negative.  Their scale does not matter; a weight of two counts as two samples,
            a weight of zero as none.
        X_val : {array-like, sparse matrix} of shape (n_validation, n_features), default=None
            Validation inputs for early stopping, in place of a part of ``X``.
        y_val : array-like of shape (n_validation,) or (n_validation, n_outputs), default=None
            Validation labels or targets.
        sample_weight_val : array-like of shape (n_validation,), default=None
            Weights of the validation samples.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If data or parameters are out of range or do not go together: before any training, and the estimator stays
            as it was.

        Warns
        -----
        ConvergenceWarning
            If the loss or the weights were no longer finite; the weights of the best epoch before that are kept.
        """
        members, jobs, tasks = self._prepare(X, y, sample_weight, X_val, y_val, sample_weight_val)
        for member, job, result in zip(members, jobs, train_all_here(jobs), strict=True):
            member._keep(result, job.units)
        self._gather(members)
        self._check_fitted()
        if tasks is not None:
            tasks.end()
        return self

    def _prepare(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        X_val: ArrayLike | None,
        y_val: ArrayLike | None,
        sample_weight_val: ArrayLike | None,
    ) -> tuple[list[Self], list[Job], EpochTasks | None]:
        """Check everything; return the members, the job of each, and who is told of their epochs.

        While a fit waits for others, it holds no more of its data than the jobs.
        """
        previous = self._members() if self.warm_start and self.__sklearn_is_fitted__() else []
        seed = self._draw_seed()
        table = self._check_table(X, y, sample_weight, reset=True, learn_target=self._learn_target)
        self._check_number_of(previous)
        members = self._new_members(seed)
        tasks = EpochTasks.of(self, X, y, self.max_iter * self.n_members)
        committee = Committee() if self.early_stopping == "ensemble" and len(members) > 1 else None
        # Members that are judged together are judged by the same samples.
        split = None if committee is None else self._split(table, X_val, y_val, sample_weight_val, seed)
        jobs = []
        for k, member in enumerate(members):
            if previous:
                self._check_warm_start(previous[k])
            start = previous[k]._network if previous else None
            member_seed = seed if member is self else member._draw_seed()
            of_member = split or member._split(table, X_val, y_val, sample_weight_val, member_seed)
            job = member._first_job(*of_member, member_seed, start=start)
            if split is None or k == 0:  # else it has been asked of the same samples
                member._check_watched(job.score, of_member[1])
            name = type(self).__name__ + (f" (member {k + 1} of {self.n_members})" if self.n_members > 1 else "")
            job = replace(job, committee=committee, on_epoch=member._epoch_listener(job.units, tasks, name))
            # At once, as a copy of the samples is let go before the next one is made.
            jobs.append(hold_once(job, has_companions=len(members) > 1))
        if committee is not None and any(job.static != jobs[0].static for job in jobs):
            raise ValueError(
                f"{type(self).__name__} cannot continue with early_stopping='ensemble': its networks differ in their "
                "bins, as each was fitted with a validation set of its own. Set early_stopping back, or start anew by "
                "fit with warm_start=False."
            )
        return members, jobs, tasks

    def _first_job(
        self, train_table: Table, validation_table: Table | None, seed: int, start: nn.Sequential | None = None
    ) -> Job:
        """Return the job of a fit."""
        self._check_parameters(len(train_table.targets))
        units, initial_output = self._units(train_table)
        return self._make_job(train_table, validation_table, units, initial_output, seed, start=start)

    def _partial_fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, learn_target: Callable[[Array], None]
    ) -> Self:
        """Take one pass over ``X``; ``learn_target`` learns from the first ``y`` and checks later ones."""
        self._validate_params()  # scikit-learn's decorator does so in the first call only
        if self.bootstrap:
            raise ValueError(
                f"partial_fit of {type(self).__name__} takes the samples as they come, and bootstrap=True draws from "
                "them. Set bootstrap=False, or call fit."
            )
        previous = self._members() if self.__sklearn_is_fitted__() else []
        table = self._check_table(X, y, sample_weight, reset=not previous, learn_target=learn_target)
        self._check_parameters(len(table.targets))
        self._check_number_of(previous)
        # Copies, as this estimator must be as it was if one of them fails.
        if self.n_members > 1:
            members = [self._as_member(m.random_state, m) for m in previous] or self._new_members(self._draw_seed())
        else:
            members = [self]
        passes = [member._next_pass(table) for member in members]
        for member, (job, after), result in zip(
            members, passes, train_all_here([job for job, _ in passes]), strict=True
        ):
            member._keep_pass(result, job.units, after)
        self._gather(members)
        self._check_fitted()
        return self

    def _next_pass(self, table: Table) -> tuple[Job, Passes]:
        """Return the job of one pass over ``table``, and what is to be remembered after it."""
        module = self.__dict__.get("module_")
        if module is None:
            units, initial_output = self._units(table)
        else:
            self._check_warm_start(self)
            units, initial_output = self._output_units, torch.zeros_like(self._output_units.offset)
        passes = self.__dict__.get("_passes") or Passes(self._draw_seed(), 0, self.solver, None)
        job = self._make_job(
            table,
            None,
            units,
            initial_output,
            # Every pass draws anew, and the same in every run.
            seed=int(np.random.SeedSequence([passes.seed, passes.n_passes]).generate_state(1)[0]),
            start=module,
            optimizer_state=passes.optimizer_state if passes.solver == self.solver else None,
            single_pass=True,
        )
        job = hold_once(replace(job, on_epoch=self._epoch_listener(units, None, type(self).__name__)))
        return job, Passes(passes.seed, passes.n_passes + 1, self.solver, None)

    def _keep_pass(self, result: Result, units: OutputUnits, passes: Passes) -> None:
        history, kept = self.__dict__.get("history_", []), self.__dict__.get("best_iter_", 0)
        n_before = len(history)
        history = [*history, {**result.history[0], "epoch": float(n_before + 1)}]
        self._keep(replace(result, history=history, best_iter=kept if result.diverged else n_before + 1), units)
        self._passes = passes._replace(optimizer_state=result.optimizer_state)

    # Members --------------------------------------------------------------------------------------------------

    def _new_members(self, seed: int) -> list[Self]:
        """Return an estimator for each network, which has learnt what this one has of features and target."""
        if self.n_members == 1:
            return [self]
        states = np.random.SeedSequence(seed).generate_state(self.n_members).tolist()
        if isinstance(self.random_state, Integral):
            states[0] = self.random_state  # more members leave the first as it is
        return [self._as_member(state) for state in states]

    def _as_member(self, random_state: Any, fitted: Self | None = None) -> Self:
        """Return an estimator of one network, with the weights of ``fitted`` or without any."""
        member = copy(self)
        member._take_fitted(fitted)
        member.n_members, member.random_state = 1, random_state
        return member

    def _check_number_of(self, previous: Sequence[Self]) -> None:
        if previous and len(previous) != self.n_members:
            raise ValueError(
                f"{type(self).__name__} cannot continue: it was fitted with n_members={len(previous)}, and n_members="
                f"{self.n_members} now. Set it back, or start anew by fit with warm_start=False."
            )

    def _check_fitted(self) -> None:
        """Warn of what fitting has come to."""

    # Data and parameters --------------------------------------------------------------------------------------

    def _draw_seed(self) -> int:
        return seed_of(self.random_state)

    def _check_table(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        reset: bool,
        learn_target: Callable[[Array], None] | None = None,
        weight_name: str = "sample_weight",
    ) -> Table:
        """Check samples and encode their targets; ``reset`` learns the features, ``learn_target`` the target."""
        X, y = validate_data(
            self, X, y, reset=reset, accept_sparse="csr", dtype=[np.float64, np.float32], multi_output=True,
            y_numeric=self._y_numeric,
        )  # fmt: skip
        y = y.toarray() if sparse.issparse(y) else y
        weight = None
        if sample_weight is not None:
            weight = check_weight(sample_weight, X, weight_name, type(self).__name__)
            if (weight == 0).any():  # is no sample
                X, y, weight = X[weight > 0], y[weight > 0], weight[weight > 0]
            if (weight == weight[0]).all():
                weight = None
        if learn_target is not None:
            learn_target(y)
        table = Table(X, y, self._encode(y), weight, weight)
        if learn_target is not None:
            self._learn_class_weight(table.targets, weight)
        return self._weigh_classes(table)

    def _weigh_classes(self, table: Table) -> Table:
        """Return the table with the weight of its classes in the weights for the loss."""
        class_weight = self._class_weights(table.targets)
        if class_weight is None:
            return table._replace(loss_weight=table.weight)
        return table._replace(loss_weight=class_weight if table.weight is None else table.weight * class_weight)

    def _split(
        self,
        table: Table,
        X_val: ArrayLike | None,
        y_val: ArrayLike | None,
        sample_weight_val: ArrayLike | None,
        seed: int,
    ) -> tuple[Table, Table | None]:
        """Return training and validation samples; ``X_val`` and what follows it are those of ``fit``."""
        check_validation_arguments(
            type(self).__name__,
            X_val,
            early_stopping=self.early_stopping,
            y_val=y_val,
            sample_weight_val=sample_weight_val,
        )
        if X_val is None and not self.early_stopping:
            return table, None
        if X_val is None:
            train_index, validation_index = hold_out_for(
                type(self).__name__,
                len(table.targets),
                table.X,
                self._strata(table.targets),
                table.weight,
                self.validation_fraction,
                seed,
                keep_strata=self._keep_strata,
            )
            return table.select(train_index), table.select(validation_index)
        try:
            return table, self._check_table(
                X_val, y_val, sample_weight_val, reset=False, weight_name="sample_weight_val"
            )
        except ValueError as error:
            raise ValueError(f"In the validation set (X_val, y_val): {error}") from error

    def _check_parameters(self, n_train: int) -> None:
        """Refuse what each parameter alone allows and together would do nothing, or not work."""
        name = type(self).__name__
        if not self._layer_sizes:
            on_hidden = {name: technique.off for name, technique in TECHNIQUES.items() if technique.needs_hidden}
            active = [name for name in on_hidden if getattr(self, name)]
            if active:
                raise ValueError(
                    f"{name}: {active[0]}={getattr(self, active[0])!r} acts on hidden layers, and "
                    f"hidden_layer_sizes={self.hidden_layer_sizes!r} has none. Set {active[0]} to "
                    f"{on_hidden[active[0]]} or add a hidden layer."
                )
        self._check_shortcuts()
        batch_size = self._resolve_batch_size(n_train)
        bounds = batch_bounds(n_train, count_batches(n_train, batch_size))
        if min(stop - start for start, stop in bounds) < 2:
            for parameter in ("normalization", "mixup_alpha", "cutmix_alpha", "swap_noise"):
                value = getattr(self, parameter)
                if value == "batch" or (parameter != "normalization" and value > 0):
                    raise ValueError(
                        f"{name}: {parameter}={value!r} needs at least 2 samples in a batch; got batch_size="
                        f"{self.batch_size!r} with {n_train} training samples. Raise batch_size, pass more data, or "
                        f"set {parameter} to {TECHNIQUES[parameter].off}."
                    )
        if self.scoring != "loss" and not self.early_stopping:
            raise ValueError(
                f"{name}: scoring={self.scoring!r} is what early stopping watches, and early_stopping=False. Set "
                "early_stopping=True or scoring='loss'."
            )

    def _check_shortcuts(self) -> None:
        name, sizes = type(self).__name__, self._layer_sizes
        if self.stochastic_depth > 0 and not self.residual:
            raise ValueError(
                f"{name}: stochastic_depth={self.stochastic_depth!r} drops what a residual connection leads past, and "
                "residual=False. Set residual=True or stochastic_depth=0."
            )
        if self.residual and all(a != b for a, b in pairwise(sizes)):
            raise ValueError(
                f"{name}: residual=True adds what goes into a hidden layer to what comes out of it, and "
                f"hidden_layer_sizes={self.hidden_layer_sizes!r} has no two layers of one size after one another. Make "
                "it such as (128, 128), or set residual=False."
            )

    @property
    def _layer_sizes(self) -> tuple[int, ...]:
        """The sizes of the hidden layers."""
        sizes = self.hidden_layer_sizes
        sizes = (sizes,) if isinstance(sizes, Integral) else tuple(np.ravel(sizes).tolist())
        if not all(isinstance(size, Integral) and int(size) > 0 for size in sizes):
            raise ValueError(
                f"The 'hidden_layer_sizes' parameter of {type(self).__name__} must hold ints of at least 1, one for "
                f"each hidden layer. Got {sizes!r} instead."
            )
        return tuple(int(size) for size in sizes)

    def _resolve_batch_size(self, n_train: int) -> int:
        if self.batch_size == "full":
            return n_train
        return min(256 if self.batch_size == "auto" else int(self.batch_size), n_train)

    def _architecture(self) -> dict[str, Any]:
        """Return what a network is made as, by parameter; training can only go on from one that was made the same."""
        sizes = self._layer_sizes
        return {
            "n_features_in_": self.n_features_in_,
            "hidden_layer_sizes": sizes,
            "n_outputs": self._n_outputs,
            "activation": self.activation if sizes else None,
            "normalization": self.normalization,
            "residual": self.residual,
            "input_scaling": self.input_scaling,
            "n_bins": self.n_bins,
            "penalty_groups": self.penalty_groups,
        }

    def _check_warm_start(self, previous: BaseRegularizedMLP) -> None:
        """Refuse to go on from the network of ``previous`` where what is asked for now is another one."""
        name, layers = type(self).__name__, layers_of(previous._network)[0]
        if any(isinstance(layer, SelectInputs) for layer in layers):
            raise ValueError(
                f"{name} cannot continue: its network was pruned. Start anew by fit with warm_start=False, or continue "
                "the one before."
            )
        if any(isinstance(layer, SparseLinear) for layer in layers):
            raise ValueError(f"{name} cannot continue with sparse weights. Call densify() before, or start anew.")
        was, is_now = previous._made_as, self._architecture()
        changed = [key for key in was if was[key] != is_now[key]]
        if "hierarchical" not in (was["penalty_groups"], is_now["penalty_groups"]):  # which adds a linear connection
            changed = [key for key in changed if key != "penalty_groups"]
        if changed:
            before, after = (", ".join(f"{key}={of[key]!r}" for key in changed) for of in (was, is_now))
            raise ValueError(
                f"{name} cannot continue: it was fitted with {before}, and the data and parameters now ask for "
                f"{after}. Set them back, or start anew by fit with warm_start=False."
            )

    def _make_job(
        self,
        train_table: Table,
        validation_table: Table | None,
        units: OutputUnits,
        initial_output: Tensor,
        seed: int,
        start: nn.Sequential | None = None,
        optimizer_state: OptimizerState | None = None,
        single_pass: bool = False,
    ) -> Job:
        """Translate parameters and samples for the engine; a ``single_pass`` is one epoch outside any schedule."""
        device = resolve_device(self._wanted_device, type(self).__name__)
        dtype = self._resolve_dtype(train_table.X, device)
        for table in (train_table, validation_table):
            if table is not None:
                check_range(table.X, dtype, type(self).__name__)
        train_set = self._drawn(train_table, seed).to_samples(units, dtype)
        if train_table.loss_weight is not None and np.ptp(train_table.loss_weight) > 0:
            train_set = train_set.with_weight()  # also where all that were drawn weigh the same
        validation_set = None if validation_table is None else validation_table.to_samples(units, dtype)
        if validation_set is not None and (train_set.weight is None) != (validation_set.weight is None):
            train_set, validation_set = train_set.with_weight(), validation_set.with_weight()
        n_train = len(train_set)
        input_map = self._input_map(train_table, start)
        static = Static(
            n_features=self.n_features_in_,
            hidden_layer_sizes=self._layer_sizes,
            n_outputs=self._n_outputs,
            activation=self.activation,
            normalization=self.normalization,
            loss=self._loss(),
            solver=self._resolve_solver(),
            schedule="constant" if single_pass else self.learning_rate,
            n_batches=count_batches(n_train, self._resolve_batch_size(n_train)),
            has_validation=validation_set is not None,
            weighted=train_set.weight is not None,
            is_sparse=isinstance(train_set.X, CSRRows),
            dtype=dtype,
            device=device,
            penalty_groups=self.penalty_groups,
            feature_groups=self._group_labels(),
            residual=self.residual,
            scales_inputs=input_map.scale is not None,
            binned=None if input_map.bins is None else input_map.bins.feature,
        )
        return Job(
            static=static,
            hyperparameters=self._hyperparameters(single_pass, start),
            train_set=train_set,
            validation_set=validation_set,
            seed=seed,
            units=units,
            initial_output=initial_output.to(dtype),
            input_map=input_map,
            start=start,
            optimizer_state=optimizer_state,
            keeps_optimizer=single_pass,
            score=None if validation_table is None else self._score_function(validation_table),
        )

    def _drawn(self, table: Table, seed: int) -> Table:
        """Return the samples to learn from: all, or as many, drawn with replacement from each class."""
        if not self.bootstrap:
            return table
        generator = np.random.default_rng(np.random.SeedSequence([seed, _DRAW_OF_SAMPLES]))
        strata = self._strata(table.targets) if self._keep_strata else np.zeros(len(table.targets), dtype=np.int64)
        index = np.arange(len(strata))
        for stratum in np.unique(strata):
            (members,) = np.nonzero(strata == stratum)
            index[members] = generator.choice(members, len(members))
        return table.select(index)

    def _input_map(self, table: Table, start: nn.Sequential | None) -> InputMap:
        """Return what the network does to its inputs; one that is continued goes on doing it."""
        is_scaled = self.input_scaling is not None
        if not is_scaled and self.n_bins is None:
            return AS_GIVEN
        if start is not None:
            return input_map_of(layers_of(start)[0])
        return learn_input_map(table.X, table.weight, is_scaled, self.n_bins)

    def _hyperparameters(self, single_pass: bool, start: nn.Sequential | None) -> Hyperparameters:
        l1, l2 = self._penalty_strengths()
        grows = l1 > 0 and not single_pass and not (start is not None and _has_deleted_weights(start))
        off = float("inf")
        return Hyperparameters(
            learning_rate_init=self.learning_rate_init,
            momentum=self.momentum,
            l1=l1,
            l2=l2,
            hierarchy=self.hierarchy,
            penalty_warmup=self.penalty_warmup if grows else 0.0,
            weight_decay=self.weight_decay,
            dropout=self.dropout,
            input_dropout=self.input_dropout,
            stochastic_depth=self.stochastic_depth,
            input_noise=self.input_noise,
            swap_noise=self.swap_noise,
            label_smoothing=self.label_smoothing,
            focal_gamma=self.focal_gamma,
            mixup_alpha=self.mixup_alpha,
            cutmix_alpha=self.cutmix_alpha,
            max_norm=off if self.max_norm is None else self.max_norm,
            max_grad_norm=off if self.max_grad_norm is None else self.max_grad_norm,
            weight_averaging=0.0 if single_pass and self.weight_averaging == "auto" else self._averaging_decay(),
            patience=self.patience if self.early_stopping and not single_pass else off,
            min_delta=self.min_delta,
            max_iter=1 if single_pass else self.max_iter,
        )

    def _averaging_decay(self) -> float:
        """Return the decay of the average of the weights; one is worth it where the step size does not fall to zero."""
        if self.weight_averaging == "auto":
            return _USUAL_AVERAGING if self.early_stopping else 0.0
        return float(self.weight_averaging)

    def _resolve_solver(self) -> str:
        """Return the engine's name of the solver; a linear model has no layers to set off against each other."""
        return "adam" if self.solver == "scaled_adam" and not self._layer_sizes else self.solver

    def _resolve_dtype(self, X: Any, device: torch.device) -> torch.dtype:
        if self.dtype != "auto":
            return {"float32": torch.float32, "float64": torch.float64}[self.dtype]
        return torch.float32 if X.dtype == np.float32 or device.type == "cuda" else torch.float64

    def _score_function(self, table: Table) -> Callable[[Array], float] | None:
        if self.scoring == "loss":
            return None
        scorer = check_scoring(self, scoring=self.scoring)
        takes_weight = "sample_weight" in signature(getattr(scorer, "_score_func", scorer)).parameters
        weight = {"sample_weight": table.weight} if takes_weight and table.weight is not None else {}

        config = get_config()  # of this thread; the training may run in another

        def score(raw: Array) -> float:
            with config_context(**config):
                return float(scorer(self._scored_view(raw, table.X), table.X, table.y, **weight))

        return score

    def _check_watched(self, score: Callable[[Array], float] | None, table: Table | None) -> None:
        """Refuse a score that early stopping cannot watch."""
        if score is not None and table is not None:
            self._check_score(
                score,
                table,
                f"the validation set of {len(table.targets)} samples",
                "early stopping cannot watch it. Hold out more (validation_fraction) or pass X_val and y_val with "
                "samples of every class.",
            )

    def _check_score(self, score: Callable[[Array], float], table: Table, where: str, consequence: str) -> None:
        """Score perfect predictions of ``table`` before training: what its samples do not allow shows now."""
        of_what = f"{type(self).__name__}: scoring={self.scoring!r}"
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            try:
                value = score(self._perfect_outputs(table.targets))
            except ValueError as error:
                raise ValueError(
                    f"{of_what} cannot judge {where}: {error} Choose another scoring, other options of it "
                    "(sklearn.metrics.make_scorer), or samples that it can judge."
                ) from error
        # Metrics say so where they are not defined; what else warns is the scorer's own concern.
        of_metrics = os.path.dirname(sklearn.metrics.__file__)
        reasons = [
            str(w.message)
            for w in complaints
            if issubclass(w.category, UndefinedMetricWarning)
            or (issubclass(w.category, UserWarning) and w.filename.startswith(of_metrics))
        ]
        if reasons or np.isnan(value) or value == -np.inf:
            raise ValueError(
                f"{of_what} gives {value} for perfect predictions of {where} "
                f"({'; '.join(reasons) or 'not a number'}), so {consequence}"
            )

    def _epoch_listener(
        self, units: OutputUnits, tasks: EpochTasks | None, name: str
    ) -> Callable[[dict[str, float], Callable[[], nn.Sequential]], bool] | None:
        if not self.verbose and tasks is None:
            return None

        def listen(record: dict[str, float], snapshot: Callable[[], nn.Sequential]) -> bool:
            if self.verbose:
                parts = [f"{key} {value:.6g}" for key, value in record.items() if key != "epoch"]
                print(f"{name} epoch {record['epoch']:.0f}: {', '.join(parts)}")
            return tasks is not None and tasks.end_epoch(lambda: {"module_": snapshot(), "_output_units": units})

        return listen

    def _keep(self, result: Result, units: OutputUnits) -> None:
        """Set the fitted attributes."""
        self._warn_of_divergence(result)
        self._set_fitted(result, units)

    def _warn_of_divergence(self, result: Result) -> None:
        if result.diverged:
            whose = " (its own, or those of a member it stops with)" if self.early_stopping == "ensemble" else ""
            warn_user(
                f"{type(self).__name__} diverged in epoch {len(result.history)}: loss or weights{whose} were no longer "
                f"finite. The weights of epoch {result.best_iter} (0 is before training) are kept. Lower "
                "learning_rate_init or the penalties, scale the inputs, or set max_grad_norm.",
                ConvergenceWarning,
            )

    def __sklearn_tags__(self) -> Tags:
        """Return scikit-learn's tags: sparse input is taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _has_deleted_weights(network: nn.Sequential) -> bool:
    """Return whether L1 has deleted weights, which a penalty that grows once more would revive."""
    linear = [layer for layer in layers_of(network)[0] if isinstance(layer, nn.Linear)]
    # The output layer starts at 0, and weights of units that are never on stay there.
    return any(bool((layer.weight == 0).any()) for layer in linear[:-1] or linear)


@functools.lru_cache(maxsize=256)
def _names_of_parameters(cls: type[BaseRegularizedMLP], init: Callable[..., None]) -> list[str]:
    del init  # but a class that is given another constructor is another question
    return super(BaseRegularizedMLP, cls)._get_param_names()  # type: ignore[misc, no-any-return]
