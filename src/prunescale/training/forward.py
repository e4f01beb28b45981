"""The forward pass of the Llama-shaped families up to the head, with fewer and larger operations than transformers' own.

Query, key and value are one product, and so are gate and up; products read a copy of the weights in the type that is computed in, made
once a pass, so that no autocast is needed. The parameters are those of the transformers model, which this neither copies nor changes.

Letters of shapes: B sequences, L positions, D hidden size, H query heads, G key and value heads, E entries of a head, F channels.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.utils.checkpoint import checkpoint

from prunescale.models import family_of
from prunescale.models.families import ATTENTION, FFN, HEAD_NORMS, TWO_NORMS

Mask = Tensor | BlockMask | None
"""Which positions attend to which, as numbers or as blocks of them; None for all earlier ones."""

SHAPED_ALIKE = ({*ATTENTION, *FFN, *TWO_NORMS}, {*ATTENTION, *FFN, *TWO_NORMS, *HEAD_NORMS})
"""The parts of a block as `block_forward` knows it, without and with norms of the queries and keys."""


def hidden_states(
    model: Any, ids_BL: Tensor, *, dtype: torch.dtype, positions_BL: Tensor | None = None, recompute: bool = False
) -> Tensor:
    """The states after the last norm, (B, L, D) in `dtype`, from which the head makes logits.

    positions_BL: of each token within its document, from 0; tokens then attend to those of their own document only. recompute: blocks
    are computed again in the backward pass in the place of keeping what is in them. Families that `is_llama_shaped` does not take
    are computed by transformers.
    """
    if not is_llama_shaped(model, ids_BL.shape[1]):
        return by_transformers(model, ids_BL, dtype, None if positions_BL is None else same_document(positions_BL))
    mask = mask_of(positions_BL, fused=fuses(model, ids_BL) and not recompute)
    (x_BLD,) = deque(states_after_blocks(model, ids_BL, dtype, mask, recompute), maxlen=1)
    return rms_norm(x_BLD, model.model.norm)


def states_after_blocks(model: Any, ids_BL: Tensor, dtype: torch.dtype, mask: Mask, recompute: bool = False) -> Iterator[Tensor]:
    """The states after each block, (B, L, D) each, those before the last norm last."""
    inner = model.model
    x_BLD = functional.embedding(ids_BL, inner.embed_tokens.weight).to(dtype)
    cos_LE, sin_LE = rotation(inner.rotary_emb, x_BLD)
    for block in inner.layers:
        forward = getattr(block, SHARDED, None) or MethodType(block_forward, block)
        run = partial(checkpoint, forward, use_reentrant=False) if recompute else forward
        x_BLD = run(x_BLD, cos_LE, sin_LE, mask)
        yield x_BLD


SHARDED = "forward_of_shard"
"""Name of the method by which a block is called whose parameters are spread over processes."""


def block_forward(block: Any, x_BLD: Tensor, cos_LE: Tensor, sin_LE: Tensor, mask: Mask) -> Tensor:
    """One block: x + attention(norm(x)), and then x + feed-forward(norm(x))."""
    x_BLD = x_BLD + attention(block.self_attn, rms_norm(x_BLD, block.input_layernorm), cos_LE, sin_LE, mask)
    return x_BLD + feed_forward(block.mlp, rms_norm(x_BLD, block.post_attention_layernorm))


def attention(layer: Any, x_BLD: Tensor, cos_LE: Tensor, sin_LE: Tensor, mask: Mask) -> Tensor:
    batch, length, _ = x_BLD.shape
    size = layer.head_dim
    qkv = linear(x_BLD, layer.q_proj, layer.k_proj, layer.v_proj).view(batch, length, -1, size)
    n_kv_heads = layer.k_proj.out_features // size
    n_heads = qkv.shape[2] - 2 * n_kv_heads
    if hasattr(layer, "q_norm"):
        q_BLHE, k_BLGE, v_BLGE = qkv.split((n_heads, n_kv_heads, n_kv_heads), dim=2)
        q_BLHE, k_BLGE = (
            rotated(rms_norm(part, norm), cos_LE, sin_LE) for part, norm in ((q_BLHE, layer.q_norm), (k_BLGE, layer.k_norm))
        )
    else:
        qk, v_BLGE = qkv.split((n_heads + n_kv_heads, n_kv_heads), dim=2)
        q_BLHE, k_BLGE = rotated(qk, cos_LE, sin_LE).split((n_heads, n_kv_heads), dim=2)
    q_BHLE, k_BGLE, v_BGLE = (part.transpose(1, 2) for part in (q_BLHE, k_BLGE, v_BLGE))
    shared = n_heads != n_kv_heads
    if isinstance(mask, BlockMask):
        out_BHLE = flex_attention(q_BHLE, k_BGLE, v_BGLE, block_mask=mask, enable_gqa=shared)
    else:
        out_BHLE = functional.scaled_dot_product_attention(
            q_BHLE, k_BGLE, v_BGLE, attn_mask=mask, is_causal=mask is None, enable_gqa=shared
        )
    return linear(out_BHLE.transpose(1, 2).flatten(2), layer.o_proj)


def feed_forward(layer: Any, x_BLD: Tensor) -> Tensor:
    gate_BLF, up_BLF = linear(x_BLD, layer.gate_proj, layer.up_proj).chunk(2, dim=-1)
    return linear(functional.silu(gate_BLF) * up_BLF, layer.down_proj)


def linear(x: Tensor, *layers: Any) -> Tensor:
    """The layers' outputs behind one another, by one product, in the type of x."""
    weight = layers[0].weight if len(layers) == 1 else torch.cat([layer.weight for layer in layers])
    bias = None
    if layers[0].bias is not None:
        bias = torch.cat([layer.bias for layer in layers]).to(x.dtype)
    return functional.linear(x, weight.to(x.dtype), bias)


def rms_norm(x: Tensor, norm: Any) -> Tensor:
    """Over the last dimension, in float32, in the type of x (Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4)."""
    wide = x.float()
    scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + norm.variance_epsilon)
    return (scaled * norm.weight.float()).to(x.dtype)


def rotation(rotary: nn.Module, x_BLD: Tensor) -> tuple[Tensor, Tensor]:
    """The cosines and sines by which positions turn queries and keys, (L, E) each, the first half of the sines negated."""
    positions = torch.arange(x_BLD.shape[1], device=x_BLD.device)[None]
    cos_1LE, sin_1LE = rotary(x_BLD, positions)
    half = sin_1LE.shape[-1] // 2
    return cos_1LE[0], torch.cat((-sin_1LE[0, :, :half], sin_1LE[0, :, half:]), dim=-1)


def rotated(x_BLHE: Tensor, cos_LE: Tensor, sin_LE: Tensor) -> Tensor:
    """Rotary positions. The halves of a head change places by a roll, which compiles to a fifth of the time of slices put together."""
    half = x_BLHE.shape[-1] // 2
    return x_BLHE * cos_LE[:, None] + torch.roll(x_BLHE, half, dims=-1) * sin_LE[:, None]


def same_document(positions_BL: Tensor) -> Tensor:
    """(B, 1, L, L): whether a position, in the rows, may attend to another, in the columns: one of its document that is not later."""
    places = torch.arange(positions_BL.shape[1], device=positions_BL.device)
    starts_BL = places - positions_BL
    alike = starts_BL[:, :, None] == starts_BL[:, None, :]
    return (alike & (places[:, None] >= places))[:, None]


def mask_of(positions_BL: Tensor | None, *, fused: bool) -> Mask:
    """Which positions may attend to which: all earlier ones, where documents are not to be kept apart. fused: for a kernel that reads no
    mask of (B, 1, L, L), and leaves out what is masked by blocks."""
    if positions_BL is None:
        return None
    return by_blocks(positions_BL) if fused else same_document(positions_BL)


BLOCK = 128
"""Queries, and keys, of a block that fused attention computes or leaves out."""


def by_blocks(positions_BL: Tensor) -> BlockMask:
    """`same_document` for fused attention. A document is in one piece, so a block of queries needs the blocks of keys from the beginning of
    its first query's document to itself. With PyTorch's `create_block_mask`, which sorts, a step for 4,096 positions was not compiled
    after 100 s (pytorch/pytorch#182060)."""
    length = positions_BL.shape[1]
    starts_BL = torch.arange(length, device=positions_BL.device) - positions_BL
    places = torch.arange(-(-length // BLOCK), device=positions_BL.device)
    first_BQ = starts_BL[:, ::BLOCK] // BLOCK
    n_keys_BQ = places - first_BQ + 1
    n_queries_BK = ((places >= places[:, None]) & (first_BQ[:, None] <= places[:, None])).sum(-1)

    def may_attend(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (starts_BL[row, query] == starts_BL[row, key])

    def listed(n_BQ: Tensor, first_BQ: Tensor) -> tuple[Tensor, Tensor]:
        """How many blocks, and which: those behind the first. What comes after so many is not read."""
        found_BQK = (first_BQ[..., None] + places).clamp(max=len(places) - 1)
        return n_BQ[:, None].int(), found_BQK[:, None].int()

    return BlockMask(
        (length, length),
        *listed(n_keys_BQ, first_BQ),
        None,
        None,
        *listed(n_queries_BK, places.expand_as(first_BQ)),
        None,
        None,
        BLOCK_SIZE=(BLOCK, BLOCK),
        mask_mod=may_attend,
    )


def fuses(model: Any, ids_BL: Tensor) -> bool:
    """Whether attention with a mask will be one kernel: where it is compiled, for a GPU, for heads that such kernels are made for."""
    size = model.model.layers[0].self_attn.head_dim
    return torch.compiler.is_compiling() and ids_BL.is_cuda and size >= 16 and size & (size - 1) == 0


def window_of(config: Any) -> int | None:
    """Tokens within which some blocks attend; None where all attend to all before."""
    return getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None


def is_llama_shaped(model: Any, length: int) -> bool:
    """Whether `block_forward` computes what the blocks of this model do, for sequences of this length."""
    config = model.config
    family = family_of(config)
    window = window_of(config)
    return (
        set(family.block) in SHAPED_ALIKE
        and family.norm_offset == 0
        and not family.scaled_embedding
        and config.hidden_act == "silu"
        and (window is None or length <= window)
        and not getattr(config, "attention_dropout", 0)
        and getattr(model.model.rotary_emb, "rope_type", "default") not in ("dynamic", "longrope")
        and (getattr(config, "partial_rotary_factor", None) or 1.0) == 1.0
    )


def by_transformers(model: Any, ids_BL: Tensor, dtype: torch.dtype, mask: Tensor | None) -> Tensor:
    """The states after the last norm by the model's own code; `mask` is understood by those families alone whose blocks all attend
    alike."""
    with torch.autocast(ids_BL.device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        states = model.model(input_ids=ids_BL, attention_mask=mask, use_cache=False).last_hidden_state
    return states.to(dtype)


@contextmanager
def fast_attention(device: torch.device) -> Iterator[None]:
    """Within it cuDNN's attention is taken where a GPU has it: on an H100 it takes 1.5 ms where PyTorch's flash attention takes 1.8 (128
    sequences of 512, 12 heads of 64, forward and backward)."""
    if device.type != "cuda":
        yield
        return
    order = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    with sdpa_kernel(order, set_priority=True):
        yield
