"""``RegularizedNetClassifier`` and ``RegularizedNetRegressor``: the regularizers for a torch module of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.utils import Tags, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.dataset import unpack_data
from skorch.utils import data_from_dataset, to_numpy
from torch import Tensor, nn

from sklreg._labels import balanced_class_weight, check_label_smoothing, encode_labels, given_class_weight
from sklreg._net import Array, BaseRegularizedNet, targets_of
from sklreg._net_losses import CrossEntropy, HalfSquaredError, Targets, as_columns
from sklreg._parameters import CLASS_ATTRIBUTE, NET_ATTRIBUTES, NET_DESCRIPTIONS, document
from sklreg.engine import Strength, smooth_labels


@document(attributes=CLASS_ATTRIBUTE + NET_ATTRIBUTES, descriptions=NET_DESCRIPTIONS)
class RegularizedNetClassifier(BaseRegularizedNet, NeuralNetClassifier):
    r"""Classifier of any torch module, with the regularizers of the MLP estimators as parameters.

    A skorch net (``pip install "sklreg[skorch]"``) whose module returns one number for each class, or one, the log-odds
    of the second, where there are two; no softmax.  Minimizes over the parameters of the module :math:`f`, of which
    :math:`W` are the weights,

    .. math:: \frac{1}{n} \sum_i \mathrm{loss}(y_i, f(x_i)) + \mathtt{l1} \sum |W|
        + \tfrac{1}{2} \mathtt{l2} \sum W^2

    with the cross-entropy as loss, unless there is another ``criterion``.  The mean is weighted by ``class_weight``.
    Weights are all parameters of two axes or more, but biases and those of normalization layers.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    RegularizedMLPClassifier : The same for multilayer perceptrons: many times faster in a search, and with more
        regularizers.
    RegularizedNetRegressor : The same for regression.
    skorch.NeuralNetClassifier : The net beneath.

    Notes
    -----
    The penalties, the prox, early stopping, label smoothing and mixup are those of the MLP estimators: a multilayer
    perceptron that is written as a module goes the way of theirs with ``solver="adam"`` from the same initial weights.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from torch import nn
    >>> from sklreg import RegularizedNetClassifier
    >>> class Net(nn.Sequential):
    ...     def __init__(self, n_features, n_outputs, dropout=0.2):
    ...         super().__init__(
    ...             nn.Linear(n_features, 32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, n_outputs)
    ...         )
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> net = RegularizedNetClassifier(Net, l1=1e-3, lr=1e-2, max_epochs=20, module__dropout=0.3, random_state=0)
    >>> model = make_pipeline(StandardScaler(), net).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    >>> net.sparsity_ > 0.1
    True
    """

    _own_criterion: ClassVar[type[nn.Module]] = CrossEntropy
    _criteria_of_outputs: ClassVar[tuple[type[nn.Module], ...]] = (CrossEntropy, nn.BCEWithLogitsLoss)
    _y_numeric: ClassVar[bool] = False
    _renames_ = False  # whether classes are called otherwise than their codes

    def __init__(
        self,
        module: Any,
        *,
        criterion: type[nn.Module] | None = None,
        optimizer: type[torch.optim.Optimizer] = torch.optim.Adam,
        lr: float = 1e-3,
        max_epochs: int = 200,
        batch_size: int = 256,
        l1: Strength = 0.0,
        l2: Strength = 0.0,
        weight_decay: Strength = 1e-2,
        max_norm: Strength | None = None,
        label_smoothing: float = 0.0,
        mixup_alpha: float = 0.0,
        augmentation: Callable[[Any], Any] | None = None,
        class_weight: dict[Any, float] | str | None = None,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        patience: int = 20,
        min_delta: float = 0.0,
        scoring: str | Callable[..., float] = "loss",
        train_split: Any = "auto",
        callbacks: Any = None,
        device: str = "cpu",
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        **kwargs: Any,
    ) -> None:
        self._store(locals())

    # Labels ---------------------------------------------------------------------------------------------------

    def _learn_target(self, y: Any) -> None:
        check_classification_targets(y)
        if type_of_target(y) in ("multilabel-indicator", "multiclass-multioutput"):
            raise ValueError(
                f"{type(self).__name__} takes one label a sample; got several in y of shape {np.shape(y)}. Wrap it in "
                "sklearn.multioutput.MultiOutputClassifier."
            )
        self._learn_classes(np.unique(column_or_1d(y, warn=True)))

    def _learn_classes(self, classes: Array) -> None:
        name = type(self).__name__
        if self.classes is not None:
            classes = np.unique(np.asarray(self.classes))
            if classes.tolist() != list(self.classes):
                raise ValueError(f"classes of {name} must be sorted and without repetition; got {self.classes!r}.")
        if len(classes) < 2:
            raise ValueError(f"{name} needs samples of at least 2 classes; got 1 class: {classes[0]!r}.")
        check_label_smoothing(self.label_smoothing, len(classes), name)
        if isinstance(self.class_weight, dict):
            given_class_weight(self.class_weight, classes, name)
        if self.criterion is not None and (self.label_smoothing or self.mixup_alpha):
            kind = self.criterion if isinstance(self.criterion, type) else type(self.criterion)
            if not issubclass(kind, nn.CrossEntropyLoss):
                what = "label_smoothing" if self.label_smoothing else "mixup_alpha"
                raise ValueError(
                    f"{name}: {what}={getattr(self, what)!r} needs a criterion that takes mixtures of classes: None or "
                    f"torch.nn.CrossEntropyLoss; got {kind.__name__}. Set {what}=0, or change the criterion."
                )
        self.classes_inferred_ = classes
        self._renames_ = not np.array_equal(classes, np.arange(len(classes)))

    def _learn_from_dataset(self, dataset: Any) -> None:
        try:
            classes = np.unique(to_numpy(data_from_dataset(dataset)[1]))
        except (AttributeError, TypeError):  # it does not tell
            return
        if classes.dtype.kind not in "iu" or classes.min() < 0:
            raise ValueError(
                f"A Dataset for {type(self).__name__} must hold classes as ints from 0 on; got {classes[:5].tolist()}. "
                "Encode them (sklearn.preprocessing.LabelEncoder), or pass X and y."
            )
        self._learn_classes(np.arange(int(classes.max()) + 1))

    def _encode(self, y: Any) -> Array:
        return encode_labels(column_or_1d(y, warn=False), self.classes_, type(self).__name__).astype(np.int64)

    def _as_given(self, batch: Any) -> Any:
        if isinstance(batch, (tuple, list)) and len(batch) == 2 and self._renames_:
            X, y = unpack_data(batch)
            return X, self.classes_[to_numpy(y)]
        return batch

    def _n_outputs(self) -> int | None:
        try:
            return len(self.classes_)
        except AttributeError:
            return None

    def _strata(self, targets: Array | None, n: int) -> NDArray[np.int64]:
        return np.zeros(n, dtype=np.int64) if targets is None else targets

    def _class_weights(self, dataset_train: Any, dataset_valid: Any, y: Any) -> dict[bool, Tensor | None]:
        class_weight = super()._class_weights(dataset_train, dataset_valid, y)
        if self.class_weight is None:
            return class_weight
        name = type(self).__name__
        if isinstance(self.class_weight, dict):
            of_class = given_class_weight(self.class_weight, self.classes_, name)
        else:  # by all samples of the fit, held out or not
            codes = targets_of(dataset_train, name) if y is None else self._encode(y)
            of_class = balanced_class_weight(np.bincount(codes, minlength=len(self.classes_)).astype(float))
        for training, dataset in ((True, dataset_train), (False, dataset_valid)):
            if dataset is not None:
                mean = of_class[targets_of(dataset, name)].mean()
                class_weight[training] = torch.from_numpy(of_class / mean).to(self.device)
        return class_weight

    # Loss -----------------------------------------------------------------------------------------------------

    def _targets(self, y: Tensor, output: Tensor | None, training: bool) -> Targets:
        codes = y.to(self.device, torch.int64)
        values = F.one_hot(codes, self._n_outputs() or -1)
        class_weight = self._training.class_weight[training]
        return Targets(values, None if class_weight is None else class_weight[codes], codes)

    def _for_criterion(self, targets: Targets, output: Tensor, smoothing: Tensor | None) -> Tensor:
        if smoothing is None and targets.codes is not None:
            if isinstance(self._plain_criterion, nn.BCEWithLogitsLoss):
                n_classes, n_outputs = targets.values.shape[1], as_columns(output).shape[1]
                if n_outputs != 1 or n_classes > 2:
                    raise ValueError(
                        f"criterion=torch.nn.BCEWithLogitsLoss of {type(self).__name__} is for two classes and a "
                        f"module with one output, the log-odds of the second; got {n_classes} classes and {n_outputs} "
                        "outputs. Leave criterion out."
                    )
                return targets.codes.to(output.dtype).view_as(output)
            return targets.codes
        return smooth_labels(targets.values.to(output.dtype), smoothing, targets.values.shape[1])

    def _to_probabilities(self, output: Tensor) -> Tensor:
        output = as_columns(output)
        return torch.cat([-output, output], 1).sigmoid() if output.shape[1] == 1 else output.softmax(1)

    # Predicting -----------------------------------------------------------------------------------------------

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of every class.

        Parameters
        ----------
        X : array-like, sparse matrix, torch.Tensor, mapping or torch.utils.data.Dataset
            Inputs.

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            Probabilities in the order of ``classes_``.
        """
        return self._outputs(X)

    def predict(self, X: Any) -> Array:
        """Return the most probable class.

        Parameters
        ----------
        X : array-like, sparse matrix, torch.Tensor, mapping or torch.utils.data.Dataset
            Inputs.

        Returns
        -------
        label : ndarray of shape (n_samples,)
            Class labels.
        """
        probability = self.predict_proba(X)
        codes = probability.argmax(axis=1)
        if self._n_outputs() is None:  # of a dataset that did not show them
            return np.asarray(codes)
        if probability.shape[1] != len(self.classes_):
            raise ValueError(
                f"The module of {type(self).__name__} must return an output for each of {len(self.classes_)} classes; "
                f"it returned {probability.shape[1]}. Change its last layer."
            )
        label: Array = self.classes_[codes]
        return label


@document(attributes=NET_ATTRIBUTES, descriptions=NET_DESCRIPTIONS)
class RegularizedNetRegressor(BaseRegularizedNet, NeuralNetRegressor):
    r"""Regressor of any torch module, with the regularizers of the MLP estimators as parameters.

    A skorch net (``pip install "sklreg[skorch]"``) whose module returns one number for each target.  Minimizes over the
    parameters of the module :math:`f`, of which :math:`W` are the weights,

    .. math:: \frac{1}{2 n} \sum_i \|y_i - f(x_i)\|^2 + \mathtt{l1} \sum |W|
        + \tfrac{1}{2} \mathtt{l2} \sum W^2

    unless there is another ``criterion``.  Weights are all parameters of two axes or more, but biases and those of
    normalization layers.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    RegularizedMLPRegressor : The same for multilayer perceptrons: many times faster in a search, and with more
        regularizers.
    RegularizedNetClassifier : The same for classification.
    skorch.NeuralNetRegressor : The net beneath.

    Notes
    -----
    The module is trained on the target as it is, where the MLP estimators train in units of the target's standard
    deviation: scale a target that is far from these, with :class:`~sklearn.compose.TransformedTargetRegressor`.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from torch import nn
    >>> from sklreg import RegularizedNetRegressor
    >>> X, y = make_regression(n_features=20, n_informative=3, random_state=0)
    >>> net = RegularizedNetRegressor(
    ...     nn.LazyLinear, module__out_features=1, l1=0.1, lr=0.1, batch_size=-1, early_stopping=False, random_state=0
    ... )
    >>> net.fit(X, y / y.std()).n_nonzero_
    3
    """

    _own_criterion: ClassVar[type[nn.Module]] = HalfSquaredError
    _criteria_of_outputs: ClassVar[tuple[type[nn.Module], ...]] = (HalfSquaredError,)
    _y_numeric: ClassVar[bool] = True

    def __init__(
        self,
        module: Any,
        *,
        criterion: type[nn.Module] | None = None,
        optimizer: type[torch.optim.Optimizer] = torch.optim.Adam,
        lr: float = 1e-3,
        max_epochs: int = 200,
        batch_size: int = 256,
        l1: Strength = 0.0,
        l2: Strength = 0.0,
        weight_decay: Strength = 1e-2,
        max_norm: Strength | None = None,
        mixup_alpha: float = 0.0,
        augmentation: Callable[[Any], Any] | None = None,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        patience: int = 20,
        min_delta: float = 0.0,
        scoring: str | Callable[..., float] = "loss",
        train_split: Any = "auto",
        callbacks: Any = None,
        device: str = "cpu",
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        **kwargs: Any,
    ) -> None:
        self._store(locals())

    def _learn_target(self, y: Any) -> None:
        if np.ndim(y) == 2 and np.shape(y)[1] == 1:
            column_or_1d(y, warn=True)
        self._n_targets_ = 1 if np.ndim(y) == 1 else np.shape(y)[1]

    def _learn_from_dataset(self, dataset: Any) -> None:
        """Take targets of a dataset as they are."""

    def _encode(self, y: Any) -> Array:
        y = np.asarray(y)
        values = y.reshape(len(y), -1).astype(np.float64)
        if values.shape[1] != self._n_targets_:
            raise ValueError(
                f"{type(self).__name__} was fitted on {self._n_targets_} target(s); got y of shape {y.shape}. "
                "Pass as many, or fit anew."
            )
        return np.asarray(values)

    def _n_outputs(self) -> int | None:
        return self.__dict__.get("_n_targets_")

    def _strata(self, targets: Array | None, n: int) -> NDArray[np.int64]:
        return np.zeros(n, dtype=np.int64)

    def _targets(self, y: Tensor, output: Tensor | None, training: bool) -> Targets:
        return Targets(as_columns(y.to(self.device)))

    def _for_criterion(self, targets: Targets, output: Tensor, smoothing: Tensor | None) -> Tensor:
        return targets.values.to(output.dtype).view_as(output)  # never broadcast against one another

    def _to_probabilities(self, output: Tensor) -> Tensor:
        return output

    def predict(self, X: Any) -> Array:
        """Return the predicted values.

        Parameters
        ----------
        X : array-like, sparse matrix, torch.Tensor, mapping or torch.utils.data.Dataset
            Inputs.

        Returns
        -------
        value : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions.
        """
        value = self._outputs(X).astype(np.float64)
        return np.asarray(value[:, 0]) if value.ndim == 2 and value.shape[1] == 1 else value

    @property
    def predict_proba(self) -> Any:
        """Not for a regressor; skorch has it for all nets."""
        raise AttributeError(f"{type(self).__name__} has no probabilities to predict. Use predict.")

    def __sklearn_tags__(self) -> Tags:
        """Return scikit-learn's tags: several targets are taken."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
