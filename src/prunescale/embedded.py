"""What comes with prunescale and makes it work offline: three small models, text to post-train them on, text to measure on."""

from pathlib import Path

from prunescale.errors import AssetError

PREFIX = "embedded:"
"""A model or text whose path begins so is one of ours: embedded:1m, embedded:post-training."""

ROOT = Path(__file__).parent / "assets"
MODELS = ("0.4m", "1m", "2.7m")
"""By parameters outside the embedding, smallest first."""

TEXTS = ("post-training", "held-out")


def model_folder(name: str) -> Path:
    """The folder of an embedded model. Raises AssetError for a name that isn't one, and for a model that is not there."""
    return existing(name, MODELS, ROOT / "models" / name, "model.safetensors", "model")


def text_file(name: str) -> Path:
    """An embedded text. Raises AssetError as model_folder does."""
    return existing(name, TEXTS, ROOT / "text" / f"{name}.txt", "", "text")


def existing(name: str, names: tuple[str, ...], place: Path, file: str, what: str) -> Path:
    if name not in names:
        raise AssetError(f"There is no embedded {what} {name!r}: choose {', '.join(names[:-1])} or {names[-1]}.")
    if not (place / file).is_file():
        raise AssetError(f"The embedded {what} {name!r} should be at {place / file} and is not there: install prunescale again.")
    return place
