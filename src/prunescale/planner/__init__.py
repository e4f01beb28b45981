"""Planning with a fitted law: how many tokens are worth their cost, and what loss to expect."""

from prunescale.planner.budget import Budget, BudgetStatus, plan
from prunescale.planner.forecast import Forecast, forecast
from prunescale.planner.gain import loss_at, tokens_worth_doubling, tokens_worth_hour

__all__ = ["Budget", "BudgetStatus", "Forecast", "forecast", "loss_at", "plan", "tokens_worth_doubling", "tokens_worth_hour"]
