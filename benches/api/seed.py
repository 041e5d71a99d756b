"""Empty databases, and a way to fill them faster than the API would: rows as the API writes them,
made by the database itself."""

import contextlib
import os
import pathlib
import secrets
import shutil
import sqlite3
import subprocess
import tempfile
import urllib.parse

from rig import TENANT, cpu_of, with_postgres

# Update times of seeded items: their number, beginning here.
FIRST_TIME = 1_700_000_000_000
PAYLOAD = (
    '{"title":"A note","content":"' + "Some words that somebody wrote. " * 6 + '","tags":["a","b"]}'
)

# {first}, {users}: whose items. {each}: how many for each. An uid is made of the numbers of the
# user and the item, as load.lua makes them.
USERS = {
    "sqlite": """WITH RECURSIVE n(n) AS
            (SELECT {first} UNION ALL SELECT n + 1 FROM n WHERE n < {first} + {users} - 1)
        INSERT INTO users (tenant, subject, created) SELECT '{tenant}', 'bench-' || n, 0 FROM n""",
    "postgres": """INSERT INTO users (tenant, subject, created)
        SELECT '{tenant}', 'bench-' || n, 0
            FROM generate_series({first}, {first} + {users} - 1) n""",
}
ITEMS = {
    "sqlite": """WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {each}),
        u(id, number) AS MATERIALIZED
            (SELECT id, CAST(substr(subject, 7) AS INTEGER) FROM users
            WHERE CAST(substr(subject, 7) AS INTEGER) BETWEEN {first} AND {first} + {users} - 1)
        INSERT INTO items (owner, kind, uid, version, updated, payload)
        SELECT id, 'notes', printf('%08x-0000-7000-8000-%012x', number, n), 1, {time} + n,
            '{payload}'
        FROM u CROSS JOIN n""",
    "postgres": """INSERT INTO items (owner, kind, uid, version, updated, payload)
        SELECT id, 'notes',
            CAST(lpad(to_hex(u), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0') AS uuid),
            1, {time} + n, '{payload}'
        FROM generate_series({first}, {first} + {users} - 1) u
        JOIN users ON tenant = '{tenant}' AND subject = 'bench-' || u
        CROSS JOIN generate_series(1, {each}) n""",
}
# What a database that has grown by and by has in order anyway.
SETTLE = {"sqlite": "PRAGMA wal_checkpoint(TRUNCATE)", "postgres": "VACUUM ANALYZE"}


# Rows of items as add() takes them.
COLUMNS = ("owner", "kind", "uid", "version", "created", "updated", "payload", "parent")


class Database:
    def fill(self, first, users, each):
        """Users, numbered from `first`, with `each` notes each."""
        values = {
            "first": first,
            "users": users,
            "each": each,
            "tenant": TENANT,
            "time": FIRST_TIME,
            "payload": PAYLOAD,
        }
        for statement in (USERS, ITEMS, SETTLE):
            self.run(statement[self.kind].format(**values))


class SQLite(Database):
    kind = "sqlite"

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="bench-")
        self.path = pathlib.Path(self.folder, "toolbridge.db")
        self.url = f"sqlite://{self.path}"
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)

    def open_sessions(self, api, callers, count):
        """They are in the API's memory, so there is no other way than to ask for them."""
        while count > 0:
            count -= api.load("open", callers, 2)["calls"]

    def cpu_seconds(self):
        return 0  # it is in the API's process

    def add(self, rows):
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        connection.executemany(
            f"INSERT INTO items ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})",
            rows,
        )
        connection.execute("COMMIT")
        connection.close()

    def run(self, sql):
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -200000")
        connection.execute(sql).fetchall()
        connection.close()


class Postgres(Database):
    kind = "postgres"

    def __enter__(self):
        self.server, self.name = os.environ["TEST_POSTGRES_URL"], f"bench_{secrets.token_hex(8)}"
        self.url = urllib.parse.urlsplit(self.server)._replace(path=f"/{self.name}").geturl()
        self._psql(self.server, f"CREATE DATABASE {self.name}")
        return self

    def __exit__(self, *_):
        self._psql(self.server, f"DROP DATABASE {self.name} WITH (FORCE)")

    def cpu_seconds(self):
        """Of the whole server, which has nothing else to do."""
        server = int(
            pathlib.Path(os.environ["TEST_POSTGRES_DATA"], "postmaster.pid").read_text().split()[0]
        )
        children = pathlib.Path(f"/proc/{server}/task/{server}/children").read_text().split()
        total = cpu_of(server, ended_children=True)
        for child in children:
            with contextlib.suppress(
                FileNotFoundError, ProcessLookupError
            ):  # it has ended meanwhile
                total += cpu_of(child)
        return total

    def add(self, rows):
        copy = f"COPY items ({', '.join(COLUMNS)}) FROM STDIN"
        command = ["psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", self.url, "-c", copy]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
            for row in rows:
                process.stdin.write(
                    "\t".join("\\N" if value is None else str(value) for value in row) + "\n"
                )
        if process.returncode:
            raise SystemExit("COPY failed")

    def run(self, sql):
        self._psql(self.url, sql)

    def open_sessions(self, _api, _callers, count):
        """Sessions are rows here, so they are made like the rest. They belong to everybody in
        turn."""
        self.run(f"""INSERT INTO sessions (id, owner, epoch, created, expires)
            SELECT gen_random_uuid(), 1 + n % (SELECT max(id) FROM users), 1, now, now + 1800000
            FROM generate_series(1, {count}) n,
            CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint) now""")
        self.run(SETTLE["postgres"])

    @staticmethod
    def _psql(url, sql):
        subprocess.run(["psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", url, "-c", sql], check=True)


KINDS = {"sqlite": SQLite, "postgres": Postgres}


def databases(only):
    """The databases to measure on, all unless one is asked for. PostgreSQL is there afterwards."""
    kinds = [only] if only else list(KINDS)
    if "postgres" in kinds:
        with_postgres()
    return kinds
