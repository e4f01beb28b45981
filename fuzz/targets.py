"""The readers of prunescale, each as a function of a file's bytes, and valid files for each made by our own writers."""

import gzip
import io
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("PRUNESCALE_CACHE", "/tmp/prunescale-fuzz-cache")

import numpy as np

from prunescale.runs import Point, Run

RUN = Run(
    id="3f9a0c",
    created="2026-11-22T10:00:00+00:00",
    kind="post-training",
    name="tiny 0.25",
    recipe={"base": "tiny"},
    recipe_hash="0123456789ab",
    base="tiny",
    pruning_method="block-influence",
    pruning_rate=0.25,
    n_params_before=1000,
    n_params_non_embedding=750,
    n_params_embedding=100,
    n_params_head=0,
    n_params_attention=300,
    n_params_ffn=400,
    n_params_norm=50,
    n_params_linear=800,
    n_params_total=850,
    n_params_nonzero=850,
    loss_before=3.5,
    n_tokens_pretrain=None,
    bytes_per_token=3.5,
    sequence_length=8,
    flops=1e15,
    seconds=0.25,
    tokens_per_second=1200.0,
    peak_memory_bytes=None,
    device="cpu",
    versions={"torch": "2"},
    inputs={"sparsity": 0.5},
    n_params_left=((0, 800), (100, 400)),
    points=(
        Point(0, 5.0, 0.0, "before", 0.0),
        Point(100, 4.25, 1e-3, "constant", 0.1, {"web": 4.0}),
        Point(400, 4.0, 2.5e-4, "annealed", 0.3),
    ),
)

RECIPES = (
    """base = "embedded:tiny"\n[prune]\nmethod = "wanda"\npattern = "2:4"\ncalibration_tokens = 4096\n[train]\ndata = "a.txt"
held_out = "b.txt"\ntokens = 100000\nlearning_rate = 3e-4\nsequence_length = 64\nbatch_tokens = 1024\nwarmup_tokens = 100
decay_fraction = 0.2\ndecay = "cosine"\nfinal_rate = 0.1\ncooldowns = [10000, 20000]\n[distill]\nteacher = "parent"\nhidden = 0.5\n""",
    """base = "m"\n[prune]\nrate = 0.5\nsteps = 3\nstep_tokens = 1024\naxes = "ffn,heads"\n[train]\ndata = "a"\nheld_out = "b"
tokens = 1000\nlearning_rate = 1e-3\n""",
    """[model]\ntokenizer = "t"\nlayers = 2\nhidden_size = 16\nffn_size = 40\nheads = 4\n[sparse]\nsparsity = 0.8\nstart = 0.25
schedule = "cubic"\n[train]\ndata = "a"\nheld_out = "b"\ntokens = 1000\nlearning_rate = 1e-3\nbatch_tokens = 512\n""",
)

STUDIES = (
    """[recipe]\nbase = "m"\n[recipe.train]\ndata = "a"\nheld_out = "b"\ntokens = 1000\nlearning_rate = 1e-3
[axes]\nhow = [{}, {"prune.method" = "wanda", "prune.pattern" = "2:4"}]\n"train.seed" = [0, 1]\n""",
)
STATUSES = (
    """{"stage": "training", "of_tokens": 1000, "n_tokens": 640, "time": 1764000000.5, "tokens_per_second": 99.5, "loss": 3.5,
"notes": ["Goes on after 64 tokens.", "step-00000008 is damaged (state.json)"]}""",
)

TABLE = "run,tokens,val,lr,size\n" + "".join(
    f"r{n // 3},{n % 3 * 100 + 100},{4.5 - n / 10},0.00{n % 3 + 1},1e6\n" for n in range(6)
)


@dataclass(frozen=True)
class Target:
    """seeds: valid files, made in an empty folder. read: what is done with the bytes of a file, in a folder of its own. is_json:
    whether mutations may keep the structure of JSON. share: how many of the inputs it gets, relative to the others."""

    name: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path, bytes], object]
    prepare: Callable[[Path], None] = lambda folder: None
    is_json: bool = False
    share: float = 1.0


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# What is read is also used, as a command would: kept in a store, or written out again.


def recipe(folder: Path, data: bytes) -> None:
    from prunescale.recipe import Recipe

    found = Recipe.from_toml(put(folder, "recipe.toml", data))
    assert Recipe.from_toml(found.to_toml()).hash == found.hash


def study(folder: Path, data: bytes) -> None:
    from prunescale.study import Study

    found = Study.from_toml(put(folder, "study.toml", data))
    assert len({run.recipe.hash for run in found.runs}) == len(found.runs)


def beside_a_run(name: str) -> Callable[[Path, bytes], None]:
    """A file in the folder of a run of a sweep."""

    def read(folder: Path, data: bytes) -> None:
        from prunescale.cli.sweep_table import answer, cells
        from prunescale.study import Study
        from prunescale.sweep.driver import entries_of
        from prunescale.sweep.job import kept_result

        asked = Study.from_toml(put(folder, "study.toml", STUDIES[0].encode()))
        place = folder / asked.runs[0].recipe.hash
        place.mkdir(exist_ok=True)
        put(place, name, data)
        entries = entries_of(asked, None, folder)
        entries[0].stage = "running"
        cells(entries[0])
        json.dumps(answer(asked, "runs.db", folder, entries))
        kept_result(place)

    return read


def keep(folder: Path, runs: list[Run]) -> None:
    from prunescale.runs import Store, runs_to_json
    from prunescale.runs.table import columns

    if runs:
        runs_to_json(runs).encode()
        columns(runs)
        with Store.create(folder / "kept.db") as store:
            store.add(*runs)
            for run in runs:
                store.remove(run.id)


def runs_json(folder: Path, data: bytes) -> None:
    from prunescale.runs import read_json

    keep(folder, read_json(put(folder, "runs.json", data)))


def runs_csv(folder: Path, data: bytes) -> None:
    from prunescale.runs import read_csv

    keep(folder, read_csv(put(folder, "runs.csv", data)))


def imported(source: str, name: str, **wishes: Any) -> Callable[[Path, bytes], None]:
    def read(folder: Path, data: bytes) -> None:
        from prunescale.runs.importers import READERS, Wishes, format_of, import_runs

        path = put(folder, name, data)
        format_of(path)
        keep(folder, import_runs(READERS[source], path, Wishes(**{"kind": "pre-training", **wishes})).runs)

    return read


def wishes(folder: Path, data: bytes) -> None:
    """What is typed: columns, units, constants, formulas."""
    from prunescale.runs.importers import READERS, Wishes, import_runs

    texts = data.decode("utf-8", errors="replace").split("\n")
    import_runs(
        READERS["table"],
        folder / "table.csv",
        Wishes(
            kind="pre-training",
            columns=tuple(texts[:2]),
            constants=tuple(texts[2:4]),
            metric="".join(texts[4:5]) or None,
            run="run",
            phase="constant",
            round_counts=True,
            skip_bad_rows=True,
        ),
    )


def store(folder: Path, data: bytes) -> None:
    from prunescale.runs import Store
    from prunescale.runs.table import stored_columns

    with Store.open(put(folder, "runs.db", data)) as found:
        found.list()
        stored_columns(found)


def fit(folder: Path, data: bytes) -> None:
    from prunescale.fitting import load_fit, to_dict

    json.dumps(to_dict(load_fit(put(folder, "fit.json", data))))


def lineage(folder: Path, data: bytes) -> None:
    from prunescale.models.card import card
    from prunescale.models.checkpoint import read_lineage
    from prunescale.shape import ModelShape

    put(folder, "prunescale.json", data)
    card(read_lineage(folder), ModelShape(2, 16, 40, 4, 2, 4, 257, True), "m")


def safetensors(folder: Path, data: bytes) -> None:
    from prunescale.models.blocks import StoredTensors

    put(folder, "model.safetensors", data)
    stored = StoredTensors(folder)
    for _, tensor in stored.read(list(stored.files)[:8]):
        tensor.sum()


def weight_map(folder: Path, data: bytes) -> None:
    from prunescale.models.blocks import StoredTensors

    put(folder, "model.safetensors.index.json", data)
    stored = StoredTensors(folder)
    for _, tensor in stored.read(list(stored.files)[:8]):
        tensor.sum()


def config(folder: Path, data: bytes) -> None:
    from prunescale.models.checkpoint import quiet_transformers, read_config
    from prunescale.models.families import shape_of

    put(folder, "config.json", data)
    with quiet_transformers():
        found = read_config(folder, folder, {})
    assert shape_of(found).n_params_total > 0


def tokenizer(folder: Path, data: bytes) -> None:
    from transformers import LlamaConfig

    from prunescale.models.checkpoint import quiet_transformers, read_tokenizer

    put(folder, "tokenizer.json", data)
    with quiet_transformers():
        read_tokenizer(folder, folder, LlamaConfig(vocab_size=2**40), {})


def tokenizer_config(folder: Path, data: bytes) -> None:
    from transformers import LlamaConfig

    from prunescale.models.checkpoint import quiet_transformers, read_tokenizer

    put(folder, "tokenizer_config.json", data)
    with quiet_transformers():
        read_tokenizer(folder, folder, LlamaConfig(vocab_size=2**40), {})


def model_weights(folder: Path, data: bytes) -> None:
    """A whole model whose weights are hostile."""
    from prunescale.models import load

    put(folder, "model.safetensors", data)
    load(folder)


def gguf(folder: Path, data: bytes) -> None:
    from prunescale.models import load

    load(put(folder, "m.gguf", data))


def shard_index(folder: Path, data: bytes) -> None:
    from prunescale.training.shards import read_shards, refuse_damaged

    put(folder, "index.json", data)
    read_shards(folder, TINY())
    refuse_damaged(folder)


def npy(folder: Path, data: bytes) -> None:
    from prunescale.training.shards import Shard, mapped

    put(folder, "tokens-00000.npy", data)
    mapped(folder, Shard("tokens-00000.npy", 64, len(data), ""))


def npz(folder: Path, data: bytes) -> None:
    from prunescale.training.data import read_token_file

    read_token_file(put(folder, "train-0.npz", data))


def spans(folder: Path, data: bytes) -> None:
    from prunescale.training.spans import domains_beside

    put(folder, "spans.json", data)
    domains_beside(folder / "train-00000.npz", 100)


def documents_of(name: str) -> Callable[[Path, bytes], None]:
    def read(folder: Path, data: bytes) -> None:
        from prunescale.training.documents import documents

        for document in documents(put(folder, name, data)):
            document.text.encode()

    return read


def saved_dataset(folder: Path, data: bytes) -> None:
    from prunescale.training.documents import documents

    put(folder, "data-00000-of-00001.arrow", data)
    list(documents(folder))


def dataset_state(folder: Path, data: bytes) -> None:
    from prunescale.training.documents import documents

    put(folder, "state.json", data)
    list(documents(folder))


IDENTITY = {"recipe_hash": "0123456789ab", "n": 3}


def run_folder(name: str) -> Callable[[Path, bytes], None]:
    def read(folder: Path, data: bytes) -> None:
        from prunescale.training.resume import RunFolder, damage_of

        place = folder / "run"
        put(place, name, data)
        found = RunFolder(place, IDENTITY)
        found.begun()
        found.points()
        damage_of(place / "step-00000001")

    return read


_tiny: list[Any] = []


def TINY() -> Any:
    """A tokenizer of one token a byte."""
    if not _tiny:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        inner = Tokenizer(models.BPE(vocab={"<|endoftext|>": 0, **{c: i for i, c in enumerate(alphabet, 1)}}, merges=[]))
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        _tiny.append(PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|endoftext|>"))
    return _tiny[0]


def made(make: Callable[[Path], None], *names: str) -> list[bytes]:
    """Files that a function makes in an empty folder."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="prunescale-seeds-") as folder:
        make(Path(folder))
        return [(Path(folder) / name).read_bytes() for name in names]


def tiny_model(folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=257,
            hidden_size=16,
            intermediate_size=40,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
        )
    ).save_pretrained(folder)
    TINY().save_pretrained(folder)


def copied(*names: str) -> Callable[[Path], None]:
    """Files of the tiny model that lie beside the hostile one."""

    def prepare(folder: Path) -> None:
        for name, content in zip(names, made(tiny_model, *names), strict=True):
            put(folder, name, content)

    return prepare


def safetensors_seeds() -> list[bytes]:
    import torch
    from safetensors.torch import save

    return [
        save({"a": torch.zeros(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}, {"format": "pt"}),
        save({"c": torch.zeros(0)}),
    ]


def run_seeds(text: Callable[[list[Run]], str]) -> Callable[[], list[bytes]]:
    return lambda: [
        text([RUN]).encode(),
        text([RUN, replace(RUN, id="b", recipe_hash=None, pruning_rate=0.0, flops=None, inputs={})]).encode(),
    ]


def store_seeds() -> list[bytes]:
    from prunescale.runs import Store

    def make(folder: Path) -> None:
        with Store.create(folder / "runs.db") as kept:
            kept.add(RUN)

    return made(make, "runs.db")


def trackio_seeds() -> list[bytes]:
    def make(folder: Path) -> None:
        connection = sqlite3.connect(folder / "t.db")
        connection.execute(
            "CREATE TABLE metrics (id INTEGER PRIMARY KEY, run_id TEXT, timestamp TEXT, run_name TEXT, step INTEGER, metrics TEXT)"
        )
        for step in (10, 20):
            connection.execute(
                "INSERT INTO metrics VALUES (NULL, '1f', '2026', 'river', ?, ?)",
                (step, json.dumps({"eval/loss": 4.0, "lr": 1e-3}).encode()),
            )
        connection.commit()
        connection.close()

    return made(make, "t.db")


def fit_seeds() -> list[bytes]:
    from prunescale.fitting import fit as fit_law
    from prunescale.fitting import to_dict
    from prunescale.laws import HoffmannLaw

    n, d = (axis.ravel() for axis in np.meshgrid([1e6, 3e6, 1e7], [1e8, 1e9, 1e10]))
    law = HoffmannLaw(**{"E": 1.7, "A": 400.0, "alpha": 0.34, "B": 410.0, "beta": 0.28})
    names = HoffmannLaw.columns
    columns = {
        **dict(zip(names, (n, d), strict=True)),
        "loss": law.loss(n, d),
        "run": np.array([f"r{i}" for i in range(9)]),
        "n_tokens": d,
    }
    return [json.dumps(to_dict(fit_law(HoffmannLaw, columns, phases=None))).encode()]


def tensorboard_seeds() -> list[bytes]:
    def make(folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(folder)) as writer:
            for step in (10, 20, 30):
                writer.add_scalar("eval/loss", 4.0 - step / 100, step)
                writer.add_scalar("train/learning_rate", 1e-3, step)
        next(folder.glob("*tfevents*")).rename(folder / "e")

    return made(make, "e")


def parquet_seeds() -> list[bytes]:
    import pyarrow
    import pyarrow.parquet

    out = io.BytesIO()
    pyarrow.parquet.write_table(
        pyarrow.table(
            {
                "run": ["a", "a", "b"],
                "tokens": [100, 200, 100],
                "val": [4.0, 3.5, 4.1],
                "lr": [1e-3, 1e-3, 1e-3],
                "text": ["x", "y", "z"],
            }
        ),
        out,
    )
    return [out.getvalue()]


def arrow_seeds() -> list[bytes]:
    import pyarrow

    out = io.BytesIO()
    table = pyarrow.table({"text": ["one text", "two"], "domain": ["a", None]})
    with pyarrow.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return [out.getvalue()]


def shard_files(folder: Path) -> None:
    from prunescale.training.shards import ShardWriter
    from prunescale.training.tokenizing import Encoder

    writer = ShardWriter(folder, Encoder(TINY(), 0), shard_tokens=64)
    writer.put(np.arange(1, 65, dtype=writer.dtype), "web")
    writer.put(np.arange(1, 33, dtype=writer.dtype), "books")
    writer.close(sources=["a"])


def shard_prepare(folder: Path) -> None:
    shard_files(folder)


def npz_seeds() -> list[bytes]:
    out, packed, objects = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(out, tokens=np.arange(50, dtype=np.uint16), bytes=np.int64(200))
    np.savez_compressed(packed, tokens=np.arange(50, dtype=np.int64))
    np.savez(objects, tokens=np.array([{"a": 1}], dtype=object))
    return [out.getvalue(), packed.getvalue(), objects.getvalue()]


def gguf_seeds() -> list[bytes]:
    def make(folder: Path) -> None:
        import gguf as library

        writer = library.GGUFWriter(str(folder / "m.gguf"), "llama")
        for name, value in {"block_count": 1, "context_length": 64, "embedding_length": 16, "feed_forward_length": 32}.items():
            getattr(writer, f"add_{name}")(value)
        writer.add_head_count(4)
        writer.add_head_count_kv(2)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_vocab_size(257)
        alphabet: Any = sorted(TINY().get_vocab(), key=TINY().get_vocab().get)
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list([*alphabet[:-1], "ab"])
        writer.add_token_scores([0.0] * len(alphabet))
        writer.add_token_types([1] * len(alphabet))
        writer.add_token_merges(["a b"])
        writer.add_eos_token_id(0)
        writer.add_bos_token_id(0)
        sizes = {
            "token_embd": (257, 16),
            "output_norm": (16,),
            "blk.0.attn_norm": (16,),
            "blk.0.ffn_norm": (16,),
            "blk.0.attn_q": (16, 16),
            "blk.0.attn_k": (8, 16),
            "blk.0.attn_v": (8, 16),
            "blk.0.attn_output": (16, 16),
            "blk.0.ffn_gate": (32, 16),
            "blk.0.ffn_up": (32, 16),
            "blk.0.ffn_down": (16, 32),
        }
        for name, size in sizes.items():
            writer.add_tensor(f"{name}.weight", np.zeros(size, dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    return made(make, "m.gguf")


def texts(*contents: str) -> Callable[[], list[bytes]]:
    return lambda: [content.encode() for content in contents]


LOG = {
    "global_step": 3,
    "log_history": [
        {"step": 1, "learning_rate": 1e-3, "loss": 4.2},
        {"step": 2, "eval_loss": 4.0, "num_input_tokens_seen": 200},
        {"step": 3, "learning_rate": 1e-3},
        {"step": 3, "eval_loss": 3.9, "num_input_tokens_seen": 300},
    ],
}
LINEAGE = {
    "pruning": {
        "base": "tiny",
        "method": "wanda",
        "rate": 0.25,
        "rate_wanted": 0.25,
        "n_params_before": 1000,
        "n_params_after": 750,
        "calibration_tokens": 100,
        "summary": "s",
        "blocks_dropped": [1],
        "sizes": {"ffn_size": 8},
        "earlier": [{"method": "x", "rate": 0.1}],
    },
    "training": [{"recipe": {"train": {"tokens": 100}}, "loss": 3.5}],
    "pretraining": {"n_tokens": 1000},
}
POINT_LINE = (
    '{"n_tokens": 100, "loss": 4.0, "learning_rate": 0.001, "phase": "constant", "seconds": 1.0, "domains": {"web": 4.0}}\n'
)
LOG_WISHES: dict[str, Any] = {"metric": "eval/loss:nats", "tokens_per_step": 1000, "phase": "constant"}
TABLE_WISHES: dict[str, Any] = {
    "columns": ("n_tokens=tokens:1", "loss=val:nats", "learning_rate=lr", "n_params_before=size:1"),
    "run": "run",
}
HISTORY = "_step,eval/loss,lr\n" + "".join(f"{n},{4 - n / 100},0.001\n" for n in (10, 20, 30))
PANEL = '"Step","a - loss","a - loss__MIN","a - loss__MAX","b - loss"\n10,4.0,4.0,4.1,3.9\n20,3.9,3.9,3.9,3.8\n'


def run_prepare(folder: Path) -> None:
    step = folder / "run" / "step-00000001"
    step.mkdir(parents=True)
    put(folder / "run", "run.json", json.dumps(IDENTITY).encode())
    put(step, "a.safetensors", b"x")


def dataset_prepare(folder: Path) -> None:
    put(folder, "state.json", json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}).encode())
    put(folder, "data-00000-of-00001.arrow", arrow_seeds()[0])


from prunescale.runs import runs_to_csv, runs_to_json  # noqa: E402

TARGETS = {
    target.name: target
    for target in (
        Target("recipe", texts(*RECIPES), recipe, share=4),
        Target("study", texts(*STUDIES), study, share=2),
        Target("sweep-status", texts(*STATUSES), beside_a_run("status.json"), is_json=True),
        Target(
            "sweep-failures", texts('["It was killed.", "It was lost."]'), beside_a_run("failures.json"), is_json=True, share=0.5
        ),
        Target("sweep-result", run_seeds(runs_to_json), beside_a_run("result.json"), is_json=True, share=0.5),
        Target("runs-json", run_seeds(runs_to_json), runs_json, is_json=True, share=3),
        Target("runs-csv", run_seeds(runs_to_csv), runs_csv, share=3),
        Target("table-csv", texts(TABLE, TABLE.replace(",", ";")), imported("table", "t.csv", **TABLE_WISHES), share=3),
        Target(
            "table-jsonl",
            lambda: [
                b"\n".join(
                    json.dumps(dict(zip(TABLE.split("\n")[0].split(","), line.split(","), strict=True))).encode()
                    for line in TABLE.split("\n")[1:-1]
                )
            ],
            imported("table", "t.jsonl", **TABLE_WISHES),
            share=2,
        ),
        Target(
            "table-parquet",
            parquet_seeds,
            imported("table", "t.parquet", **{**TABLE_WISHES, "columns": TABLE_WISHES["columns"][:3], "phase": "constant"}),
            share=0.5,
        ),
        Target(
            "wandb-panel",
            texts(PANEL),
            imported("wandb", "w.csv", metric="loss:nats", tokens_per_step=1000, phase="constant"),
            share=2,
        ),
        Target("wandb-history", texts(HISTORY), imported("wandb", "w.csv", **LOG_WISHES), share=2),
        Target(
            "trainer-state",
            texts(json.dumps(LOG)),
            imported("trainer-state", "trainer_state.json", metric="eval_loss:nats"),
            is_json=True,
            share=3,
        ),
        Target("tensorboard", tensorboard_seeds, imported("tensorboard", "e.tfevents.1", **LOG_WISHES), share=1),
        Target("trackio", trackio_seeds, imported("trackio", "t.db", **LOG_WISHES), share=0.5),
        Target(
            "wishes",
            texts(
                "n_tokens=tokens:1\nloss=val:bits\nn_params_before=1.2B\npruning_rate=25%\n",
                "n_tokens=tokens/2*3:M\nloss=val:nats\nbase=x\nsparsity=0.5",
            ),
            wishes,
            lambda folder: put(folder, "table.csv", TABLE.encode()) and None,
            share=2,
        ),
        Target("store", store_seeds, store, share=0.5),
        Target("fit", fit_seeds, fit, is_json=True, share=1),
        Target("lineage", texts(json.dumps(LINEAGE)), lineage, is_json=True, share=2),
        Target("safetensors", safetensors_seeds, safetensors, share=2),
        Target(
            "weight-map",
            texts('{"metadata": {"total_size": 10}, "weight_map": {"a": "x.safetensors", "b": "x.safetensors"}}'),
            weight_map,
            lambda folder: put(folder, "x.safetensors", safetensors_seeds()[0]) and None,
            is_json=True,
            share=2,
        ),
        Target("config", lambda: made(tiny_model, "config.json"), config, is_json=True, share=0.3),
        Target(
            "tokenizer",
            lambda: made(tiny_model, "tokenizer.json"),
            tokenizer,
            copied("tokenizer_config.json"),
            is_json=True,
            share=0.05,
        ),
        Target(
            "tokenizer-config",
            lambda: made(tiny_model, "tokenizer_config.json"),
            tokenizer_config,
            copied("tokenizer.json"),
            is_json=True,
            share=0.05,
        ),
        Target(
            "model-weights",
            lambda: made(tiny_model, "model.safetensors"),
            model_weights,
            copied("config.json", "tokenizer.json", "tokenizer_config.json"),
            share=0.03,
        ),
        Target("gguf", gguf_seeds, gguf, share=0.02),
        Target("shard-index", lambda: made(shard_files, "index.json"), shard_index, shard_prepare, is_json=True, share=1),
        Target("npy", lambda: made(shard_files, "tokens-00000.npy"), npy, share=2),
        Target("npz", npz_seeds, npz, share=1),
        Target("spans", texts('[["web", 0, 50], ["books", 50, 50]]'), spans, is_json=True, share=2),
        Target("text-jsonl", texts('{"text": "one", "domain": "web"}\n{"text": "two"}\n'), documents_of("d.jsonl"), share=2),
        Target(
            "text-jsonl-gz",
            lambda: [gzip.compress(b'{"text": "one", "domain": "web"}\n{"text": "two"}\n')],
            documents_of("d.jsonl.gz"),
            share=1,
        ),
        Target("text-plain", texts("one text<|endoftext|>two\nlines"), documents_of("d.txt"), share=2),
        Target("text-parquet", parquet_seeds, documents_of("d.parquet"), share=0.5),
        Target("saved-dataset", arrow_seeds, saved_dataset, dataset_prepare, share=0.5),
        Target(
            "dataset-state",
            texts('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}'),
            dataset_state,
            dataset_prepare,
            is_json=True,
            share=1,
        ),
        Target("run-json", texts(json.dumps(IDENTITY)), run_folder("run.json"), run_prepare, is_json=True, share=1),
        Target(
            "run-begun",
            texts('{"loss_before": 3.5, "lineage": {}}'),
            run_folder("begun.json"),
            run_prepare,
            is_json=True,
            share=1,
        ),
        Target("run-points", texts(POINT_LINE * 3), run_folder("points.jsonl"), run_prepare, share=2),
        Target(
            "run-state",
            texts(
                '{"step": 1, "seconds": 1.0, "branch_seconds": 0.0, "left": [[0, 10]], "sha256": {"a.safetensors": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}}'  # noqa: E501
            ),
            run_folder("step-00000001/state.json"),
            run_prepare,
            is_json=True,
            share=1,
        ),
    )
}


def fresh_folder(target: Target, parent: Path) -> Path:
    folder = parent / target.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    target.prepare(folder)
    return folder
