"""What comes with prunescale and makes it work offline: three small models, text to train on and to measure on, measured runs."""

from pathlib import Path

from prunescale.errors import AssetError

PREFIX = "embedded:"
"""What has a path that begins so is one of ours: embedded:1m, embedded:post-training, embedded:p2, embedded:depth."""

ROOT = Path(__file__).parent / "assets"
MODELS = ("0.4m", "1m", "2.7m")
"""By parameters outside the embedding, smallest first."""

TEXTS = ("post-training", "held-out")
RUNS = ("p2", "p2-smollm2", "p2-variants")
"""Stores of the runs of studies: a family of models pruned in the same ways, another model so pruned, and what differs from the
family's runs in a single thing."""

WAYS = ("depth", "width", "2:4-magnitude", "2:4-sparsegpt")
FITS = (*WAYS, *(f"{way}-floor" for way in WAYS))
"""Fits to those runs, a way of pruning each: by the tokens-per-parameter law, and with -floor by the law control-floor."""


def model_folder(name: str) -> Path:
    """The folder of an embedded model. Raises AssetError for a name that isn't one, and for a model that is not there."""
    refuse_unknown(name, MODELS, "model")
    folder = ROOT / "models" / name
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        refuse_missing(folder / file)
    return folder


def text_file(name: str) -> Path:
    """An embedded text. Raises AssetError as model_folder does."""
    refuse_unknown(name, TEXTS, "text")
    return refuse_missing(ROOT / "text" / f"{name}.txt")


def runs_file(name: str) -> Path:
    """The store of a study's runs. Raises AssetError as model_folder does."""
    refuse_unknown(name, RUNS, "store of runs")
    return refuse_missing(ROOT / "runs" / f"{name}.db")


def fit_file(name: str) -> Path:
    """A fit to the runs of a study. Raises AssetError as model_folder does."""
    refuse_unknown(name, FITS, "fit")
    return refuse_missing(ROOT / "fits" / f"{name.replace(':', '-')}.json")


def refuse_unknown(name: str, names: tuple[str, ...], what: str) -> None:
    if name not in names:
        known = f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
        raise AssetError(f"There is no embedded {what} {name!r}: choose {known}.")


def refuse_missing(file: Path) -> Path:
    if not file.is_file():
        raise AssetError(f"A file that comes with prunescale is missing, {file}: install prunescale again.")
    return file
