"""Write docs/cli.md from the help of the commands themselves: python docs/generate_cli.py"""

from collections.abc import Iterator
from pathlib import Path

import click

from prunescale.cli.main import prunescale

WIDTH = 100
INTRODUCTION = (
    "# Commands\n\nGenerated from `--help` by [generate_cli.py](generate_cli.py); a test fails where it is out of date.\n"
)


def contexts() -> Iterator[click.Context]:
    """Every command, groups before what is in them, as a click context that knows the command's whole name."""
    yield from below(prunescale.make_context("prunescale", [], resilient_parsing=True, terminal_width=WIDTH))


def below(context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command:
                yield from below(command.make_context(name, [], parent=context, resilient_parsing=True))


def page() -> str:
    """The text of docs/cli.md."""
    sections = [f"\n## {context.command_path}\n\n```text\n{context.get_help().rstrip()}\n```\n" for context in contexts()]
    return INTRODUCTION + "".join(sections)


if __name__ == "__main__":
    Path(__file__).with_name("cli.md").write_text(page(), encoding="utf-8")
