"""What the nets share: skorch's training, with the engine's regularizers around its steps."""

from __future__ import annotations

import inspect
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Mapping
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import partial
from numbers import Real
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import check_scoring
from sklearn.utils import Tags
from sklearn.utils._param_validation import validate_parameter_constraints
from sklearn.utils.validation import assert_all_finite, check_consistent_length, validate_data
from skorch import NeuralNet
from skorch.callbacks import EpochScoring
from skorch.dataset import Dataset, get_len, unpack_data
from skorch.utils import is_dataset
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from sklreg._holdout import check_validation_arguments, hold_out_for
from sklreg._net_data import (
    EpochBatches,
    SampleDataset,
    WholeBatches,
    as_they_are,
    dtype_of,
    has_parts,
    looks_up,
    map_tensors,
    parts_of,
    table_of,
)
from sklreg._net_losses import Targets, as_columns
from sklreg._net_stopping import BestEpoch, OutOfPatience
from sklreg._parameters import NET_CONSTRAINTS
from sklreg._random import seed_of
from sklreg.engine import (
    Batch,
    Mixup,
    Streams,
    Strength,
    Strengths,
    WeightRegularizer,
    count_zeros,
    mix,
    weights_of,
)

Array = NDArray[Any]
_READ_ANEW = frozenset(("iterator_train", "iterator_valid", "dataset"))
_OF_BATCHES = frozenset(("batch_size", "shuffle", "sampler", "batch_sampler", "drop_last"))  # of torch's DataLoader


@dataclass
class Training:
    """What belongs to one training and is gone after it."""

    streams: Streams
    regularizer: WeightRegularizer
    mixup: Mixup
    class_weight: dict[bool, Tensor | None]  # (n_classes,) of training and validation, with mean 1 over the samples


class BaseRegularizedNet(NeuralNet, metaclass=ABCMeta):
    """Base class of the nets; do not use it directly.

    skorch keeps all attributes without a trailing underscore for parameters, so what is private here ends with one.
    """

    l1: Strength
    l2: Strength
    weight_decay: Strength
    max_norm: Strength | None
    mixup_alpha: float
    augmentation: Callable[[Any], Any] | None
    early_stopping: bool
    validation_fraction: float
    patience: int
    min_delta: float
    scoring: str | Callable[..., float]
    random_state: int | np.random.RandomState | None

    best_iter_: int

    _own_criterion: ClassVar[type[nn.Module]]
    _criteria_of_outputs: ClassVar[tuple[type[nn.Module], ...]]  # whose outputs `_to_probabilities` understands
    _y_numeric: ClassVar[bool]
    # Before anything is initialized.
    initialized_ = False
    history_ = None
    virtual_params_: Mapping[str, Any] = MappingProxyType({})
    _training_: Training | None = None
    _validation_: tuple[Any, Any] | None = None
    _first_samples_: Any = None
    _keeps_integers_: bool = False

    # Of regressors, which have no classes.
    label_smoothing: float = 0.0
    class_weight: dict[Any, float] | str | None = None

    def _store(self, arguments: dict[str, Any]) -> None:
        """Keep the constructor's parameters, and do nothing else with them."""
        given = {name: value for name, value in arguments.items() if name not in ("self", "__class__", "kwargs")}
        super().__init__(None, **arguments["kwargs"])
        # Past skorch's __setattr__, which refuses a module that is an instance, since the class has these attributes.
        attributes = self.__dict__
        attributes.update(given)
        for name in ("history_", "initialized_", "virtual_params_"):  # those of the class, until there are others
            if not attributes[name]:
                del attributes[name]

    def set_params(self, **kwargs: Any) -> Self:
        """Set parameters.

        Parameters
        ----------
        **kwargs : dict
            Values by name, as in the constructor.

        Returns
        -------
        self : object
            The net.
        """
        if "callbacks" in kwargs:  # skorch would make them at once, with what they are now
            self.callbacks = kwargs.pop("callbacks")
        if self.initialized_:  # skorch refuses these then, though they are read anew whenever they are used
            for name in [name for name in kwargs if name.partition("__")[0] in _READ_ANEW]:
                setattr(self, name, kwargs.pop(name))
                self._params_to_validate.add(name)
        super().set_params(**kwargs)
        return self

    def _get_param_names(self) -> list[str]:
        # skorch counts an attribute of its own among them, a set that set_params must not replace.
        return [name for name in super()._get_param_names() if not name.startswith("_")]

    # What classifiers and regressors answer differently -------------------------------------------------------

    @abstractmethod
    def _learn_target(self, y: Any) -> None:
        """Learn what there is to predict."""

    @abstractmethod
    def _encode(self, y: Any) -> Array:
        """Return what batches hold of ``y``: codes of classes ``(n,)``, or numbers ``(n,)`` or ``(n, n_outputs)``."""

    @abstractmethod
    def _targets(self, y: Tensor, output: Tensor | None, training: bool) -> Targets:
        """Return what outputs are compared with, on the device."""

    @abstractmethod
    def _n_outputs(self) -> int | None:
        """Return how many outputs the module needs, or ``None`` where it is not known."""

    @abstractmethod
    def _to_probabilities(self, output: Tensor) -> Tensor:
        """Return what predictions are made from."""

    @abstractmethod
    def _for_criterion(self, targets: Targets, output: Tensor, smoothing: Tensor | None) -> Tensor:
        """Return the targets as a criterion of torch takes them."""

    @abstractmethod
    def _strata(self, targets: Array | None, n: int) -> NDArray[np.int64]:
        """Return for each sample the stratum whose share a validation set must keep."""

    def _class_weights(self, dataset_train: Any, dataset_valid: Any, y: Any) -> dict[bool, Tensor | None]:
        """Return the weight of every class, in training and in validation, where there are classes that have one."""
        return {True: None, False: None}

    # Fitting --------------------------------------------------------------------------------------------------

    def fit(
        self, X: Any, y: Any = None, *, X_val: Any = None, y_val: ArrayLike | None = None, **fit_params: Any
    ) -> Self:
        """Fit the module, from new weights unless ``warm_start`` is True.

        Parameters
        ----------
        X : array-like, sparse matrix, torch.Tensor, mapping or torch.utils.data.Dataset
            Training inputs; the first axis is that of the samples.  What is not a ``Dataset`` is checked as
            scikit-learn does.  Floats are cast to the module's dtype; integers, too, unless the module has an
            embedding that looks them up.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Class labels of any kind, or target values.  A ``Dataset`` may hold them: classes as ints from 0 on.
        X_val : array-like, sparse matrix, torch.Tensor, mapping or torch.utils.data.Dataset, default=None
            Validation inputs for early stopping, in place of a part of ``X``.
        y_val : array-like of shape (n_validation,) or (n_validation, n_outputs), default=None
            Validation labels or targets.
        **fit_params : dict
            Passed to the module's ``forward`` and to ``train_split``, as in skorch.

        Returns
        -------
        self : object
            The fitted net.

        Raises
        ------
        ValueError
            If parameters or data are out of range or do not go together, before any training.
        """
        self._check_parameters(has_validation=X_val is not None)
        before, goes_on = self.__dict__.copy(), False
        if "history_" in before:  # skorch would clear it
            self.history_ = copy(before["history_"])
        try:
            X, y = self._check_samples(X, y, reset=not (self.warm_start and self.initialized_))
            self._validation_ = self._check_validation(X_val, y_val)
            goes_on = self.warm_start and self.initialized_
            self._first_samples_ = None if is_dataset(X) else SampleDataset(X).take(np.arange(min(2, get_len(X))))[0]
            super().fit(X, y, **fit_params)
        except BaseException:  # what was learnt would not fit the module, and a module half trained is none
            if not goes_on:  # else the module of before has been trained, and the history says so
                self.__dict__.clear()
                self.__dict__.update(before)
            raise
        finally:
            for name in ("_validation_", "_first_samples_"):
                self.__dict__.pop(name, None)
        return self

    def partial_fit(self, X: Any, y: Any = None, classes: ArrayLike | None = None, **fit_params: Any) -> Self:
        """Train ``max_epochs`` more, from the weights and the optimizer as they are.

        Parameters
        ----------
        X : array-like, sparse matrix, torch.Tensor, mapping or torch.utils.data.Dataset
            Training inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Class labels or target values.
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever occur, in the first call of a classifier; the parameter ``classes`` does the
            same.
        **fit_params : dict
            Passed to the module's ``forward`` and to ``train_split``, as in skorch.

        Returns
        -------
        self : object
            The net.
        """
        if "_routing_method" not in fit_params:  # not called by fit, which has done this
            self._check_parameters()
            X, y = self._check_samples(X, y, reset=not self.initialized_, classes=classes)
        super().partial_fit(X, y, **fit_params)
        return self

    def check_data(self, X: Any, y: Any = None) -> None:
        """Do nothing: samples were checked, and classes learnt, before the module was made.

        Parameters
        ----------
        X : array-like, sparse matrix, torch.Tensor, mapping or torch.utils.data.Dataset
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Class labels or target values.
        """

    def fit_loop(self, X: Any, y: Any = None, epochs: int | None = None, **kwargs: Any) -> Self:
        """Run the epochs; see skorch.

        Parameters
        ----------
        X : array-like, sparse matrix, torch.Tensor, mapping or torch.utils.data.Dataset
            Training inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Class labels or target values.
        epochs : int or None, default=None
            Number of epochs; ``None`` is ``max_epochs``.
        **kwargs : dict
            As in skorch.

        Returns
        -------
        self : object
            The net.
        """
        self._training_ = None
        try:
            super().fit_loop(X, y, epochs, **kwargs)
        finally:
            self.__dict__.pop("_training_", None)
            self._n_trainings_ += 1
        return self

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Tell callbacks; they meet labels as the user knows them.

        Parameters
        ----------
        method_name : str
            What has happened.
        **cb_kwargs : dict
            What is passed on.
        """
        if "batch" in cb_kwargs:
            cb_kwargs["batch"] = self._as_given(cb_kwargs["batch"])
        super().notify(method_name, **cb_kwargs)
        if method_name == "on_epoch_end" and any(getattr(cb, "is_over_", False) for _, cb in self.callbacks_):
            raise OutOfPatience  # once all have been told of the epoch

    def _as_given(self, batch: Any) -> Any:
        return batch

    @property
    def _training(self) -> Training:
        """What belongs to this training; also of steps that are taken without ``fit``."""
        if self._training_ is None:
            self._training_ = self._new_training({True: None, False: None})
        return self._training_

    def _new_training(self, class_weight: dict[bool, Tensor | None]) -> Training:
        owner = type(self).__name__
        # Without a device the module stays where its user has put it.
        parameter = next(self.module_.parameters(), None)
        where = parameter.device if self.device is None and parameter is not None else self.device or "cpu"
        seed, device = self._training_seed(), torch.device(where)
        streams = Streams(seed, device)
        weights = self._weights()
        off = float("inf")
        strengths = Strengths(self.l1, self.l2, self.weight_decay, off if self.max_norm is None else self.max_norm)
        optimizers = [getattr(self, f"{name}_") for name in self._optimizers]
        regularizer = WeightRegularizer(weights, optimizers, strengths, owner)
        return Training(streams, regularizer, Mixup([self.mixup_alpha], [streams]), class_weight)

    def _training_seed(self) -> int:
        """Return a seed that is another one each time that training goes on."""
        if self._n_trainings_ == 0:
            return self._seed_
        return int(np.random.SeedSequence([self._seed_, self._n_trainings_]).generate_state(1)[0])

    def _weights(self) -> list[Any]:
        """Return what penalties act on."""
        modules = (getattr(self, f"{name}_") for name in self._modules)
        return [weight for module in modules for weight in weights_of(getattr(module, "_orig_mod", module))]

    # Initializing ---------------------------------------------------------------------------------------------

    def initialize(self) -> Self:
        """Make module, criterion, optimizer and callbacks anew.

        Returns
        -------
        self : object
            The net.
        """
        self._seed_ = seed_of(self.random_state)
        self._n_trainings_ = 0
        super().initialize()
        return self

    def initialize_module(self) -> Self:
        """Make the module, from draws of ``random_state``.

        Returns
        -------
        self : object
            The net.
        """
        kwargs = self.get_params_for("module")
        streams = Streams(self._seed_, torch.device("cpu"))
        with streams.module_init.borrowed():
            if isinstance(self.module, nn.Module) and not kwargs:
                module = deepcopy(self.module)  # a parameter is not to be trained
            else:
                module = self.initialized_instance(self.module, {**self._told_by_data(kwargs), **kwargs})
            if self._first_samples_ is not None and any(map(nn.parameter.is_lazy, module.parameters())):
                self._materialize(module)
        self.module_ = module
        self._keeps_integers_ = looks_up(module)
        return self

    def _told_by_data(self, given: Mapping[str, Any]) -> dict[str, int]:
        """Return what the data tells of what the module's constructor requires and nobody has given."""
        known = {"n_features": self.__dict__.get("n_features_in_"), "n_outputs": self._n_outputs()}
        try:
            parameters = inspect.signature(self.module).parameters
        except (TypeError, ValueError):  # of a callable that does not tell
            return {}
        asked = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
        return {name: n for name, n in known.items() if name in asked and name not in given and n is not None}

    def _materialize(self, module: nn.Module) -> None:
        """Let lazy layers see samples before the optimizer and the penalties look for their weights."""
        module.eval()
        x = map_tensors(self._first_samples_, partial(self._cast, dtype=dtype_of(module), keeps=looks_up(module)))
        with torch.no_grad():
            module(**x) if isinstance(x, Mapping) else module(x)

    def initialize_criterion(self) -> Self:
        """Make the criterion.

        Returns
        -------
        self : object
            The net.
        """
        if self.criterion is None:
            self.criterion_ = self._own_criterion()
            return self
        kwargs = self.get_params_for("criterion")
        if self.class_weight is not None:  # a weight for each sample needs the loss of each
            kwargs.setdefault("reduction", "none")
        self.criterion_ = self.initialized_instance(self.criterion, kwargs)
        return self

    def get_params_for_optimizer(self, prefix: str, named_parameters: Any) -> tuple[Any, dict[str, Any]]:
        """Return the arguments of an optimizer; see skorch.

        Parameters
        ----------
        prefix : str
            Name of the optimizer.
        named_parameters : iterable of tuple
            Names and parameters.

        Returns
        -------
        args : tuple
            Groups of parameters.
        kwargs : dict
            The others.
        """
        args, kwargs = super().get_params_for_optimizer(prefix, named_parameters)
        if isinstance(self.optimizer, type) and issubclass(self.optimizer, torch.optim.AdamW):
            # Its own default would act beside the net's `weight_decay`, and on biases.
            kwargs.setdefault("weight_decay", 0.0)
        return args, kwargs

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        *callbacks, print_log = super()._default_callbacks
        if not self._watches_loss:
            callbacks.append(("valid_score", EpochScoring(self.scoring, name="valid_score", lower_is_better=False)))
        return [*callbacks, ("early_stopping", BestEpoch()), print_log]

    @property
    def _watches_loss(self) -> bool:
        return isinstance(self.scoring, str) and self.scoring == "loss"

    # Data and parameters --------------------------------------------------------------------------------------

    def _check_parameters(self, has_validation: bool = False) -> None:
        """Refuse what is out of range, or would do nothing."""
        name = type(self).__name__
        values = {key: value for key, value in self.get_params(deep=False).items() if key in NET_CONSTRAINTS}
        validate_parameter_constraints(NET_CONSTRAINTS, values, caller_name=name)
        for what in ("l1", "l2", "weight_decay", "max_norm"):
            strength = getattr(self, what)
            for pattern, value in strength.items() if isinstance(strength, Mapping) else ():
                if not (isinstance(pattern, str) and isinstance(value, Real) and 0 <= float(value) < np.inf):
                    raise ValueError(
                        f"The {what!r} parameter of {name} must map patterns of names to numbers in [0, inf). Got "
                        f"{pattern!r}: {value!r} instead."
                    )
        if self.early_stopping and self.train_split is None and not has_validation:
            raise ValueError(
                f"{name}: early_stopping=True needs a validation set, and train_split=None holds none out. Set "
                "early_stopping=False, or train_split='auto'."
            )
        is_cut_off = self.callbacks == "disable" or vars(self).get("callbacks__early_stopping", True) is None
        if self.early_stopping and is_cut_off:
            what = "callbacks='disable'" if self.callbacks == "disable" else "callbacks__early_stopping=None"
            raise ValueError(
                f"{name}: early_stopping=True stops and restores by a callback, which {what} takes away. Set "
                f"early_stopping=False, or leave {what} out."
            )
        if isinstance(self.criterion, nn.Module):
            raise TypeError(
                f"criterion of {name} must be a class, made anew in every fit; got an instance of "
                f"{type(self.criterion).__name__}. Pass the class, and its parameters as criterion__NAME."
            )
        if not self._watches_loss:
            if not self.early_stopping:
                raise ValueError(
                    f"{name}: scoring={self.scoring!r} is what early stopping watches, and early_stopping=False. Set "
                    "early_stopping=True or scoring='loss'."
                )
            check_scoring(self, scoring=self.scoring)

    def _check_samples(self, X: Any, y: Any, *, reset: bool, classes: ArrayLike | None = None) -> tuple[Any, Any]:
        """Return checked samples, and learn from them where ``reset``."""
        if type(X) is Dataset and y is None:  # arrays in skorch's clothes
            X, y = X.X, X.y
        if y is None and is_dataset(X):
            self._learn_from_dataset(X)
            return X, None
        X, y = self._check_inputs(X, reset=reset, y=y, checks_y=True)
        if reset:
            self._learn_target(y if classes is None else np.asarray(classes))
        self._encode(y)  # refuses what does not fit what was learnt
        return X, y

    @abstractmethod
    def _learn_from_dataset(self, dataset: Any) -> None:
        """Learn what there is to predict, from a dataset that holds the targets."""

    def _check_inputs(self, X: Any, *, reset: bool, y: Any = None, checks_y: bool = False) -> Any:
        """Check inputs, and, where ``checks_y``, labels or values with them."""
        if is_dataset(X):
            return (X, np.asarray(y)) if checks_y else X
        if not (has_parts(X) or isinstance(X, Tensor)):
            how = {"accept_sparse": "csr", "allow_nd": True, "reset": reset}
            if not checks_y:
                return validate_data(self, X, **how)
            return validate_data(self, X, y, multi_output=True, y_numeric=self._y_numeric, **how)
        for part in parts_of(X):
            if isinstance(part, Tensor) or getattr(getattr(part, "dtype", None), "kind", "O") == "f":
                _check_finite(part, type(self).__name__)
        if isinstance(X, Tensor) and X.dim() > 1:
            self._check_n_features(X, reset=reset)
        if not checks_y:
            return X
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        y = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
        check_consistent_length(y, *(np.empty(get_len(part)) for part in parts_of(X)))
        if y.dtype.kind == "f":
            assert_all_finite(y, input_name="y")
        return X, y

    def _check_n_features(self, X: Any, *, reset: bool) -> None:
        if reset:
            self.n_features_in_ = X.shape[1]
        elif X.shape[1] != self.__dict__.get("n_features_in_", X.shape[1]):
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} features "
                "as input."
            )

    def _check_validation(self, X_val: Any, y_val: Any) -> tuple[Any, Any] | None:
        check_validation_arguments(
            type(self).__name__, X_val, early_stopping=self.early_stopping, holds_y=is_dataset(X_val), y_val=y_val
        )
        if X_val is None:
            return None
        try:
            return self._check_samples(X_val, y_val, reset=False)
        except ValueError as error:
            raise ValueError(f"In the validation set (X_val, y_val): {error}") from error

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        """Return a dataset of the samples; see skorch.

        Parameters
        ----------
        X : array-like, sparse matrix, torch.Tensor, mapping or torch.utils.data.Dataset
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Class labels or target values.

        Returns
        -------
        dataset : torch.utils.data.Dataset
            The dataset.
        """
        if is_dataset(X):
            return X
        targets = None if y is None else self._encode(y)
        if self.dataset is Dataset:
            return SampleDataset(X, y, targets, **self.get_params_for("dataset"))
        return super().get_dataset(X, targets)

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> tuple[Any, Any]:
        """Return the samples of training and validation; see skorch.

        Parameters
        ----------
        X : array-like, sparse matrix, torch.Tensor, mapping or torch.utils.data.Dataset
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Class labels or target values.
        **fit_params : dict
            Passed to ``train_split``.

        Returns
        -------
        dataset_train : torch.utils.data.Dataset
            Samples of training.
        dataset_valid : torch.utils.data.Dataset or None
            Samples of validation.
        """
        if self._validation_ is not None:
            dataset_train, dataset_valid = self.get_dataset(X, y), self.get_dataset(*self._validation_)
        elif not isinstance(self.train_split, str):
            dataset_train, dataset_valid = super().get_split_datasets(X, y, **fit_params)
            if type(dataset_valid) is Dataset:  # predefined_split of arrays
                dataset_valid = self.get_dataset(*self._check_samples(dataset_valid, None, reset=False))
        elif self.early_stopping:
            dataset_train, dataset_valid = self._hold_out(self.get_dataset(X, y), X, y)
        else:
            dataset_train, dataset_valid = self.get_dataset(X, y), None
        self._begin_training(dataset_train, dataset_valid, y)
        return dataset_train, dataset_valid

    def _hold_out(self, dataset: Any, X: Any, y: Any) -> tuple[Subset[Any], Subset[Any]]:
        """Hold out the validation set as the MLP estimators do."""
        n = len(dataset)
        strata = self._strata(None if y is None else self._encode(y), n)
        train_index, validation_index = hold_out_for(
            type(self).__name__, n, table_of(X, n), strata, None, self.validation_fraction, self._seed_
        )
        return Subset(dataset, train_index.tolist()), Subset(dataset, validation_index.tolist())

    def _begin_training(self, dataset_train: Any, dataset_valid: Any, y: Any) -> None:
        """Make what this training needs, once its samples are known."""
        name = type(self).__name__
        if dataset_valid is None and self.early_stopping:
            raise ValueError(
                f"{name}: early_stopping=True needs a validation set, and train_split={self.train_split!r} gave none. "
                "Set early_stopping=False, or train_split='auto'."
            )
        self._training_ = self._new_training(self._class_weights(dataset_train, dataset_valid, y))
        smallest = EpochBatches(len(dataset_train), self._batch_size(dataset_train), np.random.default_rng(0)).smallest
        has_batch_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.module_.modules())
        for what, needs in (
            (f"mixup_alpha={self.mixup_alpha!r}", self.mixup_alpha > 0),
            ("batch normalization", has_batch_norm),
        ):
            if smallest < 2 and needs:
                raise ValueError(
                    f"{name}: {what} needs at least 2 samples in a batch; got batch_size={self.batch_size!r} with "
                    f"n_samples = {len(dataset_train)} in training. Raise batch_size, pass more data, or do without."
                )

    def _batch_size(self, dataset: Any) -> int:
        return len(dataset) if self.batch_size == -1 else min(self.batch_size, len(dataset))

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Return an iterator over batches; see skorch.

        Parameters
        ----------
        dataset : torch.utils.data.Dataset
            The samples.
        training : bool, default=False
            Whether the batches are for training, in random order.

        Returns
        -------
        iterator : object
            The iterator.
        """
        prefix = "iterator_train" if training else "iterator_valid"
        iterator, kwargs = getattr(self, prefix), self.get_params_for(prefix)
        if iterator is not DataLoader:
            return super().get_iterator(dataset, training=training)
        in_training = training and self._training_ is not None
        # A loader draws a seed for its workers, from torch's global generator unless it is given one.
        kwargs.setdefault("generator", self._training.streams.loader if in_training else torch.Generator())
        if in_training and not _OF_BATCHES & kwargs.keys() and hasattr(dataset, "__len__"):
            order = self._training.streams.order
            kwargs["batch_sampler"] = EpochBatches(len(dataset), self._batch_size(dataset), order)
        elif "batch_sampler" not in kwargs:
            kwargs.setdefault("batch_size", self.batch_size)
            if kwargs["batch_size"] == -1:
                kwargs["batch_size"] = len(dataset)
        if "collate_fn" not in kwargs and (whole := WholeBatches.of(dataset)) is not None:
            dataset, kwargs["collate_fn"] = whole, as_they_are
        return DataLoader(dataset, **kwargs)

    # Steps ----------------------------------------------------------------------------------------------------

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Compute the loss of a batch, augmented and mixed, and its gradient; see skorch.

        Parameters
        ----------
        batch : tuple
            Inputs and targets.
        **fit_params : dict
            Passed to the module's ``forward``.

        Returns
        -------
        step : dict
            The ``loss`` and the outputs ``y_pred``.
        """
        self._set_training(True)
        training = self._training
        X, y = unpack_data(batch)
        X = self._on_device(X)
        if self.augmentation is not None:
            with training.streams.augmentation.borrowed(), torch.no_grad():
                X = self._augment(X)
        if training.mixup.is_active:
            X, y = self._mix(X, y)
        with training.streams.module_noise.borrowed():
            y_pred = self.infer(X, **fit_params)
        loss = self.get_loss(y_pred, y, X=X, training=True)
        loss.backward()
        return {"loss": loss, "y_pred": y_pred}

    def _augment(self, X: Any) -> Any:
        assert self.augmentation is not None
        n, changed = get_len(X), self.augmentation(X)
        if changed is None or get_len(changed) != n:
            raise ValueError(
                f"augmentation of {type(self).__name__} must return as many samples as it is given; it was given {n} "
                f"and returned {None if changed is None else get_len(changed)}. Return the changed batch, whole."
            )
        return changed

    def _mix(self, X: Any, y: Tensor) -> tuple[Tensor, Targets]:
        """Mix every sample of a batch with another, by the engine's draws."""
        if not (isinstance(X, Tensor) and X.is_floating_point()):
            raise ValueError(
                f"{type(self).__name__}: mixup_alpha={self.mixup_alpha!r} mixes inputs that are one tensor of floats; "
                f"got {X.dtype if isinstance(X, Tensor) else type(X).__name__}. Set mixup_alpha=0."
            )
        training = self._training
        targets = self._targets(y, None, training=True)
        values = targets.values.to(X.dtype)
        draws = training.mixup.draw([[(0, len(X))]], [training.streams], X.dtype, X.device)
        weight = None if targets.weight is None else targets.weight.to(X.dtype)[None]
        batch = Batch(X.flatten(1)[None], values[None], weight)
        mixed = mix(batch, draws.partners[0], draws.shares[0])
        weight = None if mixed.weight is None else mixed.weight[0]
        return mixed.X[0].view_as(X), Targets(mixed.y[0], weight)

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> Tensor:
        """Return the mean loss of a batch; see skorch.

        Parameters
        ----------
        y_pred : torch.Tensor
            Outputs of the module; of several, the first counts.
        y_true : torch.Tensor or Targets
            Codes of classes or target values; under mixup, mixtures of them.
        X : torch.Tensor, default=None
            Inputs; not used.
        training : bool, default=False
            Whether labels are smoothed.

        Returns
        -------
        loss : torch.Tensor
            The loss.
        """
        output = y_pred[0] if isinstance(y_pred, tuple) else y_pred
        targets = y_true if isinstance(y_true, Targets) else self._targets(y_true, output, training)
        strength = self.label_smoothing if training and self.label_smoothing else 0.0
        smoothing = output.new_full((), strength) if strength else None
        criterion = self._plain_criterion
        loss: Tensor
        if isinstance(criterion, self._own_criterion):
            loss = self.criterion_(output, targets.values.to(output.dtype), smoothing)
        else:
            if isinstance(criterion, nn.NLLLoss):
                output = _log_of_probabilities(output, type(self).__name__)
            loss = self.criterion_(output, self._for_criterion(targets, output, smoothing))
        if targets.weight is None:
            return loss.mean()
        if loss.shape[:1] != targets.weight.shape:
            raise ValueError(
                f"class_weight of {type(self).__name__} needs a criterion that gives a loss for each sample "
                f"(reduction='none'); {type(criterion).__name__} gave one of shape {tuple(loss.shape)}. Set "
                "class_weight=None, or change the criterion."
            )
        of_samples = as_columns(loss).flatten(1).mean(1)
        return (of_samples * targets.weight.to(loss.dtype)).mean()

    @property
    def _plain_criterion(self) -> nn.Module:
        """The criterion as it is without ``compile``."""
        criterion: nn.Module = getattr(self.criterion_, "_orig_mod", self.criterion_)
        return criterion

    def _step_optimizer(self, step_fn: Callable[[], Tensor] | None) -> None:
        """Take a step of every optimizer, with the penalties around it."""
        regularizer = self._training.regularizer
        if step_fn is None or not regularizer.is_active:
            super()._step_optimizer(step_fn)
            return
        has_decayed = False

        def penalized() -> Tensor:
            nonlocal has_decayed
            # After the callbacks have seen, and may have clipped, the gradient of the loss alone.
            loss = step_fn() + regularizer.add_smooth_gradient()
            if not has_decayed:
                regularizer.decay_()
            has_decayed = True
            return loss

        super()._step_optimizer(penalized)
        regularizer.finish_step_()

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Return the outputs of the module for a batch, cast to its dtype and on its device; see skorch.

        Parameters
        ----------
        x : torch.Tensor
            Inputs.
        **fit_params : dict
            Passed to the module's ``forward``.

        Returns
        -------
        output : torch.Tensor
            What the module returns.
        """
        return super().infer(self._on_device(x), **fit_params)

    def _on_device(self, x: Any) -> Any:
        keeps = self._keeps_integers_ or not isinstance(x, Tensor)  # of several inputs, integers are what they are
        cast = partial(self._cast, dtype=dtype_of(self.module_), keeps=keeps)
        return map_tensors(x, lambda tensor: cast(tensor.to(self.device)))

    @staticmethod
    def _cast(tensor: Tensor, dtype: torch.dtype, keeps: bool) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() or not keeps else tensor

    # What was fitted ------------------------------------------------------------------------------------------

    @property
    def n_iter_(self) -> int:
        """Number of epochs trained."""
        self._check_initialized("n_iter_")
        return len(self.history)

    @property
    def n_nonzero_(self) -> int:
        """Number of weights that are not exactly zero."""
        self._check_initialized("n_nonzero_")
        n_zeros, n = count_zeros(self._weights())
        return n - n_zeros

    @property
    def sparsity_(self) -> float:
        """Share of the weights that are exactly zero."""
        self._check_initialized("sparsity_")
        n_zeros, n = count_zeros(self._weights())
        return n_zeros / n if n else 0.0

    def _check_initialized(self, attribute: str) -> None:
        if not self.initialized_:
            raise AttributeError(f"{type(self).__name__} has no {attribute} before it is fitted.")

    def _get_predict_nonlinearity(self) -> Callable[[Tensor], Tensor]:
        criterion = self._plain_criterion
        if self.predict_nonlinearity == "auto" and isinstance(criterion, self._criteria_of_outputs):
            return self._to_probabilities
        nonlinearity: Callable[[Tensor], Tensor] = super()._get_predict_nonlinearity()
        return nonlinearity

    def _outputs(self, X: Any) -> Array:
        """Return what the module says of checked inputs, as skorch's ``predict_proba`` does."""
        self.check_is_fitted()
        output: Array = super().predict_proba(self._check_inputs(X, reset=False))
        return output

    def __sklearn_tags__(self) -> Tags:
        """Return scikit-learn's tags: sparse input is taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _log_of_probabilities(output: Tensor, owner: str) -> Tensor:
    """Return what torch's NLLLoss takes, of a module that returns probabilities: skorch's convention."""
    if bool((output < 0).any()):
        raise ValueError(
            f"{owner} with criterion=torch.nn.NLLLoss takes a module that returns probabilities, as in skorch; it "
            "returned numbers below 0. Let it end in Softmax, or leave out both softmax and criterion."
        )
    return (output + torch.finfo(output.dtype).eps).log()


def _check_finite(part: Any, name: str) -> None:
    finite = bool(torch.isfinite(part).all()) if isinstance(part, Tensor) else bool(np.isfinite(part).all())
    if not finite:
        raise ValueError(f"Input X of {name} contains NaN or infinity. Impute or leave out these samples.")


def targets_of(dataset: Any, owner: str) -> Array:
    """Return the targets of a dataset, or of a part of one."""
    if isinstance(dataset, Subset):
        of_all = targets_of(dataset.dataset, owner)
        return np.asarray(of_all[np.asarray(dataset.indices)])
    y = getattr(dataset, "targets", getattr(dataset, "y", None))
    if y is None:
        raise ValueError(
            f"class_weight of {owner} needs the labels of all samples; {type(dataset).__name__} has neither `targets` "
            "nor `y`. Give it one of these, or set class_weight=None."
        )
    targets: Array = np.asarray(y)
    return targets
