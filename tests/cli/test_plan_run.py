"""prunescale plan --run: a run of a store carried on by the end of its own curve."""

import json

import pytest

from prunescale.runs import Store, read_runs, runs_to_json

RUN = "d512 width-activation 0.245"


def planned(command, *more):
    ended = command("plan", "embedded:p2", "--run", RUN, *more)
    assert (ended.code, ended.err) == (0, "")
    return ended.out


def test_it_says_when_to_stop_and_how_far_to_believe_it(work, command):
    answer = json.loads(planned(command, "--min-gain", "0.005", "--tokens", "120M", "--json"))
    assert (answer["run"], answer["over"]) == (RUN, "loss_control")
    assert [check["code"] for check in answer["checks"]] == (["far"] if answer["tokens"] > 180e6 else [])
    low, high = answer["tokens_interval"]
    assert 60e6 < low < answer["tokens"] < high
    forecast = answer["forecast"]
    assert forecast["excess_interval"][0] < forecast["excess"] < forecast["excess_interval"][1] < answer["excess"]
    text = planned(command, "--min-gain", "0.005")
    assert "falling as tokens^-0.2" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "the 60M that it has had" in planned(command, "--min-gain", "0.05")


def test_without_a_control_it_is_over_the_loss_before_pruning_and_says_so(work, command):
    pruned = [run for run in read_runs("embedded:p2") if run.name == "d640 block-influence 0.500"]
    with Store.create("alone.db") as store:
        store.add(*pruned)
    for source in ("alone.db", "alone.json"):
        if source.endswith(".json"):
            (work / source).write_text(runs_to_json(pruned))
        ended = command("plan", source, "--run", pruned[0].id[:6])
        assert ended.code == 0
        assert "nats over the loss before pruning" in ended.out
        assert "[no-control]" in ended.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--run", "d5"], "runs in embedded:p2 have 'd5' in the name or at the beginning of the id (d512"),
        (["--run", ""], "FIT"),
        (["--run", RUN, "--rate", "0.5", "--loss-control", "2.3"], "leave out --rate, --loss-control"),
        (["--run", RUN, "--min-gain", "-1"], "The least gain must be"),
    ],
)
def test_what_is_asked_wrongly_is_refused_in_a_line(work, command, arguments, words):
    ended = command("plan", "embedded:p2", *arguments)
    assert ended.code == 2
    assert ended.out == ""
    if words != "FIT":
        assert words in " ".join(ended.err.split())
