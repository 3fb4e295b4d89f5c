"""The training loop: the only one in the package.

``train`` stacks the jobs that share their static choices.  Row ``k`` of a stack is one model with hyperparameters, data
and random stream of its own; rows meet in batched products and nowhere else.  A row that is done leaves the stack.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import traceback
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from itertools import compress
from operator import not_

import torch
from torch import Tensor, nn

from sklreg.engine.averaging import WeightAveraging
from sklreg.engine.corruption import InputNoise, SwapNoise
from sklreg.engine.data import Batch, Buffer, Pool, batch_bounds, chunks, moved_together, stack
from sklreg.engine.ensemble import mean_output
from sklreg.engine.job import Job, OptimizerState, Result, Static, column_of
from sklreg.engine.layers import DropoutNoise, Network, TrainingMode
from sklreg.engine.layout import Layout, initial_row
from sklreg.engine.losses import LOSSES, PLAIN, LossOptions
from sklreg.engine.mixup import CutMix, Mixup
from sklreg.engine.objective import LossUnits, penalty_of
from sklreg.engine.optim import OPTIMIZERS, Optimizer, schedule_factor
from sklreg.engine.penalties import project_max_norm
from sklreg.engine.plain import plain_module, row_of_module
from sklreg.engine.plan import VALIDATION_CHUNK, are_side_by_side, flops_of_step, halves, plan
from sklreg.engine.stopping import EarlyStopping
from sklreg.engine.streams import Streams
from sklreg.engine.threads import Team, threads_for

_LOSSES_AT_ONCE, _OUTPUTS_AT_ONCE = 8, 2**18  # steps whose losses are computed together, and numbers from which on not


def train(
    jobs: Sequence[Job],
    is_aborted: Sequence[Callable[[], bool]] | None = None,
    tell: Callable[[int, Result | Exception], None] | None = None,
) -> list[Result | Exception]:
    """Train every job and return the outcomes in the same order: a result, or what went wrong with this job.

    Jobs of equal static choices train together, in as many stacks as suit the device.  A job of which ``is_aborted``
    says so ends with its epoch, or does not begin.  ``tell`` is told of outcomes as they come.
    """
    if not jobs:
        return []
    fits = _Fits(jobs, is_aborted, tell)
    stacks = plan(jobs, torch.get_num_threads())
    are_long = [are_side_by_side([jobs[i] for i in members]) for members in stacks]
    if sum(are_long) > 1:
        _in_threads(fits.train, list(compress(stacks, are_long)), fits.is_cancelled)
        stacks = list(compress(stacks, map(not_, are_long)))
    for members in stacks:
        fits.train(members)
    missing = [i for i, outcome in enumerate(fits.outcomes) if outcome is None]
    if missing:
        raise RuntimeError(f"The engine has lost jobs {missing}; please report this.")
    return [outcome for outcome in fits.outcomes if outcome is not None]


class _Fits:
    """The jobs of one call, which of them are still wanted, and what has come of them."""

    def __init__(
        self,
        jobs: Sequence[Job],
        is_aborted: Sequence[Callable[[], bool]] | None,
        tell: Callable[[int, Result | Exception], None] | None,
    ) -> None:
        self.jobs, self._is_aborted, self._tell = jobs, is_aborted, tell
        self.is_cancelled = threading.Event()
        self.outcomes: list[Result | Exception | None] = [None] * len(jobs)

    def train(self, members: list[int]) -> None:
        """Train the jobs of these numbers in one stack, or in narrower ones where it is too much for the memory."""
        error = self._attempt(members)
        left = self._without_outcome(members)
        parts = halves(self.jobs, left) if left and isinstance(error, torch.OutOfMemoryError) else []
        # What cannot be parted is tried again where it was not alone.
        if len(parts) > 1 or (parts and len(left) < len(members)):
            error = None  # and with it the frames that hold what the attempt has allocated
            gc.collect()
            torch.cuda.empty_cache()
            for part in parts:
                self.train(part)
        elif error is not None:
            for i in left:
                self._keep(i, error)
        if torch.cuda.is_initialized():  # what errors hold on to may be large, and there is less of it
            for i in members:
                outcome = self.outcomes[i]
                if isinstance(outcome, Exception):
                    traceback.clear_frames(outcome.__traceback__)

    def _attempt(self, members: list[int]) -> Exception | None:
        try:
            with torch.inference_mode(False), torch.no_grad():  # a module made in the former could never be trained
                self._train_stack(members)
        except Exception as error:
            return error
        return None

    def _train_stack(self, members: list[int]) -> None:
        for i in members:
            if self._is_unwanted(i):
                self._keep(i, InterruptedError("Nobody waits for this fit any more."))
        members = self._without_outcome(members)
        if not members:
            return
        stack = _Stack(
            [self.jobs[i] for i in members],
            lambda k: self._is_unwanted(members[k]),
            lambda k, outcome: self._keep(members[k], outcome),
        )
        try:
            stack.train()
        finally:
            vars(stack).clear()  # the traceback of an error that is an outcome holds on to it

    def _is_unwanted(self, i: int) -> bool:
        return self.is_cancelled.is_set() or (self._is_aborted is not None and self._is_aborted[i]())

    def _keep(self, i: int, outcome: Result | Exception) -> None:
        self.outcomes[i] = outcome
        if self._tell is not None:
            self._tell(i, outcome)

    def _without_outcome(self, members: list[int]) -> list[int]:
        return [i for i in members if self.outcomes[i] is None]


def _in_threads(work: Callable[[list[int]], None], stacks: list[list[int]], is_cancelled: threading.Event) -> None:
    """Train stacks side by side, each by one thread: cores that share an operation wait for one another at its end."""
    left = iter(stacks)
    lock = threading.Lock()

    def work_through() -> None:
        with threads_for(0):
            while True:
                with lock:
                    members = next(left, None)
                if members is None:
                    return
                work(members)

    others: list[threading.Thread] = []
    try:
        for _ in range(min(torch.get_num_threads(), len(stacks)) - 1):
            thread = threading.Thread(target=work_through, name="sklreg-stack", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no more
                break
            others.append(thread)
        work_through()
    except BaseException:  # an interrupt: what runs and what has not begun shall end
        is_cancelled.set()
        raise
    finally:
        for thread in others:
            thread.join()


class _Stack:
    """The rows in training."""

    def __init__(
        self, jobs: list[Job], is_aborted: Callable[[int], bool], keep: Callable[[int, Result | Exception], None]
    ) -> None:
        self.static: Static = jobs[0].static
        self.layout = Layout(
            self.static.n_features,
            self.static.hidden_layer_sizes,
            self.static.n_outputs,
            self.static.normalization,
            has_skip=self.static.penalty_groups == "hierarchical",
            residual=self.static.residual,
            scales_inputs=self.static.scales_inputs,
            binned=self.static.binned,
        )
        self.loss = LOSSES[self.static.loss]
        self.jobs = jobs
        self.is_aborted, self.keep = is_aborted, keep
        self.n_together = len(jobs)
        self.places = list(range(len(jobs)))  # where each row's result belongs
        # Draws belong to a seed and a number of samples.
        self.all_streams = {(job.seed, len(job.train_set)): Streams(job.seed, self.static.device) for job in jobs}
        self._load_samples()
        on_cpu = self.static.device.type == "cpu"
        self.team = Team(max(flops_of_step(job) for job in jobs) if on_cpu else 0.0)
        self.state = torch.cat([self._first_row(job) for job in jobs]).to(self.static.device)  # (K, S)
        self.averaging: WeightAveraging | None = None
        if self._averages:
            self.averaging = WeightAveraging(self.state, self._column("weight_averaging"), self.layout.n_weights)
        for k, job in enumerate(jobs):  # training goes on from the weights themselves, not from their average
            if job.optimizer_state is not None and job.optimizer_state.raw is not None:
                self.state[k] = job.optimizer_state.raw
        self._lay_out_rows()
        self.optimizer = self._first_optimizer()
        self.stopping = self._first_stopping()
        streams = [self._streams_of(job) for job in jobs]
        self.mixup = Mixup([job.hyperparameters.mixup_alpha for job in jobs], streams)
        self.cutmix = CutMix([job.hyperparameters.cutmix_alpha for job in jobs], streams)
        self.histories: list[list[dict[str, float]]] = [[] for _ in jobs]
        self.errors: list[Exception | None] = [None] * len(jobs)

    def _load_samples(self) -> None:
        """Put all samples on the device; equal ones (the same fold in many candidates) once."""
        tensors = {id(t): t for job in self.jobs for s in (job.train_set, job.validation_set) if s for t in s.tensors()}
        on_device = {key: tensor.to(self.static.device) for key, tensor in tensors.items()}
        sets = {s.identity: s for job in self.jobs for s in (job.train_set, job.validation_set) if s is not None}
        self.samples = {key: s.map(lambda tensor: on_device[id(tensor)]) for key, s in sets.items()}

        train_sets = list(dict.fromkeys(job.train_set.identity for job in self.jobs))
        self.pool = Pool.of([self.samples[key] for key in train_sets])
        n_max = max(len(job.train_set) for job in self.jobs)
        self.first_place = {key: i * n_max for i, key in enumerate(train_sets)}  # in the pool
        self.buffer, self.validation_buffer = Buffer(), Buffer()

    def _first_optimizer(self) -> Optimizer:
        """Return the optimizer, which goes on where those of the jobs ended."""
        optimizer = OPTIMIZERS[self.static.solver](
            self.state[:, : self.layout.n_params],
            self.layout.parts(),
            penalty_of(self.jobs, self.layout, self.loss_units),
            self._column("weight_decay")[:, None],
            self._column("momentum")[:, None],
            self._column("max_grad_norm")[:, None],
        )
        if self.jobs[0].n_steps > 0:
            optimizer.n_steps = self.jobs[0].n_steps
            # A copy: the jobs' own must be as they were if this training fails.
            memories = [job.optimizer_state.memory for job in self.jobs if job.optimizer_state]
            parts = [torch.stack(of_rows) for of_rows in zip(*memories, strict=True)]
            optimizer.recall([part.to(self.static.device, self.static.dtype) for part in parts])
        return optimizer

    def _first_stopping(self) -> EarlyStopping:
        """Return what watches each row's improvement."""
        patience, min_delta = (self._column(name, torch.float64) for name in ("patience", "min_delta"))
        # While a penalty grows, nobody is judged by it: it reaches its strength in this epoch.
        l1, warmup, max_iter = (self._column(name, torch.float64) for name in ("l1", "penalty_warmup", "max_iter"))
        n_growing = torch.where(l1 > 0, (warmup * max_iter - 1e-9).ceil() - 1, 0)
        for rows in self.committees:
            n_growing[rows] = n_growing[rows].max()
        return EarlyStopping(self._judged_state, patience, min_delta, n_growing)

    def train(self) -> None:
        """Run epochs until every row is done."""
        n_iter = 0
        with self.team:
            while self.jobs:
                self.team.share(len(self.jobs))
                n_iter += 1
                train_loss = self._epoch(n_iter - 1)
                validation_loss, score = self._validate()
                self._end_epoch(n_iter, train_loss, validation_loss, score)

    # One epoch ------------------------------------------------------------------------------------------------

    def _epoch(self, n_done: int) -> Tensor:
        """Take one pass over the samples; return each row's mean loss, ``(K,)``, in units of the training."""
        learning_rates = self._learning_rates(n_done).unbind()
        penalty_shares = self._penalty_shares(n_done)
        mixing = [
            (mixup, mixup.draw(self.bounds, self.streams, self.static.dtype, self.static.device))
            for mixup in (self.mixup, self.cutmix)
            if mixup.is_active
        ]
        total = torch.zeros(len(self.jobs), dtype=torch.float64, device=self.static.device)
        steps: list[tuple[Tensor, Tensor, Tensor | None]] = []
        for i, (batch, learning_rate) in enumerate(zip(self._batches(), learning_rates, strict=True)):
            for mixup, draws in mixing:
                batch = mixup.mixed(batch, draws, i, self.stream_members)
            self.team.begin_step()
            output = self._step(batch, learning_rate, penalty_shares[i], i)
            self.team.end_step()
            steps.append((output, batch.y, batch.weight))
            are_enough = len(steps) == _LOSSES_AT_ONCE or len(steps) * output.numel() >= _OUTPUTS_AT_ONCE
            if are_enough or i == self.static.n_batches - 1:
                for of_step in self._losses(steps):
                    total += of_step
                steps.clear()
        if self.averaging is not None:
            self.averaging.keep_zeros(self.state)
        return total / self.n_samples

    def _step(self, batch: Batch, learning_rate: Tensor, penalty_share: Tensor | None, i: int) -> Tensor:
        """Take step ``i`` of an epoch; return the outputs ``(K, n, C)`` before it."""
        sizes = [bounds[i][1] - bounds[i][0] for bounds in self.bounds]
        mode = TrainingMode(
            self.input_dropout, self.dropout, sizes, batch.weight, self.optimizer.n_steps, self.stochastic_depth
        )
        X = batch.X if self.swap_noise is None else self.swap_noise.disturb(batch.X, sizes)
        X = X.expand(len(self.jobs), -1, -1)
        if self.input_noise is not None:
            X = self.input_noise.disturb(X, sizes)
        output = self.network.forward(X, mode)  # (K, n, C)
        # Rows do not mix, so the gradient of all their losses together holds each row's own.
        gradient = self.loss.gradient(*self._in_target_units(output, batch.y), self.loss_options)
        if self.loss_units.relative_scale is not None:
            gradient = gradient * self.loss_units.relative_scale
        if batch.weight is not None:
            gradient = gradient * batch.weight[:, :, None]
        self.network.backward(gradient / (sizes[0] if min(sizes) == max(sizes) else self.batch_sizes[i]))
        self.optimizer.step(self.network.gradient, learning_rate, penalty_share)
        if self.max_norm is not None:
            for layer in range(self.layout.n_layers - 1):
                weight = self.layout.view(self.state, f"weight{layer}")
                weight.copy_(project_max_norm(weight, self.max_norm))
        if self.averaging is not None:
            self.averaging.update(self.state, self.optimizer.n_steps)
        return output

    def _losses(self, steps: list[tuple[Tensor, Tensor, Tensor | None]]) -> list[Tensor]:
        """Return each row's loss, summed over the batch, ``(K,)``, in every step, of outputs, targets and weights."""
        # Together: nobody waits for the value of a loss, and of few samples it takes as long as of many.
        outputs, targets, weights = zip(*steps, strict=True)
        weight = None
        if any(w is not None for w in weights):  # in some steps, where only there samples are missing
            ones = [output.new_ones(output.shape[:2]) for output in outputs]
            weight = torch.cat([one if w is None else one * w for one, w in zip(ones, weights, strict=True)], 1)
        losses = self._weighted_loss(torch.cat(outputs, 1), torch.cat(targets, 1), weight, self.loss_options)
        return [_sum(of_step) for of_step in losses.split([output.shape[1] for output in outputs], 1)]

    def _total_loss(self, output: Tensor, batch: Batch, options: LossOptions) -> Tensor:
        return _sum(self._weighted_loss(output, batch.y, batch.weight, options))

    def _weighted_loss(self, output: Tensor, y: Tensor, weight: Tensor | None, options: LossOptions) -> Tensor:
        loss = self.loss.value(*self._in_target_units(output, y), options)  # (K, n, C)
        return loss if weight is None else loss * weight[:, :, None]

    def _in_target_units(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Give each output its share in the loss."""
        if self.loss_units.relative_scale is None:
            return output, target
        return output * self.loss_units.relative_scale, target * self.loss_units.relative_scale

    def _learning_rates(self, n_done: int) -> Tensor:
        """Return the learning rates of an epoch's steps, ``(n_batches, K, 1)``."""
        initial = torch.tensor([job.hyperparameters.learning_rate_init for job in self.jobs], dtype=torch.float64)
        rates = initial * schedule_factor(self.static.schedule, self._progress(n_done))
        return rates[:, :, None].to(self.static.device, self.static.dtype)

    def _penalty_shares(self, n_done: int) -> Sequence[Tensor | None]:
        """Return how much of the penalty acts in each of an epoch's steps, ``(K, 1)``; ``None`` where all does."""
        warmup = torch.tensor([job.hyperparameters.penalty_warmup for job in self.jobs], dtype=torch.float64)
        progress = self._progress(n_done)
        if not bool((progress[0] < warmup).any()):
            return [None] * self.static.n_batches
        shares = torch.where(warmup > 0, (progress + 1 / self._n_steps()) / warmup, 1).clamp(max=1)
        return shares[:, :, None].to(self.static.device, self.static.dtype).unbind()

    def _progress(self, n_done: int) -> Tensor:
        """Return the share of each row's steps that are done before each of an epoch's, ``(n_batches, K)``."""
        n_batches = self.static.n_batches
        return (n_done * n_batches + torch.arange(n_batches, dtype=torch.float64)[:, None]) / self._n_steps()

    def _n_steps(self) -> Tensor:
        """Return the number of steps of each row's schedule, ``(K,)``."""
        return self.static.n_batches * torch.tensor([job.hyperparameters.max_iter for job in self.jobs])

    def _batches(self) -> Iterator[Batch]:
        """Draw the order of an epoch for every stream, and yield its batches; each is valid until the next."""
        if self.static.n_batches == 1:  # the whole sets, in any order
            yield stack([source.slice(0, len(source)) for source, _ in self.sources], self.source_members, self.buffer)
            return
        orders = [
            torch.from_numpy(streams.order.permutation(bounds[-1][1]))
            for streams, bounds in zip(self.streams, self.bounds, strict=True)
        ]
        orders = moved_together(orders, self.static.device)
        if self.pool is not None and self.source_members is not None:
            places = torch.stack(orders).index_select(0, self.stream_members) + self.first_places
            for start, stop in self.bounds[0]:
                yield self.pool.take(places[:, start:stop], self.buffer)
            return
        for i in range(self.static.n_batches):
            batches = [
                source.take(orders[stream][start:stop], self.buffer if len(self.sources) == 1 else None)
                for source, stream in self.sources
                for start, stop in [self.bounds[stream][i]]
            ]
            yield stack(batches, self.source_members, self.buffer)

    # Its end --------------------------------------------------------------------------------------------------

    def _validate(self) -> tuple[Tensor | None, Tensor | None]:
        """Return each row's mean validation loss, in units of the training, and its score, greater being better."""
        if not self.static.has_validation:
            return None, None
        loss = torch.zeros(len(self.jobs), dtype=torch.float64, device=self.static.device)
        watched = torch.zeros_like(loss)
        outputs = []
        for start, stop in chunks(max(len(source) for source in self.validation_sources), VALIDATION_CHUNK):
            batches = [source.slice(start, stop) for source in self.validation_sources]
            batch = stack(batches, self.validation_members, self.validation_buffer)
            output = self.judged_network.forward(batch.X.expand(len(self.jobs), -1, -1))
            loss += self._total_loss(output, batch, PLAIN)
            for rows in self.committees:
                output[rows] = mean_output(output[rows], self.static.loss)
            if self.committees:
                watched += self._total_loss(output, batch, PLAIN)
            if any(job.score for job in self.jobs):
                outputs.append(output)
        loss /= self.n_validation
        score = -(watched / self.n_validation if self.committees else loss) * self.loss_units.of_loss
        of_rows = torch.cat(outputs, 1).cpu() if outputs else None  # (K, n, C)
        for k, job in enumerate(self.jobs):
            if self.leader[k] == k and job.score and job.validation_set is not None and of_rows is not None:
                output = of_rows[k, : len(job.validation_set)] * job.units.scale + job.units.offset
                # A model that has diverged gets no score; scikit-learn's scorers refuse what is not finite.
                score[k] = torch.nan
                if bool(output.isfinite().all()):
                    with self._ends_only(k):
                        score[k] = job.score(output.numpy())
        for rows in self.committees:
            score[rows] = score[rows[:1]]
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
        judged = self._judged_state
        finite = train_loss.isfinite() & self.state.sum(1).isfinite()
        for moment in self.optimizer.memory():  # one that has overflowed would hold its weight still for good
            finite &= moment.sum(1).isfinite()
        if self.averaging is not None:
            finite &= judged.sum(1).isfinite()
        if validation_loss is not None:
            finite &= validation_loss.isfinite()
        for rows in self.committees:
            finite[rows] = finite[rows].all()
        criterion = torch.where(finite, -train_loss * self.loss_units.of_loss if score is None else score, torch.nan)
        out_of_patience = self.stopping.update(criterion, judged, n_iter)
        columns = {"loss": train_loss * self.loss_units.of_loss}
        if validation_loss is not None and score is not None:
            columns |= {"validation_loss": validation_loss * self.loss_units.of_loss, "validation_score": score}
        # Here an epoch waits for a GPU; its steps have not.
        table = torch.stack([finite.double(), out_of_patience.double(), *columns.values()], dim=1).tolist()

        are_done = set()
        for k, (is_finite, is_impatient, *values) in enumerate(table):
            record = {"epoch": float(n_iter), **dict(zip(columns, values, strict=True))}
            self.histories[self.places[k]].append(record)
            job, is_done = self.jobs[k], bool(is_impatient) or not is_finite
            if job.on_epoch is not None:
                with self._ends_only(k):
                    is_done |= job.on_epoch(record, partial(self._module, judged, k))
            has_failed = self.errors[self.places[k]] is not None or self.is_aborted(self.places[k])
            if is_done or has_failed or n_iter >= job.hyperparameters.max_iter:
                are_done.add(self.leader[k])
        staying = []
        for k, (is_finite, *_) in enumerate(table):
            if self.leader[k] in are_done:
                self._finish(k, n_iter, diverged=not is_finite)
            else:
                staying.append(k)
        if len(staying) < len(self.jobs):
            self._compact(staying)

    def _finish(self, k: int, n_iter: int, diverged: bool) -> None:
        job, error = self.jobs[k], self.errors[self.places[k]]
        if error is not None:
            self.keep(self.places[k], error)
            return
        restores = diverged or job.validation_set is not None
        state = self.stopping.best_state if restores else self._judged_state
        result = Result(
            module=self._module(state, k),
            history=self.histories[self.places[k]],
            best_iter=int(self.stopping.best_iter[k]) if restores else n_iter,
            diverged=diverged,
            optimizer_state=job.optimizer_state if diverged or not job.keeps_optimizer else self._optimizer_state(k),
            n_together=self.n_together,
        )
        self.keep(self.places[k], result)

    def _optimizer_state(self, k: int) -> OptimizerState:
        raw = None if self.averaging is None else self.state[k].to("cpu", copy=True)
        memory = [of_rows[k].to("cpu", copy=True) for of_rows in self.optimizer.memory()]
        return OptimizerState(self.optimizer.n_steps, memory, raw)

    def _module(self, state: Tensor, k: int) -> nn.Sequential:
        h, units = self.jobs[k].hyperparameters, self.jobs[k].units
        row = state[k : k + 1].cpu()
        return plain_module(
            self.layout, self.static.activation, row, units, h.dropout, h.input_dropout, h.stochastic_depth
        )

    def _compact(self, rows: list[int]) -> None:
        """Keep only the rows that are still in training."""
        self.jobs = [self.jobs[k] for k in rows]
        self.places = [self.places[k] for k in rows]
        if not rows:
            return
        index = torch.tensor(rows, device=self.static.device)
        self.state = self.state[index]
        if self.averaging is not None:
            self.averaging.select(index)
            self.averaging = self.averaging if self._averages else None
        self._lay_out_rows()
        self.optimizer.select(index, self.state[:, : self.layout.n_params])
        self.stopping.select(index)
        self.mixup.select(rows)
        self.cutmix.select(rows)

    # Rows -----------------------------------------------------------------------------------------------------

    def _first_row(self, job: Job) -> Tensor:
        if job.start is not None:
            return row_of_module(self.layout, job.start, job.units, self.static.dtype)
        # A generator of its own: rows of one seed start equal.
        streams = Streams(job.seed, torch.device("cpu"))
        return initial_row(self.layout, self.static.activation, job.initial_output, streams, job.input_map)

    def _streams_of(self, job: Job) -> Streams:
        return self.all_streams[job.seed, len(job.train_set)]

    @property
    def _averages(self) -> bool:
        """Whether any row averages its weights."""
        return any(job.hyperparameters.weight_averaging > 0 for job in self.jobs)

    @property
    def _judged_state(self) -> Tensor:
        """What is validated, kept and shown of the rows: their averages, where there are any."""
        return self.state if self.averaging is None else self.averaging.average

    def _lay_out_rows(self) -> None:
        """Derive from the jobs in training everything that has an entry for each of them."""
        self.network = self.judged_network = Network(self.layout, self.static.activation, self.state)
        if self.averaging is not None:
            of_averages = self.averaging.average, self.network.gradient
            self.judged_network = Network(self.layout, self.static.activation, *of_averages)

        of_row = [(job.seed, len(job.train_set)) for job in self.jobs]
        keys = list(dict.fromkeys(of_row))
        stream_of_row = _places(of_row)
        self.streams = [self.all_streams[key] for key in keys]
        self.bounds = [batch_bounds(n, self.static.n_batches) for _, n in keys]  # of each stream
        self.stream_members = self._members(stream_of_row)
        sizes = [[bounds[i][1] - bounds[i][0] for bounds in self.bounds] for i in range(self.static.n_batches)]
        of_streams = torch.tensor(sizes, dtype=self.static.dtype, device=self.static.device)
        self.batch_sizes = of_streams[:, self.stream_members, None, None]  # (n_batches, K, 1, 1)
        self.n_samples = self._members([n for _, n in of_row])

        pairs = list(zip((job.train_set.identity for job in self.jobs), stream_of_row, strict=True))
        distinct = list(dict.fromkeys(pairs))
        self.sources = [(self.samples[data], stream) for data, stream in distinct]
        self.source_members = self._members(_places(pairs)) if len(distinct) > 1 else None
        self.first_places = self._members([self.first_place[data] for data, _ in pairs])[:, None]
        held_out = [job.validation_set.identity for job in self.jobs if job.validation_set is not None]
        sets = list(dict.fromkeys(held_out))
        self.validation_sources = [self.samples[key] for key in sets]
        self.validation_members = self._members(_places(held_out)) if len(sets) > 1 else None
        self.n_validation = self._members([len(self.samples[h]) for h in held_out])

        together: dict[object, list[int]] = {}  # rows that are judged as one
        for k, job in enumerate(self.jobs):
            together.setdefault(k if job.committee is None else job.committee, []).append(k)
        self.leader = {k: rows[0] for rows in together.values() for k in rows}
        self.committees = [self._members(rows) for rows in together.values() if self.jobs[rows[0]].committee]

        rate, std = self._column("swap_noise"), self._column("input_noise")
        self.swap_noise = SwapNoise(rate, self.streams, stream_of_row) if bool((rate > 0).any()) else None
        self.input_noise = InputNoise(std, self.streams, stream_of_row) if bool((std > 0).any()) else None
        self.input_dropout = self._noise("input_dropout", stream_of_row)
        self.dropout = self._noise("dropout", stream_of_row)
        self.stochastic_depth = self._noise("stochastic_depth", stream_of_row)
        max_norm = self._column("max_norm")
        self.loss_options = LossOptions(self._if_any("label_smoothing"), self._if_any("focal_gamma"))
        self.max_norm = max_norm[:, None, None] if bool(max_norm.isfinite().any()) else None

        self.loss_units = LossUnits.of(self.jobs)

    def _noise(self, purpose: str, stream_of_row: list[int]) -> DropoutNoise | None:
        rate = self._column(purpose)
        return DropoutNoise(rate, self.streams, stream_of_row, purpose) if bool((rate > 0).any()) else None

    def _if_any(self, name: str) -> Tensor | None:
        """Return one hyperparameter of every row, ``(K, 1, 1)``, or ``None`` where no row has any of it."""
        strength = self._column(name)
        return strength[:, None, None] if bool((strength > 0).any()) else None

    def _members(self, indices: list[int]) -> Tensor:
        return torch.tensor(indices, device=self.static.device)

    def _column(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """Return one hyperparameter of every row, ``(K,)``."""
        return column_of(self.jobs, name, dtype)


def _sum(loss: Tensor) -> Tensor:
    """Return each row's sum, ``(K,)``, of ``(K, n, C)``."""
    return loss.sum((1, 2), dtype=torch.float64)


def _places(keys: Sequence[Hashable]) -> list[int]:
    """Return the place of each key among the distinct ones, in the order in which these first come."""
    place_of = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return [place_of[key] for key in keys]
