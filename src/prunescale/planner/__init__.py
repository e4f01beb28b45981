"""Planning with a fitted law: how many tokens are worth their cost, which size or sparsity is best, and what loss to expect."""

from prunescale.planner.budget import Budget, BudgetStatus, plan
from prunescale.planner.choice import Choice, choose_size, choose_sparsity
from prunescale.planner.forecast import Forecast, forecast
from prunescale.planner.gain import loss_at, tokens_worth_doubling, tokens_worth_hour
from prunescale.planner.improve import Improvement, improvements
from prunescale.planner.noise import Noise, noise_of
from prunescale.planner.onward import Onward, onward
from prunescale.planner.optimum import best_size, best_sparsity
from prunescale.planner.planned import Planned, crossed
from prunescale.planner.questions import Question, ask_constant, ask_loss, ask_size, ask_sparsity, ask_tokens
from prunescale.planner.rehearsal import Answered, Rehearsal, Verdict, rehearse

__all__ = [
    "Answered",
    "Budget",
    "BudgetStatus",
    "Choice",
    "Forecast",
    "Improvement",
    "Noise",
    "Onward",
    "Planned",
    "Question",
    "Rehearsal",
    "Verdict",
    "ask_constant",
    "ask_loss",
    "ask_size",
    "ask_sparsity",
    "ask_tokens",
    "best_size",
    "best_sparsity",
    "choose_size",
    "choose_sparsity",
    "crossed",
    "forecast",
    "improvements",
    "loss_at",
    "noise_of",
    "onward",
    "plan",
    "rehearse",
    "tokens_worth_doubling",
    "tokens_worth_hour",
]
