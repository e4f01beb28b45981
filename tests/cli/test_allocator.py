import platform
import subprocess
import sys

import pytest

ALLOCATIONS = """
import resource
import sys

import torch

from prunescale.cli.allocator import keep_freed_memory

assert sys.argv[1] == "as it is" or keep_freed_memory()
for _ in range(30):
    torch.ones(8 * 2**20)  # 32 MB, written to and freed
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_used_again_without_page_faults():
    # 30 times 32 MB are 245,760 pages of 4 kB: faulted in each time, or once, 8,192.
    def page_faults(how: str) -> int:
        return int(subprocess.check_output([sys.executable, "-c", ALLOCATIONS, how], text=True))

    assert page_faults("as it is") - page_faults("kept") > 150_000


def test_a_c_library_that_cannot_be_told_is_left_alone(monkeypatch):
    import ctypes

    from prunescale.cli.allocator import keep_freed_memory

    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert keep_freed_memory() is False
