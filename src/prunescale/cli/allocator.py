"""The C library's allocator, set for training on a CPU."""

MMAP_MAX, TRIM_THRESHOLD = -4, -1  # of glibc's malloc.h
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Make this process keep the memory that it frees, for its next allocation; whether the C library could be told.

    glibc takes blocks as large as our activations from the system one by one and gives each back when it is freed: every step
    faults all of its pages in anew, which took a quarter of the time of training our smallest model (benchmarks/results.md).
    Other C libraries have no mallopt, and need none of this.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, NEVER))
