"""How many parameters a decoder-only transformer has, by group, and what a token costs it. Arithmetic only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a Llama-shaped transformer: gated feed-forward, grouped-query attention, norms in each block, one at the end.

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
    hidden_norms: int = 2
    """Norms of a block over the hidden size."""
    head_norms: int = 0
    """Norms of a block over the size of one head: of the queries and of the keys."""
    attention_norm: bool = False
    """Whether a block has a norm over all its queries and one over all its keys."""
    query_bias: bool = False
    """Whether the projections to queries, keys and values have biases."""
    output_bias: bool = False
    """Whether the output projection of the attention has one."""
    ffn_bias: bool = False
    """Whether the three projections of the feed-forward have."""

    @property
    def n_params_embedding(self) -> int:
        return self.vocab_size * self.hidden_size

    @property
    def n_params_head(self) -> int:
        """Parameters of the output projection that are its own: none where it is tied to the embedding."""
        return 0 if self.tied_embeddings else self.vocab_size * self.hidden_size

    @property
    def query_size(self) -> int:
        return self.n_heads * self.head_dim

    @property
    def key_value_size(self) -> int:
        return self.n_kv_heads * self.head_dim

    @property
    def n_weights_attention(self) -> int:
        return self.n_layers * 2 * self.hidden_size * (self.query_size + self.key_value_size)

    @property
    def n_weights_ffn(self) -> int:
        return self.n_layers * 3 * self.hidden_size * self.ffn_size

    @property
    def n_params_attention(self) -> int:
        """Weights and biases; norms are counted apart."""
        biases = self.query_bias * (self.query_size + 2 * self.key_value_size) + self.output_bias * self.hidden_size
        return self.n_weights_attention + self.n_layers * biases

    @property
    def n_params_ffn(self) -> int:
        """Weights and biases."""
        return self.n_weights_ffn + self.n_layers * self.ffn_bias * (2 * self.ffn_size + self.hidden_size)

    @property
    def n_params_norm(self) -> int:
        over_heads = self.head_norms * self.head_dim + self.attention_norm * (self.query_size + self.key_value_size)
        return self.n_layers * (self.hidden_norms * self.hidden_size + over_heads) + self.hidden_size

    @property
    def n_params_non_embedding(self) -> int:
        """Parameters outside the embedding and the head: the N0 of the P2 law, and what a pruning rate is a share of."""
        return self.n_params_attention + self.n_params_ffn + self.n_params_norm

    @property
    def n_params_block(self) -> int:
        """Parameters of one block."""
        return (self.n_params_non_embedding - self.hidden_size) // self.n_layers

    @property
    def n_params_linear(self) -> int:
        """Weights of the linear layers, output projection included even where tied: the N of the average-parameter law."""
        return self.n_weights_attention + self.n_weights_ffn + self.vocab_size * self.hidden_size

    @property
    def n_params_total(self) -> int:
        return self.n_params_embedding + self.n_params_head + self.n_params_non_embedding

    def forward_flops_per_token(self, sequence_length: int) -> int:
        """Operations of one forward pass, per token: two per linear weight, and attention over half the sequence on average
        (scores and weighted values, causal). Norms, activations and the embedding look-up are left out."""
        attention = 2 * self.n_layers * self.query_size * sequence_length
        return 2 * self.n_params_linear + attention

    def flops_per_token(self, sequence_length: int) -> int:
        """Operations of training, per token: forward, and twice as much backward."""
        return 3 * self.forward_flops_per_token(sequence_length)
