"""The inputs that laws read: one table of symbols, units and meanings. A user's own law may read others besides."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    symbol: str
    unit: str
    meaning: str


COLUMNS: dict[str, Column] = {
    "n_params_before": Column("N0", "parameters", "outside embeddings and head, before pruning"),
    "n_params_total": Column("N", "parameters", "all, embeddings included, what is tied counted once"),
    "n_params_non_embedding": Column("N", "parameters", "outside embeddings and head"),
    "n_params_nonzero": Column("N", "parameters", "those that are not zero at the end of training"),
    "n_params_linear": Column("N_dense", "parameters", "weights of the linear layers, LM head included, embedding table not"),
    "n_params_average": Column("N_avg", "parameters", "unpruned weights of the linear layers, averaged over the tokens seen"),
    "n_params_final": Column("N_final", "parameters", "unpruned weights of the linear layers at the end of training"),
    "n_tokens": Column("D", "tokens", "seen by this run: in pre-training, or since pruning where a trained model was pruned"),
    "unique_tokens": Column("U_D", "tokens", "different ones among those seen; the others repeat them"),
    "pruning_rate": Column("rho", "share, 0 to 1", "of the parameters outside embeddings and head that pruning removes"),
    "sparsity": Column("S", "share, 0 to 1", "of zeros among the weights that could be pruned, at the end of training"),
    "loss_before": Column("L0", "nats per token", "held-out loss before pruning"),
    "loss_control": Column(
        "L_dense", "nats per token", "held-out loss of the dense control after as many tokens in the same phase"
    ),
}
