"""What the library leaves out: techniques that others recommend, each against the same network without it.

    python benchmarks/left_out.py --data DIR --results FILE      # fit and judge; goes on where it stopped
    python benchmarks/left_out.py --results FILE --table         # print what is there

DIR holds tables as for ``quality.py``, and inputs are prepared as there.  The plain model is a
``RegularizedNetClassifier`` with two hidden layers of 128 units; each of the others changes one thing about it.  All
have the same training samples, and the same hold-out to choose the epoch.  "Another seed" changes nothing: what it
differs by is chance.

SAM (Foret et al., 2021) takes the gradient where a step of length rho uphill has led.  Norms stand between the weights
of a hidden layer and its activation: layer and batch norm, which ``RegularizedMLP*`` has, for comparison; RMS norm; and
ghost batch norm (Hoffer et al., 2017), by about 32 samples of a batch.  Periodic embeddings (PLR of Gorishniy et al.,
2022) are of all inputs with more than two values: 48 frequencies, and 24 units, for each.  SWA (Izmailov et al., 2018)
is the mean of the weights after each of the last quarter of the epochs, of which there are as many for all tables.

Ensembles with a cosine have a budget of epochs, the same for each, in which the learning rate falls to 0: one network;
snapshots of four cycles of a quarter (Huang et al., 2017); and four networks of a quarter each.  What is kept of a
cycle, or a network, is its best epoch on the hold-out, and a cycle goes on from what was kept of the one before.  "4
members" are four plain networks, of as many epochs as early stopping gives them.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from quality import Data, command_line, load, means, numbers_and_categories, print_cells, read
from skorch.callbacks import LRScheduler
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch import Tensor, nn

from sklreg import RegularizedNetClassifier

Array = NDArray[Any]
TABLES = ("adult", "compas", "credit_default_taiwan", "electricity", "jm1", "letter", "phoneme", "segment")
PLAIN = "plain"
SETTINGS: dict[str, Any] = {
    "optimizer": torch.optim.AdamW, "lr": 1e-3, "weight_decay": 0.5, "batch_size": 128, "max_epochs": 200,
    "patience": 20,
}  # fmt: skip
N_HIDDEN = (128, 128)
N_MEMBERS = 4
N_EPOCHS = 200  # of the ensembles with a cosine
N_EPOCHS_OF_SWA = 80
_VALIDATION_SHARE = 0.1

# Techniques ---------------------------------------------------------------------------------------------------------


class MLP(nn.Sequential):
    """A multilayer perceptron, with what may stand before its first layer and in its hidden ones."""

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        norm: Callable[[int], nn.Module] | None = None,
        embedding: Callable[[int], Periodic] | None = None,
    ) -> None:
        super().__init__()
        n_inputs = n_features
        if embedding is not None:
            self.append(embedding(n_features))
            n_inputs = self[0].n_outputs
        for n_units in N_HIDDEN:
            self.append(nn.Linear(n_inputs, n_units))
            if norm is not None:
                self.append(norm(n_units))
            self.append(nn.GELU())
            n_inputs = n_units
        self.append(nn.Linear(n_inputs, n_outputs))


class GhostBatchNorm(nn.BatchNorm1d):
    """Batch normalization by parts of the batch; the running statistics reach as far back as without parts."""

    n_samples = 32

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        parts = x.tensor_split(max(1, round(len(x) / self.n_samples)))
        self.momentum = 0.1 / len(parts)
        return torch.cat([super(GhostBatchNorm, self).forward(part) for part in parts])


class Periodic(nn.Module):
    """Sines and cosines of some inputs, and units on those of each; the other inputs pass."""

    def __init__(self, n_features: int, columns: list[int], sigma: float, n_frequencies: int = 48, n_units: int = 24):
        super().__init__()
        self.columns = columns
        self.others = [j for j in range(n_features) if j not in columns]
        self.frequencies = nn.Parameter(sigma * torch.randn(len(columns), n_frequencies))
        bound = (2 * n_frequencies) ** -0.5
        self.weight = nn.Parameter(torch.empty(len(columns), 2 * n_frequencies, n_units).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(len(columns), n_units).uniform_(-bound, bound))
        self.n_outputs = len(columns) * n_units + len(self.others)

    def forward(self, x: Tensor) -> Tensor:
        angles = 2 * math.pi * self.frequencies * x[:, self.columns, None]
        waves = torch.cat([angles.sin(), angles.cos()], dim=2)
        units = (torch.einsum("nji,jio->njo", waves, self.weight) + self.bias).relu()
        return torch.cat([units.flatten(1), x[:, self.others]], dim=1)


class SharpnessAware(RegularizedNetClassifier):
    """A net that takes the gradient at the end of a step uphill, of length ``rho``."""

    def __init__(self, module: Any, *, rho: float, **parameters: Any) -> None:
        super().__init__(module, **parameters)
        self.rho = rho

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        step = super().train_step_single(batch, **fit_params)
        parameters = list(self.module_.parameters())
        before = [parameter.detach().clone() for parameter in parameters]
        norm = torch.stack([parameter.grad.norm() for parameter in parameters]).norm()
        with torch.no_grad():
            for parameter in parameters:
                parameter.add_(parameter.grad * (self.rho / (norm + 1e-12)))
        self.optimizer_.zero_grad()
        super().train_step_single(batch, **fit_params)
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value)
        return step


# Models: each takes a split and a seed, and returns the probabilities of the test part ------------------------------


class Part(NamedTuple):
    """One split of a table, as networks take it."""

    X: Array
    y: Array
    X_val: Array
    y_val: Array
    X_test: Array
    y_test: Array


def network(part: Part, seed: int, **changes: Any) -> Any:
    """Return a fitted network."""
    kind = SharpnessAware if "rho" in changes else RegularizedNetClassifier
    hold_out = predefined_split(Dataset(part.X_val, part.y_val))
    net = kind(MLP, random_state=seed, **{**SETTINGS, "train_split": hold_out, **changes})
    return net.fit(part.X, part.y)


def one(part: Part, seed: int, **changes: Any) -> Array:
    return network(part, seed, **changes).predict_proba(part.X_test)


def members(part: Part, seed: int, **changes: Any) -> Array:
    return np.mean([one(part, seed + 1000 * k, **changes) for k in range(N_MEMBERS)], axis=0)


def snapshots(part: Part, seed: int, **changes: Any) -> Array:
    net = network(part, seed, **changes)
    predictions = [net.predict_proba(part.X_test)]
    for _ in range(N_MEMBERS - 1):
        net.partial_fit(part.X, part.y)
        predictions.append(net.predict_proba(part.X_test))
    return np.mean(predictions, axis=0)


def periodic(part: Part, seed: int, sigma: float) -> Array:
    columns = [j for j, column in enumerate(part.X.T) if len(np.unique(column)) > 2]
    embedding = partial(Periodic, columns=columns, sigma=sigma)
    decay = {"0.frequencies": 0.0, "*": SETTINGS["weight_decay"]}
    return one(part, seed, module__embedding=embedding, weight_decay=decay)


def swa(part: Part, seed: int, n_averaged: int) -> Array:
    """Train for ``N_EPOCHS_OF_SWA`` epochs, and average the weights after each of the last ones."""
    n_before = N_EPOCHS_OF_SWA - n_averaged
    net = network(part, seed, max_epochs=n_before, early_stopping=False, train_split=None)
    if n_averaged:
        average = torch.optim.swa_utils.AveragedModel(net.module_)
        net.set_params(max_epochs=1)
        for _ in range(n_averaged):
            net.partial_fit(part.X, part.y)
            average.update_parameters(net.module_)
        net.module_.load_state_dict(average.module.state_dict())
    return net.predict_proba(part.X_test)


def cosine(n_epochs: int) -> dict[str, Any]:
    """Return the settings of ``n_epochs`` at a learning rate that falls to 0, and starts anew after them."""
    schedule = LRScheduler(
        torch.optim.lr_scheduler.LambdaLR,
        lr_lambda=lambda epoch: (1 + math.cos(math.pi * (epoch % n_epochs) / n_epochs)) / 2,
    )
    return {"max_epochs": n_epochs, "patience": n_epochs, "callbacks": [schedule]}


MODELS: dict[str, Callable[[Part, int], Array]] = {
    PLAIN: one,
    "plain, another seed": lambda part, seed: one(part, seed + 1000),
    "SAM, rho=0.02": partial(one, rho=0.02),
    "SAM, rho=0.05": partial(one, rho=0.05),
    "SAM, rho=0.1": partial(one, rho=0.1),
    "layer norm": partial(one, module__norm=nn.LayerNorm),
    "RMS norm": partial(one, module__norm=nn.RMSNorm),
    "batch norm": partial(one, module__norm=nn.BatchNorm1d),
    "ghost batch norm": partial(one, module__norm=GhostBatchNorm),
    "periodic, sigma=0.1": partial(periodic, sigma=0.1),
    "periodic, sigma=1": partial(periodic, sigma=1.0),
    "4 members": members,
    f"{N_EPOCHS_OF_SWA} epochs": partial(swa, n_averaged=0),
    f"{N_EPOCHS_OF_SWA} epochs, SWA": partial(swa, n_averaged=N_EPOCHS_OF_SWA // 4),
    "cosine, 1 network": partial(one, **cosine(N_EPOCHS)),
    "cosine, 4 snapshots": partial(snapshots, **cosine(N_EPOCHS // N_MEMBERS)),
    "cosine, 4 members": partial(members, **cosine(N_EPOCHS // N_MEMBERS)),
}

# Judging ------------------------------------------------------------------------------------------------------------


def prepared(data: Data, seed: int) -> Part:
    from sklearn.model_selection import train_test_split

    preprocessing = numbers_and_categories(encode=True)
    X, X_test = preprocessing.fit_transform(data.X), preprocessing.transform(data.X_test)
    X, X_val, y, y_val = train_test_split(
        X.astype(np.float32), data.y, test_size=_VALIDATION_SHARE, stratify=data.y, random_state=seed
    )
    return Part(X, y, X_val, y_val, X_test.astype(np.float32), data.y_test)


def judge(data: Path, results: Path, tables: Iterable[str], n_splits: int, max_rows: int) -> None:
    from sklearn.metrics import log_loss

    torch.set_num_threads(1)
    done = {(r["table"], r["split"], r["model"]) for r in read(results)}
    for split in range(n_splits):
        for table in tables:
            due = [model for model in MODELS if (table, split, model) not in done]
            if not due:
                continue
            part = prepared(load(data, table, split, max_rows), split)
            one(part, split, max_epochs=1)  # what the first fit of all imports is no cost of a model
            for model in due:
                start = time.perf_counter()
                proba = MODELS[model](part, split).astype(np.float64)
                seconds = time.perf_counter() - start
                loss = float(log_loss(part.y_test, proba / proba.sum(axis=1, keepdims=True)))
                record = {"table": table, "split": split, "model": model, "seconds": seconds, "log_loss": loss}
                with results.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                print(record, flush=True)


# Report -------------------------------------------------------------------------------------------------------------


def report(results: Path) -> None:
    records = read(results)
    cells = {(r["model"], r["table"], r["split"]): r for r in records}
    models = [model for model in MODELS if any(r["model"] == model for r in records)]
    splits = [split for model, *split in cells if model == PLAIN and all((m, *split) in cells for m in models)]
    print_cells(means(records, "log_loss"), models, "Log loss, mean over splits")
    print(f"\n{len(splits)} splits of {len({table for table, _ in splits})} tables that all have been fitted to")
    header = ("log loss, mean", "ratio to plain", "standard error", "better than plain", "seconds, ratio")
    print(f"{'':24}" + "".join(f"{text:>18}" for text in header))
    for model in models:
        losses = [cells[model, *split]["log_loss"] for split in splits]
        loss, seconds = (
            np.log([cells[model, *split][metric] / cells[PLAIN, *split][metric] for split in splits])
            for metric in ("log_loss", "seconds")
        )
        row = [f"{np.mean(losses):.4f}", f"{np.exp(loss.mean()):.3f}", f"{loss.std(ddof=1) / len(splits) ** 0.5:.3f}"]
        row += [f"{np.mean(loss < 0):.0%}", f"{np.exp(seconds.mean()):.2f}"]
        print(f"{model:24}" + "".join(f"{text:>18}" for text in row))
    print("\nRatios are geometric means over the splits of all tables.  The standard error is that of the ratio, of as")
    print("many splits as there are; two of one table are not quite independent.")


if __name__ == "__main__":
    command_line(__doc__, judge, report, results="left_out.jsonl", tables=TABLES, n_splits=2, max_rows=3000)
