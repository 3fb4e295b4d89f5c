"""Regularized multilayer perceptrons for tabular data, as scikit-learn estimators."""

from sklreg import datasets
from sklreg._batched import batched_training
from sklreg.elastic_net import ElasticNetMLP, ElasticNetMLPClassifier
from sklreg.regularized import RegularizedMLPClassifier, RegularizedMLPRegressor

__version__ = "0.1.0"

__all__ = [
    "ElasticNetMLP",
    "ElasticNetMLPClassifier",
    "RegularizedMLPClassifier",
    "RegularizedMLPRegressor",
    "__version__",
    "batched_training",
    "datasets",
]
