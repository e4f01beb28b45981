import sys

import pytest

from prunescale.errors import StoreError
from prunescale.runs import Point

pytest.importorskip("tensorboard")

WISHES = {
    "source": "tensorboard",
    "kind": "post-training",
    "constants": ("base=tiny",),
    "metric": "eval/loss:nats",
    "tokens_per_step": 1000,
}
RATES = {10: 0.25, 20: 0.5, 30: 0.5, 40: 0.25}  # exact in 32 bits, like the losses


def write(folder, losses, rates=RATES, **settings):
    """With the writer of torch."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder, **settings) as writer:
        for step, rate in rates.items():
            writer.add_scalar("train/learning_rate", rate, step)
        for step, loss in losses.items():
            writer.add_scalar("eval/loss", loss, step)
        writer.add_text("notes", "text is no scalar")


def test_a_folder_for_each_run(read, tmp_path):
    write(tmp_path / "logs" / "a", {20: 3.5, 30: 3.25, 40: 3.0})
    write(tmp_path / "logs" / "b" / "deeper", {30: 2.5, 40: 2.25})
    imported = read("logs", **WISHES)
    a, b = imported.runs
    assert (a.name, b.name, a.base) == ("a", "b/deeper", "tiny")
    assert a.points == (
        Point(20_000, 3.5, 0.5, "warm-up", None),
        Point(30_000, 3.25, 0.5, "constant", None),
        Point(40_000, 3.0, 0.25, "decay", None),
    )
    assert [point.loss for point in b.points] == [2.5, 2.25]
    assert imported.notes[:2] == ["Tokens are 1,000 times step.", "Learning rates are those in train/learning_rate."]


def test_one_run_is_called_like_its_folder_and_a_file_will_do(read, tmp_path):
    write(tmp_path / "my-run", {20: 3.5, 30: 3.25})
    (file,) = (tmp_path / "my-run").iterdir()
    for given in ("my-run", f"my-run/{file.name}"):
        (run,) = read(given, **WISHES).runs
        assert (run.name, [point.loss for point in run.points]) == ("my-run", [3.5, 3.25])


def test_tensors_are_scalars_too(read, tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path / "logs") as writer:
        for step, loss in ((10, 3.5), (20, 3.25)):
            writer.add_scalar("eval/loss", loss, step, new_style=True)
    (run,) = read("logs", phase="constant", **WISHES).runs
    assert [(point.n_tokens, point.loss) for point in run.points] == [(10_000, 3.5), (20_000, 3.25)]


def test_a_resumed_run_counts_from_where_it_was_resumed(read, tmp_path):
    write(tmp_path / "logs", {10: 4.0, 20: 3.5, 30: 9.0, 40: 9.0}, filename_suffix=".1")
    write(tmp_path / "logs", {30: 3.25}, rates={30: 0.5}, filename_suffix=".2")
    first, second = sorted((tmp_path / "logs").iterdir(), key=lambda file: file.suffix)
    first.rename(first.with_name("events.out.tfevents.1"))  # the names begin with the second in which they were made
    second.rename(second.with_name("events.out.tfevents.2"))
    (run,) = read("logs", **WISHES).runs
    assert [(point.n_tokens, point.loss) for point in run.points] == [(10_000, 4.0), (20_000, 3.5), (30_000, 3.25)]


def test_a_file_cut_short_is_read_as_far_as_it_goes_and_told(read, tmp_path):
    write(tmp_path / "logs", {20: 3.5, 30: 3.25})
    (file,) = (tmp_path / "logs").iterdir()
    file.write_bytes(file.read_bytes()[:-3])
    imported = read("logs", **WISHES)
    assert len(imported.runs[0].points) == 2
    assert "is cut short or damaged after" in imported.notes[0]


@pytest.mark.parametrize("content", [b"", b"no events here", b"\0" * 1000])
def test_no_events_in_a_file(read, tmp_path, content):
    (tmp_path / "events.out.tfevents.1").write_bytes(content)
    with pytest.raises(StoreError, match="has no column 'eval/loss'; its columns: run, step"):
        read("events.out.tfevents.1", **WISHES)


def test_a_record_that_is_no_event(read, tmp_path):
    from tensorboard.summary.writer.record_writer import RecordWriter

    with open(tmp_path / "events.out.tfevents.1", "wb") as file:
        RecordWriter(file).write(b"\xff\xff\xff")
    with pytest.raises(StoreError, match="is damaged: its event 1 cannot be read"):
        read("events.out.tfevents.1", **WISHES)


def test_an_empty_folder(read, tmp_path):
    with pytest.raises(StoreError, match="There are no event files of TensorBoard in"):
        read("", **WISHES)


def test_without_its_package(read, tmp_path, monkeypatch):
    (tmp_path / "events.out.tfevents.1").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(StoreError, match=r"needs tensorboard: pip install 'prunescale\[tensorboard\]'."):
        read("", **WISHES)
