"""
L2, dropout and batch normalization on images
=============================================

A paper trains a convolutional network on MNIST, Fashion-MNIST and CIFAR-10 with L2, dropout and batch normalization,
each alone, in pairs and all together, and reports that all together are best everywhere: 0.8, 2.3 and 5.0 points above
none.  This script repeats the experiment with a small convolutional network and with a multilayer perceptron, on
several seeds, and says whether all together beat each alone.

By default the images are the digits of scikit-learn.  Others are read from a folder::

    python examples/images_regularization.py
    python examples/images_regularization.py --data DIR --sets mnist fashion_mnist cifar10_13k --results images.jsonl
    python examples/images_regularization.py --results images.jsonl --table --figure images.png

``DIR/NAME`` has ``data.parquet``, a row for each image, of which the last column is the class and the others are pixels
from 0 to 255, channel by channel; and ``meta.json``, in which ``n_train`` is the number of rows that are for training,
the first ones.

Without a GPU it draws a part of each set, see ``--n-train``; with one it takes all of it.  ``--results`` keeps every
fit, and a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from sklreg import RegularizedNetClassifier

TECHNIQUES = ("L2", "dropout", "batch norm")
COMBINATIONS = [chosen for size in range(4) for chosen in combinations(TECHNIQUES, size)]
L2_STRENGTHS = (1e-3, 1e-2, 1e-1)  # up to 0.1, which the paper chose
DROPOUT_RATES = (0.2, 0.5)
TUNING_SEED = 1_000  # strengths are chosen on other draws than those of the tables
PATIENCE = 5
# Test accuracy above that of no regularization, in points, in the order of COMBINATIONS; and what the paper says that
# leaving out one of the three costs.
PAPER_GAINS = {
    "mnist": (0.0, 0.5, 0.5, 0.7, 0.6, 0.7, 0.6, 0.8),
    "fashion_mnist": (0.0, 1.4, 1.1, 1.5, 1.3, 1.5, 1.9, 2.3),
    "cifar10": (0.0, 2.0, 2.8, 3.1, 2.4, 3.1, 3.8, 5.0),
}
PAPER_ABLATION = {"cifar10": {"L2": -3.5, "dropout": -2.8, "batch norm": -1.5}}
START = time.perf_counter()


class BadInputError(Exception):
    """The data or the results cannot be used; the message says why and what to do."""


def say(text: str) -> None:
    """Print a stage line with the time since the start."""
    print(f"[{time.perf_counter() - START:6.1f} s] {text}", flush=True)


# Data -----------------------------------------------------------------------------------------------------------------


class Images(NamedTuple):
    """Images of shape (n, channels, height, width), and their classes."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def load(name: str, folder: Path | None) -> Images:
    """Return the digits of scikit-learn, or a set of a folder."""
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        X_train, X_test, y_train, y_test = train_test_split(
            X.reshape(-1, 1, 8, 8), y, train_size=300, stratify=y, random_state=0
        )
        return Images(X_train, y_train, X_test, y_test)
    if folder is None:
        raise BadInputError(f"--sets: {name} needs a folder to read it from, --data DIR.")
    try:
        table = pd.read_parquet(folder / name / "data.parquet")
        n_train = json.loads((folder / name / "meta.json").read_text(encoding="utf-8"))["n_train"]
    except (OSError, KeyError, ValueError) as error:
        raise BadInputError(f"--data: {folder / name} cannot be read ({error}).") from error
    y = table.pop(table.columns[-1]).to_numpy()
    n_channels = 3 if table.shape[1] % 3 == 0 else 1
    side = round((table.shape[1] / n_channels) ** 0.5)
    if n_channels * side**2 != table.shape[1]:
        raise BadInputError(f"--data: {name} has {table.shape[1]} pixels, which is neither a square nor three of them.")
    X = table.to_numpy(np.uint8).reshape(-1, n_channels, side, side)
    return Images(X[:n_train], y[:n_train], X[n_train:], y[n_train:])


def draw(X: np.ndarray, y: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``n`` of the images, with the same share of each class, or all of them."""
    if n >= len(y):
        return X, y
    X, _, y, _ = train_test_split(X, y, train_size=n, stratify=y, random_state=seed)
    return X, y


def crop_and_flip(images: Tensor) -> Tensor:
    """Move every image by up to an eighth of its side, and mirror every second one."""
    n, _, height, width = images.shape
    device, margin = images.device, height // 8
    padded = F.pad(images, (margin, margin, margin, margin))
    top, left = torch.randint(2 * margin + 1, (2, n, 1, 1), device=device)
    rows = top + torch.arange(height, device=device)[:, None]
    columns = left + torch.arange(width, device=device)
    cropped = padded[torch.arange(n, device=device)[:, None, None], :, rows, columns].movedim(-1, 1)
    return torch.where(torch.rand(n, 1, 1, 1, device=device) < 0.5, cropped.flip(-1), cropped)


# Networks -------------------------------------------------------------------------------------------------------------


class SmallCNN(nn.Sequential):
    """Two convolutions and two dense layers; dropout before the dense ones, batch norm after the convolutions."""

    def __init__(self, image_shape, n_outputs, dropout=0.0, batch_norm=False):
        channels, height, width = image_shape
        super().__init__(
            *self.convolution(channels, 16, batch_norm),
            *self.convolution(16, 32, batch_norm),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(32 * (height // 4) * (width // 4), 64),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(64, n_outputs),
        )

    @staticmethod
    def convolution(n_in: int, n_out: int, batch_norm: bool) -> list[nn.Module]:
        """Return a convolution that halves height and width."""
        norm = [nn.BatchNorm2d(n_out)] if batch_norm else []
        # By its stride: pooling would take longer than all the rest on a CPU.
        return [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), *norm, nn.ReLU()]


class MLP(nn.Sequential):
    """Two hidden layers, with batch norm before and dropout after the activation."""

    def __init__(self, image_shape, n_outputs, dropout=0.0, batch_norm=False):
        super().__init__(
            nn.Flatten(),
            *self.hidden(int(np.prod(image_shape)), 256, dropout, batch_norm),
            *self.hidden(256, 128, dropout, batch_norm),
            nn.Linear(128, n_outputs),
        )

    @staticmethod
    def hidden(n_in: int, n_out: int, dropout: float, batch_norm: bool) -> list[nn.Module]:
        """Return a hidden layer."""
        norm = [nn.BatchNorm1d(n_out)] if batch_norm else []
        return [nn.Linear(n_in, n_out), *norm, nn.ReLU(), nn.Dropout(dropout)]


MODELS: dict[str, type[nn.Module]] = {"CNN": SmallCNN, "MLP": MLP}


# Fits -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Experiment:
    """A set and a network, and how much of the one trains the other."""

    dataset: str
    model: str
    n_train: int
    n_test: int
    epochs: int
    augment: bool


@dataclass(frozen=True)
class Fit:
    """One fit of an experiment."""

    experiment: Experiment
    seed: int
    l2: float = 0.0
    dropout: float = 0.0
    batch_norm: bool = False

    @property
    def techniques(self) -> tuple[str, ...]:
        """Which of the techniques are on."""
        on = (self.l2 > 0, self.dropout > 0, self.batch_norm)
        return tuple(name for name, is_on in zip(TECHNIQUES, on, strict=True) if is_on)


def evaluate(fit: Fit, images: Images) -> dict[str, float]:
    """Train one network, and return its accuracies."""
    experiment, seed = fit.experiment, fit.seed
    X, y = draw(images.X_train, images.y_train, experiment.n_train, seed)
    X, X_val, y, y_val = train_test_split(X, y, test_size=0.2, stratify=y, random_state=seed)
    mean, deviation = X.mean((0, 2, 3), keepdims=True), X.std((0, 2, 3), keepdims=True)
    X, X_val, X_test = (((part - mean) / deviation).astype(np.float32) for part in (X, X_val, images.X_test))
    net = RegularizedNetClassifier(
        MODELS[experiment.model],
        module__image_shape=X.shape[1:],
        module__dropout=fit.dropout,
        module__batch_norm=fit.batch_norm,
        l2=fit.l2,
        weight_decay=0.0,
        augmentation=crop_and_flip if experiment.augment else None,
        batch_size=64,
        lr=2e-3,
        max_epochs=experiment.epochs,
        patience=PATIENCE,
        device="cuda" if torch.cuda.is_available() else "cpu",
        random_state=seed,
    )
    start = time.perf_counter()
    net.fit(X, y, X_val=X_val, y_val=y_val)
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "epochs_trained": net.n_iter_,
        "validation_loss": float(min(net.history[:, "valid_loss"])),
        "train": float(net.score(X, y)),
        "test": float(net.score(X_test, images.y_test)),
    }


class Results:
    """The accuracies of all fits so far, kept in a file of JSON lines."""

    def __init__(self, path: Path | None):
        self.path = path
        self.by_fit: dict[Fit, dict[str, float]] = {}
        if path is None or not path.exists():
            return
        *lines, rest = path.read_text(encoding="utf-8").split("\n")
        if rest:  # a line that was not written to its end
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        try:
            for line in lines:
                record = json.loads(line)
                self.by_fit[Fit(Experiment(**record["experiment"]), **record["fit"])] = record["result"]
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(f"--results: {path} has a line that this script did not write ({error}).") from error

    def of(self, fit: Fit, images: Images) -> dict[str, float]:
        """Return the accuracies of a fit, from the file where it has them."""
        if fit not in self.by_fit:
            result = self.by_fit[fit] = evaluate(fit, images)
            if self.path is not None:
                parts = asdict(fit)
                record = {"experiment": parts.pop("experiment"), "fit": parts, "result": result}
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
        return self.by_fit[fit]

    def experiments(self) -> Iterator[tuple[Experiment, dict]]:
        """Yield each experiment with its fits, but those that chose strengths: lists over the seeds by techniques."""
        grouped: dict[Experiment, dict] = defaultdict(lambda: defaultdict(dict))
        for fit, result in self.by_fit.items():
            if fit.seed != TUNING_SEED:
                grouped[fit.experiment][fit.techniques][fit.seed] = (fit, result)
        for experiment, by_techniques in grouped.items():
            # Seeds that all combinations have, so that differences are those of the same images.
            complete = [set(by_techniques[chosen]) for chosen in COMBINATIONS]
            seeds = sorted(set.intersection(*complete))
            if seeds:
                yield experiment, {chosen: [by_techniques[chosen][seed] for seed in seeds] for chosen in COMBINATIONS}


def choose(experiment: Experiment, name: str, strengths: tuple[float, ...], images: Images, results: Results) -> float:
    """Return the strength with the least validation loss where this technique is alone."""
    fits = [Fit(experiment, TUNING_SEED, **{name: strength}) for strength in strengths]
    return getattr(min(fits, key=lambda fit: results.of(fit, images)["validation_loss"]), name)


def run(experiment: Experiment, images: Images, n_seeds: int, results: Results) -> None:
    """Choose the strengths, and fit all combinations on all seeds."""
    strengths = {
        "l2": choose(experiment, "l2", L2_STRENGTHS, images, results),
        "dropout": choose(experiment, "dropout", DROPOUT_RATES, images, results),
        "batch_norm": True,
    }
    names = dict(zip(TECHNIQUES, strengths, strict=True))
    for seed in range(n_seeds):
        for chosen in COMBINATIONS:
            results.of(Fit(experiment, seed, **{names[name]: strengths[names[name]] for name in chosen}), images)
    chosen_text = f"l2={strengths['l2']:g}, dropout={strengths['dropout']:g}"
    say(f"{experiment.dataset}, {experiment.model}: {n_seeds} seeds, {chosen_text}")


# Tables ---------------------------------------------------------------------------------------------------------------


def label(chosen: tuple[str, ...]) -> str:
    """Return the name of a combination."""
    return {0: "none", 3: "all three"}.get(len(chosen), " + ".join(chosen))


def of_paper(table: dict, dataset: str):
    """Return the paper's figures for a set, of which a part may have another name."""
    return next((figures for name, figures in table.items() if dataset.startswith(name)), None)


def percent(fits: list[tuple[Fit, dict]], part: str) -> np.ndarray:
    """Return an accuracy over the seeds."""
    return 100 * np.array([result[part] for _, result in fits])


def spread(values: np.ndarray, sign: str = "") -> str:
    """Return mean ± standard deviation."""
    mean = f"{values.mean():{sign}.1f}"
    return mean if len(values) == 1 else f"{mean} ± {values.std(ddof=1):.1f}"


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Print aligned columns, the first to the left and the others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        print("  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]))


def title(experiment: Experiment, fits: dict) -> str:
    """Return what was done, in a line."""
    strongest, _ = fits[TECHNIQUES][0]
    augmented = ", crops and flips" if experiment.augment else ""
    return (
        f"{experiment.dataset}, {experiment.model}: {experiment.n_train:,} training and {experiment.n_test:,} test "
        f"images, {len(fits[()])} seeds, l2={strongest.l2:g}, dropout={strongest.dropout:g}{augmented}"
    )


def print_accuracies(experiment: Experiment, fits: dict) -> None:
    """Print the accuracies of all combinations, and how far they are above none."""
    none = percent(fits[()], "test")
    paper = of_paper(PAPER_GAINS, experiment.dataset)
    rows = []
    for i, chosen in enumerate(COMBINATIONS):
        train, test = percent(fits[chosen], "train"), percent(fits[chosen], "test")
        gains = [spread(test - none, "+") if chosen else "", f"{paper[i]:+.1f}" if chosen and paper else ""]
        rows.append([label(chosen), spread(test), spread(train), f"{(train - test).mean():.1f}", *gains])
    print(f"\n{title(experiment, fits)}")
    print_table(["", "test accuracy", "train", "gap", "above none", "paper"], rows)


def verdict(experiment: Experiment, fits: dict) -> list[str]:
    """Return what all three gain over none and over each alone, and whether they beat each."""
    everything = percent(fits[TECHNIQUES], "test")
    gains = [everything - percent(fits[chosen], "test") for chosen in COMBINATIONS[:4]]
    least = min(gains[1:], key=np.mean)
    beats = "in every seed" if min(map(np.min, gains[1:])) > 0 else "on average" if least.mean() > 0 else "no"
    paper = of_paper(PAPER_GAINS, experiment.dataset)
    return [*(spread(gain, "+") for gain in gains), beats, f"{paper[-1]:+.1f}" if paper else ""]


def without_one(experiment: Experiment, fits: dict) -> list[str]:
    """Return what it costs to leave out one of the three."""
    everything = percent(fits[TECHNIQUES], "test")
    paper = of_paper(PAPER_ABLATION, experiment.dataset)
    cells = []
    for left_out in TECHNIQUES:
        rest = tuple(name for name in TECHNIQUES if name != left_out)
        cost = spread(percent(fits[rest], "test") - everything, "+")
        cells.append(f"{cost} ({paper[left_out]:+.1f})" if paper else cost)
    return cells


def print_all(results: Results) -> None:
    """Print all tables."""
    experiments = list(results.experiments())
    for experiment, fits in experiments:
        print_accuracies(experiment, fits)

    def rows(cells: Callable[[Experiment, dict], list[str]]) -> list[list[str]]:
        return [
            [f"{e.dataset}, {e.model}" + (", augmented" if e.augment else ""), f"{e.n_train:,}", *cells(e, fits)]
            for e, fits in experiments
        ]

    print("\nTest accuracy with all three, less that with none and with one alone")
    header = ["", "images", "none", *TECHNIQUES, "beats each", "paper, over none"]
    verdicts = rows(verdict)
    print_table(header, verdicts)
    print("\nTest accuracy without one of the three, less that with all (in parentheses: the paper)")
    print_table(["", "images", *(f"without {name}" for name in TECHNIQUES)], rows(without_one))
    column = header.index("beats each")
    beaten = sum(row[column] != "no" for row in verdicts)
    always = sum(row[column] == "in every seed" for row in verdicts)
    print(
        f"\nAll three together beat each alone in {beaten} of {len(verdicts)} experiments on average, "
        f"and in {always} of them in every seed."
    )
    print("Accuracies in percent, differences in points of the same images; mean ± standard deviation over the seeds.")


def plot(results: Results, path: Path) -> None:
    """Plot the test accuracies, a panel for each set."""
    by_set = defaultdict(list)
    for experiment, fits in results.experiments():
        by_set[experiment.dataset, experiment.n_train, experiment.augment].append((experiment.model, fits))
    figure, panels = plt.subplots(
        1, len(by_set), figsize=(2.0 + 3.2 * len(by_set), 4.2), sharey=True, squeeze=False, layout="constrained"
    )
    height = np.arange(len(COMBINATIONS))
    for axes, ((dataset, n_train, augment), models) in zip(panels[0], by_set.items(), strict=True):
        for model, fits in models:
            i = list(MODELS).index(model)
            accuracies = np.array([percent(fits[chosen], "test") for chosen in COMBINATIONS])
            shifted = height + 0.24 * (i - 0.5)
            axes.plot(accuracies, shifted, ".", color=f"C{i}", alpha=0.45)
            axes.plot(accuracies.mean(axis=1), shifted, "|", color=f"C{i}", ms=9, mew=2.5, label=model)
        axes.set_title(f"{dataset}{' augmented' if augment else ''}, {n_train:,} images", fontsize=10)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0, 0].set_yticks(height, [label(chosen) for chosen in COMBINATIONS])
    panels[0, 0].invert_yaxis()
    panels[0, 0].legend(frameon=False)
    figure.supxlabel("test accuracy in percent: each seed, and the mean", fontsize=10)
    figure.savefig(path, dpi=150)
    plt.close(figure)


# The whole ------------------------------------------------------------------------------------------------------------


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description="L2, dropout and batch normalization on images, and all together.")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the sets (default: digits only)")
    parser.add_argument("--sets", nargs="+", default=["digits"], metavar="NAME", help="sets (default: digits)")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS), help="default: both")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    parser.add_argument(
        "--n-train", type=int, help="training images, a fifth of them for validation (default: 1000, with a GPU all)"
    )
    parser.add_argument("--n-test", type=int, help="test images (default: 2000, with a GPU all)")
    parser.add_argument("--epochs", type=int, help="greatest number of epochs (default: 20, with a GPU 50)")
    parser.add_argument("--augment", action="store_true", help="crop and flip the training images, of CIFAR-10 only")
    parser.add_argument("--results", type=Path, metavar="FILE", help="JSON lines to write, and to go on from")
    parser.add_argument("--table", action="store_true", help="print the tables of --results without fitting")
    parser.add_argument("--figure", type=Path, metavar="PNG", help="draw the test accuracies")
    args = parser.parse_args(argv)
    for name, least in [("seeds", 1), ("n_train", 100), ("n_test", 100), ("epochs", 1)]:
        value = getattr(args, name)
        if value is not None and value < least:
            parser.error(f"--{name.replace('_', '-')} must be at least {least}. Got {value}.")
    if args.seeds > TUNING_SEED:
        parser.error(f"--seeds must be at most {TUNING_SEED}. Got {args.seeds}.")
    if args.table and args.results is None:
        parser.error("--table needs --results.")
    return args


def run_all(args: argparse.Namespace, results: Results) -> None:
    """Run the experiments that the options ask for."""
    on_gpu = torch.cuda.is_available()
    epochs = args.epochs or (50 if on_gpu else 20)
    for name in args.sets:
        images = load(name, args.data)
        n_train = min(args.n_train or (len(images.y_train) if on_gpu else 1_000), len(images.y_train))
        n_test = min(args.n_test or (len(images.y_test) if on_gpu else 2_000), len(images.y_test))
        X_test, y_test = draw(images.X_test, images.y_test, n_test, seed=0)
        images = images._replace(X_test=X_test, y_test=y_test)
        for model in args.models:
            augment = args.augment and name.startswith("cifar10")
            run(Experiment(name, model, n_train, n_test, epochs, augment), images, args.seeds, results)


def main(argv: list[str] | None = None) -> int:
    """Run the script; return 2 where the input cannot be used."""
    args = parse(argv)
    try:
        results = Results(args.results)
        if not args.table:
            run_all(args, results)
        if next(results.experiments(), None) is None:
            raise BadInputError(f"--table: {args.results} has not all combinations of any set. Run without --table.")
    except BadInputError as error:
        print(f"images_regularization: {error}", file=sys.stderr)
        return 2
    print_all(results)
    if args.figure is not None:
        plot(results, args.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
