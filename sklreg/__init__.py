"""Regularized multilayer perceptrons for tabular data, as scikit-learn estimators."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from sklreg import datasets
from sklreg._batched import batched_training
from sklreg._path import ElasticNetMLPPath, elastic_net_mlp_path
from sklreg.ablation import RegularizationAblation
from sklreg.diagnosis import Diagnosis, diagnose
from sklreg.displays import (
    FeatureImportanceDisplay,
    RegularizationAblationDisplay,
    RegularizationPathDisplay,
    TrainingCurveDisplay,
)
from sklreg.elastic_net import ElasticNetMLP, ElasticNetMLPClassifier
from sklreg.elastic_net_cv import ElasticNetMLPClassifierCV, ElasticNetMLPCV
from sklreg.regularized import RegularizedMLPClassifier, RegularizedMLPRegressor
from sklreg.spaces import OffOr, search_space, suggest_params
from sklreg.stability import StabilitySelector

if _TYPE_CHECKING:
    from sklreg.nets import RegularizedNetClassifier as RegularizedNetClassifier
    from sklreg.nets import RegularizedNetRegressor as RegularizedNetRegressor

__version__ = "0.1.0"

__all__ = [
    "Diagnosis",
    "ElasticNetMLP",
    "ElasticNetMLPCV",
    "ElasticNetMLPClassifier",
    "ElasticNetMLPClassifierCV",
    "ElasticNetMLPPath",
    "FeatureImportanceDisplay",
    "OffOr",
    "RegularizationAblation",
    "RegularizationAblationDisplay",
    "RegularizationPathDisplay",
    "RegularizedMLPClassifier",
    "RegularizedMLPRegressor",
    "StabilitySelector",
    "TrainingCurveDisplay",
    "__version__",
    "batched_training",
    "datasets",
    "diagnose",
    "elastic_net_mlp_path",
    "search_space",
    "suggest_params",
]

# On top of skorch, which is an extra: imported when they are asked for.
_NETS = frozenset(("RegularizedNetClassifier", "RegularizedNetRegressor"))


def __getattr__(name: str) -> _Any:
    if name not in _NETS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        nets = _import_module("sklreg.nets")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "skorch":
            raise
        raise ImportError(
            f'{name} is a skorch net, and skorch is not installed: pip install "sklreg[skorch]".'
        ) from error
    return getattr(nets, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_NETS})
