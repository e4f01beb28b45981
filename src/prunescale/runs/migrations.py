"""The schema of a store of runs, as the list of steps that made it.

A step is run once on each store, in this order, and the store remembers how many it has had. So a step that was released is
never edited or moved: a change of the schema is another function at the end of the list.
"""

import sqlite3
from collections.abc import Callable
from contextlib import suppress

APPLICATION_ID = 0x70727363  # "prsc": marks an SQLite file as ours, so that we never touch another program's


def create_runs(connection: sqlite3.Connection) -> None:
    """One column for each field that a Run then had, under its name; `recipe` and `versions` hold JSON."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("""
        CREATE TABLE runs (
            id TEXT PRIMARY KEY NOT NULL,
            created TEXT NOT NULL,
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            recipe TEXT NOT NULL,
            recipe_hash TEXT NOT NULL,
            base TEXT NOT NULL,
            pruning_method TEXT,
            pruning_rate REAL NOT NULL,
            n_params_before INTEGER NOT NULL,
            n_params_non_embedding INTEGER NOT NULL,
            n_params_embedding INTEGER NOT NULL,
            n_params_head INTEGER NOT NULL,
            n_params_attention INTEGER NOT NULL,
            n_params_ffn INTEGER NOT NULL,
            n_params_norm INTEGER NOT NULL,
            n_params_linear INTEGER NOT NULL,
            n_params_total INTEGER NOT NULL,
            n_params_nonzero INTEGER NOT NULL,
            loss_before REAL,
            n_tokens_pretrain INTEGER,
            bytes_per_token REAL,
            sequence_length INTEGER NOT NULL,
            flops REAL NOT NULL,
            seconds REAL NOT NULL,
            tokens_per_second REAL NOT NULL,
            peak_memory_bytes INTEGER,
            device TEXT NOT NULL,
            versions TEXT NOT NULL
        )""")


def create_points(connection: sqlite3.Connection) -> None:
    """The loss curves: a row a measurement, `position` counting from 0 within its run."""
    connection.execute("""
        CREATE TABLE points (
            run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            n_tokens INTEGER NOT NULL,
            loss REAL NOT NULL,
            learning_rate REAL NOT NULL,
            phase TEXT NOT NULL,
            seconds REAL NOT NULL,
            PRIMARY KEY (run_id, position)
        )""")


def index_recipe_hash(connection: sqlite3.Connection) -> None:
    """A sweep asks for each of its recipes whether it has been run."""
    connection.execute("CREATE INDEX runs_recipe_hash ON runs (recipe_hash)")


def allow_unknowns(connection: sqlite3.Connection) -> None:
    """What a run from elsewhere may not know can be NULL, and what else a law reads is in `inputs`, as JSON.

    SQLite cannot drop a NOT NULL, so both tables are made anew and filled. In this order no row that is to be kept ever has a
    parent that is dropped, so it does not matter whether foreign keys are enforced (a transaction cannot switch that).
    """
    connection.execute("ALTER TABLE runs RENAME TO runs_before")  # the reference of `points` follows it
    connection.execute("""
        CREATE TABLE runs (
            id TEXT PRIMARY KEY NOT NULL,
            created TEXT NOT NULL,
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            recipe TEXT NOT NULL,
            recipe_hash TEXT,
            base TEXT NOT NULL,
            pruning_method TEXT,
            pruning_rate REAL,
            n_params_before INTEGER,
            n_params_non_embedding INTEGER,
            n_params_embedding INTEGER,
            n_params_head INTEGER,
            n_params_attention INTEGER,
            n_params_ffn INTEGER,
            n_params_norm INTEGER,
            n_params_linear INTEGER,
            n_params_total INTEGER,
            n_params_nonzero INTEGER,
            loss_before REAL,
            n_tokens_pretrain INTEGER,
            bytes_per_token REAL,
            sequence_length INTEGER,
            flops REAL,
            seconds REAL,
            tokens_per_second REAL,
            peak_memory_bytes INTEGER,
            device TEXT,
            versions TEXT NOT NULL,
            inputs TEXT NOT NULL
        )""")
    connection.execute("INSERT INTO runs SELECT *, '{}' FROM runs_before")
    connection.execute("ALTER TABLE points RENAME TO points_before")
    connection.execute("""
        CREATE TABLE points (
            run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            n_tokens INTEGER NOT NULL,
            loss REAL NOT NULL,
            learning_rate REAL,
            phase TEXT NOT NULL,
            seconds REAL,
            PRIMARY KEY (run_id, position)
        )""")
    connection.execute("INSERT INTO points SELECT * FROM points_before")
    connection.execute("DROP TABLE points_before")
    connection.execute("DROP TABLE runs_before")
    connection.execute("CREATE INDEX runs_recipe_hash ON runs (recipe_hash)")  # the old one went with its table


def keep_domains_and_trajectories(connection: sqlite3.Connection) -> None:
    """Losses by domain, and the weights left while a model is pruned in training, both JSON. The last point of one of our own runs, if its
    rate had been falling, is the end of the fall: such points were called decay, as those before them are."""
    connection.execute("ALTER TABLE runs ADD COLUMN n_params_left TEXT NOT NULL DEFAULT '[]'")
    connection.execute("ALTER TABLE points ADD COLUMN domains TEXT NOT NULL DEFAULT '{}'")
    connection.execute("""
        UPDATE points SET phase = 'annealed' WHERE phase = 'decay'
        AND position = (SELECT max(position) FROM points AS others WHERE others.run_id = points.run_id)
        AND (SELECT recipe_hash FROM runs WHERE runs.id = points.run_id) IS NOT NULL""")


def cluster_points(connection: sqlite3.Connection) -> None:
    """The points of a run side by side and found by their key alone, which saves the second copy of each key; and `curves`, a view of runs
    and points together. Its 0.693... is the natural logarithm of 2, which makes bits of nats."""
    connection.execute("ALTER TABLE points RENAME TO points_before")
    connection.execute("""
        CREATE TABLE points (
            run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            n_tokens INTEGER NOT NULL,
            loss REAL NOT NULL,
            learning_rate REAL,
            phase TEXT NOT NULL,
            seconds REAL,
            domains TEXT NOT NULL DEFAULT '{}',
            PRIMARY KEY (run_id, position)
        ) WITHOUT ROWID""")
    connection.execute("INSERT INTO points SELECT * FROM points_before ORDER BY run_id, position")
    connection.execute("DROP TABLE points_before")
    connection.execute("""
        CREATE VIEW curves AS
        SELECT runs.id AS run_id, runs.name, runs.kind, runs.base, runs.pruning_method, runs.pruning_rate, runs.n_params_before,
            runs.n_params_total, runs.loss_before, points.position, points.n_tokens, points.loss,
            points.loss / 0.6931471805599453 / runs.bytes_per_token AS bits_per_byte, points.phase, points.learning_rate, points.seconds
        FROM points JOIN runs ON runs.id = points.run_id""")


def pack_curves(connection: sqlite3.Connection) -> None:
    """A copy of each run's curve in one piece (see packed.py), which any change of its points drops."""
    from prunescale.runs.packed import as_numbers, packed  # with numpy, which other commands do without

    connection.execute("""
        CREATE TABLE packed_curves (
            run_id TEXT PRIMARY KEY NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            curve BLOB NOT NULL
        ) WITHOUT ROWID""")
    for change, changed in {"INSERT": "NEW.run_id", "UPDATE": "NEW.run_id, OLD.run_id", "DELETE": "OLD.run_id"}.items():
        connection.execute(f"""
            CREATE TRIGGER points_{change.lower()} AFTER {change} ON points
            BEGIN DELETE FROM packed_curves WHERE run_id IN ({changed}); END""")
    for (id,) in connection.execute("SELECT id FROM runs").fetchall():
        rows = connection.execute(
            "SELECT n_tokens, loss, learning_rate, phase FROM points WHERE run_id = ? ORDER BY position", [id]
        )
        with suppress(TypeError, ValueError):  # what is no number is for `verify` to tell of
            connection.execute("INSERT INTO packed_curves VALUES (?, ?)", [id, packed(as_numbers(rows))])


MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = [
    create_runs,
    create_points,
    index_recipe_hash,
    allow_unknowns,
    keep_domains_and_trajectories,
    cluster_points,
    pack_curves,
]


def version(connection: sqlite3.Connection) -> int:
    """How many migrations the store has had."""
    return connection.execute("PRAGMA user_version").fetchone()[0]


def migrate(connection: sqlite3.Connection) -> None:
    """Run the migrations that the store has not had. The caller holds the transaction, so it is all of them or none."""
    for number, migration in enumerate(MIGRATIONS[version(connection) :], start=version(connection) + 1):
        migration(connection)
        connection.execute(f"PRAGMA user_version = {number}")
