"""Large numbers as people read them."""


def short(number: float) -> str:
    """Three digits and a unit: 0.25, 400k, 2.66M, 1.2B."""
    number = float(f"{number:.3g}")  # 999,999 is 1M, and not 1e+03k
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return f"{number:.3g}"
