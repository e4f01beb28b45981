"""Whether a value is what the annotation of a dataclass field says, and that annotation in words."""

from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin


def fits(value: object, annotation: Any) -> bool:
    """Whether a value is what the annotation of a dataclass field says; an int will do for a float, a bool for neither."""
    origin = get_origin(annotation)
    if origin is UnionType:
        return any(fits(value, choice) for choice in get_args(annotation))
    if origin is Literal:
        return value in get_args(annotation)
    if annotation in (int, float):
        return isinstance(value, int | annotation) and not isinstance(value, bool)
    return isinstance(value, origin or annotation)


def in_words(annotation: Any) -> str:
    """What `fits` wants, for an error message."""
    choices = get_args(annotation)
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, choices))
    if get_origin(annotation) is UnionType:
        return " or ".join(map(in_words, choices))
    words = {int: "an integer", float: "a number", str: "a string", dict: "a table", tuple: "a list", NoneType: "nothing"}
    return words.get(get_origin(annotation) or annotation, "a section")


def read(text: str, annotation: Any) -> Any:
    """The value that a text stands for in a field of strings or numbers; an empty text is None where the field allows it.

    Raises ValueError where it stands for none."""
    choices = get_args(annotation) if get_origin(annotation) is UnionType else (annotation,)
    if not text and NoneType in choices:
        return None
    (kind,) = (choice for choice in choices if choice is not NoneType)
    value = kind(text) if kind in (int, float) else text
    if not fits(value, annotation):
        raise ValueError(f"{text!r} is not {in_words(annotation)}")
    return value
