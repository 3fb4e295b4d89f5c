"""Regularized multilayer perceptrons for tabular data, as scikit-learn estimators."""

from sklreg import datasets
from sklreg._batched import batched_training
from sklreg._path import elastic_net_mlp_path
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

__version__ = "0.1.0"

__all__ = [
    "Diagnosis",
    "ElasticNetMLP",
    "ElasticNetMLPCV",
    "ElasticNetMLPClassifier",
    "ElasticNetMLPClassifierCV",
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
