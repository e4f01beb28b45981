"""The dense control: the same model, not pruned, trained further on as many tokens. It is what pruning is to be judged against,
since further training alone lowers the loss: the loss before pruning is not the floor."""

from collections.abc import Iterator, Mapping

import numpy as np

Columns = Mapping[str, np.ndarray]


def with_control(columns: Columns) -> dict[str, np.ndarray]:
    """The columns with one more, `loss_control`: the loss of the control of each row after the same tokens, nats per token.

    Controls are the post-training runs with pruning rate 0 of the same base and `n_params_before`, in the same learning-rate phase, and
    trained at the same rate at its highest, where that is known. Between two points of a control its loss is interpolated linearly in
    the logarithm of the tokens; where there are several, it is the mean of those that reach over most of a run, the same ones for
    all of it. It is nan outside their range and where there is none. A `loss_control` that is among the columns already is kept where
    it is a number.
    """
    found = np.full(len(columns["loss"]), np.nan)
    rates = highest_rates(columns)
    for rows, controls in _groups(columns):
        of_each = np.array([_loss_after(columns["n_tokens"][rows], columns, control) for control in controls])
        of_controls = np.array([rates[control[0]] for control in controls])
        for here in _rows_of_runs(columns["run"][rows]):
            alike = is_alike(rates[rows[here[0]]], of_controls)
            if alike.any():
                found[rows[here]] = _mean_of_longest(of_each[np.ix_(alike, here)])
    given = columns.get("loss_control")
    return {**columns, "loss_control": found if given is None else np.where(np.isnan(given), found, given)}


def _groups(columns: Columns) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """The indices of rows that share their controls, and those of each such control's rows."""
    is_control = (columns["kind"] == "post-training") & (columns["pruning_rate"] == 0)
    keys = list(zip(columns["base"], np.nan_to_num(columns["n_params_before"]), columns["phase"], strict=True))
    rows_of: dict[tuple[str, float, str], list[int]] = {}
    for row, key in enumerate(keys):
        rows_of.setdefault(key, []).append(row)
    for rows in map(np.array, rows_of.values()):
        of_controls = rows[is_control[rows]]
        runs = columns["run"][of_controls]
        if len(of_controls):
            yield rows, [of_controls[runs == run] for run in np.unique(runs)]


def _rows_of_runs(run: np.ndarray) -> list[np.ndarray]:
    """The indices of each run's rows."""
    order = np.argsort(run, kind="stable")
    return np.split(order, np.flatnonzero(run[order][1:] != run[order][:-1]) + 1)


def _loss_after(n_tokens: np.ndarray, columns: Columns, control: np.ndarray) -> np.ndarray:
    """The loss of one control after so many tokens each; nan outside its range. Its points are in the order of their tokens."""
    known, loss = columns["n_tokens"][control], columns["loss"][control]
    at_start = loss[known == 0]  # zero has no logarithm: it is only ever met exactly
    trained = known > 0
    found = np.full(len(n_tokens), np.nan)
    if len(at_start):
        found[n_tokens == 0] = at_start[0]
    later = n_tokens > 0
    if trained.any():
        where = np.log(n_tokens[later]), np.log(known[trained])
        found[later] = np.interp(*where, loss[trained], left=np.nan, right=np.nan)
    return found


def _mean_of_longest(losses: np.ndarray) -> np.ndarray:
    """Over the controls, (controls, points), of those that know most of the points."""
    known = ~np.isnan(losses)
    chosen = known.sum(axis=1) == known.sum(axis=1).max()
    return np.asarray(np.mean(losses[chosen], axis=0))


SAME_RATE = 0.1
"""Relative: curves are not measured at the same moments of a schedule."""


def highest_rates(columns: Columns) -> np.ndarray:
    """Of each row's run, the highest learning rate among its rows; nan where none is known."""
    if "learning_rate" not in columns:
        return np.full(len(columns["loss"]), np.nan)
    runs, index = np.unique(columns["run"], return_inverse=True)
    highest = np.full(len(runs), -np.inf)
    np.fmax.at(highest, index, columns["learning_rate"])
    return np.where(np.isfinite(highest), highest, np.nan)[index]


def is_alike(rate: float, others: np.ndarray) -> np.ndarray:
    """Which of the others are the same learning rate; an unknown one may be."""
    unknown = np.isnan(others) | np.isnan(rate)
    return unknown | (np.abs(others - rate) <= SAME_RATE * np.maximum(others, rate))
