"""Laws fitted to what others have published: scaling runs, training curves, and scores of pruned models."""
