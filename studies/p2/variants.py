"""What the paper leaves out: runs that differ from one of the family's in a single thing, each beside that one.

Losses are of finished models, annealed; excesses over the finished control of the same base model, after as many tokens. A base that was
trained once more is another model: runs are compared with those of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prunescale.runs import Run
from studies.p2.answers import LAST, by_phase
from studies.p2.planned import by_label, labels

TIMES = {"half the rate": 0.5, "the rate": 1, "twice the rate": 2, "four times the rate": 4}
"""Learning rates, in those of the rule."""

RATES = tuple(TIMES)

SEEN = {"d256-5": 5, "d256": 20, "d256-80": 80}
"""Tokens a parameter that each training of one size had before pruning."""


def by_base(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """The runs of each training of a base model."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        if run.kind == "post-training":
            found.setdefault(run.base, []).append(run)
    yield from found.values()


def annealed(run: Run) -> dict[int, float]:
    """The loss of the finished model by tokens."""
    return {n: loss for (phase, n), loss in by_phase(run).items() if phase == "annealed"}


def over(run: Run, control: Run) -> dict[int, float]:
    """The excess of the finished model over the finished control, by tokens."""
    of_control = annealed(control)
    return {n: loss - of_control[n] for n, loss in annealed(run).items() if n in of_control}


def at(excess: Mapping[int, float], n_tokens: float) -> float:
    """An excess between two token counts and a little beyond the last, by a power law."""
    counts = np.array(sorted(excess))
    logs, values = np.log(counts), np.log([excess[n] for n in counts])
    segment = min(max(int(np.searchsorted(logs, np.log(n_tokens))) - 1, 0), len(counts) - 2)
    slope = (values[segment + 1] - values[segment]) / (logs[segment + 1] - logs[segment])
    return float(np.exp(values[segment] + slope * (np.log(n_tokens) - logs[segment])))


def of_loss(run: Run, control: Run, n_tokens: float) -> float:
    """The loss of the finished model after so many tokens, over that of the control after LAST: the difference of two such is one of
    losses, whatever tokens each has seen. The control's loss is read between and beyond its counts along the logarithm of the tokens."""
    losses = annealed(control)
    counts = sorted(losses)
    place = min(max(int(np.searchsorted(counts, n_tokens)) - 1, 0), len(counts) - 2)
    low, high = counts[place : place + 2]
    share = np.log(n_tokens / low) / np.log(high / low)
    return at(over(run, control), n_tokens) + losses[low] + float(share) * (losses[high] - losses[low]) - losses[LAST]


@dataclass(frozen=True)
class Beside:
    """A run and the one that differs from it in one thing, nats over their control after LAST tokens. plain: of the latter, at the rate
    that the run came to where channels go in steps. flops: of the run, in those of the other. at_equal_flops: of the run (0) and the plain
    one (1), of which one has seen fewer tokens, or more, so that they cost the same. size: of the model before pruning, by its parameters.
    gained: nats by which the control ends below it."""

    label: str
    plain: float
    other: float
    flops: float
    at_equal_flops: tuple[float, float]
    size: int
    gained: float

    @property
    def change(self) -> float:
        """Of the excess, as a share of the plain run's, at equal tokens."""
        return self.other / self.plain - 1

    @property
    def change_at_equal_flops(self) -> float:
        """Of the loss, as a share of the plain run's excess."""
        return (self.at_equal_flops[0] - self.at_equal_flops[1]) / self.plain


def distilled(runs: Sequence[Run]) -> Iterator[Beside]:
    """Learning from the model before pruning, beside plain loss. At equal FLOPs the former sees fewer tokens."""
    for label, run, plain, control in beside_curves("distilled", runs):
        mine, other, flops = over(run, control)[LAST], over(plain, control)[LAST], spent(run) / spent(plain)
        yield Beside(label, other, mine, flops, (of_loss(run, control, LAST / flops), other), *of_control(control))


def gradual(runs: Sequence[Run]) -> Iterator[Beside]:
    """Pruned in steps, beside at once. At equal FLOPs the latter sees more tokens: in between the former trains larger models."""
    for label, run, plain, control in beside_curves("gradual", runs):
        flops, at_rate = spent(run) / spent(plain), odds(run) / odds(plain)
        mine, other = run.loss - annealed(control)[LAST], at_rate * over(plain, control)[LAST]
        longer = of_loss(plain, control, LAST * flops) + (at_rate - 1) * at(over(plain, control), LAST * flops)
        yield Beside(label, other, mine, flops, (mine, longer), *of_control(control))


def odds(run: Run) -> float:
    """What is removed against what is kept, with which the excess goes nearly in proportion."""
    rate = run.pruning_rate or 0.0
    return rate / (1 - rate)


def beside_curves(study: str, runs: Sequence[Run]) -> Iterator[tuple[str, Run, Run, Run]]:
    """The runs of a part of the study whose labels are those of curves with something behind: label, run, curve and control."""
    for some in by_base(runs):
        curves = by_label("curves", some)
        for label, run in by_label(study, some).items():
            plain, control = curves.get(label.rpartition(", ")[0]), curves.get(f"{label.split(', ')[0]}, control")
            if plain and control:
                yield label, run, plain, control


def of_control(control: Run) -> tuple[int, float]:
    return control.n_params_before or 0, (control.loss_before or 0) - control.loss


def spent(run: Run) -> float:
    """FLOPs of the finished model of a run: its last annealed branch takes the place of the same stretch at the constant rate, and those
    before it are not needed."""
    return float(run.flops or 0) - float(run.inputs.get("flops_cooldowns", 0))


@dataclass(frozen=True)
class OfRates:
    """Losses of the finished models, and their excesses over controls trained as they were, by the learning rates that were tried."""

    label: str
    losses: dict[str, float]
    excesses: dict[str, float]

    @property
    def power(self) -> float:
        """Of the learning rate, to which the excess goes."""
        rates = np.log([TIMES[rate] for rate in self.excesses])
        return float(np.polyfit(rates, np.log(list(self.excesses.values())), 1)[0])


def learning_rates(runs: Sequence[Run]) -> list[OfRates]:
    """From the training of the base of which most was tried."""
    of_bases = [list(of_rates(by_label("learning-rates", some))) for some in by_base(runs)]
    return max(of_bases, key=lambda found: sum(len(each.losses) for each in found), default=[])


def of_rates(found: Mapping[str, Run]) -> Iterator[OfRates]:
    """By the way of pruning, where others than the rule's rate were tried. found: by label."""
    controls = {rate: found[f"control, {rate}"] for rate in RATES if f"control, {rate}" in found}
    for how in dict.fromkeys(label.rpartition(", ")[0] for label in found):
        of_rate = {rate: found[f"{how}, {rate}"] for rate in controls if f"{how}, {rate}" in found}
        if "the rate" in of_rate and len(of_rate) > 1:
            losses = {rate: annealed(run)[LAST] for rate, run in of_rate.items()}
            yield OfRates(how, losses, {rate: over(run, controls[rate])[LAST] for rate, run in of_rate.items()})


@dataclass(frozen=True)
class TokensBefore:
    """What pruning one size in one way costs by the tokens a parameter that its base had seen: nats over the control, finished models after
    LAST tokens each."""

    label: str
    excesses: dict[int, float]

    @property
    def power(self) -> float:
        """Of those tokens, to which the excess goes."""
        seen, excesses = np.log(list(self.excesses)), np.log(list(self.excesses.values()))
        return float(np.polyfit(seen, excesses, 1)[0])


def tokens_before(runs: Sequence[Run]) -> list[TokensBefore]:
    """Each over the control of its own base; of bases that were trained several times, on average."""
    found: dict[str, dict[int, list[float]]] = {}
    for some in by_base(runs):
        curves = by_label("curves-tokens", some) or by_label("curves", some)
        for label, run in curves.items():
            size, how = label.split(", ")
            if size in SEEN and how != "control" and (control := curves.get(f"{size}, control")):
                found.setdefault(how, {}).setdefault(SEEN[size], []).append(over(run, control)[LAST])
    return [
        TokensBefore(how, {n: float(np.exp(np.mean(np.log(some)))) for n, some in sorted(by_seen.items())})
        for how, by_seen in found.items()
        if len(by_seen) == len(SEEN)
    ]


@dataclass(frozen=True)
class Repeated:
    """One recipe with the data in several orders, or from base models that were trained several times: the excesses after LAST tokens at
    the constant rate and annealed, and the losses before pruning."""

    label: str
    constant: np.ndarray
    annealed: np.ndarray
    before: np.ndarray

    @property
    def spread(self) -> float:
        """Standard deviation of the annealed excess."""
        return float(np.std(self.annealed, ddof=1))

    @property
    def relative(self) -> float:
        return self.spread / float(np.mean(self.annealed))


SEEDS = (1, 2)
"""Of the other orders; the curves have 0."""


def orders(runs: Sequence[Run]) -> Iterator[Repeated]:
    """By the order of the data, each over the control with the same order."""
    for some in by_base(runs):
        curves, others = by_label("curves", some), by_label("seeds", some)
        for label in curves:
            control = f"{label.split(', ')[0]}, control"
            if label == control:
                continue
            pairs = [
                (curves[label], curves.get(control)),
                *((others.get(f"{label}, seed {n}"), others.get(f"{control}, seed {n}")) for n in SEEDS),
            ]
            if len(known := [(run, of) for run, of in pairs if run and of]) == len(pairs):
                yield repeated(label, known)


def trainings(runs: Sequence[Run]) -> Iterator[Repeated]:
    """By the training of the base model, each over the control of that base."""
    bases = [by_label("curves", some) for some in by_base(runs)]
    for label in labels("curves").values():
        control = f"{label.split(', ')[0]}, control"
        both = [(curves[label], curves[control]) for curves in bases if label in curves and control in curves]
        if label != control and len(both) > 1:
            yield repeated(label, both)


def repeated(label: str, pairs: Sequence[tuple[Run, Run]]) -> Repeated:
    constant = [by_phase(run)["constant", LAST] - by_phase(control)["constant", LAST] for run, control in pairs]
    ends = [over(run, control)[LAST] for run, control in pairs]
    return Repeated(label, np.array(constant), np.array(ends), np.array([run.loss_before for run, _ in pairs]))


def pooled(some: Sequence[Repeated]) -> float:
    """Standard deviation of the annealed excess as a share of it, over several recipes."""
    return float(np.sqrt(np.mean([each.relative**2 for each in some])))


@dataclass(frozen=True)
class Scratch:
    """A shape trained from nothing, and got by dropping blocks of a larger model and LAST tokens of training: losses of the finished models
    and FLOPs. few: as many tokens as after the pruning. all: as many as the larger model and the pruned one have seen. total: FLOPs of the
    pruned one with those of the model that it was pruned from."""

    label: str
    pruned: float
    few: float | None
    all: float | None
    flops_pruned: float
    flops_total: float
    flops_few: float | None
    flops_all: float | None


WAYS = {6: "depth 0.25", 4: "depth 0.5"}
"""By the blocks that are left of eight."""


def scratch(runs: Sequence[Run]) -> Iterator[Scratch]:
    """The pruned model is of the base that was trained first where there are two; it need not be of the same as other comparisons."""
    found = by_label("scratch", runs)
    bases = by_label("bases", runs)
    for size in ("d384", "d512"):
        for blocks, way in WAYS.items():
            some = {
                what: found.get(f"{size} with {blocks} blocks, {what}")
                for what in ("the tokens of post-training", "all tokens of the pruned model")
            }
            few, whole = some.values()
            pruned = by_label("curves", runs).get(f"{size}, {way}")
            if pruned is None or (few is None and whole is None):
                continue
            yield Scratch(
                f"{size} with {blocks} blocks",
                pruned.loss,
                few and few.loss,
                whole and whole.loss,
                spent(pruned),
                spent(pruned) + spent(bases[size]),
                few and spent(few),
                whole and spent(whole),
            )
