from dataclasses import replace

from prunescale.shape import ModelShape

# Two blocks of width 8, two query heads and one key-value head of 4, feed-forward of 16, vocabulary of 32.
TINY = ModelShape(
    n_layers=2, hidden_size=8, ffn_size=16, n_heads=2, n_kv_heads=1, head_dim=4, vocab_size=32, tied_embeddings=False
)
SMOLLM2_135M = ModelShape(
    n_layers=30, hidden_size=576, ffn_size=1536, n_heads=9, n_kv_heads=3, head_dim=64, vocab_size=49152, tied_embeddings=True
)


def test_parameters_by_group():
    # attention: query and output 8 x 8 each, key and value 8 x 4 each: 64 + 64 + 32 + 32 = 192 a block
    # feed-forward: gate, up and down 8 x 16 each:                      3 * 128           = 384 a block
    # norms: two of width 8 a block, one at the end:                    (2 * 2 + 1) * 8   = 40
    assert TINY.n_params_attention == 384
    assert TINY.n_params_ffn == 768
    assert TINY.n_params_norm == 40
    assert TINY.n_params_non_embedding == 384 + 768 + 40
    # embedding and head: 32 x 8 each
    assert TINY.n_params_embedding == TINY.n_params_head == 256
    assert TINY.n_params_total == 1192 + 512
    # linear: attention, feed-forward and head, without norms and embedding
    assert TINY.n_params_linear == 384 + 768 + 256


def test_a_tied_head_costs_no_parameters_but_counts_as_a_linear_layer():
    tied = replace(TINY, tied_embeddings=True)
    assert tied.n_params_head == 0
    assert tied.n_params_total == TINY.n_params_total - 256
    assert tied.n_params_linear == TINY.n_params_linear
    assert tied.n_params_non_embedding == TINY.n_params_non_embedding


def test_smollm2_135m():
    # attention: query and output 576 x 576, key and value 576 x 192: 2 * 331,776 + 2 * 110,592 =     884,736 a block
    # feed-forward: 3 * 576 * 1536                                                              =   2,654,208 a block
    # norms: 2 * 576                                                                            =       1,152 a block
    # a block 3,540,096; thirty of them and the last norm: 106,202,880 + 576                    = 106,203,456
    # embedding, tied: 49152 * 576                                                              =  28,311,552
    assert SMOLLM2_135M.n_params_non_embedding == 106_203_456
    assert SMOLLM2_135M.n_params_embedding == 28_311_552
    assert SMOLLM2_135M.n_params_head == 0
    assert SMOLLM2_135M.n_params_total == 134_515_008
    # linear: thirty times 3,538,944 = 106,168,320, and the head's 28,311,552
    assert SMOLLM2_135M.n_params_linear == 134_479_872


def test_dropping_blocks_drops_their_share():
    # six of thirty blocks: 6 * 3,540,096 = 21,240,576, a pruning rate of just under a fifth
    pruned = replace(SMOLLM2_135M, n_layers=24)
    assert SMOLLM2_135M.n_params_non_embedding - pruned.n_params_non_embedding == 21_240_576
    assert pruned.n_params_total == 113_274_432


def test_operations_per_token():
    # two per linear weight: 2 * 1408 = 2816. Attention, sequence of 10: a query meets 5 keys on average (half, as it is causal);
    # scores and weighted values take 2 operations each per key and channel: 2 * 2 * 5 * 8 channels = 160 a block, 320 in two.
    assert TINY.forward_flops_per_token(sequence_length=10) == 2816 + 320
    assert TINY.flops_per_token(sequence_length=10) == 3 * 3136
    # 2 * 134,479,872 = 268,959,744; attention 30 * 2 * 2 * 256 * 576 = 17,694,720
    assert SMOLLM2_135M.forward_flops_per_token(512) == 268_959_744 + 17_694_720
