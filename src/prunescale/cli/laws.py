"""prunescale laws"""

from typing import TYPE_CHECKING, Any

import click

from prunescale.cli import options

if TYPE_CHECKING:
    from prunescale.laws import Law


@click.command(short_help="List the laws, or show one with its constants.")
@click.argument("name", required=False)
@options.as_json
def laws(name: str | None, as_json: bool) -> None:
    """List the laws, or show the law NAME with its constants and what it reads. NAME may be your own law as FILE.py:FUNCTION."""
    from prunescale.cli.fit import law_named
    from prunescale.cli.output import print_json, print_paragraph
    from prunescale.laws import LAWS

    if name:
        law = law_named(name)
        if as_json:
            print_json(content(law))
        else:
            print_law(law)
    elif as_json:
        print_json({"laws": [content(law) for law in LAWS.values()]})
    else:
        for law in LAWS.values():
            click.secho(law.name, bold=True)
            print_paragraph(f"L = {law.formula}", first="  ", rest="      ")
            print_paragraph(f"{len(law.bounds)} constants; {', '.join(law.columns)}", first="  ", rest="    ")
        click.echo("\nprunescale laws NAME shows a law's constants, symbols and units.")


def content(law: "type[Law]") -> dict[str, Any]:
    """A law in plain types."""
    from dataclasses import asdict

    from prunescale.laws import COLUMNS

    return {
        "name": law.name,
        "title": law.title,
        "formula": law.formula,
        "source": law.source,
        "n_constants": len(law.bounds),
        "constants": {
            name: {"low": bound.low, "high": bound.high, "role": bound.role, "off": bound.off}
            for name, bound in law.bounds.items()
        },
        "columns": {name: asdict(COLUMNS[name]) if name in COLUMNS else None for name in law.columns},
        "presets": {
            name: {
                "constants": preset.law.constants(),
                "citation": preset.citation,
                "status": preset.status,
                "units": dict(preset.units),
            }
            for name, preset in presets_of(law).items()
        },
    }


def presets_of(law: "type[Law]") -> dict[str, Any]:
    from prunescale.laws import PRESETS

    return {name: preset for name, preset in PRESETS.items() if type(preset.law) is law}


def print_law(law: "type[Law]") -> None:
    from prunescale.cli.output import print_facts, print_paragraph, print_table
    from prunescale.laws import COLUMNS

    click.secho(law.title, bold=True)
    print_paragraph(f"L = {law.formula}, in nats per token", rest="    ")
    print_paragraph(f"Source: {law.source}")
    click.echo()
    print_table(
        "Constants",
        ["name", "lowest", "highest", "stands for"],
        [[name, lowest(bound), f"{bound.high:g}", bound.role] for name, bound in law.bounds.items()],
    )
    click.echo()
    click.secho("Reads", bold=True)
    facts = {}
    for name in law.columns:
        column = COLUMNS.get(name)
        facts[name] = f"{column.symbol}, {column.unit}: {column.meaning}" if column else "a column of your own"
        facts[name] += "; may be 0" if name in law.may_be_zero else ""
    print_facts(facts)
    for name, preset in presets_of(law).items():
        click.echo()
        click.secho(f"Preset {name}", bold=True)
        print_paragraph(", ".join(f"{constant} = {value:.6g}" for constant, value in preset.law.constants().items()))
        print_paragraph(f"{preset.citation}; {preset.status}.")
        print_paragraph("; ".join(f"{column}: {unit}" for column, unit in preset.units.items()))


def lowest(bound: Any) -> str:
    """A factor may also be 0, where its term vanishes."""
    return f"{bound.low:g} or 0" if bound.log else f"{bound.low:g}"
