"""Time a grid search under ``batched_training`` against the same search fit by fit, with ours and with other libraries.

    python benchmarks/search_speed.py                 # the table, each entry in a process of its own
    python benchmarks/search_speed.py --growth        # how time grows with the number of candidates
    python benchmarks/search_speed.py --profile       # where the time of a batched search goes
    python benchmarks/search_speed.py --device cuda   # against one by one, on a GPU
    python benchmarks/search_speed.py --matmul medium --entries batched "sklreg, n_jobs=1"  # coarser products

All searches have equal candidates, folds, network, batches, epochs and precision, and no early stopping.  Entries of a
table alternate, as the speed of a shared machine moves; medians over ``--runs``, and ratios of these.  Peak memory is
that of the process and its workers, beyond what they take before the search.  ``--matmul`` is torch's precision of
products in float32; workers of ``n_jobs=2`` do not inherit it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
import warnings
from contextlib import nullcontext
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

SETTINGS = {  # hidden layers, samples, features, batch size
    "small": ((64,), 2_000, 20, 128),
    "large": ((256, 256), 10_000, 30, 256),
}
ENTRIES = ("batched", "sklreg, n_jobs=1", "sklreg, n_jobs=2", "MLPClassifier, n_jobs=1", "MLPClassifier, n_jobs=2",
           "skorch, n_jobs=1", "skorch, n_jobs=2")  # fmt: skip
FLOORS = {"small": {"sklreg, n_jobs=2": 5.0, "MLPClassifier, n_jobs=2": 4.0},
          "large": {"sklreg, n_jobs=2": 2.0, "MLPClassifier, n_jobs=2": 1.5}}  # fmt: skip
FLOOR_ON_CUDA = {"sklreg, n_jobs=1": 50.0}  # one by one on the same device


def table(setting: str, dtype: str) -> tuple[NDArray[Any], NDArray[Any]]:
    from sklearn.datasets import make_classification

    _, n, d, _ = SETTINGS[setting]
    X, y = make_classification(n, d, n_informative=d // 2, random_state=0)
    return X.astype(dtype), y


def estimator(library: str, setting: str, epochs: int, dtype: str, device: str) -> tuple[Any, str]:
    """Return a classifier and the name of its L2 penalty."""
    hidden, _, d, batch = SETTINGS[setting]
    if library == "MLPClassifier":
        from sklearn.neural_network import MLPClassifier

        net: Any = MLPClassifier(hidden, batch_size=batch, max_iter=epochs, n_iter_no_change=epochs, random_state=0)
        return net, "alpha"
    if library == "skorch":
        import skorch
        import torch

        units = [d, *hidden]
        layers = [m for i, o in pairwise(units) for m in (torch.nn.Linear(i, o), torch.nn.ReLU())]
        module = torch.nn.Sequential(*layers, torch.nn.Linear(units[-1], 2))
        net = skorch.NeuralNetClassifier(
            module, criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=1e-3, batch_size=batch,
            max_epochs=epochs, train_split=None, verbose=0, iterator_train__shuffle=True, device=device,
        )  # fmt: skip
        return net, "optimizer__weight_decay"
    import sklreg

    net = sklreg.RegularizedMLPClassifier(
        hidden, activation="relu", solver="adam", batch_size=batch, max_iter=epochs, early_stopping=False,
        random_state=0, dtype=dtype, device=device,
    )  # fmt: skip
    return net, "l2"


def search(entry: str, setting: str, n_candidates: int, epochs: int, dtype: str, device: str) -> Any:
    """Return a function that runs the search of an entry."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import sklreg

    X, y = table(setting, dtype)
    library, _, jobs = entry.partition(", n_jobs=")
    net, penalty = estimator(library, setting, epochs, dtype, device)
    if library == "skorch":
        X = X.astype("float32")  # it takes nothing else
    pipeline = make_pipeline(StandardScaler(), net)
    grid: dict[str, Any] = {f"{type(net).__name__.lower()}__{penalty}": np.logspace(-6, 0, n_candidates)}
    if library in ("batched", "sklreg"):
        # The regularizers that a search of ours is for, dropout among them, which the others do not have.
        name = type(net).__name__.lower()
        grid = {f"{name}__l2": np.logspace(-6, 0, n_candidates // 3), f"{name}__dropout": [0.0, 0.2, 0.4]}
    gs = GridSearchCV(pipeline, grid, cv=5, refit=False, n_jobs=int(jobs) if jobs else None)

    def run() -> Any:
        with sklreg.batched_training() if entry == "batched" else nullcontext(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the epochs were not enough
            return gs.fit(X, y)

    return run


class PeakMemory:
    """Watches how much memory this process and its children take, above what they took at the start."""

    def __enter__(self) -> PeakMemory:
        self.start, self.peak, self.stop = self._now(), 0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.stop.wait(0.02):
            self.peak = max(self.peak, self._now() - self.start)

    def _now(self) -> int:
        import psutil

        total = 0
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            try:
                total += process.memory_info().rss
            except psutil.Error:  # it has ended in the meantime
                continue
        return total


def measure(entry: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Run one entry in this process, the imports not counted."""
    import torch

    torch.set_float32_matmul_precision(arguments.matmul)
    run = search(entry, arguments.setting, arguments.candidates, arguments.epochs, arguments.dtype, arguments.device)
    if arguments.device == "cuda":  # whose libraries load when they are first asked for something
        search(entry, arguments.setting, 3, 1, arguments.dtype, arguments.device)()
    with PeakMemory() as memory:
        start = time.perf_counter()
        result = run()
        seconds = time.perf_counter() - start
    return {"s": seconds, "MiB": memory.peak / 2**20, "score": float(result.cv_results_["mean_test_score"].mean())}


def in_own_process(entry: str, arguments: argparse.Namespace, **changes: Any) -> dict[str, float]:
    options = {**vars(arguments), **changes, "measure": entry}
    names = ("measure", "setting", "candidates", "epochs", "dtype", "device", "matmul")
    flags = [text for name in names for text in (f"--{name}", str(options[name]))]
    done = subprocess.run([sys.executable, __file__, *flags], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{entry} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(arguments: argparse.Namespace, entries: tuple[str, ...]) -> None:
    """Print the table of one setting and precision."""
    found: dict[str, list[dict[str, float]]] = {entry: [] for entry in entries}
    for _ in range(arguments.runs):
        for entry in entries:
            found[entry].append(in_own_process(entry, arguments))
    hidden, n, d, batch = SETTINGS[arguments.setting]
    print(f"\nhidden {hidden}, {n} x {d}, batch {batch}, {arguments.candidates} candidates x 5 folds, "
          f"{arguments.epochs} epochs, {arguments.dtype}, {arguments.device}, products {arguments.matmul}")  # fmt: skip
    print(f"{'':26}{'s':>8}{'ratio':>8}{'floor':>7}{'peak MiB':>10}{'score':>8}")
    batched = median(run["s"] for run in found[entries[0]])
    for entry in entries:
        row = {key: median(run[key] for run in found[entry]) for key in ("s", "MiB", "score")}
        floor = (FLOORS[arguments.setting] if arguments.device == "cpu" else FLOOR_ON_CUDA).get(entry, "")
        print(f"{entry:26}{row['s']:8.2f}{row['s'] / batched:8.2f}{floor:>7}{row['MiB']:10.0f}{row['score']:8.4f}")


def growth(arguments: argparse.Namespace) -> None:
    """Print how the time of a batched search grows with its candidates."""
    print(f"\nhidden {SETTINGS[arguments.setting][0]}, {arguments.epochs} epochs, {arguments.dtype}")
    print(f"{'candidates':>12}{'fits':>7}{'s':>9}{'ms a fit':>10}{'peak MiB':>10}")
    for n in (24, 48, 96, 192, 384):
        runs = [in_own_process("batched", arguments, candidates=n) for _ in range(arguments.runs)]
        seconds, memory = (median(run[key] for run in runs) for key in ("s", "MiB"))
        print(f"{n:12}{5 * n:7}{seconds:9.2f}{1000 * seconds / (5 * n):10.2f}{memory:10.0f}", flush=True)


def profile(arguments: argparse.Namespace) -> None:
    """Print the share of matrix products, and of everything else, in the time that training takes and in all of it."""
    import torch
    from torch.profiler import ProfilerActivity

    import sklreg._batched as batched

    jobs: list[Any] = []
    train = batched.train

    def keep(handed_in: Any, *rest: Any) -> Any:
        jobs.extend(handed_in)
        return train(handed_in, *rest)

    run = search("batched", arguments.setting, arguments.candidates, arguments.epochs, arguments.dtype, "cpu")
    run()  # warm
    batched.train = keep
    start = time.perf_counter()
    run()
    total = time.perf_counter() - start
    batched.train = train
    start = time.perf_counter()
    train(jobs)
    training = time.perf_counter() - start
    torch.set_num_threads(1)  # one stack after another, so that times add up
    start = time.perf_counter()
    train(jobs)
    alone = time.perf_counter() - start
    with torch.profiler.profile(activities=[ProfilerActivity.CPU]) as recorded:
        train(jobs)
    times = {row.key: row.self_cpu_time_total / 1e6 for row in recorded.key_averages()}
    products = sum(times.get(f"aten::{name}", 0.0) for name in ("bmm", "baddbmm", "mm", "addmm", "addmm_"))
    print(f"\nhidden {SETTINGS[arguments.setting][0]}, {arguments.candidates} candidates, {arguments.dtype}")
    print(f"whole search {total:.2f} s, of it training {training:.2f} s; training by one thread {alone:.2f} s")
    print(f"matrix products {products:.2f} s: {products / alone:.0%} of the training by one thread")
    for name, seconds in sorted(times.items(), key=lambda item: -item[1])[:14]:
        print(f"    {name:38}{seconds:7.3f} s {seconds / sum(times.values()):6.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", choices=list(SETTINGS), help="default: all")
    parser.add_argument("--dtype", choices=["float32", "float64"], help="default: both")
    parser.add_argument("--epochs", type=int, help="default: 50 for small, 10 for large")
    parser.add_argument("--candidates", type=int, default=24)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--matmul", choices=["highest", "high", "medium"], default="highest")
    parser.add_argument("--entries", nargs="+", choices=ENTRIES, default=ENTRIES)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments)))
        return
    given = vars(arguments).copy()
    for setting in [given["setting"]] if given["setting"] else SETTINGS:
        for dtype in [given["dtype"]] if given["dtype"] else ("float32", "float64"):
            arguments.setting, arguments.dtype = setting, dtype
            arguments.epochs = given["epochs"] or {"small": 50, "large": 10}[setting]
            if arguments.growth:
                growth(arguments)
            elif arguments.profile:
                profile(arguments)
            else:
                entries = ("batched", "sklreg, n_jobs=1") if arguments.device != "cpu" else tuple(arguments.entries)
                compare(arguments, entries)


if __name__ == "__main__":
    main()
