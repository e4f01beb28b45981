"""What `prunescale runs show` prints of many domains is as wide as a screen."""

from dataclasses import replace

import pytest

from prunescale.runs import Store


@pytest.mark.parametrize(("n_domains", "apart"), [(2, False), (30, True)])
def test_many_domains_have_a_table_of_their_own(command, tmp_path, make_run, n_domains, apart):
    run = make_run()
    points = [
        replace(point, domains={f"part-{n}": 1.0 + n + place for n in range(n_domains)}) for place, point in enumerate(run.points)
    ]
    with Store.create(tmp_path / "runs.db") as store:
        store.add(replace(run, points=tuple(points)))
    output = command("runs", "show", run.id, "--store", tmp_path / "runs.db").out
    assert ("By domain" in output) == apart
    assert "part-1" in output
    if apart:
        last = 1.0 + 29 + len(points) - 1
        assert [line.split()[-1] for line in output.splitlines() if "part-29" in line] == [f"{last:.4f}"]
