"""The command line: what a person types, and what comes back when it cannot be done."""

import json
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from prunescale import __version__
from prunescale.cli.audit import audit
from prunescale.cli.bench import bench
from prunescale.cli.compare import compare
from prunescale.cli.demo import demo
from prunescale.cli.fit import fit
from prunescale.cli.inspect import inspect
from prunescale.cli.laws import laws
from prunescale.cli.partner import partner
from prunescale.cli.plan import plan
from prunescale.cli.prune import prune
from prunescale.cli.rehearse import rehearse
from prunescale.cli.runs import runs
from prunescale.cli.sweep import sweep
from prunescale.cli.tokenize import tokenize
from prunescale.cli.train import train
from prunescale.errors import PrunescaleError, in_one_line

BAD_INPUT = 2
INTERRUPTED = 130  # what shells give for an interrupt from the keyboard


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="prunescale")
def prunescale() -> None:
    """Scaling laws for pruned language models: prune, post-train, fit, and plan how many tokens are worth their cost."""


for command in (audit, bench, compare, demo, fit, inspect, laws, partner, plan, prune, rehearse, runs, sweep, tokenize, train):
    prunescale.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 if it did what was asked, 2 with one line where the input was at fault."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Idle threads that wait by spinning make CPU training several times slower as soon as another process wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # On a GPU torch advises this when it compiles; the products run in bfloat16, so there is nothing to gain.
    warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
    try:
        result = prunescale.main(list(arguments), prog_name="prunescale", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "")
        sys.exit(BAD_INPUT)
    except click.UsageError as error:
        where = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        fail(error.format_message() + where, arguments)
    except (PrunescaleError, click.ClickException) as error:
        fail(error.format_message() if isinstance(error, click.ClickException) else str(error), arguments)
    except BrokenPipeError:  # whoever reads our output has seen enough, as in `prunescale runs export | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # a full disk behind standard output, a working directory that is gone
        click.echo(f"Error: {in_one_line(str(error))}: make room, or go to a folder that is there.", err=True)
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BAD_INPUT)
    except (KeyboardInterrupt, click.Abort):
        click.echo(
            "Interrupted: no model is left half-written, and the store of runs is as it was after the last finished run.",
            err=True,
        )
        sys.exit(INTERRUPTED)
    sys.exit(result if isinstance(result, int) else 0)


def fail(message: str, arguments: Sequence[str]) -> None:
    """One line to standard error; with --json an object with the same line to standard output too."""
    line = " ".join(in_one_line(message).split())
    if "--json" in arguments:
        answer: dict[str, Any] = {"error": line}
        click.echo(json.dumps(answer))
    click.echo(f"Error: {line}", err=True)
    sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
