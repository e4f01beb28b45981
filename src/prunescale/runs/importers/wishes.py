"""What the person who imports runs says about their file, and what it comes to for a source."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from prunescale.errors import StoreError
from prunescale.runs.importers.formula import Formula, listed, parse
from prunescale.runs.importers.mapping import Column, column, constant
from prunescale.runs.importers.rows import Source
from prunescale.runs.importers.units import Unit, unit
from prunescale.runs.record import Kind, Phase


@dataclass(frozen=True)
class Wishes:
    """As they were given: columns "OURS=THEIRS:UNIT", constants "NAME=VALUE", metric "NAME:UNIT", run "COLUMN,COLUMN"."""

    kind: Kind | None = None
    columns: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()
    metric: str | None = None
    tokens_per_step: int | None = None
    phase: Phase | None = None
    run: str | None = None
    one_run: bool = False
    each_row_is_a_run: bool = False
    round_counts: bool = False
    skip_bad_rows: bool = False


@dataclass(frozen=True)
class Plan:
    """The same, in terms of a source. run: the columns that tell runs apart; None if each row is one, () if there is one only."""

    kind: Kind
    columns: Mapping[str, Column]
    constants: Mapping[str, str | float | int]
    run: tuple[str, ...] | None
    phase: Phase | None
    round_counts: bool
    notes: list[str] = field(default_factory=list)


def plan(wishes: Wishes, source: Source) -> Plan:
    """Raises StoreError, with what to write, for the first thing that is missing or wrong. Nothing is guessed."""
    notes = list(source.notes)
    columns = _columns(wishes, source, notes)
    constants = dict(constant(text) for text in wishes.constants)
    if both := sorted(columns.keys() & constants.keys()):
        raise StoreError(f"{both[0]} is given twice, by --column and by --set: leave one out.")
    if wishes.kind is None:
        raise StoreError("Which kind of runs are these? Give --kind post-training or --kind pre-training.")
    if wishes.kind == "post-training" and not {"base"} & (columns.keys() | constants.keys()):
        raise StoreError(
            "Which model was pruned? Name it, with --set base=NAME or --column base=THEIRS: "
            "runs of the same base are compared with its dense control."
        )
    if wishes.phase is None and not {"phase", "learning_rate"} & columns.keys():
        raise StoreError(
            "In which phase of the learning rate were the losses measured? No learning rates are known here: give --phase warm-up, "
            "constant or decay, or map a column with --column learning_rate=THEIRS or --column phase=THEIRS."
        )
    return Plan(wishes.kind, columns, constants, _run(wishes, source), wishes.phase, wishes.round_counts, notes)


def _columns(wishes: Wishes, source: Source, notes: list[str]) -> dict[str, Column]:
    """The columns that were given, and those that the format itself knows; of the latter a note says so."""
    columns: dict[str, Column] = {}
    for text in wishes.columns:
        found = column(text, source)
        if found.ours in columns:
            raise StoreError(f"--column {found.ours}=... is given twice: leave one out.")
        columns[found.ours] = found
    if wishes.metric is not None:
        if "loss" in columns:
            raise StoreError("The loss is given twice, by --metric and by --column loss=...: leave one out.")
        columns["loss"] = _metric(wishes.metric, source)
    if "loss" not in columns:
        option = "--metric NAME:UNIT" if source.is_log else "--column loss=THEIRS:UNIT"
        raise StoreError(
            f"Which loss? Give {option}, UNIT being nats, bits (both per token) or perplexity; "
            f"columns of {source.path.name}: {listed(source.columns)}."
        )
    if "n_tokens" not in columns or wishes.tokens_per_step:
        if "n_tokens" in columns:
            raise StoreError("The tokens are given twice, by --tokens-per-step and by --column n_tokens=...: leave one out.")
        columns["n_tokens"] = _tokens(wishes, source, notes)
    if source.learning_rate and "learning_rate" not in columns:
        columns["learning_rate"] = _own("learning_rate", source.learning_rate, 1)
        notes.append(f"Learning rates are those in {source.learning_rate}.")
    if source.name and "name" not in columns:
        columns["name"] = _own("name", source.name, 1)
    return columns


def _metric(text: str, source: Source) -> Column:
    name, colon, unit_text = text.rpartition(":")
    if not colon or text.strip() in source.columns:
        raise StoreError(f"--metric {text}: the unit is missing; write {text.strip()}:nats, :bits or :perplexity.")
    return Column("loss", parse(name, source.columns, source.path.name), unit(unit_text.strip(), "loss"))


def _tokens(wishes: Wishes, source: Source, notes: list[str]) -> Column:
    if wishes.tokens_per_step:
        if not source.step:
            raise StoreError(
                "--tokens-per-step needs the steps, and no column is known to hold them: "
                f"give --column n_tokens=THEIRS:{wishes.tokens_per_step}, THEIRS being the column of steps."
            )
        notes.append(f"Tokens are {wishes.tokens_per_step:,} times {source.step}.")
        return _own("n_tokens", source.step, wishes.tokens_per_step)
    if source.tokens:
        notes.append(f"Tokens are those in {source.tokens}.")
        return _own("n_tokens", source.tokens, 1)
    per_step = f"--tokens-per-step N (its steps are in {source.step}), or " if source.step else ""
    raise StoreError(
        f"After how many tokens? {source.path.name} does not say by itself: give {per_step}--column n_tokens=THEIRS:UNIT; "
        f"its columns: {listed(source.columns)}."
    )


def _own(ours: str, theirs: str, factor: float) -> Column:
    return Column(ours, Formula(theirs, (("*", theirs),)), Unit(factor))


def _run(wishes: Wishes, source: Source) -> tuple[str, ...] | None:
    given = [wishes.run is not None, wishes.one_run, wishes.each_row_is_a_run]
    if sum(given) > 1:
        raise StoreError("--run, --one-run and --each-row-is-a-run exclude each other: leave one.")
    if wishes.run is not None:
        names = [wishes.run] if wishes.run in source.columns else [name.strip() for name in wishes.run.split(",")]
        for name in names:
            if name not in source.columns:
                raise StoreError(f"{source.path.name} has no column {name!r} for --run; its columns: {listed(source.columns)}.")
        return tuple(names)
    if wishes.each_row_is_a_run:
        return None
    if wishes.one_run or source.one_run:
        return ()
    if source.run:
        return source.run
    raise StoreError(
        "Which rows belong to one run? Give --run COLUMN[,COLUMN...] with what tells runs apart, --one-run if all are of one, "
        f"or --each-row-is-a-run; columns of {source.path.name}: {listed(source.columns)}."
    )
