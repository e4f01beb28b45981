"""Plain English to look at real models with."""

import pytest

# Written for these tests, so that no model has seen it.
CALIBRATION = """\
The ferry left the harbour a little after seven, when the fog had thinned enough for the captain to see the second buoy. There
were eleven passengers on board, most of them islanders who had come over for the market and were now going home with seed
potatoes, paint and a new tyre. A young woman sat alone near the bow with a box on her knees. Every now and then she lifted the
lid by the width of a finger, looked inside, and closed it again. Nobody asked her what she had in there, since people on the
island do not ask, but all of them wondered. When the ferry came round the point the wind got up and the water began to slap
against the hull, and the box answered with a small, indignant sound. The old man across from her smiled for the first time that
morning. "A duck," he said. "Two," she answered, "and I am told that they will lay by March."

A river does not run straight because it cannot. Water on the outside of a bend has further to go and goes faster, so that it
digs into the bank there; on the inside it is slow and drops the sand that it carries. Each bend therefore grows, until the neck
of land between two of them is so thin that a single flood breaks through. The river then has a shorter way, and what is left of
the old one is a lake in the shape of a horseshoe, in which reeds grow, and which is filled in the end by leaves and mud. From
the air one can see dozens of these in a wide valley, each the track of a river that was there before.
"""

HELD_OUT = """\
My grandmother kept bees, and she held that they should be told the news of the house. When a child was born or somebody died
she went out to the hives, knocked on each of them three times with the key of the front door, and said in a low voice what had
happened. If they were not told, she said, they would leave, or stop making honey. As a boy I thought this was foolish, and I
once asked her how an insect could understand a sentence. She thought about it while she cleaned the smoker. "I don't know that
they do," she said at last. "But it does a person no harm to say a thing aloud, slowly, to somebody who is busy."

To make bread you need flour, water, salt and a little yeast. Mix them in a bowl until no dry flour is left, cover the bowl, and
let it stand overnight in a cool kitchen. In the morning the dough will have doubled, and its surface will be full of bubbles.
Fold it over itself a few times, shape it into a ball, and leave it for another hour while the oven gets as hot as it can. Bake
the loaf in an iron pot with the lid on for half an hour, so that the steam stays inside and the crust does not set too early,
and then without the lid until it is dark brown. Wait until it is cold before you cut it, if you can.
"""


@pytest.fixture(scope="session")
def calibration_text() -> str:
    return CALIBRATION


@pytest.fixture(scope="session")
def held_out_text() -> str:
    return HELD_OUT
