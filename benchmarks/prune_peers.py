"""One-shot pruning of a Hugging Face folder, ours beside llm-compressor and NVIDIA ModelOpt: seconds, memory, error of each layer.

    python benchmarks/prune_peers.py make-model --out DIR --layers 32
    python benchmarks/prune_peers.py run --tool llm-compressor --method wanda-2:4 --model DIR --calibration DIR/ids.npy --out DIR2
    python benchmarks/prune_peers.py compare --base DIR --pruned DIR2 DIR3 --calibration DIR/ids.npy
    python benchmarks/prune_peers.py floor

A run is a process of its own, so that neither peaks of memory nor caches mix. Each tool runs with its own defaults, dampening too, on
the same sequences of token ids, and leaves the head alone. Needs torch, transformers and safetensors, and the tool that is measured.
"""

import argparse
import contextlib
import gc
import io
import json
import os
import resource
import shlex
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when transformers is imported
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch

KINDS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    given = arguments()
    answer = COMMANDS[given.command](given)
    if given.json:
        Path(given.json).write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="One-shot pruning, ours beside peers.")
    commands = parser.add_subparsers(dest="command", required=True)
    made, run, compared, floored = (commands.add_parser(name) for name in COMMANDS)
    for each in (made, floored):
        for name, size in SHAPE.items():
            each.add_argument(f"--{name.replace('_', '-')}", type=int, default=size, metavar="N", help=f"default: {size}")
    for each in (run, compared):
        each.add_argument("--calibration", required=True, metavar="FILE", help="token ids: .npy, a row a sequence")
    for each, n_sequences in ((made, 128), (run, 128), (compared, 16), (floored, 128)):
        each.add_argument("--n-sequences", type=int, default=n_sequences, metavar="N", help=f"default: {n_sequences}")
        each.add_argument("--sequence-length", type=int, default=2048, metavar="N", help="default: 2048")
        each.add_argument("--json", metavar="FILE", help="write the figures there too")
    made.add_argument("--out", required=True)
    made.add_argument("--seed", type=int, default=0)
    run.add_argument("--tool", choices=TOOLS, required=True)
    run.add_argument("--method", required=True, help="; ".join(f"{tool}: {', '.join(METHODS[tool])}" for tool in TOOLS))
    run.add_argument("--model", required=True)
    run.add_argument("--out", required=True)
    run.add_argument("--batch-size", type=int, default=8, metavar="N", help="sequences a forward pass of a peer; default: 8")
    run.add_argument(
        "--offload", default="cpu", help="llm-compressor: where activations wait between blocks; default: cpu, as theirs"
    )
    run.add_argument(
        "--prefetch", action=argparse.BooleanOptionalAction, default=True, help="llm-compressor: next batch meanwhile"
    )
    run.add_argument("--dampening", type=float, help="share of a Hessian's mean diagonal; default: the tool's own")
    run.add_argument("--also", default="", metavar="OPTIONS", help="prunescale: more options of its command")
    compared.add_argument("--base", required=True)
    compared.add_argument("--pruned", required=True, nargs="+")
    compared.add_argument("--batch-size", type=int, default=2, metavar="N", help="default: 2")
    floored.add_argument("--tflops", type=float, default=790, help="of bfloat16 products; default: 790")
    floored.add_argument("--measure-disk", metavar="FOLDER", help="measure rates of that disk, and of copies to and from the GPU")
    return parser.parse_args()


# A model to prune: the shape of Llama 3.1 8B, random weights.

SHAPE = {
    "layers": 32,
    "hidden": 4096,
    "ffn": 14336,
    "heads": 32,
    "kv_heads": 8,
    "head_dim": 128,
    "vocabulary": 128256,
}


def make_model(given: argparse.Namespace) -> dict[str, Any]:
    """Write a random model, a shard a block, and ids.npy. Its channels differ in scale and its inputs are correlated, without which
    Wanda and SparseGPT would have nothing to find: weights of norms, and rows of v and up (which make the inputs of o and down), are
    multiplied by log-normal numbers; embeddings mostly lie in a quarter of the directions."""
    begin = time.perf_counter()
    folder = Path(given.out)
    folder.mkdir(parents=True)
    draw = Draw(given.seed)
    hidden, vocabulary = given.hidden, given.vocabulary
    index: dict[str, str] = {}
    n_shards = given.layers + 2
    write_shard(folder, 0, n_shards, index, {"model.embed_tokens.weight": embeddings(draw, vocabulary, hidden)})
    for i in range(given.layers):
        write_shard(folder, 1 + i, n_shards, index, block(draw, i, given))
    head = {"model.norm.weight": draw.scales(hidden), "lm_head.weight": draw.normal(vocabulary, hidden)}
    write_shard(folder, n_shards - 1, n_shards, index, head)
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    listed = {"metadata": {"total_size": size}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(listed), encoding="utf-8")
    write_configuration(folder, given)
    np.save(folder / "ids.npy", token_ids(given.seed, given.n_sequences, given.sequence_length, vocabulary))
    seconds = time.perf_counter() - begin
    print(f"{folder}: {size / 1e9:.3g} GB in {seconds:.1f} s")
    return {"bytes": size, "seconds": seconds}


@dataclass
class Draw:
    """Random tensors in bfloat16, drawn on the GPU if there is one."""

    seed: int
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator(DEVICE).manual_seed(self.seed)

    def normal(self, rows: int, columns: int, gain: float = 1.28) -> torch.Tensor:
        """Of a standard deviation that makes outputs `gain` times as large as inputs: 0.02 at 4096 columns."""
        drawn = torch.randn(rows, columns, generator=self.generator, device=DEVICE, dtype=torch.bfloat16)
        return drawn * gain * columns**-0.5

    def scales(self, n: int) -> torch.Tensor:
        return torch.randn(n, generator=self.generator, device=DEVICE).mul(0.5).exp().bfloat16()


def embeddings(draw: Draw, vocabulary: int, hidden: int) -> torch.Tensor:
    rank = max(1, hidden // 4)
    shared = draw.normal(vocabulary, rank, gain=1.0) @ draw.normal(rank, hidden, gain=hidden**0.5)
    return shared + draw.normal(vocabulary, hidden, gain=0.3 * hidden**0.5)


def block(draw: Draw, i: int, shape: argparse.Namespace) -> dict[str, torch.Tensor]:
    hidden, ffn = shape.hidden, shape.ffn
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    outward = 1.28 * (2 * shape.layers) ** -0.5  # what is added to the residual stream must not swamp it: as in GPT-2
    weights = {
        "input_layernorm": draw.scales(hidden),
        "self_attn.q_proj": draw.normal(queries, hidden),
        "self_attn.k_proj": draw.normal(keys, hidden),
        "self_attn.v_proj": draw.normal(keys, hidden) * draw.scales(keys)[:, None],
        "self_attn.o_proj": draw.normal(hidden, queries, gain=outward),
        "post_attention_layernorm": draw.scales(hidden),
        "mlp.gate_proj": draw.normal(ffn, hidden),
        "mlp.up_proj": draw.normal(ffn, hidden) * draw.scales(ffn)[:, None],
        "mlp.down_proj": draw.normal(hidden, ffn, gain=outward),
    }
    return {f"model.layers.{i}.{name}.weight": weight for name, weight in weights.items()}


def write_shard(folder: Path, i: int, n: int, index: dict[str, str], tensors: dict[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    name = f"model-{i + 1:05d}-of-{n:05d}.safetensors"
    save_file({key: value.cpu().contiguous() for key, value in tensors.items()}, folder / name, metadata={"format": "pt"})
    index.update(dict.fromkeys(tensors, name))


def write_configuration(folder: Path, shape: argparse.Namespace) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GenerationConfig, LlamaConfig, PreTrainedTokenizerFast

    config = LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=131072,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        dtype="bfloat16",
    )
    config.save_pretrained(folder)
    GenerationConfig(bos_token_id=0, eos_token_id=0).save_pretrained(folder)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={"<|endoftext|>": 0, **{each: i for i, each in enumerate(letters, 1)}}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|endoftext|>", pad_token="<|endoftext|>").save_pretrained(folder)


def token_ids(seed: int, n_sequences: int, length: int, vocabulary: int) -> np.ndarray:
    """Token k about as often as 1/k, as in text."""
    drawn = np.random.default_rng(seed).random((n_sequences, length))
    return np.minimum(vocabulary**drawn, vocabulary - 1).astype(np.int32)


# Runs.

METHODS = {
    "llm-compressor": ("wanda-2:4", "sparsegpt-2:4"),
    "modelopt": ("magnitude-2:4", "sparsegpt-2:4"),
    "prunescale": ("magnitude-2:4", "wanda-2:4", "sparsegpt-2:4"),
}
TOOLS = tuple(METHODS)
PACKAGES = (
    "torch",
    "transformers",
    "llmcompressor",
    "compressed-tensors",
    "nvidia-modelopt",
    "prunescale",
    "numpy",
    "safetensors",
)


def run(given: argparse.Namespace) -> dict[str, Any]:
    if given.method not in METHODS[given.tool]:
        sys.exit(f"{given.tool} has no {given.method} here: choose from {', '.join(METHODS[given.tool])}")
    pruned = {"llm-compressor": llm_compressor, "modelopt": modelopt, "prunescale": prunescale}[given.tool]
    watch = Watch()
    with watch.memory():
        more = pruned(given, watch)
    what = ("tool", "method", "model", "n_sequences", "sequence_length", "batch_size", "offload", "prefetch", "dampening")
    answer = {name: getattr(given, name) for name in what} | watch.figures() | {"tool_says": more, "versions": versions()}
    print(summary(answer))
    return answer


class Watch:
    """Seconds of the parts of a run, and the process's peaks of memory."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.anonymous = 0

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        synchronize()
        self.seconds[name] = time.perf_counter() - begin

    @contextlib.contextmanager
    def memory(self, every: float = 0.05) -> Iterator[None]:
        """Look at the host memory that no file backs, every so often: ru_maxrss counts a mapped checkpoint's pages too."""
        done = threading.Event()

        def look() -> None:
            while not done.wait(every):
                self.anonymous = max(self.anonymous, anonymous_bytes())

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        if DEVICE.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def figures(self) -> dict[str, Any]:
        on_gpu = DEVICE.type == "cuda"
        return {
            "device": torch.cuda.get_device_name() if on_gpu else "cpu",
            "seconds": self.seconds | {"sum": sum(self.seconds.values())},
            "gpu_peak_allocated": torch.cuda.max_memory_allocated() if on_gpu else None,
            "gpu_peak_reserved": torch.cuda.max_memory_reserved() if on_gpu else None,
            "host_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "host_peak_anonymous": self.anonymous,
        }


def anonymous_bytes() -> int:
    with open("/proc/self/status") as lines:
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


def synchronize() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def summary(answer: dict[str, Any]) -> str:
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in answer["seconds"].items())
    names = ("gpu_peak_allocated", "gpu_peak_reserved", "host_peak", "host_peak_anonymous")
    sizes = ", ".join(f"{name} {answer[name] / 1e9:.2f} GB" for name in names if answer[name] is not None)
    return f"{answer['tool']} {answer['method']}, {answer['device']}: {parts}; {sizes}"


def read_ids(given: argparse.Namespace) -> np.ndarray:
    ids = np.load(given.calibration)
    if ids.ndim != 2 or ids.shape[0] < given.n_sequences or ids.shape[1] < given.sequence_length:
        sys.exit(f"{given.calibration} holds {ids.shape}; {given.n_sequences} sequences of {given.sequence_length} are needed")
    return ids[: given.n_sequences, : given.sequence_length].astype(np.int64)


def llm_compressor(given: argparse.Namespace, watch: Watch) -> dict[str, Any]:
    """Its sequential pipeline: a block at a time comes to the GPU. Eager attention, which it forces."""
    with watch.part("import"):
        from datasets import Dataset
        from llmcompressor import oneshot
        from llmcompressor.modifiers.pruning.sparsegpt import SparseGPTModifier
        from llmcompressor.modifiers.pruning.wanda import WandaPruningModifier
        from transformers import AutoModelForCausalLM, AutoTokenizer

    with watch.part("load"):
        model = AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.bfloat16)
        tokenizer = AutoTokenizer.from_pretrained(given.model)
        ids = read_ids(given)
        dataset = Dataset.from_dict({"input_ids": list(ids), "attention_mask": list(np.ones_like(ids))})
    wanted: dict[str, Any] = {"sparsity": 0.5, "mask_structure": "2:4", "targets": ["Linear"], "ignore": ["re:.*lm_head"]}
    if given.method.startswith("wanda"):
        modifier = WandaPruningModifier(**wanted)
    else:
        modifier = SparseGPTModifier(**wanted, **({} if given.dampening is None else {"dampening_frac": given.dampening}))
    with watch.part("prune"):
        oneshot(
            model=model,
            processor=tokenizer,
            recipe=[modifier],
            dataset=dataset,
            num_calibration_samples=len(ids),
            max_seq_length=ids.shape[1],
            shuffle_calibration_samples=False,
            batch_size=given.batch_size,
            pipeline="sequential",
            sequential_offload_device=given.offload,
            sequential_prefetch=given.prefetch,
        )
    with watch.part("save"):
        model.save_pretrained(given.out, save_compressed=False)
        tokenizer.save_pretrained(given.out)
    return {"dampening": getattr(modifier, "dampening_frac", None)}


def modelopt(given: argparse.Namespace, watch: Watch) -> dict[str, Any]:
    """The whole model on the GPU with the Hessians of all layers, since it cannot stream. Its SparseGPT gives a mask alone: the weights
    that stay are not updated."""
    with watch.part("import"):
        import modelopt.torch.sparsity as mts
        from transformers import AutoModelForCausalLM, AutoTokenizer

    with watch.part("load"):
        model = AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.bfloat16, device_map=DEVICE.type).eval()
        tokenizer = AutoTokenizer.from_pretrained(given.model)
        batches = torch.from_numpy(read_ids(given)).split(given.batch_size)

    def forward(model: Any) -> None:
        with torch.no_grad():
            for batch in batches:
                model(batch.to(DEVICE), use_cache=False, logits_to_keep=1)

    with watch.part("prune"):
        if given.method.startswith("magnitude"):
            mts.sparsify(model, mode="sparse_magnitude")
        else:
            config = {"forward_loop": forward} | ({} if given.dampening is None else {"hessian_damp": given.dampening})
            mts.sparsify(model, mode="sparsegpt", config=config)
        model = mts.export(model)
    with watch.part("save"):
        model.save_pretrained(given.out)
        tokenizer.save_pretrained(given.out)
    return {}


def prunescale(given: argparse.Namespace, watch: Watch) -> dict[str, Any]:
    """Its command in this process, so that its peaks of memory are read as the others' are; it loads and saves as it prunes."""
    with watch.part("import"):
        import transformers  # noqa: F401

        from prunescale.cli.main import main as command

    method, pattern = given.method.split("-", 1)
    line = ["prune", given.model, "--method", method, "--pattern", pattern, "--out", given.out, "--stream", "on", "--json"]
    out = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        if method != "magnitude":
            ids, file = read_ids(given), Path(folder) / "ids.npz"
            np.savez(file, tokens=ids.reshape(-1))  # exactly the sequences that the others get, one after another
            line += ["--calibration", str(file), "--calibration-tokens", str(ids.size), "--sequence-length", str(ids.shape[1])]
        line += shlex.split(given.also)
        print("prunescale", shlex.join(line), flush=True)
        with watch.part("load, prune, save"), contextlib.redirect_stdout(out):
            try:
                command(line)
            except SystemExit as ended:
                if ended.code:
                    sys.exit(f"prunescale ended with {ended.code}: {out.getvalue()}")
    return json.loads(out.getvalue())


# Comparison, by code that belongs to none of the tools.


def compare(given: argparse.Namespace) -> dict[str, Any]:
    """The error ||(W - W') X|| / ||W X|| (Frobenius) of each linear layer, where X are the inputs that it has in the dense model, for every
    tool the same. Products in bfloat16, accumulated in float32 and rounded to bfloat16; norms in float64 of float32 sums. Beside it
    the error in the pruned model's own stream: ||h' - h|| / ||h|| of each block's output h, all blocks up to it being pruned."""
    from transformers import AutoConfig
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

    base, pruned = Folder(given.base), [Folder(path) for path in given.pruned]
    config = AutoConfig.from_pretrained(given.base)
    config._attn_implementation = "sdpa"
    with torch.device("meta"):
        layer = LlamaDecoderLayer(config, 0).eval()
    ids = torch.from_numpy(read_ids(given)).to(DEVICE)
    place = torch.arange(ids.shape[1], device=DEVICE)[None]
    rotation = LlamaRotaryEmbedding(config).to(DEVICE)(torch.empty(0, dtype=torch.bfloat16, device=DEVICE), place)
    embedding = base.read("model.embed_tokens.weight")
    dense = [torch.nn.functional.embedding(batch, embedding) for batch in ids.split(given.batch_size)]
    del embedding
    own = [list(dense) for _ in pruned]
    rows: list[list[dict[str, Any]]] = [[] for _ in pruned]
    drift: list[list[float]] = [[] for _ in pruned]
    for i in range(config.num_hidden_layers):
        weights = base.block(i)
        theirs = [folder.block(i) for folder in pruned]
        layer.load_state_dict(weights, assign=True)
        with torch.no_grad(), Errors(layer, weights, theirs) as errors:
            dense = [layer(batch, position_embeddings=rotation) for batch in dense]
        for t, replaced in enumerate(theirs):
            layer.load_state_dict(replaced, assign=True)
            with torch.no_grad():
                own[t] = [layer(batch, position_embeddings=rotation) for batch in own[t]]
            drift[t].append(distance(own[t], dense))
            rows[t] += [
                {"block": i, "kind": kind, **errors.row(t, kind), **zeros(replaced[name])} for kind, name in errors.names.items()
            ]
    answer = {}
    for folder, each, path in zip(pruned, rows, drift, strict=True):
        answer[str(folder.path)] = {"means": means(each), "drift": path, "layers": each}
        print(table(str(folder.path), answer[str(folder.path)]))
    return answer


class Folder:
    """A checkpoint's tensors by name, read when asked for."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        index = self.path / "model.safetensors.index.json"
        self.files = json.loads(index.read_text(encoding="utf-8"))["weight_map"] if index.exists() else {}

    def read(self, name: str) -> torch.Tensor:
        from safetensors import safe_open

        with safe_open(self.path / self.files.get(name, "model.safetensors"), "pt", device=str(DEVICE)) as file:
            return file.get_tensor(name)

    def block(self, i: int) -> dict[str, torch.Tensor]:
        names = [f"self_attn.{kind}_proj" for kind in "qkvo"] + [f"mlp.{kind}_proj" for kind in ("gate", "up", "down")]
        names += ["input_layernorm", "post_attention_layernorm"]
        return {f"{name}.weight": self.read(f"model.layers.{i}.{name}.weight") for name in names}


class Errors:
    """While it is open, what the linear layers of a block do to their inputs, and what would change with others' weights."""

    def __init__(self, layer: torch.nn.Module, weights: dict[str, torch.Tensor], theirs: list[dict[str, torch.Tensor]]) -> None:
        self.names = {name.split(".")[-2]: name for name in weights if name.endswith("_proj.weight")}
        self.layer = layer
        self.lost = {
            kind: [(weights[name].float() - other[name].float()).to(weights[name].dtype) for other in theirs]
            for kind, name in self.names.items()
        }
        self.kept_equal = [
            {kind: float((other[name] == weights[name])[other[name] != 0].float().mean()) for kind, name in self.names.items()}
            for other in theirs
        ]
        self.errors = torch.zeros(len(theirs), len(KINDS), dtype=torch.float64, device=DEVICE)
        self.whole = torch.zeros(len(KINDS), dtype=torch.float64, device=DEVICE)

    def __enter__(self) -> "Errors":
        modules = {name.split(".")[-1]: module for name, module in self.layer.named_modules() if name.endswith("_proj")}
        self.handles = [module.register_forward_hook(self.hook(kind)) for kind, module in modules.items()]
        return self

    def __exit__(self, *_: Any) -> None:
        for handle in self.handles:
            handle.remove()

    def hook(self, kind: str) -> Callable[..., None]:
        k = KINDS.index(kind)

        def add(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            self.whole[k] += squares(output)
            for t, lost in enumerate(self.lost[kind]):
                self.errors[t, k] += squares(inputs[0] @ lost.T)

        return add

    def row(self, t: int, kind: str) -> dict[str, float]:
        k = KINDS.index(kind)
        return {"error": float((self.errors[t, k] / self.whole[k]).sqrt()), "kept_unchanged": self.kept_equal[t][kind]}


def squares(x: torch.Tensor) -> torch.Tensor:
    return x.float().square().sum(dim=-1).double().sum()


def distance(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    apart = sum(float(squares(x.float() - y.float())) for x, y in zip(a, b, strict=True))
    return (apart / sum(float(squares(y)) for y in b)) ** 0.5


def zeros(weight: torch.Tensor) -> dict[str, Any]:
    """The share of zeros, and whether each four weights in a row hold at least two."""
    is_zero = weight == 0
    groups = is_zero.reshape(weight.shape[0], -1, 4).sum(dim=-1)
    return {"zeros": float(is_zero.float().mean()), "two_of_four": bool((groups >= 2).all())}


def means(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Of errors, by kind of layer and over all."""
    kinds = {kind: [row["error"] for row in rows if row["kind"] == kind] for kind in KINDS}
    return {kind: float(np.mean(each)) for kind, each in kinds.items()} | {"all": float(np.mean([row["error"] for row in rows]))}


def table(title: str, found: dict[str, Any]) -> str:
    rows = found["layers"]
    shares = [row["zeros"] for row in rows]
    kept = float(np.mean([row["kept_unchanged"] for row in rows]))
    return "\n".join(
        [
            title,
            "  error: " + ", ".join(f"{kind} {error:.4f}" for kind, error in found["means"].items()),
            f"  zeros: {min(shares):.4f} to {max(shares):.4f} of a layer; all 2:4: {all(row['two_of_four'] for row in rows)}",
            f"  weights that stay and are what they were: {100 * kept:.2f} %",
            f"  drift of the stream after the first block {found['drift'][0]:.4f}, after the last {found['drift'][-1]:.4f}",
        ]
    )


# What the work costs at least.


def floor(given: argparse.Namespace) -> dict[str, Any]:
    """Operations and bytes that cannot be done without, and their seconds. Hessians are symmetric, so half of the products, and layers
    with the same inputs share one: q, k and v; gate and up. Attention is causal, so half of its scores."""
    tokens = given.n_sequences * given.sequence_length
    hidden, ffn, blocks = given.hidden, given.ffn, given.layers
    queries, keys = given.heads * given.head_dim, given.kv_heads * given.head_dim
    sizes = [(queries, hidden), (keys, hidden), (keys, hidden), (hidden, queries), (ffn, hidden), (ffn, hidden), (hidden, ffn)]
    inputs = [hidden, queries, hidden, ffn]
    in_blocks = blocks * sum(rows * columns for rows, columns in sizes)
    forward = 2 * in_blocks * tokens + blocks * 2 * tokens * given.sequence_length * queries
    hessians = blocks * sum(tokens * size**2 for size in inputs)
    inverses = blocks * sum(4 * size**3 / 3 for size in inputs)  # Cholesky, inverse from it, Cholesky of the inverse
    updates = blocks * sum(rows * columns**2 for rows, columns in sizes)  # each column's error spread over those after it
    work = {
        "depth: one forward pass": forward,
        "wanda: two (statistics, then pruned outputs)": 2 * forward,
        "sparsegpt: two, and": 2 * forward,
        "  Hessians": hessians,
        "  Cholesky factors and inverses": inverses,
        "  updates of weights": updates,
    }
    total_bytes = 2 * (in_blocks + 2 * given.vocabulary * hidden)
    print(f"{in_blocks / 1e9:.3f}e9 weights in blocks, {tokens} tokens, {total_bytes / 1e9:.2f} GB of weights")
    answer: dict[str, Any] = {"flops": work, "bytes": total_bytes, "seconds": {}}
    for name, flops in work.items():
        answer["seconds"][name] = flops / given.tflops / 1e12
        print(f"{name}: {flops:.3e} FLOP, {answer['seconds'][name]:.2f} s at {given.tflops:g} TFLOP/s")
    whole = 2 * forward + hessians + inverses + updates
    print(f"sparsegpt together: {whole:.3e} FLOP, {whole / given.tflops / 1e12:.2f} s")
    if given.measure_disk:
        answer["bytes_per_second"] = rates(Path(given.measure_disk))
        for name, rate in answer["bytes_per_second"].items():
            print(f"{name}: {rate / 1e9:.2f} GB/s; all weights once: {total_bytes / rate:.2f} s")
    return answer


def rates(folder: Path, size: int = 2**31) -> dict[str, float]:
    """Bytes a second: of a file written with its fsync, read back past the cache and from it; and of copies to and from the GPU."""
    chunk = bytearray(np.random.default_rng(0).bytes(2**26))
    path = folder / "rate.tmp"
    n = size // len(chunk)

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            for _ in range(n):
                file.write(chunk)
            os.fsync(file.fileno())

    def read() -> None:
        with path.open("rb", buffering=0) as file:
            while file.readinto(chunk):
                pass

    def forget() -> None:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    found = {"disk, written and synchronized": size / timed(write)}
    forget()
    found |= {"disk, read": size / timed(read), "read from the cache": size / timed(read)}
    path.unlink()
    if DEVICE.type == "cuda":
        for name, pinned in (("pinned", True), ("pageable", False)):
            here = torch.zeros(size, dtype=torch.uint8, pin_memory=pinned)
            there = here.to(DEVICE)
            found[f"host to GPU, {name}"] = size / timed(lambda there=there, here=here: there.copy_(here), 3)
            found[f"GPU to host, {name}"] = size / timed(lambda there=there, here=here: here.copy_(there), 3)
        found["within the GPU, read and written"] = 2 * size / timed(lambda: there.clone(), 3)
    gc.collect()
    return found


def timed(once: Callable[[], Any], n: int = 1) -> float:
    """The least seconds of n calls."""
    seconds = []
    for _ in range(n):
        synchronize()
        begin = time.perf_counter()
        once()
        synchronize()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


COMMANDS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "make-model": make_model,
    "run": run,
    "compare": compare,
    "floor": floor,
}


if __name__ == "__main__":
    main()
