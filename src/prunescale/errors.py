"""What can go wrong in the world, one class a kind. Each message is one sentence or two for the person who ran the command:
what was got, what is needed and, if it isn't plain, what to do."""

from collections.abc import Iterable

LONGEST_MESSAGE = 2_000
"""Characters: a message may quote a file of any length."""


class PrunescaleError(Exception):
    """Anything that the person who called us can put right. Commands show its message in one line and exit with code 2."""

    def __str__(self) -> str:
        return in_one_line(super().__str__())


class ModelError(PrunescaleError):
    """A folder or file that is no model, or a model whose architecture we don't know."""


class PruningError(PrunescaleError):
    """A pruning that the model does not allow, such as a rate that removes no block or all of them."""


class DataError(PrunescaleError):
    """Text or tokens that are missing, empty, too short, or made with another vocabulary."""


class TrainingError(PrunescaleError):
    """Training that cannot go on, such as a loss that is not a number."""


class TrainingStopped(PrunescaleError):
    """A training that was asked to stop before its end. It goes on from its checkpoint, where it has a folder."""


class RecipeError(PrunescaleError):
    """A recipe with a missing, unknown or impossible entry."""


class StoreError(PrunescaleError):
    """A store of runs that cannot be read, or a run that it does not hold."""


class FitError(PrunescaleError):
    """Runs from which the constants asked for cannot be found."""


class AssetError(PrunescaleError):
    """A file that comes with prunescale and is not there."""


def in_one_line(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """A text that may quote anything, for a terminal: legible, and the middle of a long one left out."""
    return shortened(legible(shortened(text, longest)), longest)  # an escape is longer than what it stands for


def shortened(text: str, longest: int) -> str:
    """With the middle left out where it is longer."""
    return text if len(text) <= longest else f"{text[: longest * 3 // 4]} ... {text[5 - longest // 4 :]}"


def legible(text: str) -> str:
    """With its ends of lines as blanks, and all else that a terminal might obey (or that is no character) as an escape: a name out of
    a file must not move the cursor, or turn the line around."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else " " if each.isspace() else ascii(each)[1:-1] for each in text)


def perhaps(name: str, known: Iterable[str]) -> str:
    """A question that names what is spelt nearly so, to stand at the end of a sentence; empty where nothing is."""
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
