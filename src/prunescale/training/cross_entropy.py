"""The loss of the head, without ever holding the logits of a batch: they are made, used and forgotten a chunk of tokens at a time.

The gradients are made in the same sweep, since the summed loss of a batch has them at once: of a token with logits z and next token y
it is softmax(z) - onehot(y). What is kept for the backward pass is as large as the states and the weights of the head, not as the logits.

Letters of shapes: N tokens, D hidden size, V vocabulary.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

LOGITS_AT_ONCE = 2**26
"""Entries of a chunk's logits: 128 MiB in bfloat16. Chunks of 8192 tokens of a vocabulary of 8192 keep the products at their best."""


def summed_cross_entropy(x_ND: Tensor, head_VD: Tensor, next_N: Tensor) -> Tensor:
    """The loss of predicting the tokens `next_N` from states, summed, in nats. Products are in the type of the states, sums in float32."""
    return LinearCrossEntropy.apply(x_ND, head_VD, next_N)


def cross_entropies(x_ND: Tensor, head_VD: Tensor, next_N: Tensor) -> Tensor:
    """The loss of each token, (N,) float32, without gradients."""
    head = head_VD.to(x_ND.dtype)
    losses = [functional.cross_entropy((x @ head.T).float(), y, reduction="none") for x, y in chunks(len(head), x_ND, next_N)]
    return torch.cat(losses)


def summed_distillation(
    x_ND: Tensor,
    head_VD: Tensor,
    next_N: Tensor,
    teacher_x_ND: Tensor,
    teacher_head_VD: Tensor,
    weight: float,
    temperature: float,
) -> Tensor:
    """(1 - weight) x cross-entropy + weight x temperature^2 x KL(teacher || student), both softened by the temperature, summed over the
    tokens, in nats. The square keeps the gradients as large whatever the temperature (Hinton et al. 2015, arXiv:1503.02531, section 2)."""
    return LinearDistillation.apply(x_ND, head_VD, next_N, teacher_x_ND, teacher_head_VD, weight, temperature)


class LinearCrossEntropy(Function):
    """Summed cross-entropy of a linear head, with its gradients."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, head_VD: Tensor, next_N: Tensor) -> Tensor:
        head = head_VD.to(x_ND.dtype)
        total = torch.zeros((), device=x_ND.device)
        grads = Gradients(head_VD)
        for x, y in chunks(len(head), x_ND, next_N):
            logits = (x @ head.T).float()
            loss, grad = cross_entropy_and_gradient(logits, y)
            total = total + loss
            grads.add(grad.to(x.dtype), x, head)
        ctx.save_for_backward(grads.of_states(), grads.of_head)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        return *scaled(ctx, upstream[0]), None


class LinearDistillation(Function):
    """Summed loss of a linear head that learns from a teacher, with its gradients. The teacher gets none."""

    @staticmethod
    def forward(
        ctx: Any,
        x_ND: Tensor,
        head_VD: Tensor,
        next_N: Tensor,
        teacher_x_ND: Tensor,
        teacher_head_VD: Tensor,
        weight: float,
        temperature: float,
    ) -> Tensor:
        head, teacher_head = head_VD.to(x_ND.dtype), teacher_head_VD.to(x_ND.dtype)
        total = torch.zeros((), device=x_ND.device)
        grads = Gradients(head_VD)
        for x, y, teacher_x in chunks(len(head), x_ND, next_N, teacher_x_ND):
            logits = (x @ head.T).float()
            wanted = torch.log_softmax((teacher_x @ teacher_head.T).float() / temperature, dim=-1)
            got = torch.log_softmax(logits / temperature, dim=-1)
            divergence = (wanted.exp() * (wanted - got)).sum()
            loss, grad = cross_entropy_and_gradient(logits, y)
            total = total + (1 - weight) * loss + weight * temperature**2 * divergence
            # d KL / d logits = (softmax(got) - softmax(wanted)) / temperature
            grad = (1 - weight) * grad + weight * temperature * (got.exp() - wanted.exp())
            grads.add(grad.to(x.dtype), x, head)
        ctx.save_for_backward(grads.of_states(), grads.of_head)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        return *scaled(ctx, upstream[0]), None, None, None, None, None


class Gradients:
    """Of the states and the head, gathered chunk by chunk."""

    def __init__(self, head_VD: Tensor) -> None:
        self.of_head = torch.zeros_like(head_VD, dtype=torch.float32)
        self.chunks: list[Tensor] = []

    def add(self, grad_NV: Tensor, x_ND: Tensor, head_VD: Tensor) -> None:
        self.chunks.append(grad_NV @ head_VD)
        self.of_head = self.of_head + grad_NV.T @ x_ND

    def of_states(self) -> Tensor:
        return torch.cat(self.chunks)


def scaled(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor]:
    of_states, of_head = ctx.saved_tensors
    return (of_states * upstream).to(of_states.dtype), of_head * upstream


def cross_entropy_and_gradient(logits_NV: Tensor, next_N: Tensor) -> tuple[Tensor, Tensor]:
    """The summed loss, and its gradient by the logits: softmax - onehot."""
    highest = logits_NV.amax(dim=-1, keepdim=True)
    powers = torch.exp(logits_NV - highest)
    total = powers.sum(dim=-1, keepdim=True)
    loss = (total.log() + highest).sum() - logits_NV.gather(1, next_N[:, None]).sum()
    is_next = torch.arange(logits_NV.shape[1], device=next_N.device) == next_N[:, None]
    return loss, powers / total - is_next.float()


def chunks(vocab_size: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors that share their first dimension, so many rows at once that their logits have LOGITS_AT_ONCE entries at most, and as
    nearly alike as can be."""
    n_rows = len(tensors[0])
    n_chunks = -(-n_rows * vocab_size // LOGITS_AT_ONCE)
    return zip(*(tensor.tensor_split(max(1, n_chunks)) for tensor in tensors), strict=True)
