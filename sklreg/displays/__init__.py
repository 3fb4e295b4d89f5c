"""Displays in scikit-learn's style: ``from_estimator`` reads a fitted estimator, ``plot`` keeps the artists."""

from sklreg.displays.ablation import RegularizationAblationDisplay
from sklreg.displays.importance import FeatureImportanceDisplay
from sklreg.displays.path import RegularizationPathDisplay
from sklreg.displays.training import TrainingCurveDisplay

__all__ = [
    "FeatureImportanceDisplay", "RegularizationAblationDisplay", "RegularizationPathDisplay", "TrainingCurveDisplay",
]  # fmt: skip
