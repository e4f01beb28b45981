"""What `prunescale train` prints fits a screen."""

from prunescale.cli.train import of_domains


def test_of_many_domains_the_highest_losses_are_shown():
    losses = {f"part-{number}": float(number) for number in range(30)}
    text = of_domains(losses)
    assert text.startswith("part-29 29.0000, part-28 28.0000")
    assert "part-21 21" not in text
    assert "22 more that are lower" in text


def test_few_are_all_shown_in_their_order():
    assert of_domains({"a": 1.0, "b": 2.0}) == "a 1.0000, b 2.0000"
