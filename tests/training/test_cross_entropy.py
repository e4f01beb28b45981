"""The loss of the head in chunks is the plain one, with its gradients."""

import pytest
import torch
from torch.nn import functional

from prunescale.training import cross_entropy
from prunescale.training.cross_entropy import cross_entropies, summed_cross_entropy, summed_distillation

VOCABULARY, TOKENS, HIDDEN = 40, 23, 8


@pytest.fixture(params=[2**26, 300, 1])
def tensors(request, monkeypatch):
    """States, head and next tokens; in one chunk, in several that are not of a size, and token by token."""
    monkeypatch.setattr(cross_entropy, "LOGITS_AT_ONCE", request.param)
    torch.manual_seed(3)
    x, head = torch.randn(TOKENS, HIDDEN, requires_grad=True), torch.randn(VOCABULARY, HIDDEN, requires_grad=True)
    return x, head, torch.randint(VOCABULARY, (TOKENS,))


def same_with_gradients(got, expected, *inputs):
    assert got.item() == pytest.approx(expected.item(), rel=1e-6)
    for ours, plain in zip(torch.autograd.grad(got, inputs), torch.autograd.grad(expected, inputs), strict=True):
        assert torch.allclose(ours, plain, rtol=1e-4, atol=1e-5)  # float32 in another order


def test_cross_entropy(tensors):
    x, head, y = tensors
    expected = functional.cross_entropy(x @ head.T, y, reduction="sum")
    same_with_gradients(0.3 * summed_cross_entropy(x, head, y), 0.3 * expected, x, head)
    each = functional.cross_entropy(x @ head.T, y, reduction="none")
    assert torch.allclose(cross_entropies(x, head, y), each, atol=1e-5)


@pytest.mark.parametrize(("weight", "temperature"), [(1.0, 1.0), (0.6, 1.7), (0.25, 4.0)])
def test_distillation(tensors, weight, temperature):
    x, head, y = tensors
    teacher_x, teacher_head = torch.randn(TOKENS, 5), torch.randn(VOCABULARY, 5)
    wanted = torch.log_softmax(teacher_x @ teacher_head.T / temperature, -1)
    got = torch.log_softmax(x @ head.T / temperature, -1)
    divergence = functional.kl_div(got, wanted, log_target=True, reduction="sum")
    text = functional.cross_entropy(x @ head.T, y, reduction="sum")
    expected = (1 - weight) * text + weight * temperature**2 * divergence
    same_with_gradients(summed_distillation(x, head, y, teacher_x, teacher_head, weight, temperature), expected, x, head)


def test_a_student_that_is_its_teacher_has_nothing_to_learn(tensors):
    x, head, y = tensors
    loss = summed_distillation(x, head, y, x.detach(), head.detach(), 1.0, 2.0)
    assert abs(loss.item()) < 1e-4
    assert all(float(grad.abs().max()) < 1e-5 for grad in torch.autograd.grad(loss, (x, head)))
