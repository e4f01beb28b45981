import time

import pytest
import torch

from prunescale.training import peak
from prunescale.training.peak import matmul_rate

CPU = torch.device("cpu")


def test_a_product_of_n_cubed_at_a_known_speed(monkeypatch):
    # A clock on which a product of size n takes n^3 / 1e12 seconds: two operations for each, so 2e12 a second.
    sizes, clock = [], [0.0]
    monkeypatch.setattr(peak, "now", lambda device: clock[0])

    def product(left, right, *, out):
        sizes.append(len(left))
        clock[0] += len(left) ** 3 / 1e12

    monkeypatch.setattr(torch, "mm", product)
    matmul_rate.cache_clear()
    assert matmul_rate(CPU, torch.float32) == pytest.approx(2e12)
    assert set(sizes) == set(peak.SIZES["cpu"])

    sizes.clear()
    matmul_rate(CPU, torch.float32)
    assert not sizes  # once a process

    # A thousand times slower: the smallest takes 0.017 s, the next is enough, and is not repeated but for the one that makes ready.
    monkeypatch.setattr(
        torch,
        "mm",
        lambda left, right, *, out: product(left, right, out=out) or clock.__setitem__(0, clock[0] + len(left) ** 3 / 1e9),
    )
    matmul_rate.cache_clear()
    assert matmul_rate(CPU, torch.float32) == pytest.approx(2e9, rel=1e-2)
    assert (max(sizes), sizes.count(512)) == (512, 2)
    matmul_rate.cache_clear()


def test_the_first_product_of_a_process_is_slow_and_does_not_count(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(peak, "now", lambda device: clock[0])

    def product(left, right, *, out):
        clock[0] += len(left) ** 3 / 1e12 + (0.05 if clock[0] == 0 else 0)

    monkeypatch.setattr(torch, "mm", product)
    matmul_rate.cache_clear()
    assert matmul_rate(CPU, torch.float32) == pytest.approx(2e12)
    matmul_rate.cache_clear()


def test_it_is_quick_and_no_nonsense():
    matmul_rate.cache_clear()
    started = time.perf_counter()
    rate = matmul_rate(CPU, torch.float32)
    assert time.perf_counter() - started < 2  # 0.1 s by itself; others may be using the machine
    assert 1e8 < rate < 1e14


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_faster_than_any_cpu():
    matmul_rate.cache_clear()
    device = torch.device("cuda")
    torch.ones(8, device=device) @ torch.ones(8, device=device)  # the context
    started = time.perf_counter()
    rate = matmul_rate(device, torch.bfloat16)
    assert time.perf_counter() - started < 1
    assert rate > 5e12
