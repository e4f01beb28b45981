"""What can go wrong in the world, one class a kind. Each message is one sentence or two for the person who ran the command:
what was got, what is needed and, if it isn't plain, what to do."""


class PrunescaleError(Exception):
    """Anything that the person who called us can put right. Commands show its message in one line and exit with code 2."""


class ModelError(PrunescaleError):
    """A folder or file that is no model, or a model whose architecture we don't know."""


class PruningError(PrunescaleError):
    """A pruning that the model does not allow, such as a rate that removes no block or all of them."""


class DataError(PrunescaleError):
    """Text or tokens that are missing, empty, too short, or made with another vocabulary."""


class TrainingError(PrunescaleError):
    """Training that cannot go on, such as a loss that is not a number."""


class RecipeError(PrunescaleError):
    """A recipe with a missing, unknown or impossible entry."""


class StoreError(PrunescaleError):
    """A store of runs that cannot be read, or a run that it does not hold."""


class FitError(PrunescaleError):
    """Runs from which the constants asked for cannot be found."""


class AssetError(PrunescaleError):
    """A file that comes with prunescale and is not there."""
