"""How many parameters a decoder-only transformer has, by group, and what a token costs it. Arithmetic only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a Llama-shaped transformer: gated feed-forward, grouped-query attention, two norms a block, one at the end.

    Every group is counted, so that each law can pick its own N: Kaplan leaves the embeddings out, Hoffmann counts everything, the
    average-parameter law counts the linear layers with the head.
    """

    n_layers: int
    hidden_size: int
    ffn_size: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    tied_embeddings: bool

    @property
    def n_params_embedding(self) -> int:
        return self.vocab_size * self.hidden_size

    @property
    def n_params_head(self) -> int:
        """Parameters of the output projection that are its own: none where it is tied to the embedding."""
        return 0 if self.tied_embeddings else self.vocab_size * self.hidden_size

    @property
    def n_params_attention(self) -> int:
        query_and_output = 2 * self.hidden_size * self.n_heads * self.head_dim
        key_and_value = 2 * self.hidden_size * self.n_kv_heads * self.head_dim
        return self.n_layers * (query_and_output + key_and_value)

    @property
    def n_params_ffn(self) -> int:
        return self.n_layers * 3 * self.hidden_size * self.ffn_size

    @property
    def n_params_norm(self) -> int:
        return (2 * self.n_layers + 1) * self.hidden_size

    @property
    def n_params_non_embedding(self) -> int:
        """Parameters outside the embedding and the head: the N0 of the P2 law, and what a pruning rate is a share of."""
        return self.n_params_attention + self.n_params_ffn + self.n_params_norm

    @property
    def n_params_linear(self) -> int:
        """Weights of the linear layers, output projection included even where tied: the N of the average-parameter law."""
        return self.n_params_attention + self.n_params_ffn + self.vocab_size * self.hidden_size

    @property
    def n_params_total(self) -> int:
        return self.n_params_embedding + self.n_params_head + self.n_params_non_embedding

    def forward_flops_per_token(self, sequence_length: int) -> int:
        """Operations of one forward pass, per token: two per linear weight, and attention over half the sequence on average
        (scores and weighted values, causal). Norms, activations and the embedding look-up are left out."""
        attention = 2 * self.n_layers * self.n_heads * self.head_dim * sequence_length
        return 2 * self.n_params_linear + attention

    def flops_per_token(self, sequence_length: int) -> int:
        """Operations of training, per token: forward, and twice as much backward."""
        return 3 * self.forward_flops_per_token(sequence_length)
