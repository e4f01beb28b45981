"""The sections of a recipe. One is checked when it is made, so one that exists can be carried out as far as its own entries tell."""

from dataclasses import dataclass
from typing import Literal

from prunescale.errors import RecipeError
from prunescale.recipe.entries import check_entries, refused


@dataclass(frozen=True, kw_only=True)
class PruneRecipe:
    """What to take out of the base model.

    method: name of a pruning method, such as block-influence or contiguous. rate: share of the parameters outside the
    embeddings and the head to remove; pattern: in its place, n of every m weights to keep, such as 2:4. One of the two is needed.
    calibration_tokens: how many tokens the scores are measured on, the first of the training text. axes: of width pruning, the
    sizes that are to shrink, with commas between. scope: where single weights compete, in a layer or in the whole model (global).
    steps: in how many goes to prune, one if None. step_tokens: to train on after each of them but the last, rounded up to whole
    batches. What is None is left to the method.
    """

    method: str = "block-influence"
    rate: float | None = None
    calibration_tokens: int = 16384
    axes: str | None = None
    pattern: str | None = None
    scope: str | None = None
    steps: int | None = None
    step_tokens: int | None = None

    def __post_init__(self) -> None:
        check_entries("prune.", self)
        if self.steps == 1:  # what is the same has the same hash
            object.__setattr__(self, "steps", None)
        if self.pattern is None and self.rate is None:
            raise RecipeError("prune.rate is missing; it must be given, as a number, or prune.pattern in its place, such as 2:4.")
        if self.pattern is not None and self.rate is not None:
            raise refused("prune.rate", self.rate, f"left out where there is a pattern: {self.pattern} has one rate")
        if self.pattern is not None and self.steps is not None:
            raise refused("prune.steps", self.steps, f"1 where there is a pattern: {self.pattern} has one rate")
        if self.steps is not None and self.step_tokens is None:
            raise RecipeError(f"prune.step_tokens is missing; it must be given, as an integer, for {self.steps} steps.")
        if self.steps is None and self.step_tokens is not None:
            raise refused(
                "prune.step_tokens", self.step_tokens, "left out where there is one step: nothing is trained in between"
            )

    @property
    def axis_names(self) -> tuple[str, ...] | None:
        """The axes one by one."""
        return None if self.axes is None else tuple(axis.strip() for axis in self.axes.split(","))


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """A model made from nothing: a Llama of these sizes with weights drawn at random.

    tokenizer: what `load` takes, whose tokenizer is used and whose vocabulary it has. kv_heads: as many as heads if None. head_dim:
    hidden_size / heads if None. tied: whether the head shares the weights of the embedding. init_std: of the weights.
    init_seed: of drawing them. context: the longest sequence that it is made for.
    """

    tokenizer: str
    layers: int
    hidden_size: int
    ffn_size: int
    heads: int
    kv_heads: int | None = None
    head_dim: int | None = None
    tied: bool = False
    context: int = 2048
    init_std: float = 0.02
    init_seed: int = 0

    def __post_init__(self) -> None:
        check_entries("model.", self)
        if self.head_dim is None and self.hidden_size % self.heads:
            raise refused("model.heads", self.heads, f"a divisor of hidden_size ({self.hidden_size}), or head_dim be given")
        if self.heads % self.n_kv_heads:
            raise refused("model.kv_heads", self.kv_heads, f"a divisor of heads ({self.heads})")
        if self.size_of_head % 2:
            raise refused("model.head_dim", self.size_of_head, "even, for rotary positions")

    @property
    def n_kv_heads(self) -> int:
        """Of keys and values: those given, or as many as of queries."""
        return self.kv_heads or self.heads

    @property
    def size_of_head(self) -> int:
        """That given, or a head's share of the hidden size."""
        return self.head_dim or self.hidden_size // self.heads


@dataclass(frozen=True, kw_only=True)
class SparseRecipe:
    """Pruning while a model trains: gradual magnitude pruning of single weights, by one threshold for all linear layers (Jin et al. 2025,
    arXiv:2501.12486).

    sparsity: share of the weights of the linear layers, head included, that are zero in the end. start, end: when pruning begins and
    ends, as shares of the compute (6 N(t) a token, N(t) being the weights left) or of the steps, as `of` says. schedule: geometric
    leaves the same share of what was left each time, cubic is that of Zhu and Gupta 2017 (arXiv:1710.01878). every: steps from one
    pruning to the next. pattern: n:m weights that are to be left at the end of every m, such as 2:4, which comes with its sparsity.
    head: whether the head is pruned too.
    """

    sparsity: float | None = None
    start: float = 0.25
    end: float = 0.75
    of: Literal["compute", "steps"] = "compute"
    schedule: Literal["geometric", "cubic"] = "geometric"
    every: int = 100
    pattern: str | None = None
    head: bool = True

    def __post_init__(self) -> None:
        check_entries("sparse.", self)
        if (self.sparsity is None) == (self.pattern is None):
            got = "neither is there" if self.sparsity is None else f"both are ({self.sparsity:g}, {self.pattern})"
            raise RecipeError(f"sparse needs either sparsity, as a number, or pattern, such as 2:4; {got}.")
        if self.start > self.end:
            raise refused("sparse.start", self.start, f"at most sparse.end ({self.end:g})")

    @property
    def final_sparsity(self) -> float:
        """The share of zeros in the end: that asked for, or that of the pattern."""
        if self.pattern is None:
            assert self.sparsity is not None
            return self.sparsity
        n_kept, m = map(int, self.pattern.split(":"))
        return 1 - n_kept / m


@dataclass(frozen=True, kw_only=True)
class DistillRecipe:
    """Learning from a teacher: the forward Kullback-Leibler divergence from its next-token distribution, as Minitron does (Muralidharan
    et al. 2024, arXiv:2407.14679).

    teacher: what `load` takes; parent is the model before pruning. weight: share of the divergence in the loss; the rest is the
    cross-entropy with the text. temperature: both distributions are softened by it. hidden: weight of the squared distance of the
    states after each kept block from the teacher's after the same block, relative to theirs.
    """

    teacher: str = "parent"
    weight: float = 1.0
    temperature: float = 1.0
    hidden: float = 0.0

    def __post_init__(self) -> None:
        check_entries("distill.", self)


@dataclass(frozen=True, kw_only=True)
class TrainRecipe:
    """How to train. The learning rate warms up linearly, stays, and may fall to zero at the end, linearly if nothing else is said.

    data, held_out: files of text or tokens, to train on and to measure the loss on. tokens: to train on, rounded up to whole
    batches. learning_rate: its highest value.
    sequence_length: tokens. batch_tokens: tokens a step. warmup_tokens: over which the learning rate rises from zero.
    decay_fraction: share of the tokens, at the end, over which it falls to zero. weight_decay, beta1, beta2: of AdamW.
    clip: the largest norm of the gradient. n_measurements: of the loss, evenly spaced in the logarithm of the tokens.
    first_measurement: tokens at the first of them, None to leave it to the training. held_out_tokens: how many to measure the
    loss on, None for all. seed: of the order of the data. dtype and compile: auto takes bfloat16 and torch.compile on a GPU only.
    keep_zeros: whether weights of the linear layers in the blocks that are zero stay so: on, off, or auto (None is auto too), where
    the model has been pruned by a method that makes zeros.
    decay: shape of the fall, linear or cosine. final_rate: what it ends at, as a share of the peak. cooldowns: token counts at each
    of which a branch ends that has left the training a little earlier and let its learning rate fall to zero; what is measured there is the
    loss of a finished model, while the training itself goes on as if there were no branch. cooldown_fraction: share of those
    tokens over which it falls, 0.2 if None. documents_apart: whether tokens attend to those of their own document only.
    """

    data: str
    held_out: str
    tokens: int
    learning_rate: float
    sequence_length: int = 512
    batch_tokens: int = 16384
    warmup_tokens: int = 0
    decay_fraction: float = 0.0
    weight_decay: float = 0.1
    clip: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.95
    n_measurements: int = 16
    first_measurement: int | None = None
    held_out_tokens: int | None = None
    seed: int = 0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    # Younger than the recipes that have been run: None keeps their hashes as they are.
    keep_zeros: str | None = None
    decay: str | None = None
    final_rate: float | None = None
    cooldowns: tuple[int, ...] | None = None
    cooldown_fraction: float | None = None
    documents_apart: bool | None = None

    def __post_init__(self) -> None:
        check_entries("train.", self)
        for name, default in DEFAULTS_LEFT_OUT.items():  # what is the same has the same hash
            if getattr(self, name) == default:
                object.__setattr__(self, name, None)
        if self.cooldowns is not None:
            object.__setattr__(self, "cooldowns", tuple(sorted(set(self.cooldowns))) or None)
        if self.batch_tokens % self.sequence_length:
            raise refused("train.batch_tokens", self.batch_tokens, f"a multiple of sequence_length ({self.sequence_length})")
        n_flat = self.tokens - round(self.decay_fraction * self.tokens)
        if self.warmup_tokens > n_flat:
            raise refused("train.warmup_tokens", self.warmup_tokens, f"at most the {n_flat} tokens before the decay begins")
        if self.first_measurement is not None and self.first_measurement > self.tokens:
            raise refused("train.first_measurement", self.first_measurement, f"at most the {self.tokens} tokens of the training")
        if self.decay_fraction == 0:
            for name in ("decay", "final_rate"):
                if getattr(self, name) is not None:
                    raise refused(f"train.{name}", getattr(self, name), "left out where decay_fraction is 0: nothing falls")
        if self.cooldowns is None and self.cooldown_fraction is not None:
            raise refused("train.cooldown_fraction", self.cooldown_fraction, "left out where there are no cooldowns")
        n_steps = -(-self.tokens // self.batch_tokens)
        n_flat_steps = n_steps - round(self.decay_fraction * n_steps)
        if self.cooldowns and (self.cooldowns[-1] > n_flat or -(-self.cooldowns[-1] // self.batch_tokens) > n_flat_steps):
            raise refused("train.cooldowns", self.cooldowns, f"at most the {n_flat} tokens before the decay begins")
        for n_tokens in self.cooldowns or ():
            if round((1 - self.cooldown_share) * n_tokens) < self.warmup_tokens:
                raise refused(
                    "train.cooldowns", n_tokens, f"late enough to begin after the warm-up ({self.warmup_tokens} tokens)"
                )

    @property
    def cooldown_share(self) -> float:
        return 0.2 if self.cooldown_fraction is None else self.cooldown_fraction


DEFAULTS_LEFT_OUT = {
    "keep_zeros": "auto",
    "decay": "linear",
    "final_rate": 0.0,
    "cooldown_fraction": 0.2,
    "documents_apart": False,
}
"""Entries of a training that are None where they say what goes without saying."""

Section = ModelRecipe | PruneRecipe | SparseRecipe | DistillRecipe | TrainRecipe

SECTIONS: dict[str, type[Section]] = {
    "model": ModelRecipe,
    "prune": PruneRecipe,
    "sparse": SparseRecipe,
    "distill": DistillRecipe,
    "train": TrainRecipe,
}
