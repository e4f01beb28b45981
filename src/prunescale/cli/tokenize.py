"""prunescale tokenize"""

import sys
import time
from pathlib import Path
from typing import Any

import click

from prunescale.cli import options

SHARE = 0.01
TOLD_EVERY = 30
"""Seconds from one line of progress to the next, where there is no terminal."""


@click.command(short_help="Tokenize text once, into shards that training maps.")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--model", required=True, help="Whose tokenizer to use: what `prunescale prune` takes.")
@click.option("--out", required=True, help="New folder for the tokens.")
@click.option("--field", default="text", show_default=True, help="Where a row of JSON, Parquet or a data set has its text.")
@click.option("--held-out-folder", help="New folder for the tokens of documents that are set aside to measure on.")
@click.option("--held-out-share", type=float, help=f"Share of the documents that are. [default: {SHARE}]")
@click.option("--tokens", "limit", type=options.COUNT, help="Stop after so many, such as 10B. [default: all]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the order of the documents.")
@options.as_json
@options.needs("train", "torch", "transformers", "tokenizers")
def tokenize(
    sources: tuple[str, ...],
    model: str,
    out: str,
    field: str,
    held_out_folder: str | None,
    held_out_share: float | None,
    limit: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Tokenize the documents of each SOURCE and keep the tokens in a folder that `prunescale train --data` takes.

    SOURCE is a .txt file (documents parted by <|endoftext|>), .jsonl, .jsonl.gz or .parquet file, a folder of these, a data set that the
    package datasets saved, or hf:OWNER/NAME[/CONFIG][@SPLIT], which is read from the Hugging Face Hub. Documents are put in an order
    drawn from the seed.
    """
    from prunescale.cli.output import print_facts, print_json, stages
    from prunescale.training import Encoder, end_of_document, tokenize_corpus

    aside = set_aside(held_out_folder, held_out_share, out)
    with stages(as_json) as stage:
        stage("Loading the tokenizer")
        tokenizer = tokenizer_of(model)
        progress = Progress(stage, quiet=as_json)
        index, held_out = tokenize_corpus(
            sources,
            Encoder(tokenizer, end_of_document(tokenizer)),
            Path(out),
            field=field,
            seed=seed,
            held_out=aside,
            limit=limit,
            on_progress=progress,
        )
    seconds = progress.seconds
    folders = [facts(out, index)] + ([facts(aside.folder, held_out)] if aside else [])
    if as_json:
        n_tokens = sum(each["n_tokens"] for each in folders)
        times = {"seconds": seconds, "tokens_per_second": n_tokens / seconds}
        print_json({**folders[0], "seed": seed, **times, "held_out": folders[1] if aside else None})
    else:
        print_facts(summary(folders, seconds))


def set_aside(folder: str | None, share: float | None, out: str) -> Any:
    from prunescale.training import SetAside

    if folder is None:
        if share is not None:
            raise click.UsageError("--held-out-share needs --held-out-folder, where the documents that are set aside go.")
        return None
    share = SHARE if share is None else share
    if not 0 < share < 1:
        raise click.UsageError(f"--held-out-share is {share:g}; it must be strictly between 0 and 1.")
    if Path(folder).resolve() == Path(out).resolve():
        raise click.UsageError(f"--held-out-folder and --out are both {out}; name two folders.")
    return SetAside(share, Path(folder))


def tokenizer_of(model: str) -> Any:
    """The tokenizer of a model whose weights are not loaded."""
    from prunescale.models.checkpoint import gguf_options, locate, quiet_transformers, read_config, read_tokenizer

    folder, gguf_file = locate(model)
    choice = gguf_options(model, gguf_file) if gguf_file else {}
    with quiet_transformers():
        return read_tokenizer(model, folder, read_config(model, folder, choice), choice)


class Progress:
    """Tells how far it is and how fast: on the terminal, or in a line now and then where there is none."""

    def __init__(self, stage: Any, quiet: bool) -> None:
        self.stage, self.in_lines = stage, not (quiet or sys.stderr.isatty())
        self.began = self.told = time.monotonic()

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self.began, 1e-9)

    def __call__(self, n_documents: int, n_tokens: int) -> None:
        from prunescale.amounts import short

        words = f"{n_documents:,} documents, {short(n_tokens)} tokens, {short(n_tokens / self.seconds)} tokens/s"
        self.stage(words)
        if self.in_lines and time.monotonic() - self.told > TOLD_EVERY:
            self.told = time.monotonic()
            click.echo(words, err=True)


def facts(folder: Any, index: Any) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "n_tokens": index.n_tokens,
        "n_documents": index.n_documents,
        "n_bytes": index.n_bytes,
        "bytes_per_token": index.n_bytes / index.n_tokens,
        "n_shards": len(index.shards),
        "domains": sorted({domain.name for domain in index.domains}),
    }


def summary(folders: list[dict[str, Any]], seconds: float) -> dict[str, str]:
    from prunescale.amounts import short

    def words(each: dict[str, Any]) -> str:
        domains = f", {len(each['domains'])} domains" if each["domains"] else ""
        return (
            f"{each['n_tokens']:,} tokens of {each['n_documents']:,} documents, {each['bytes_per_token']:.2f} bytes a token{domains}; "
            f"in {each['folder']}"
        )

    n_tokens = sum(each["n_tokens"] for each in folders)
    names = ("To train on", "Held out")
    return {
        **{name: words(each) for name, each in zip(names, folders, strict=False)},
        "Took": f"{seconds:,.0f} s, {short(n_tokens / seconds)} tokens/s",
    }
