"""Docstrings are complete, and say what the code does.  Their examples are run by ``--doctest-modules``."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import pytest
from numpydoc.docscrape import ClassDoc, FunctionDoc
from numpydoc.validate import ERROR_MSGS, validate

import sklreg
import sklreg.datasets
from sklreg._parameters import default_text

try:
    NETS = [sklreg.RegularizedNetClassifier, sklreg.RegularizedNetRegressor]
except ImportError:  # without skorch
    NETS = []

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
OWN_CLASSES = [getattr(sklreg, name) for name in sklreg.__all__ if inspect.isclass(getattr(sklreg, name))]
CLASSES = [*OWN_CLASSES, *NETS]
ESTIMATORS = [cls for cls in OWN_CLASSES if hasattr(cls, "predict")]
FUNCTIONS = [
    sklreg.datasets.make_transactions, sklreg.batched_training, sklreg.elastic_net_mlp_path, sklreg.search_space,
    sklreg.suggest_params, sklreg.diagnose,
]  # fmt: skip

pytestmark = pytest.mark.skipif(not PYPROJECT.is_file(), reason="the configuration is not here")


def checks() -> set[str]:
    """Return the codes to check: as numpydoc reads its configuration, ``all`` turns the others into exceptions."""
    listed = set(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["numpydoc_validation"]["checks"])
    # RT02 wants a single returned value to have no name; here, as in scikit-learn, it has one.
    return (set(ERROR_MSGS) - listed if "all" in listed else listed) - {"RT02"}


def public_members(estimator: type) -> list[str]:
    """Return the public methods and properties that are ours, not scikit-learn's."""
    names = []
    for name, member in inspect.getmembers(estimator):
        function = member.fget if isinstance(member, property) else member
        if not name.startswith("_") and getattr(function, "__module__", "").startswith("sklreg."):
            names.append(name)
    return names


def documented_names() -> list[str]:
    names = [f"{f.__module__}.{f.__name__}" for f in FUNCTIONS]
    for estimator in CLASSES:
        path = f"{estimator.__module__}.{estimator.__name__}"
        names += [path, *(f"{path}.{member}" for member in public_members(estimator))]
    return names


def default_in(doc_type: str) -> str | None:
    """Return what a numpydoc type line gives as the default."""
    match = re.search(r"\bdefault=(.+)$", doc_type)
    return match[1] if match else None


def test_public_members_are_found():
    found = public_members(sklreg.RegularizedMLPClassifier)
    assert {"fit", "partial_fit", "predict", "predict_proba", "decision_function", "coefs_", "sparsity_"} <= set(found)
    assert "get_params" not in found


@pytest.mark.parametrize("name", documented_names())
def test_docstring_is_complete(name):
    errors = [f"{code}: {message}" for code, message in validate(name)["errors"] if code in checks()]
    assert errors == []


@pytest.mark.parametrize("subject", [*CLASSES, *FUNCTIONS], ids=lambda subject: subject.__name__)
def test_parameters_are_documented_in_order_with_their_defaults(subject):
    signature = inspect.signature(subject).parameters
    doc = ClassDoc(subject) if inspect.isclass(subject) else FunctionDoc(subject)
    documented = {parameter.name.lstrip("*"): parameter.type for parameter in doc["Parameters"]}
    assert list(documented) == list(signature)
    defaults = {n: None if p.default is p.empty else default_text(p.default) for n, p in signature.items()}
    assert {name: default_in(kind) for name, kind in documented.items()} == defaults


@pytest.mark.parametrize("estimator", CLASSES, ids=lambda estimator: estimator.__name__)
def test_methods_document_their_defaults(estimator):
    for name in public_members(estimator):
        method = getattr(estimator, name)
        if not (inspect.isfunction(method) or inspect.ismethod(method)):  # or a method of the class
            continue
        kinds = {parameter.name.lstrip("*"): parameter.type for parameter in FunctionDoc(method)["Parameters"]}
        for parameter in list(inspect.signature(method).parameters.values())[inspect.isfunction(method) :]:
            expected = None if parameter.default is parameter.empty else repr(parameter.default)
            assert default_in(kinds[parameter.name]) == expected, f"{name}: {parameter.name}"


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: estimator.__name__)
def test_attributes_are_documented(estimator):
    """What ``fit`` sets for the user is in the docstring, and nothing else is."""
    X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]
    folds = {"cv": 2} if "cv" in inspect.signature(estimator).parameters else {}
    fitted = estimator(max_iter=1, early_stopping=False, **folds).fit(X, y)
    present = {name for name in dir(fitted) if re.fullmatch(r"[a-z]\w*[a-z]_", name)}
    documented = {attribute.name for attribute in ClassDoc(estimator)["Attributes"]}
    assert documented - {"feature_names_in_", "estimators_"} == present
