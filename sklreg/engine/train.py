"""The training loop: the only one in the package.

``train`` stacks the jobs that share their static choices.  Row ``k`` of a stack is one model with hyperparameters, data
and random stream of its own; rows meet in batched products and nowhere else.  A row that is done leaves the stack.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from sklreg.engine.data import Batch, batch_bounds, chunks, stack
from sklreg.engine.job import Job, OptimizerState, Result, Static
from sklreg.engine.losses import LOSSES
from sklreg.engine.mixup import Mixup, mix
from sklreg.engine.modules import (
    DropoutNoise,
    Layout,
    Network,
    TrainingMode,
    initial_row,
    plain_module,
    row_of_module,
)
from sklreg.engine.optim import OPTIMIZERS, schedule_factor
from sklreg.engine.penalties import ElasticNet, project_max_norm
from sklreg.engine.stopping import EarlyStopping
from sklreg.engine.streams import Streams
from sklreg.engine.threads import threads_for

_VALIDATION_CHUNK = 1024  # samples predicted at once; the same for any number of rows, as sums would round otherwise


@torch.inference_mode(False)  # or the caller's, if any, would make modules that nobody can train further
@torch.no_grad()
def train(jobs: Sequence[Job]) -> list[Result]:
    """Train every job and return the results in the same order; jobs of equal static choices train together."""
    groups: dict[object, list[int]] = {}
    for i, job in enumerate(jobs):
        # A job that continues stands where no other does in its schedule, so it trains alone.
        key = job.static if job.optimizer_state is None else i
        groups.setdefault(key, []).append(i)
    results: dict[int, Result] = {}
    for members in groups.values():
        results.update(zip(members, _Stack([jobs[i] for i in members]).train(), strict=True))
    return [results[i] for i in range(len(jobs))]


class _Stack:
    """The rows in training."""

    def __init__(self, jobs: list[Job]) -> None:
        self.static: Static = jobs[0].static
        self.layout = Layout(
            self.static.n_features, self.static.hidden_layer_sizes, self.static.n_outputs, self.static.normalization
        )
        self.loss = LOSSES[self.static.loss]
        self.bounds = batch_bounds(self.static.n_samples, self.static.batch_size)
        self.all_streams = {job.seed: Streams(job.seed, self.static.device) for job in jobs}
        # Equal data (the same fold in many candidates) is held on the device once.
        samples = {id(s): s for job in jobs for s in (job.train_set, job.validation_set) if s is not None}
        self.samples = {key: s.to(self.static.device) for key, s in samples.items()}

        self.jobs = jobs
        self.places = list(range(len(jobs)))  # where each row's result belongs
        self.state = torch.cat([self._first_row(job) for job in jobs]).to(self.static.device)  # (K, S)
        self._lay_out_rows()
        self.optimizer = OPTIMIZERS[self.static.solver](
            self.state[:, : self.layout.n_params],
            self.layout.n_weights,
            self._penalty(),
            self._column("weight_decay")[:, None],
            self._column("momentum")[:, None],
            self._column("max_grad_norm")[:, None],
        )
        if jobs[0].optimizer_state is not None:
            self.optimizer.n_steps = jobs[0].optimizer_state.n_steps
            moments = jobs[0].optimizer_state.moments[:, None]
            # A copy: the job's own must be as it was if this training fails.
            self.optimizer.moments = list(moments.to(self.static.device, self.static.dtype, copy=True))
        patience, min_delta = (self._column(name, torch.float64) for name in ("patience", "min_delta"))
        self.stopping = EarlyStopping(self.state, patience, min_delta)
        self.mixup = Mixup(
            [job.hyperparameters.mixup_alpha for job in jobs], [self.all_streams[job.seed] for job in jobs]
        )
        self.histories: list[list[dict[str, float]]] = [[] for _ in jobs]
        self.results: list[Result | None] = [None] * len(jobs)
        self.errors: list[Exception | None] = [None] * len(jobs)

    def train(self) -> list[Result]:
        """Run epochs until every row is done."""
        n_iter = 0
        # Forward and both halves of the backward pass multiply and add once each per weight and sample.
        flops = 6 * self.layout.n_weights * max(stop - start for start, stop in self.bounds) * len(self.jobs)
        with threads_for(flops):
            while self.jobs:
                n_iter += 1
                train_loss = self._epoch(n_iter - 1)
                validation_loss, score = self._validate()
                self._end_epoch(n_iter, train_loss, validation_loss, score)
        return [result for result in self.results if result is not None]

    # One epoch ------------------------------------------------------------------------------------------------

    def _epoch(self, n_done: int) -> Tensor:
        """Take one pass over the samples; return each row's mean loss, ``(K,)``, in units of the training."""
        learning_rates = self._learning_rates(n_done).unbind()
        orders = self._orders()
        draws = None
        if self.mixup.is_active:
            draws = self.mixup.draw(self.bounds, self.streams, self.static.dtype, self.static.device)
        total = torch.zeros(len(self.jobs), dtype=torch.float64, device=self.static.device)
        for i, learning_rate in enumerate(learning_rates):
            batch = self._batch(orders, i)
            if draws is not None:
                partners = draws.partners[i]
                partners = partners if self.seed_members is None else partners.index_select(0, self.seed_members)
                batch = mix(batch, partners.expand(len(batch.X), -1), draws.shares[i])
            total += self._step(batch, learning_rate)
        return total / self.static.n_samples

    def _step(self, batch: Batch, learning_rate: Tensor) -> Tensor:
        """Take one step; return each row's loss, summed over the batch, ``(K,)``."""
        mode = TrainingMode(self.input_dropout, self.dropout, batch.weight, self.optimizer.n_steps)
        output = self.network.forward(batch.X.expand(len(self.jobs), -1, -1), mode)  # (K, n, C)
        # Rows do not mix, so the gradient of all their losses together holds each row's own.
        gradient = self.loss.gradient(*self._in_target_units(output, batch.y), self.label_smoothing)
        if self.relative_scale is not None:
            gradient = gradient * self.relative_scale
        if batch.weight is not None:
            gradient = gradient * batch.weight[:, :, None]
        self.network.backward(gradient / output.shape[1])
        self.optimizer.step(self.network.gradient, learning_rate)
        if self.max_norm is not None:
            for i in range(self.layout.n_layers - 1):
                weight = self.layout.view(self.state, f"weight{i}")
                weight.copy_(project_max_norm(weight, self.max_norm))
        return self._total_loss(output, batch, self.label_smoothing)

    def _total_loss(self, output: Tensor, batch: Batch, smoothing: Tensor | None) -> Tensor:
        loss = self.loss.value(*self._in_target_units(output, batch.y), smoothing)  # (K, n, C)
        return (loss if batch.weight is None else loss * batch.weight[:, :, None]).sum((1, 2), dtype=torch.float64)

    def _in_target_units(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Give each output its share in the loss."""
        if self.relative_scale is None:
            return output, target
        return output * self.relative_scale, target * self.relative_scale

    def _learning_rates(self, n_done: int) -> Tensor:
        """Return the learning rates of an epoch's steps, ``(n_batches, K, 1)``."""
        n_batches = len(self.bounds)
        initial = torch.tensor([job.hyperparameters.learning_rate_init for job in self.jobs], dtype=torch.float64)
        n_steps = n_batches * torch.tensor([job.hyperparameters.max_iter for job in self.jobs])
        step = n_done * n_batches + torch.arange(n_batches, dtype=torch.float64)[:, None]
        rates = initial * schedule_factor(self.static.schedule, step / n_steps)
        return rates[:, :, None].to(self.static.device, self.static.dtype)

    def _orders(self) -> list[tuple[Tensor, ...]] | None:
        """Draw the order of an epoch for every seed, cut into batches; ``None`` where a batch is the whole set."""
        if len(self.bounds) == 1:
            return None
        sizes = [stop - start for start, stop in self.bounds]
        orders = (streams.order.permutation(self.static.n_samples) for streams in self.streams)
        return [torch.from_numpy(order).to(self.static.device).split(sizes) for order in orders]

    def _batch(self, orders: list[tuple[Tensor, ...]] | None, i: int) -> Batch:
        batches = [
            source.slice(*self.bounds[i]) if orders is None else source.take(orders[seed][i])
            for source, seed in self.sources
        ]
        return stack(batches, self.source_members)

    # Its end --------------------------------------------------------------------------------------------------

    def _validate(self) -> tuple[Tensor | None, Tensor | None]:
        """Return each row's mean validation loss, in units of the training, and its score, greater being better."""
        if self.static.n_validation == 0:
            return None, None
        loss = torch.zeros(len(self.jobs), dtype=torch.float64, device=self.static.device)
        outputs = []
        for start, stop in chunks(self.static.n_validation, _VALIDATION_CHUNK):
            batches = [source.slice(start, stop) for source in self.validation_sources]
            batch = stack(batches, self.validation_members)
            output = self.network.forward(batch.X.expand(len(self.jobs), -1, -1))
            loss += self._total_loss(output, batch, None)
            if any(job.score for job in self.jobs):
                outputs.append(output)
        loss /= self.static.n_validation
        score = -loss * self.loss_unit
        for k, job in enumerate(self.jobs):
            if job.score is not None:
                output = torch.cat([o[k] for o in outputs]).cpu() * job.units.scale + job.units.offset
                # A model that has diverged gets no score; scikit-learn's scorers refuse what is not finite.
                score[k] = torch.nan
                if bool(output.isfinite().all()):
                    with self._ends_only(k):
                        score[k] = job.score(output.numpy())
        return loss, score

    @contextlib.contextmanager
    def _ends_only(self, k: int) -> Iterator[None]:
        """Let an error of a job's own function end its row and no other."""
        try:
            yield
        except Exception as error:
            self.errors[self.places[k]] = error

    def _end_epoch(self, n_iter: int, train_loss: Tensor, validation_loss: Tensor | None, score: Tensor | None) -> None:
        """Write the epoch down, and let the rows go that are done."""
        finite = train_loss.isfinite() & self.state.sum(1).isfinite()
        for moment in self.optimizer.moments:  # one that has overflowed would hold its weight still for good
            finite &= moment.isfinite().all(1)
        if validation_loss is not None:
            finite &= validation_loss.isfinite()
        criterion = torch.where(finite, -train_loss * self.loss_unit if score is None else score, torch.nan)
        out_of_patience = self.stopping.update(criterion, self.state, n_iter)
        columns = {"loss": train_loss * self.loss_unit}
        if validation_loss is not None and score is not None:
            columns |= {"validation_loss": validation_loss * self.loss_unit, "validation_score": score}
        # The epoch's one wait for a GPU.
        table = torch.stack([finite.double(), out_of_patience.double(), *columns.values()], dim=1).tolist()

        staying = []
        for k, (is_finite, is_impatient, *values) in enumerate(table):
            record = {"epoch": float(n_iter), **dict(zip(columns, values, strict=True))}
            self.histories[self.places[k]].append(record)
            job, is_done = self.jobs[k], bool(is_impatient) or not is_finite
            if job.on_epoch is not None:
                with self._ends_only(k):
                    is_done |= job.on_epoch(record, partial(self._module, self.state, k))
            has_failed = self.errors[self.places[k]] is not None
            if is_done or has_failed or n_iter >= job.hyperparameters.max_iter:
                self._finish(k, n_iter, diverged=not is_finite)
            else:
                staying.append(k)
        if len(staying) < len(self.jobs):
            self._compact(staying)

    def _finish(self, k: int, n_iter: int, diverged: bool) -> None:
        job = self.jobs[k]
        restores = diverged or job.validation_set is not None
        state = self.stopping.best_state if restores else self.state
        self.results[self.places[k]] = Result(
            module=self._module(state, k),
            history=self.histories[self.places[k]],
            best_iter=int(self.stopping.best_iter[k]) if restores else n_iter,
            diverged=diverged,
            optimizer_state=job.optimizer_state if diverged else self._optimizer_state(k),
            error=self.errors[self.places[k]],
        )

    def _optimizer_state(self, k: int) -> OptimizerState:
        return OptimizerState(self.optimizer.n_steps, torch.stack([m[k] for m in self.optimizer.moments]).cpu())

    def _module(self, state: Tensor, k: int) -> nn.Sequential:
        h, units = self.jobs[k].hyperparameters, self.jobs[k].units
        row = state[k : k + 1].cpu()
        return plain_module(self.layout, self.static.activation, row, units, h.dropout, h.input_dropout)

    def _compact(self, rows: list[int]) -> None:
        """Keep only the rows that are still in training."""
        self.jobs = [self.jobs[k] for k in rows]
        self.places = [self.places[k] for k in rows]
        if not rows:
            return
        index = torch.tensor(rows, device=self.static.device)
        self.state = self.state[index]
        self._lay_out_rows()
        self.optimizer.select(index, self.state[:, : self.layout.n_params])
        self.stopping.select(index)
        self.mixup.select(rows)

    # Rows -----------------------------------------------------------------------------------------------------

    def _first_row(self, job: Job) -> Tensor:
        if job.start is not None:
            return row_of_module(self.layout, job.start, job.units, self.static.dtype)
        # A generator of its own: rows of one seed start equal.
        streams = Streams(job.seed, torch.device("cpu"))
        return initial_row(self.layout, self.static.activation, job.initial_output, streams)

    def _lay_out_rows(self) -> None:
        """Derive from the jobs in training everything that has an entry for each of them."""
        self.network = Network(self.layout, self.static.activation, self.state)

        seeds = list(dict.fromkeys(job.seed for job in self.jobs))
        self.streams = [self.all_streams[seed] for seed in seeds]
        self.seed_members = self._members([seeds.index(job.seed) for job in self.jobs]) if len(seeds) > 1 else None
        pairs = [(id(job.train_set), seeds.index(job.seed)) for job in self.jobs]
        distinct = list(dict.fromkeys(pairs))
        self.sources = [(self.samples[data], seed) for data, seed in distinct]
        self.source_members = self._members([distinct.index(p) for p in pairs]) if len(distinct) > 1 else None
        held_out = [id(job.validation_set) for job in self.jobs]
        distinct_held_out = list(dict.fromkeys(held_out))
        self.validation_sources = [self.samples[key] for key in distinct_held_out if self.static.n_validation]
        several = len(distinct_held_out) > 1
        self.validation_members = self._members([distinct_held_out.index(h) for h in held_out]) if several else None

        self.dropout = DropoutNoise.of_rates(self._column("dropout"), self.streams, self.seed_members)
        self.input_dropout = DropoutNoise.of_rates(self._column("input_dropout"), self.streams, self.seed_members)
        smoothing, max_norm = self._column("label_smoothing"), self._column("max_norm")
        self.label_smoothing = smoothing[:, None, None] if bool((smoothing > 0).any()) else None
        self.max_norm = max_norm[:, None, None] if bool(max_norm.isfinite().any()) else None

        # Training runs on targets in units of their standard deviation.  Half the squared error in the target's own
        # units is unit ** 2 times half of that error, with each output at its share of it.
        scale = torch.stack([job.units.scale for job in self.jobs])  # (K, C), float64
        self.unit = scale.square().mean(1, keepdim=True).sqrt() if scale.shape[1] > 1 else scale  # (K, 1)
        self.loss_unit = self.unit.square()[:, 0].to(self.static.device)
        self.share = scale / self.unit
        has_equal_shares = not bool((self.share != 1).any())
        self.relative_scale = (
            None if has_equal_shares else self.share[:, None].to(self.static.device, self.static.dtype)
        )

    def _penalty(self) -> ElasticNet:
        l1, l2 = (self._column(name, torch.float64).cpu()[:, None] for name in ("l1", "l2"))
        if bool((self.unit != 1).any()) or self.relative_scale is not None:
            # A weight into output c is scale[c] times what it is in training, and the loss is divided by unit ** 2.
            factor = torch.ones(len(self.jobs), self.layout.n_weights, dtype=torch.float64) / self.unit
            last = self.layout.view(factor, f"weight{self.layout.n_layers - 1}")
            last.copy_(self.share[:, None, :].expand_as(last))
            l1, l2 = l1 * factor / self.unit, l2 * factor.square()
        return ElasticNet(*(strength.to(self.static.device, self.static.dtype) for strength in (l1, l2)))

    def _members(self, indices: list[int]) -> Tensor:
        return torch.tensor(indices, device=self.static.device)

    def _column(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """Return one hyperparameter of every row, ``(K,)``."""
        values = [getattr(job.hyperparameters, name) for job in self.jobs]
        return torch.tensor(values, dtype=dtype or self.static.dtype, device=self.static.device)
