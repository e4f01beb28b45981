"""Decoding: the tokens are those of transformers' own generate, each time, and on a GPU those of a recorded step too."""

import pytest
import torch

from prunescale.errors import ModelError
from prunescale.inference import Decoder, refuse_long_text

LENGTH, NEW = 9, 12


def prompt(batch=3):
    return torch.randint(1, 257, (batch, LENGTH), generator=torch.Generator().manual_seed(3))


def generated(model, prompt_BL):
    """What transformers decodes greedily, without an end of the text."""
    ids_BL = model.generate(prompt_BL, do_sample=False, max_new_tokens=NEW, min_new_tokens=NEW, eos_token_id=None, pad_token_id=0)
    return ids_BL[:, LENGTH:]


def decoded(decoder):
    decoder.reset()
    decoder.prefill()
    return decoder.decode().clone()


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3_text", "qwen3"])
def test_the_tokens_are_those_of_generate(make_family_model, family):
    model = make_family_model(family)  # some with a sliding window of 7, shorter than the prompt
    expected = generated(model, prompt())
    assert len(expected.unique()) > 3
    decoder = Decoder(model, prompt(), NEW)
    assert torch.equal(decoded(decoder), expected)
    assert torch.equal(decoded(decoder), expected)  # nothing of the first time is left in the cache


def test_what_cannot_be_compiled_runs_as_it_is(make_model, monkeypatch):
    def fails(*arguments, **options):
        raise RuntimeError("no compiler\nhere")

    monkeypatch.setattr(torch, "compile", lambda model, **options: fails)
    decoder = Decoder(make_model(), prompt(), NEW)
    decoder.compile_()
    assert not decoder.compiled
    assert decoder.notes == ["The step is not compiled: no compiler"]
    assert torch.equal(decoded(decoder), generated(make_model(), prompt()))


def test_a_compiled_step_is_used_after_a_warm_up(make_model, monkeypatch):
    calls = []
    monkeypatch.setattr(torch, "compile", lambda model, **options: lambda *a, **k: calls.append(1) or model(*a, **k))
    decoder = Decoder(make_model(), prompt(), NEW)
    decoder.compile_()
    assert decoder.compiled
    assert len(calls) == 2
    assert torch.equal(decoded(decoder), generated(make_model(), prompt()))
    assert len(calls) == 2 + NEW - 1


@pytest.mark.parametrize(("length", "new"), [(0, 5), (4, 1)])
def test_nothing_to_decode_is_refused(make_model, length, new):
    with pytest.raises(ModelError, match="at least 1 prompt token and 2 new ones"):
        refuse_long_text(make_model().config, length, new)


def test_more_than_the_model_takes_is_refused(make_model):
    with pytest.raises(ModelError, match="takes 128 tokens, and 120 of the prompt with 9 new ones are 129"):
        Decoder(make_model(), torch.ones(1, 120, dtype=torch.long), 9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("compiled", [False, True])
def test_a_recorded_step_decodes_the_same(make_model, compiled):
    expected = generated(make_model(), prompt())
    decoder = Decoder(make_model().cuda(), prompt().cuda(), NEW)
    if compiled:
        decoder.compile_()
    decoder.record_()
    assert (decoder.compiled, decoder.recorded, decoder.notes) == (compiled, True, [])
    for _ in range(2):
        assert torch.equal(decoded(decoder).cpu(), expected)
