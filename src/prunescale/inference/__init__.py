"""What a model costs when it is served: decoding, prefill and memory, of a pruned model beside the one that it was made from."""

from prunescale.inference.compare import Comparison, Contender, Ratio, compare
from prunescale.inference.decode import Decoder, refuse_long_text
from prunescale.inference.floor import Floor, cache_bytes, floor_of, prefill_flops, step_flops
from prunescale.inference.measure import Speed, Spread, weight_bytes
from prunescale.inference.rates import Rates, copy_rate, measured_rates
from prunescale.inference.semi_structured import Conversion, semi_structured_copy, survey, two_of_four, why_no_kernels

__all__ = [
    "Comparison",
    "Contender",
    "Conversion",
    "Decoder",
    "Floor",
    "Rates",
    "Ratio",
    "Speed",
    "Spread",
    "cache_bytes",
    "compare",
    "copy_rate",
    "floor_of",
    "measured_rates",
    "prefill_flops",
    "refuse_long_text",
    "semi_structured_copy",
    "step_flops",
    "survey",
    "two_of_four",
    "weight_bytes",
    "why_no_kernels",
]
