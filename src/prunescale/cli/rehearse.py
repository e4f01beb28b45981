"""prunescale rehearse"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunescale.cli import options
from prunescale.cli.planned import inputs_asked, points_planned, questions
from prunescale.errors import FitError

if TYPE_CHECKING:
    from prunescale.fitting import Check, Fit
    from prunescale.laws import Law
    from prunescale.planner import Noise


class Numbers(click.ParamType):
    """Numbers with units if wanted: 0.5B,1B,2B."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        return tuple(self.number(part, param, ctx) for part in value.split(","))

    def number(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        digits = text.strip().lower().replace("_", "")
        unit = digits[-1:] if digits[-1:] in options.UNITS else ""
        try:
            number = float(digits.removesuffix(unit)) * options.UNITS[unit]
        except ValueError:
            self.fail(f"{text!r} is no number; write numbers like 0.25, 20M or 1.5B.", param, ctx)
        if not 0 <= number < float("inf"):
            self.fail(f"{text!r} is not a finite number of at least 0.", param, ctx)
        return number


class Input(Numbers):
    """An input of the law and numbers for it: unique_tokens=1B,3B."""

    name = "name=numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, equals, numbers = value.partition("=")
        if not equals:
            self.fail(f"{value!r} is no input with numbers; write it like sparsity=0,0.5.", param, ctx)
        return name.strip(), super().convert(numbers, param, ctx)


class Share(click.ParamType):
    """A share: 0.2% or 0.002."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
        except ValueError:
            self.fail(f"{value!r} is no share; write it like 0.2% or 0.002.", param, ctx)


@click.command(short_help="Say whether a planned sweep can answer a question.")
@click.option("--fit", "fit_file", type=click.Path(path_type=Path), help="Assume the constants of this fit, and its noise.")
@click.option("--preset", help="Assume the published constants of this name.")
@click.option(
    "--law", help="Assume constants of this law, each given by --constant, or where the fit's own law is.  [default: p2]"
)
@click.option(
    "--constant",
    "constants",
    type=options.SETTING,
    multiple=True,
    metavar="NAME=VALUE",
    help="Assume this value; may be repeated.",
)
@click.option("--fix", type=options.SETTING, multiple=True, metavar="NAME=VALUE", help="Hold a constant at a value in the fits.")
@click.option(
    "--sizes", type=Numbers(), help="Parameters as the law counts them, such as 0.5B,1B,2B; a run for each with each rate."
)
@click.option("--rates", type=Numbers(), help="Pruning rates, or sparsities, such as 0.15,0.25,0.35.")
@click.option(
    "--vary", type=Input(), multiple=True, metavar="NAME=V1,V2", help="Values of any other input of the law; may be repeated."
)
@click.option("--tokens", type=options.COUNT, help="Tokens that each run is trained on.")
@click.option("--points", type=options.COUNT, default=20, show_default=True, help="Measurements of each run, log-spaced.")
@click.option("--first", type=options.COUNT, help="Tokens at the first of them.  [default: a hundredth of --tokens]")
@click.option("--seeds", type=options.COUNT, default=1, show_default=True, help="Runs of each kind.")
@click.option("--design", type=click.Path(path_type=Path), help="A CSV of all points instead: the law's inputs, and run.")
@click.option(
    "--loss-before",
    type=float,
    default=2.5,
    show_default=True,
    help="Loss before pruning, nats; only scales the noise, nothing else depends on it.",
)
@click.option("--noise", type=Share(), help="Noise from run to run, of the loss.  [default: the fit's, or 0.2%]")
@click.option("--noise-within", type=Share(), help="Noise from point to point of a run.  [default: the fit's, or 0.1%]")
@click.option(
    "--noise-correlation", type=float, help="Correlation of a point's noise with that before.  [default: the fit's, or 0.5]"
)
@click.option("--ask-size", type=options.COUNT, help="Ask about this size.  [default: the largest planned]")
@click.option("--ask-rate", type=float, help="Ask about this rate.  [default: the highest planned]")
@click.option("--ask", type=options.SETTING, multiple=True, metavar="NAME=VALUE", help="Ask about this value of any other input.")
@click.option(
    "--min-gain", type=float, default=0.01, show_default=True, help="Ask where a doubling of the tokens gains less, in nats."
)
@click.option("--ask-tokens", type=options.COUNT, help="Ask for the loss after these.  [default: the tokens worth spending]")
@click.option("--ask-compute", type=float, help="Ask for the best size, or sparsity, for so many FLOPs instead.")
@click.option("--ask-constant", multiple=True, metavar="NAME", help="Ask for a constant, to 10 % of its value; may be repeated.")
@click.option("--within", type=float, default=2.0, show_default=True, help="How near tokens and sizes should come: a factor.")
@click.option("--within-loss", type=float, default=0.02, show_default=True, help="How near a loss should come, in nats.")
@click.option("--studies", type=options.COUNT, default=200, show_default=True, help="Studies to draw and fit.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the noise.")
@options.as_json
def rehearse(
    fit_file: Path | None,
    preset: str | None,
    law: str | None,
    constants: tuple[tuple[str, float], ...],
    fix: tuple[tuple[str, float], ...],
    seed: int,
    studies: int,
    as_json: bool,
    **given: Any,
) -> None:
    """Carry a planned sweep out many times on paper, with constants that are assumed to be true and noise of an assumed size, and
    say whether its fit could answer a question, and if not, what would help most.

    What it trains on and measures: --sizes, --rates, --tokens, or --design. What it should tell: tokens worth spending on
    --ask-size at --ask-rate, and the loss there.
    """
    from dataclasses import asdict

    from prunescale.cli.output import print_checks, print_json
    from prunescale.cli.rehearsed import content, show
    from prunescale.planner import Planned, Verdict, improvements
    from prunescale.planner import rehearse as carry_out

    if seed < 0:
        raise click.UsageError(f"--seed is at least 0, got {seed}.")
    found, assumed = assumptions(fit_file, preset, law, dict(constants))
    planned = Planned(
        assumed,
        points_planned(assumed, given),
        noise_assumed(found, given),
        fixed={**(found.fixed if found else {}), **dict(fix)},
        objective=found.objective if found else "squared",
    )
    rehearsal = carry_out(planned, questions(planned, given), n=studies, seed=seed)
    helpful = improvements(rehearsal) if rehearsal.verdict is not Verdict.ANSWERS else ()
    doubts = assumed_far(found, inputs_asked(planned, given)) if found else ()
    if as_json:
        print_json({**content(rehearsal, helpful), "checks": [asdict(check) for check in doubts]})
    else:
        show(rehearsal, helpful)
        print_checks(doubts)


def assumed_far(found: "Fit", asked: Mapping[str, float]) -> "tuple[Check, ...]":
    """That what is assumed to be true was fitted far from what is asked about: a sweep that answers then answers as if it were."""
    from prunescale.fitting import far

    return far(found.ranges, asked)


def assumptions(
    fit_file: Path | None, preset: str | None, law: str | None, constants: Mapping[str, float]
) -> "tuple[Fit | None, Law]":
    """The fit, if one is given, and the law with the constants that are assumed to be true."""
    from prunescale.cli.fit import law_named
    from prunescale.fitting import load_fit
    from prunescale.laws import PRESETS

    if fit_file and preset:
        raise click.UsageError("Give --fit or --preset, not both.")
    if preset and law:
        raise click.UsageError("Give --preset or --law, not both: a preset has its law.")
    if preset is not None and preset not in PRESETS:
        raise FitError(f"There is no preset {preset!r}: choose {', '.join(PRESETS)}.")
    found = load_fit(fit_file, law_named(law) if law else None) if fit_file else None
    known = found.law if found else PRESETS[preset].law if preset else None
    kind = type(known) if known else law_named(law or "p2")
    values = {**(known.constants() if known else {}), **constants}
    missing = [name for name in kind.bounds if name not in values]
    if missing:
        raise click.UsageError(
            f"No value of {', '.join(missing)} of the {kind.title}: give each by --constant NAME=VALUE, or --fit or --preset."
        )
    unknown = [name for name in values if name not in kind.bounds]
    if unknown:
        raise FitError(f"The {kind.title} has no constant {', '.join(unknown)}; it has {', '.join(kind.bounds)}.")
    return found, kind.from_constants(values)


def noise_assumed(found: "Fit | None", given: Mapping[str, Any]) -> "Noise":
    """What is given, and otherwise that of the fit's residuals or the usual."""
    from prunescale.planner import Noise, noise_of

    names = {"noise": "between_runs", "noise_within": "within_run", "noise_correlation": "correlation"}
    said = {field: given[option] for option, field in names.items() if given[option] is not None}
    base = noise_of(found) if found and len(said) < len(names) else Noise()
    return Noise(**{field: said.get(field, getattr(base, field)) for field in names.values()})
