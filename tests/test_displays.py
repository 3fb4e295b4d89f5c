"""Displays draw what the estimators have, where they are asked to, and leave everything else as it was."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklreg import (
    ElasticNetMLP,
    ElasticNetMLPClassifierCV,
    ElasticNetMLPCV,
    FeatureImportanceDisplay,
    RegularizationAblation,
    RegularizationAblationDisplay,
    RegularizationPathDisplay,
    RegularizedMLPClassifier,
    RegularizedMLPRegressor,
    StabilitySelector,
    TrainingCurveDisplay,
    elastic_net_mlp_path,
)

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

LINEAR = {"learning_rate_init": 0.05, "max_iter": 20, "random_state": 0}
NAMES = ["age", "height", "weight", "pulse", "dose"]
pytestmark = pytest.mark.filterwarnings("ignore:.*has dropped all", "ignore:.*features are left. Training was too")


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 5)), columns=NAMES)
    return X, 2 * X["age"] - X["dose"] + 0.3 * rng.normal(size=60)


@pytest.fixture(scope="module")
def chosen(table):
    return ElasticNetMLPCV((), l1_ratio=1.0, alphas=8, cv=4, **LINEAR).fit(*table)


@pytest.fixture(scope="module")
def several_ratios(table):
    return ElasticNetMLPCV((), l1_ratio=[0.3, 0.9, 0.6], alphas=6, cv=3, **LINEAR).fit(*table)


@pytest.fixture(scope="module")
def path(table):
    return elastic_net_mlp_path(*table, alphas=6, hidden_layer_sizes=(), **LINEAR)


@pytest.fixture(scope="module")
def stopped(table):
    X, y = table
    return RegularizedMLPClassifier((4,), scoring="roc_auc", max_iter=6, random_state=0).fit(X, y > 0)


@pytest.fixture(scope="module")
def regressor(table):
    return RegularizedMLPRegressor((4,), max_iter=5, random_state=0).fit(*table)


# The path -------------------------------------------------------------------------------------------------------------


def test_path_lines_are_the_importances_of_each_feature(chosen):
    display = RegularizationPathDisplay.from_estimator(chosen, max_labels=2)
    assert len(display.lines_) == 5
    for line, importance in zip(display.lines_, chosen.feature_importances_path_, strict=True):
        assert_array_equal(line.get_xdata(), chosen.alphas_)
        assert_array_equal(line.get_ydata(), importance)
    assert_array_equal(display.n_features_line_.get_ydata(), np.count_nonzero(chosen.feature_importances_path_, axis=0))


def test_score_of_a_regressor_is_its_mean_squared_error_with_one_standard_error(chosen):
    display = RegularizationPathDisplay.from_estimator(chosen)
    mean, error = chosen.mse_path_.mean(axis=1), chosen.mse_path_.std(axis=1, ddof=1) / 2
    assert_allclose(display.score_line_.get_ydata(), mean)
    band = {tuple(np.round(vertex, 9)) for vertex in display.fill_between_.get_paths()[0].vertices}
    assert {tuple(np.round(vertex, 9)) for vertex in zip(chosen.alphas_, mean + error, strict=True)} <= band
    assert {tuple(np.round(vertex, 9)) for vertex in zip(chosen.alphas_, mean - error, strict=True)} <= band
    assert display.axes_[1].get_ylabel() == "Mean squared error"


@pytest.mark.parametrize(
    ("scoring", "sign", "label"),
    [
        ("loss", -1, "Log loss"),
        ("neg_brier_score", -1, "Brier score"),
        ("average_precision", 1, "Average precision"),
    ],
)
def test_an_error_is_drawn_as_an_error_and_a_score_as_a_score(table, scoring, sign, label):
    X, y = table
    model = ElasticNetMLPClassifierCV((), alphas=3, cv=3, early_stopping=True, scoring=scoring, **LINEAR)
    display = RegularizationPathDisplay.from_estimator(model.fit(X, y > 0))
    assert_allclose(display.score_line_.get_ydata(), sign * model.scores_.mean(axis=1))
    assert display.axes_[1].get_ylabel() == label


@pytest.mark.parametrize("one_standard_error", [False, True])
def test_marked_alphas_are_those_that_the_estimator_chooses_by_either_rule(table, one_standard_error):
    models = [ElasticNetMLPCV((), alphas=15, cv=3, one_standard_error=rule, **LINEAR) for rule in (False, True)]
    best, sparser = (model.fit(*table).alpha_ for model in models)
    assert sparser > best
    display = RegularizationPathDisplay.from_estimator(models[one_standard_error])
    assert (display.alpha_best, display.alpha_one_standard_error) == (best, sparser)
    at = {name: lines[0].get_xdata()[0] for name, lines in display.alpha_lines_.items()}
    other = {"best score": best} if one_standard_error else {"one standard error": sparser}
    assert at == {"chosen": sparser if one_standard_error else best, **other}
    assert all(len(lines) == 3 for lines in display.alpha_lines_.values())


def test_of_several_ratios_the_chosen_one_is_drawn(several_ratios):
    display = RegularizationPathDisplay.from_estimator(several_ratios)
    place = [0.3, 0.9, 0.6].index(several_ratios.l1_ratio_)
    assert_array_equal(display.alphas, several_ratios.alphas_[place])
    assert_array_equal(display.scores, -several_ratios.mse_path_[place])
    assert display.alpha_best == several_ratios.alpha_


def test_ratios_that_were_changed_after_fit_are_refused(table):
    model = ElasticNetMLPCV((), l1_ratio=[0.5, 1.0], alphas=2, cv=2, **LINEAR).fit(*table).set_params(l1_ratio=0.2)
    with pytest.raises(ValueError, match="Set it back, or fit again"):
        RegularizationPathDisplay.from_estimator(model)


def test_given_alphas_are_shared_by_all_ratios(table):
    model = ElasticNetMLPCV((), l1_ratio=[0.5, 1.0], alphas=[0.5, 0.01], cv=2, **LINEAR).fit(*table)
    assert_array_equal(RegularizationPathDisplay.from_estimator(model).alphas, [0.5, 0.01])


def test_a_path_has_no_score(path):
    display = RegularizationPathDisplay.from_path(path)
    assert len(display.axes_) == 2
    assert display.score_line_ is display.fill_between_ is None
    assert display.alpha_lines_ == {}
    assert_array_equal(display.n_features_line_.get_ydata(), path.n_features)
    assert list(display.feature_names) == NAMES
    marked = RegularizationPathDisplay.from_path(path, alpha=0.1)
    assert [line.get_xdata()[0] for line in marked.alpha_lines_["chosen"]] == [0.1, 0.1]


def test_the_most_important_features_are_named(chosen, path):
    display = RegularizationPathDisplay.from_estimator(chosen, max_labels=2)
    labels = [text.get_text() for text in display.axes_[0].get_legend().get_texts()]
    assert labels == [*(NAMES[j] for j in np.argsort(-chosen.feature_importances_)[:2]), "3 others"]
    without_alpha = RegularizationPathDisplay.from_path(path, max_labels=1)
    (strongest,) = [line for line in without_alpha.lines_ if line.get_color() == "C0"]
    assert strongest.get_label() == NAMES[path.feature_importances.mean(axis=1).argmax()]
    everything = RegularizationPathDisplay.from_estimator(chosen, max_labels=0)
    assert [text.get_text() for text in everything.axes_[0].get_legend().get_texts()] == ["5 features"]


def test_a_single_alpha_shows(table):
    display = RegularizationPathDisplay.from_estimator(ElasticNetMLPCV((), alphas=[0.1], cv=3, **LINEAR).fit(*table))
    drawn = [*display.lines_, display.score_line_, display.n_features_line_]
    assert all(line.get_marker() == "o" for line in drawn)
    display.figure_.canvas.draw()


def test_an_alpha_of_zero_has_a_place_on_the_axis(table):
    model = ElasticNetMLPCV((), alphas=[1.0, 0.1, 0.01, 0.0], cv=3, **LINEAR).fit(*table)
    display = RegularizationPathDisplay.from_estimator(model)
    display.figure_.canvas.draw()
    for ax in display.axes_:
        left, right = ax.transData.transform([(0.0, 0.0), (0.01, 0.0)])[:, 0]
        assert ax.bbox.x0 < left < right < ax.bbox.x1
    only_zero = RegularizationPathDisplay(alphas=[0.0], feature_importances=[[1.0], [0.5]]).plot()
    only_zero.figure_.canvas.draw()


def test_a_path_that_drops_everything_is_drawn():
    display = RegularizationPathDisplay(alphas=[2.0, 1.0], feature_importances=np.zeros((3, 2)), scores=np.ones((2, 3)))
    display.plot().figure_.canvas.draw()
    assert_array_equal(display.n_features_line_.get_ydata(), [0, 0])


def test_a_single_fold_has_no_band():
    display = RegularizationPathDisplay(alphas=[2.0, 1.0], feature_importances=np.eye(2), scores=[[0.5], [0.7]]).plot()
    assert display.fill_between_ is None
    assert display.alpha_one_standard_error is None
    assert display.alpha_best == 1.0


@pytest.mark.filterwarnings("error")
def test_scores_that_are_not_finite_are_gaps():
    scores = [[0.5, 0.6], [0.7, 0.9], [-np.inf, 0.2], [np.nan, 0.2]]
    display = RegularizationPathDisplay(alphas=[8, 4, 2, 1], feature_importances=np.ones((2, 4)), scores=scores).plot()
    display.figure_.canvas.draw()
    assert_allclose(display.score_line_.get_ydata(), [0.55, 0.8, np.nan, np.nan])
    assert display.alpha_best == 4


def test_paths_of_several_classes_and_outputs_have_one_line_a_feature(table):
    X, y = load_iris(return_X_y=True)
    display = RegularizationPathDisplay.from_estimator(
        ElasticNetMLPClassifierCV((3,), alphas=3, cv=2, max_iter=5).fit(X, y)
    )
    assert len(display.lines_) == 4
    targets = np.column_stack([table[1], -table[1]])
    model = ElasticNetMLPCV((3,), alphas=3, cv=2, max_iter=5).fit(table[0], targets)
    display = RegularizationPathDisplay.from_estimator(model)
    assert len(display.lines_) == 5
    assert display.alpha_best == model.alpha_


# Importances ----------------------------------------------------------------------------------------------------------


def bars_of(display):
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    return dict(zip(labels, [bar.get_width() for bar in display.bars_], strict=True))


def test_bars_are_the_importances_sorted_without_dropped_features(table):
    model = ElasticNetMLP((), alpha=0.3, l1_ratio=1.0, early_stopping=False, learning_rate="cosine", **LINEAR)
    importances = model.fit(*table).feature_importances_
    n_dropped = np.count_nonzero(importances == 0)
    assert 0 < n_dropped < 5
    display = FeatureImportanceDisplay.from_estimator(model)
    expected = dict(sorted(zip(NAMES, importances, strict=True), key=lambda item: -item[1])[: 5 - n_dropped])
    assert list(bars_of(display).items()) == list(expected.items())
    assert display.ax_.get_xlabel() == f"Feature importance\n{n_dropped} of 5 features dropped"
    top, bottom = display.ax_.transData.transform([(0, 0), (0, 1)])[:, 1]
    assert top > bottom


def test_at_most_max_features_bars_and_the_rest_is_counted():
    display = FeatureImportanceDisplay(feature_importances=[3.0, 0.0, 1.0, 2.0, 0.5]).plot(max_features=2)
    assert bars_of(display) == {"x0": 3.0, "x3": 2.0}
    assert display.ax_.get_xlabel().endswith("1 of 5 features dropped; 2 more not shown")


def test_all_dropped_is_said():
    display = FeatureImportanceDisplay(feature_importances=np.zeros(7)).plot()
    display.figure_.canvas.draw()
    assert len(display.bars_) == 0
    assert "7 of 7 features dropped" in display.ax_.get_xlabel()


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        (["colour", "size"], ["colour", "size"]),
        ({"hue": [0, 1], "extent": [2]}, ["hue", "extent"]),
        ([["colour_red", "colour_blue"], ["size"]], ["colour_red, colour_blue", "size"]),
        ([7, 7, 8], ["colour_red, colour_blue", "size"]),
        (["a", "a", "b"], ["a", "b"]),
    ],
)
def test_a_group_is_one_bar_as_long_as_the_norm_of_its_importances(table, groups, names):
    X = table[0].iloc[:, :3].set_axis(["colour_red", "colour_blue", "size"], axis=1)
    model = ElasticNetMLP((3,), penalty_groups="features", feature_groups=groups, max_iter=5, random_state=0)
    importances = model.fit(X, table[1]).feature_importances_
    bars = bars_of(FeatureImportanceDisplay.from_estimator(model))
    assert bars == {names[0]: pytest.approx(np.hypot(*importances[:2])), names[1]: pytest.approx(importances[2])}
    assert set(bars_of(FeatureImportanceDisplay.from_estimator(model, by_group=False))) == set(X.columns)


def test_a_large_group_without_a_name_is_called_by_its_ends(table):
    model = ElasticNetMLP(
        (3,), penalty_groups="features", feature_groups=[[0, 1, 2, 3], [4]], max_iter=5, random_state=0
    )
    bars = bars_of(FeatureImportanceDisplay.from_estimator(model.fit(*table)))
    assert set(bars) == {"age, …, pulse", "dose"}


def test_stability_selection_draws_its_probabilities_and_threshold(table):
    network = ElasticNetMLP((), l1_ratio=1.0, early_stopping=False, **LINEAR)
    selector = StabilitySelector(network, n_resamples=6, alphas=8, threshold=0.7, random_state=0).fit(*table)
    display = FeatureImportanceDisplay.from_estimator(selector)
    bars = bars_of(display)
    assert bars == {n: p for n, p in zip(NAMES, selector.selection_probabilities_, strict=True) if p > 0}
    assert_array_equal(display.threshold_line_.get_xdata(), [0.7, 0.7])
    n_selected = selector.get_support().sum()
    assert f"{n_selected} of 5 features selected" in display.ax_.get_xlabel()
    below = FeatureImportanceDisplay(feature_importances=[0.9, 0.2], threshold=0.5).plot().bars_
    assert below[0].get_facecolor() != below[1].get_facecolor()


def test_any_estimator_with_importances_is_drawn(table):
    X, y = table
    forest = RandomForestClassifier(5, random_state=0).fit(X, y > 0)
    assert len(FeatureImportanceDisplay.from_estimator(forest).bars_) == 5


# Training curves ------------------------------------------------------------------------------------------------------


def test_curves_are_the_history_with_the_kept_epoch(stopped):
    display = TrainingCurveDisplay.from_estimator(stopped)
    history = pd.DataFrame(stopped.history_)
    assert_array_equal(display.lines_[0].get_ydata(), history["loss"])
    assert_array_equal(display.validation_lines_[0].get_ydata(), history["validation_loss"])
    assert_array_equal(display.score_lines_[0].get_ydata(), history["validation_score"])
    assert_array_equal(display.lines_[0].get_xdata(), history["epoch"])
    kept = history.iloc[stopped.best_iter_ - 1]
    assert display.best_points_[0].get_xydata().tolist() == [[kept["epoch"], kept["validation_loss"]]]
    assert display.best_score_points_[0].get_xydata().tolist() == [[kept["epoch"], kept["validation_score"]]]
    assert [ax.get_ylabel() for ax in display.axes_] == ["Loss", "Roc auc"]


def test_early_stopping_on_the_loss_needs_no_second_panel(regressor):
    display = TrainingCurveDisplay.from_estimator(regressor)
    assert len(display.axes_) == 1
    assert display.score_lines_ == display.best_score_points_ == [None]


def test_without_validation_there_is_the_training_loss(table):
    model = RegularizedMLPRegressor((4,), max_iter=3, early_stopping=False, random_state=0).fit(*table)
    display = TrainingCurveDisplay.from_estimator(model)
    assert display.validation_lines_ == [None]
    assert display.best_points_[0].get_xydata().tolist() == [[3, model.loss_curve_[-1]]]


def test_several_estimators_are_named(stopped, regressor):
    display = TrainingCurveDisplay.from_estimator({"first": regressor, "second": stopped})
    texts = [text.get_text() for text in display.axes_[0].get_legend().get_texts()]
    assert texts == ["first", "second", "training", "validation", "kept"]
    assert display.score_lines_[0] is None
    assert len(display.score_lines_[1].get_xdata()) == stopped.n_iter_
    assert display.lines_[0].get_color() != display.lines_[1].get_color()
    numbered = TrainingCurveDisplay.from_estimator([regressor, stopped, regressor])
    assert numbered.names == ["RegularizedMLPRegressor 1", "RegularizedMLPClassifier", "RegularizedMLPRegressor 2"]
    assert TrainingCurveDisplay.from_estimator([regressor, stopped], names=["a", "b"]).names == ["a", "b"]


def test_passes_without_validation_are_gaps(table):
    model = RegularizedMLPRegressor((4,), max_iter=2, random_state=0).fit(*table).partial_fit(*table)
    display = TrainingCurveDisplay.from_estimator(model)
    validation = np.asarray(display.validation_lines_[0].get_ydata())
    assert_array_equal(np.isnan(validation), [False, False, True])
    assert display.best_points_ == [None]  # the pass that is kept was not validated


def test_no_epoch_is_marked_where_none_was_kept():
    display = TrainingCurveDisplay(histories=[[{"epoch": 1.0, "loss": np.nan}]], best_iters=[0]).plot()
    assert display.best_points_ == [None]


# What all of them share -----------------------------------------------------------------------------------------------


def test_names_come_from_the_data_or_from_who_asks(chosen, table):
    for display in (RegularizationPathDisplay, FeatureImportanceDisplay):
        assert list(display.from_estimator(chosen).feature_names) == NAMES
        assert list(display.from_estimator(chosen, feature_names=list("abcde")).feature_names) == list("abcde")
    nameless = ElasticNetMLPCV((), alphas=2, cv=2, **LINEAR).fit(table[0].to_numpy(), table[1])
    assert list(RegularizationPathDisplay.from_estimator(nameless).feature_names) == ["x0", "x1", "x2", "x3", "x4"]


def test_a_pipeline_names_the_features_that_reach_its_last_step(table):
    steps = ElasticNetMLPCV((), alphas=2, cv=2, **LINEAR)
    for transformers, names in (([StandardScaler()], NAMES), ([PCA(2)], ["pca0", "pca1"]), ([], NAMES)):
        pipeline = make_pipeline(*transformers, steps).fit(*table)
        assert list(RegularizationPathDisplay.from_estimator(pipeline).feature_names) == names
        assert list(FeatureImportanceDisplay.from_estimator(pipeline).feature_names) == names
        assert len(TrainingCurveDisplay.from_estimator(pipeline).lines_) == 1


def test_one_axes_is_divided_and_several_are_used_as_they_are(chosen, stopped):
    for draw, n in (
        (lambda ax: RegularizationPathDisplay.from_estimator(chosen, ax=ax), 3),
        (lambda ax: TrainingCurveDisplay.from_estimator(stopped, ax=ax), 2),
    ):
        figure, (left, right) = plt.subplots(1, 2)
        display = draw(left)
        assert display.figure_ is figure
        assert display.bounding_ax_ is left
        assert len(display.axes_) == n
        assert len(figure.axes) == 2 + n
        figure.canvas.draw()
        inside = left.get_position()
        assert all(inside.x0 - 1e-9 <= ax.get_position().x0 and ax.get_position().x1 <= inside.x1 + 1e-9
                   for ax in display.axes_)  # fmt: skip
        with pytest.raises(ValueError, match="was used by a display before"):
            draw(left)
        assert draw(display.axes_).bounding_ax_ is None
        assert not right.has_data()
        _, given = plt.subplots(1, n)
        display = draw(given)
        assert list(display.axes_) == list(given)
        assert all(ax.get_xlabel() for ax in given)


def test_one_panel_is_drawn_on_the_axes_that_is_given(chosen, regressor):
    _, (left, right) = plt.subplots(1, 2)
    assert FeatureImportanceDisplay.from_estimator(chosen, ax=left, color="k").ax_ is left
    display = TrainingCurveDisplay.from_estimator(regressor, ax=right)
    assert list(display.axes_) == [right]
    assert display.bounding_ax_ is None
    assert left.axison
    assert right.axison


def test_shared_axes_have_one_label(chosen):
    display = RegularizationPathDisplay.from_estimator(chosen)
    assert [ax.get_xlabel() for ax in display.axes_] == ["", "", "alpha"]


def test_plot_can_be_repeated_and_returns_itself(chosen, stopped):
    for display in (
        RegularizationPathDisplay.from_estimator(chosen),
        FeatureImportanceDisplay.from_estimator(chosen),
        TrainingCurveDisplay.from_estimator(stopped),
    ):
        before = display.figure_
        assert display.plot() is display
        assert display.figure_ is not before


def test_styles_reach_the_artists(chosen, stopped):
    styles = {"line_kw": {"linewidth": 3.0}, "fill_between_kw": {"alpha": 0.4}}
    path = RegularizationPathDisplay.from_estimator(chosen, max_labels=1, **styles)
    assert {line.get_linewidth() for line in path.lines_} == {3.0}
    assert path.fill_between_.get_alpha() == 0.4
    curves = TrainingCurveDisplay.from_estimator(stopped, line_kw={"linewidth": 3.0})
    assert curves.lines_[0].get_linewidth() == curves.score_lines_[0].get_linewidth() == 3.0
    bars = FeatureImportanceDisplay.from_estimator(chosen, height=0.3)
    assert bars.bars_[0].get_height() == pytest.approx(0.3)


def test_settings_and_other_figures_are_left_alone(chosen, stopped):
    settings = dict(matplotlib.rcParams)
    other, ax = plt.subplots()
    RegularizationPathDisplay.from_estimator(chosen)
    FeatureImportanceDisplay.from_estimator(chosen)
    TrainingCurveDisplay.from_estimator(stopped)
    assert dict(matplotlib.rcParams) == settings
    assert other.axes == [ax]
    assert not ax.has_data()
    assert len(plt.get_fignums()) == 4


def test_importing_the_package_does_not_import_matplotlib():
    code = "import sys, sklreg; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_matplotlib_the_error_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="FeatureImportanceDisplay.plot requires matplotlib"):
        FeatureImportanceDisplay(feature_importances=[1.0]).plot()


DISPLAYS = [RegularizationPathDisplay, FeatureImportanceDisplay, TrainingCurveDisplay]


@pytest.mark.parametrize("display", DISPLAYS, ids=lambda display: display.__name__)
def test_what_is_not_fitted_is_refused(display):
    for estimator in (ElasticNetMLPCV(), make_pipeline(StandardScaler(), ElasticNetMLPCV())):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            display.from_estimator(estimator)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("display", DISPLAYS, ids=lambda display: display.__name__)
@pytest.mark.parametrize("thing", [3, "model", ElasticNetMLPCV, None, StandardScaler().fit([[0.0], [1.0]])])
def test_what_is_of_another_kind_is_refused(display, thing):
    with pytest.raises(TypeError, match=r"from_estimator needs .*; got"):
        display.from_estimator(thing)
    assert plt.get_fignums() == []


def test_messages_name_the_mend(chosen, path, stopped):
    with pytest.raises(TypeError, match=r"got RegularizedMLPClassifier.*permutation_importance"):
        FeatureImportanceDisplay.from_estimator(stopped)
    with pytest.raises(TypeError, match=r"got ElasticNetMLPPath.*from_path"):
        RegularizationPathDisplay.from_estimator(path)
    with pytest.raises(TypeError, match=r"got ElasticNetMLPCV.*from_estimator"):
        RegularizationPathDisplay.from_path(chosen)
    with pytest.raises(TypeError, match=r"got GridSearchCV.*best_estimator_"):
        TrainingCurveDisplay.from_estimator(GridSearchCV(stopped, {}))
    with pytest.raises(ValueError, match="at least one fitted estimator"):
        TrainingCurveDisplay.from_estimator([])
    assert plt.get_fignums() == []


def test_axes_that_do_not_fit_are_refused(chosen):
    _, axes = plt.subplots(1, 2)
    with pytest.raises(ValueError, match=r"one axes, or 3 of them .*; got 2"):
        RegularizationPathDisplay.from_estimator(chosen, ax=axes)
    with pytest.raises(TypeError, match=r"matplotlib Axes .*; got Figure"):
        RegularizationPathDisplay.from_estimator(chosen, ax=axes[0].figure)
    with pytest.raises(ValueError, match="is not a subplot"):
        RegularizationPathDisplay.from_estimator(chosen, ax=plt.figure().add_axes((0, 0, 1, 1)))
    assert not any(ax.has_data() for ax in axes)


def test_data_of_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match=r"2 alphas along axis 1; got shape \(2, 3\)"):
        RegularizationPathDisplay(alphas=[2, 1], feature_importances=np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"2 alphas along axis 0; got shape \(3, 2\)"):
        RegularizationPathDisplay(alphas=[2, 1], feature_importances=np.ones((3, 2)), scores=np.ones((3, 2)))
    with pytest.raises(ValueError, match="each of the 3 features; got 1"):
        RegularizationPathDisplay(alphas=[2, 1], feature_importances=np.ones((3, 2)), feature_names=["a"])
    with pytest.raises(ValueError, match=r"one dimension; got shape \(2, 2\)"):
        FeatureImportanceDisplay(feature_importances=np.ones((2, 2)))
    with pytest.raises(ValueError, match="each of the 1 histories; got 2"):
        TrainingCurveDisplay(histories=[[]], best_iters=[1, 2])
    with pytest.raises(ValueError, match="names for more than one"):
        TrainingCurveDisplay(histories=[[], []])


# The ablation ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ablation(table):
    X, y = table
    network = RegularizedMLPClassifier((4,), dropout=0.2, weight_averaging=0.0, max_iter=3)
    return RegularizationAblation(network, cv=2, n_repeats=2, scoring="neg_log_loss", random_state=0).fit(X, y > 0)


def test_bars_are_the_differences_from_all_with_their_errors(ablation):
    display = RegularizationAblationDisplay.from_ablation(ablation)
    results = ablation.results_
    assert_allclose([bar.get_width() for bar in display.bars_], results["mean_difference"][1:])
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == results["variant"][1:].tolist()
    assert display.ax_.yaxis_inverted()
    segments = display.errors_[2][0].get_segments()
    widths = [segment[1, 0] - segment[0, 0] for segment in segments]
    assert_allclose(widths, 2 * results["standard_error_difference"][1:])
    assert "Difference in negative log loss from all together" in display.ax_.get_xlabel()
    colors = [bar.get_facecolor() for bar in display.bars_]
    assert len(set(colors)) == 3
    assert len(set(colors[:3])) == len(set(colors[3:6])) == 1


def test_ablation_is_drawn_where_asked_and_without_errors(ablation):
    _, ax = plt.subplots()
    display = RegularizationAblationDisplay.from_ablation(ablation, ax=ax, color="red")
    assert display.ax_ is ax
    assert {bar.get_facecolor() for bar in display.bars_} == {(1.0, 0.0, 0.0, 0.8)}
    plain = RegularizationAblationDisplay(differences=[0.1], variants=["none"]).plot()
    assert plain.errors_ is None
    assert plain.ax_.get_xlabel() == "Difference in score from all together"


def test_an_ablation_display_refuses_what_does_not_fit(regressor):
    with pytest.raises(TypeError, match="needs a fitted RegularizationAblation; got RegularizedMLPRegressor"):
        RegularizationAblationDisplay.from_ablation(regressor)
    with pytest.raises(NotFittedError):
        RegularizationAblationDisplay.from_ablation(RegularizationAblation(regressor))
    with pytest.raises(ValueError, match="variants of .* each of the 2 differences; got 1"):
        RegularizationAblationDisplay(differences=[0.1, 0.2], variants=["a"])
    with pytest.raises(ValueError, match=r"one dimension and at least one entry; got shape \(0,\)"):
        RegularizationAblationDisplay(differences=[], variants=[])
