"""prunescale: scaling laws for pruned language models."""

__version__ = "0.1.0"
