"""prunescale rehearse: the verdict first, then what it rests on."""

import json
from pathlib import Path

import pytest

from prunescale.laws import P2Law
from prunescale.planner import tokens_worth_doubling

# Invented: a token term with a small exponent, of which little is seen within 1B tokens.
WEAK = {"gamma": -1.2, "delta": 0.1, "N_C": 4.75, "alpha": 0.3, "D_C": 1.99, "beta": 0.1, "E": 0.6}
SWEEP = (
    "--sizes",
    "0.5B,1B,2B,3B,5B,8B",
    "--rates",
    "0.15,0.25,0.35",
    "--tokens",
    "1B",
    "--points",
    8,
    "--noise",
    "0.5%",
    "--studies",
    40,
)
ASK = ("--ask-size", "8B", "--ask-rate", 0.25, "--min-gain", 0.0035)
HOFFMANN = ("rehearse", "--preset", "hoffmann-2022", "--sizes", "100M,300M,1B,3B", "--studies", 20)


def assumed(**changes):
    return [part for name, value in {**WEAK, **changes}.items() for part in ("--constant", f"{name}={value}")]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_verdict_comes_first_then_answers_constants_and_what_would_help(command):
    ended = command("rehearse", *assumed(), *SWEEP, *ASK)
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == "This sweep cannot answer: tokens worth spending on 8B at a rate of 0.25."
    assert "a law may fit well and predict the loss well, and still not say when to stop." in " ".join(lines)
    assert "Sweep    18 runs, 144 points, 18B tokens, 2.63e+20 FLOPs" in lines
    order = [ended.out.index(words) for words in ("\nAnswers\n", "\nConstants\n", "\nWhat would help with tokens worth spending")]
    assert order == sorted(order)
    assert "one more pruning rate: 0.45" in ended.out
    assert ended.err == ""


def test_a_sweep_that_answers_needs_no_help(command):
    ended = command("rehearse", *assumed(beta=0.3, D_C=6.17), *SWEEP, *ASK)
    assert ended.out.startswith("This sweep answers: tokens worth spending on 8B at a rate of 0.25.\n")
    assert "What would help" not in ended.out


def test_one_rate_is_refused_whatever_the_noise(command):
    ended = command("rehearse", *assumed(), *SWEEP, "--rates", 0.25, *ASK)
    assert ended.code == 0
    text = " ".join(ended.out.split())
    assert (
        "However little noise there is, the P2 law cannot be fitted to 1 pruning rate: 1 of gamma, N_C, D_C, E would not be"
        in text
    )
    assert "\nAnswers\n" not in ended.out


def test_as_json(command):
    content = json.loads(command("rehearse", *assumed(), *SWEEP, *ASK, "--json").out)
    assert content["verdict"] == "cannot"
    tokens, loss = content["answers"]
    assert tokens["low"] < tokens["truth"] < tokens["high"]
    assert tokens["within"] > tokens["asked_within"] == 2
    assert (loss["verdict"], loss["unit"]) == ("answers", "nats")
    assert content["assumed"] == WEAK
    assert content["noise"] == {"between_runs": 0.005, "within_run": 0.001, "correlation": 0.5}
    assert set(content["constants"]) == set(WEAK)
    assert {"words", "error", "verdict", "gain", "extra_flops"} <= set(content["improvements"][0])


def test_a_fit_gives_the_constants_and_the_noise(command, curves):
    runs = curves()
    assert command("fit", runs, "--out", "fit.json", "--no-intervals").code == 0
    options = ("--sizes", "0.5M,1M,4M", "--rates", "0.25,0.5", "--tokens", "300k", "--first", "10k", "--studies", 20)
    content = json.loads(command("rehearse", "--fit", "fit.json", *options, "--min-gain", 0.02, "--json").out)
    law = P2Law.from_constants(json.loads(Path("fit.json").read_text())["constants"])
    # The runs are a law's exactly, so there is no noise, and the answers are the truth. Asked about: the largest and the highest.
    assert content["noise"] == {"between_runs": 0, "within_run": 0, "correlation": 0}
    truth = tokens_worth_doubling(law, {"n_params_before": 4e6, "pruning_rate": 0.5, "loss_before": 2.5}, 0.02)
    assert content["answers"][0]["median"] == pytest.approx(float(truth), rel=1e-6)
    assert content["verdict"] == "answers"
    louder = json.loads(command("rehearse", "--fit", "fit.json", *options, "--noise", "0.3%", "--json").out)
    assert louder["noise"] == {"between_runs": pytest.approx(0.003), "within_run": 0, "correlation": 0}


def test_the_best_size_and_a_constant(command):
    runs = ("--vary", "n_tokens=1B,3B,10B,30B", "--ask-compute", 1e23, "--ask-constant", "alpha")
    content = json.loads(command(*HOFFMANN, *runs, "--json").out)
    assert [each["question"].partition(" ")[0] for each in content["answers"]] == ["best", "loss", "constant"]
    assert content["n_runs"] == content["n_points"] == 16
    assert command(*HOFFMANN, *runs).code == 0


def test_a_constant_alone(command):
    content = json.loads(command(*HOFFMANN, "--tokens", "30B", "--ask-constant", "beta", "--json").out)
    assert [each["question"] for each in content["answers"]] == ["constant beta"]
    assert content["answers"][0]["asked_within"] == pytest.approx(0.028)


def test_a_design_in_a_file_is_the_same_as_in_options(command):
    rows = [(size, tokens) for size in (1e8, 3e8, 1e9, 3e9) for tokens in (1e9, 1e10, 1e11)]
    Path("design.csv").write_text("n_params_total,n_tokens\n" + "".join(f"{n},{d}\n" for n, d in rows))
    by_file = command("rehearse", "--preset", "hoffmann-2022", "--design", "design.csv", "--studies", 20, "--json")
    by_options = command(*HOFFMANN, "--tokens", "100B", "--first", "1B", "--points", 3, "--json")
    one, other = (json.loads(ended.out)["answers"][0] for ended in (by_file, by_options))
    names = ("truth", "low", "median", "high")
    assert [one[name] for name in names] == pytest.approx([other[name] for name in names], rel=1e-6)  # tokens differ by rounding


def test_a_law_of_ones_own(command):
    Path("law.py").write_text(
        "BOUNDS = {'gap': (0.01, 3.0), 'rate': (0.01, 2.0)}\n"
        "def halving(n_tokens, loss_before, gap, rate):\n    return loss_before + gap * (n_tokens / 1e6) ** -rate\n"
    )
    options = ("--constant", "gap=0.5", "--constant", "rate=0.4", "--tokens", "100M", "--seeds", 3, "--studies", 20)
    ended = command("rehearse", "--law", "law.py:halving", *options)
    assert ended.out.startswith("This sweep answers: tokens worth spending on the model.")
    assert "3 runs, 60 points, 300M tokens\n" in ended.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sizes", "1B"), "No value of gamma, delta, N_C, alpha, D_C, beta, E of the P2 law: give each by --constant"),
        (("--preset", "chinchilla"), "There is no preset 'chinchilla': choose hoffmann-2022"),
        (("--preset", "hoffmann-2022", "--fit", "fit.json"), "Give --fit or --preset, not both"),
        (("--preset", "hoffmann-2022", "--law", "p2"), "Give --preset or --law, not both"),
        (("--preset", "hoffmann-2022", "--constant", "zeta=1"), "The Hoffmann law has no constant zeta"),
        (("--preset", "hoffmann-2022", "--sizes", "1B,2B"), "Say what each run is trained on with --tokens"),
        (("--preset", "hoffmann-2022", "--tokens", "1B"), "The Hoffmann law needs values of n_params_total, n_tokens; give --sizes"),
        ((*HOFFMANN[1:], "--tokens", "1B", "--rates", 0.5), "The Hoffmann law has no input for --rates"),
        ((*HOFFMANN[1:], "--tokens", "1B", "--vary", "x=1"), "The Hoffmann law has no input x"),
        ((*HOFFMANN[1:], "--tokens", "1B", "--vary", "x"), "'x' is no input with numbers; write it like sparsity=0,0.5"),
        ((*HOFFMANN[1:], "--tokens", "1B", "--ask", "x=1"), "The Hoffmann law has no input x"),
        ((*HOFFMANN[1:], "--tokens", "1B", "--points", 1), "A curve needs two --points or more"),
        ((*HOFFMANN[1:], "--tokens", "1B", "--noise", "much"), "'much' is no share; write it like 0.2% or 0.002"),
        ((*HOFFMANN[1:], "--tokens", "1B", "--noise", "-1%"), "The noise between runs is a share of the loss from 0 to 0.5"),
        ((*HOFFMANN[1:], "--tokens", "1B", "--seed", -1), "--seed is at least 0, got -1"),
        ((*HOFFMANN[1:], "--tokens", "1B", "--within", 1), "a factor above 1, got 1"),
        ((*HOFFMANN[1:], "--tokens", "1B", "--design", "d.csv"), "Give --design, or --sizes, --rates, --vary and --tokens, not both"),
        (("--preset", "hoffmann-2022", "--sizes", "0,1B", "--tokens", "1B"), "A planned n_params_total must be above 0 and finite, got 0"),
        (("--preset", "hoffmann-2022", "--sizes", "big", "--tokens", "1B"), "'big' is no number; write numbers like 0.25, 20M or 1.5B"),
        (("--preset", "hoffmann-2022", "--design", "nowhere.csv"), "Cannot read nowhere.csv (No such file or directory)"),
        (("--preset", "hoffmann-2022", "--design", "short.csv"), "n_params_total, n_tokens; n_tokens missing"),
        (("--preset", "hoffmann-2022", "--design", "words.csv"), "words.csv has 'many' for n_tokens in line 3: a number is needed"),
        (("--fit", "nowhere.json", "--sizes", "1B"), "Cannot read nowhere.json"),
    ],
)  # fmt: skip
def test_what_cannot_be_rehearsed_is_refused_in_one_line(refused, arguments, words):
    Path("short.csv").write_text("n_params_total\n1e9\n")
    Path("words.csv").write_text("n_params_total,n_tokens\n1e9,1e9\n1e9,many\n")
    assert words in refused("rehearse", *arguments)


def test_constants_from_far_smaller_models_are_told_of(command):
    """They were taken for true at two hundred times the size without a word."""
    asked = ("--rates", "0.25,0.5", "--studies", 20, "--points", 4, "--json")
    far = json.loads(command("rehearse", "--fit", "embedded:depth", "--sizes", "1B,3B", "--tokens", "1B", *asked).out)
    assert [check["code"] for check in far["checks"]] == ["far"]
    near = json.loads(command("rehearse", "--fit", "embedded:depth", "--sizes", "4M,30M", "--tokens", "60M", *asked).out)
    assert near["checks"] == []
