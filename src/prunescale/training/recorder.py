"""For those who train with the Trainer of Hugging Face: its evaluations as the loss curve of a run, kept in a store."""

import dataclasses
import math
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from prunescale.devices import device_name
from prunescale.errors import TrainingError
from prunescale.models import named_from_anywhere, shape_of
from prunescale.models.checkpoint import read_lineage
from prunescale.runs import Run, Store, refuse_unwritable
from prunescale.training.callback import current_ranks, refuse_strange
from prunescale.training.counts import n_params_nonzero, n_zeros, params_by_group, sparsity, versions
from prunescale.training.loop import peak_memory
from prunescale.training.trainer_log import (
    LOSS,
    Evaluated,
    Stopwatch,
    length_of_rows,
    past_evaluations,
    past_rates,
    points_of,
    refuse_without_curve,
    settings_of,
    tokens_per_step,
)


class RecordRun(TrainerCallback, ExportableState):
    """Keeps the loss curve of a training by the Trainer as a run in a store: `Trainer(..., callbacks=[RecordRun("runs.db")])`.

    Each evaluation becomes a point, and the run is added to the store when the training ends; it is then in `run` too. The loss is
    `eval_loss`, whose sequences should all be of one length, so that the mean over sequences is that over tokens.

    Tokens are the steps times batch size, gradient accumulation, processes and sequence length, which counts a short last batch of an
    epoch as a whole one; with `include_num_input_tokens_seen` they are what the Trainer counts. Phases are told by the learning rates,
    and the last step of a decay is annealed. A training that goes on from a checkpoint has the points of its earlier part from the
    Trainer's log, without their seconds.

    store: its file, made where there is none. sequence_length: of the training data, that of its rows if None. folder: where the
    model was loaded from, if that is not what it says itself; there lies what prunescale knows of its pruning. known: any field of a
    `Run` that nobody else can know, such as loss_before, bytes_per_token, kind, base or pruning_method.

    Raises TrainingError or StoreError, before the first step, where no curve could come of it, or be kept.
    """

    def __init__(
        self, store: str | Path, *, sequence_length: int | None = None, folder: str | Path | None = None, **known: Any
    ) -> None:
        self.store, self.sequence_length, self.folder, self.known = Path(store), sequence_length, folder, known
        self.run: Run | None = None
        self.seconds: float | None = 0.0
        self._is_training = False
        fields = {field.name for field in dataclasses.fields(Run)}
        if unknown := sorted(known.keys() - fields):
            raise TrainingError(f"{unknown[0]} is no field of a run; RecordRun takes {', '.join(sorted(fields))}.")

    def on_train_begin(
        self,
        args: Any,
        state: Any,
        control: Any,
        *,
        model: Any = None,
        train_dataloader: Any = None,
        lr_scheduler: Any = None,
        **_: Any,
    ) -> None:
        model = refuse_strange(model, args)
        refuse_without_curve(args)
        if state.is_world_process_zero:
            refuse_unwritable(self.store)
        self._length = self.sequence_length or length_of_rows(train_dataloader)
        self._tokens_per_step = tokens_per_step(args, state, self._length)
        self._had_zeros = n_zeros(model) > 0
        self._rates = past_rates(state, lr_scheduler)
        self._evaluated = past_evaluations(state, self._tokens_per_step)
        self._n_tokens_before = self._n_tokens(args, state)
        self._watch = Stopwatch(args.device)
        self.seconds = self._seconds_before(state)
        self._is_training = True
        # A checkpoint that was made without us has no place for us, and the Trainer cannot do without one when it saves the next.
        state.stateful_callbacks.setdefault(type(self).__name__, self.state())

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._watch.start()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, *, optimizer: Any = None, **_: Any) -> None:
        self._rates[state.global_step + 1] = float(optimizer.param_groups[0]["lr"])

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._watch.lap(wait=control.should_evaluate or control.should_save or control.should_training_stop)

    def on_evaluate(self, args: Any, state: Any, control: Any, *, metrics: Mapping[str, float] | None = None, **_: Any) -> None:
        if not self._is_training or not metrics or LOSS not in metrics:
            return
        self._watch.pause()
        loss, step = float(metrics[LOSS]), state.global_step
        if not math.isfinite(loss):
            raise TrainingError(f"The held-out loss is {loss} after {step} steps: try a lower learning rate or a longer warm-up.")
        self._evaluated.setdefault(step, Evaluated(self._n_tokens(args, state), loss, self._seconds_so_far()))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._watch.pause()

    def on_train_end(self, args: Any, state: Any, control: Any, *, model: Any = None, **_: Any) -> None:
        made = self._made(args, state, getattr(model, "_orig_mod", model))  # by all processes: each counts its weights
        self._is_training = False
        if state.is_world_process_zero:
            self.run = made
            with Store.create(self.store) as store:
                store.add(made)

    def state(self) -> dict[str, Any]:
        """What the Trainer keeps in a checkpoint: how to make this again, and the seconds, which its log does not have."""
        own = {"sequence_length": self.sequence_length, "folder": None if self.folder is None else str(self.folder)}
        seconds = self._seconds_so_far() if self._is_training else self.seconds
        return {"args": {"store": str(self.store), **own, **self.known}, "attributes": {"seconds": seconds}}

    def _n_tokens(self, args: Any, state: Any) -> int:
        is_counted = args.include_num_input_tokens_seen not in ("no", False)
        return int(state.num_input_tokens_seen) if is_counted else state.global_step * self._tokens_per_step

    def _seconds_before(self, state: Any) -> float | None:
        """Of the part before the checkpoint from which a training goes on; None where it was made without us."""
        if state.global_step == 0:
            return 0.0
        kept = state.stateful_callbacks.get(type(self).__name__, {})
        return kept.get("attributes", {}).get("seconds") if isinstance(kept, dict) else None

    def _seconds_so_far(self) -> float | None:
        return None if self.seconds is None else self.seconds + self._watch.seconds

    def _made(self, args: Any, state: Any, model: Any) -> Run:
        """The record of the training, which has ended."""
        shape, folder = shape_of(model.config), Path(self.folder or str(getattr(model, "name_or_path", "")))
        lineage = read_lineage(folder)
        pruning, zeros = lineage.get("pruning", {}), n_zeros(model)
        base = self.known.get("base") or pruning.get("base") or base_of(folder, model)
        method = self.known.get("pruning_method", pruning.get("method"))
        rate = self.known.get("pruning_rate", pruning.get("rate", zeros / shape.n_params_non_embedding))
        n_tokens = self._n_tokens(args, state)
        n_tokens_here, seconds_here = n_tokens - self._n_tokens_before, self._watch.seconds
        run = Run(
            id=uuid.uuid4().hex[:12],
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            kind="post-training",
            name=f"{Path(base).name} " + (f"{method or 'zeros'} {rate:.3f}" if rate else "unpruned"),
            recipe={"base": base, "trainer": settings_of(args)},
            recipe_hash=None,
            base=base,
            pruning_method=method,
            pruning_rate=rate,
            n_params_before=pruning.get("n_params_before", shape.n_params_non_embedding),
            **params_by_group(shape),
            n_params_nonzero=n_params_nonzero(model),
            loss_before=None,
            n_tokens_pretrain=lineage.get("pretraining", {}).get("n_tokens"),
            bytes_per_token=None,
            sequence_length=self._length,
            flops=float(shape.flops_per_token(self._length) * n_tokens),
            seconds=self._seconds_so_far(),
            tokens_per_second=n_tokens_here / seconds_here if seconds_here else None,
            peak_memory_bytes=peak_memory(args.device),
            device=device_name(args.device, current_ranks().n),
            versions=versions(),
            inputs={"sparsity": sparsity(model)} if self._had_zeros else {},
            n_params_left=((0, shape.n_params_linear - zeros),) if self._had_zeros else (),
            points=points_of(self._evaluated, self._rates, state.max_steps),
        )
        return replace(run, **self.known)


def base_of(folder: Path, model: Any) -> str:
    """The model that was trained, where nothing is known of a pruning: its folder, the name that it was loaded by, or its kind."""
    if str(folder) == ".":
        return type(model).__name__
    return named_from_anywhere(str(folder)) if folder.exists() else str(folder)
