"""The life of a container: how it starts, what it survives, how it leaves. TOOLBRIDGE_IMAGE names
the folder that tests/container/image has filled."""

import json
import os
import pathlib
import re
import signal
import sqlite3
import time
import unittest
import urllib.request

from client import Crowd, call, get
from container import Container, Image, wait_for

IMAGE = Image(os.environ["TOOLBRIDGE_IMAGE"])
FIGURES = {}

# The API behind a gate that a test opens: it blocks until a word is written into the pipe.
LATE_API = """#!/bin/sh
read -r word < /data/gate
exec /data/toolbridge-api
"""


def make_gate(container):
    """The pipe, and the real API behind it."""
    gate = container.data / "gate"
    os.mkfifo(gate)
    os.chown(gate, IMAGE.uid, IMAGE.gid)
    real = container.data / "toolbridge-api"
    real.write_bytes(IMAGE.program("toolbridge-api").read_bytes())
    real.chmod(0o755)
    return gate


def ready(container):
    answer = get(container.mcp_port, "/readyz")
    return answer is not None and answer[0] == 200


def until_ready(container):
    container.wait_for("readiness", lambda: ready(container))
    return time.monotonic() - container.began


def notes_kept(container):
    """What the database itself has, past both programs."""
    database = sqlite3.connect(f"file:{container.data}/api/toolbridge.db?mode=ro", uri=True)
    try:
        (count,) = database.execute("select count(*) from items where deleted = 0").fetchone()
        return count
    finally:
        database.close()


def sessions_open(container):
    with urllib.request.urlopen(f"http://127.0.0.1:{container.metrics_port}/metrics") as answer:
        text = answer.read().decode()
    return float(re.search(r"^toolbridge_api_sessions_open(?:\{.*\})? (\S+)$", text, re.M).group(1))


def resident(container):
    programs = {
        "MCP server": container.mcp,
        "API": container.api,
        "supervisord": container.supervisor,
    }
    return ", ".join(
        f"{name} {container.resident_kib(pid) / 1024:.0f} MiB" for name, pid in programs.items()
    )


class Starting(unittest.TestCase):
    def test_from_cold_to_the_first_call(self):
        starts = []
        for _ in range(3):
            with Container(IMAGE) as container:
                starts.append(until_ready(container))
                result = call(container, "create_note", title="first", content="x")
                self.assertFalse(result["isError"], result)
                status, words = container.healthy()
                self.assertEqual(status, 0, words)
        FIGURES["cold start to ready"] = f"{sorted(starts)[1] * 1000:.0f} ms (median of 3)"

    def test_each_program_has_its_own_user_and_the_root_is_read_only(self):
        with Container(IMAGE) as container:
            until_ready(container)
            call(container, "create_note", title="t", content="c")
            processes = container.processes()
            inside = {
                words: pid for words, pid in processes.items() if pid != container.process.pid
            }
            self.assertEqual(
                len(inside), 4, f"supervisord, its listener and the two programs: {inside}"
            )
            for pid, uid in ((container.api, IMAGE.uid), (container.mcp, IMAGE.mcp_uid)):
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                self.assertIn(f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}", status)
                self.assertIn(f"Gid:\t{uid}\t{uid}\t{uid}\t{uid}", status)
                self.assertRegex(status, r"Groups:\s*\n")
                self.assertIn("CapPrm:\t0000000000000000", status)
                self.assertIn("CapEff:\t0000000000000000", status)
                self.assertIn("NoNewPrivs:\t1", status)
            for place in ["/", "/usr/local/bin", "/etc/toolbridge", "/var/log"]:
                ran = container.run("touch", f"{place}/x", check=False)
                self.assertNotEqual(ran.returncode, 0, place)
            self.assertEqual({path.name for path in container.data.iterdir()}, {"api", "audit"})
            foreign = [
                path.name
                for path in (container.data / "api").iterdir()
                if not path.name.startswith("toolbridge.db")
            ]
            self.assertEqual(foreign, [])
            FIGURES["resident at rest"] = resident(container)

    def test_no_program_has_or_reads_what_is_the_others(self):
        secrets = {
            "TENANT_HEADER_SECRET_PREVIOUS": os.urandom(32).hex(),
            "TOOLBRIDGE_AUTH_EXCHANGE_CLIENT_SECRET": os.urandom(32).hex(),
            "PGPASSWORD": os.urandom(32).hex(),
            "SOMETHING_OF_THE_HOST": os.urandom(32).hex(),
            "TOOLBRIDGE_AUDIT_TO": "/data/audit/audit.jsonl",
        }
        with Container(IMAGE, secrets) as container:
            until_ready(container)
            call(container, "create_note", title="t", content="c")
            environments = {}
            for pid, uid in ((container.api, IMAGE.uid), (container.mcp, IMAGE.mcp_uid)):
                inner = re.search(
                    r"NSpid:.*\s(\d+)\n", pathlib.Path(f"/proc/{pid}/status").read_text()
                ).group(1)
                other = IMAGE.mcp_uid if uid == IMAGE.uid else IMAGE.uid
                text = container.run("cat", f"/proc/{inner}/environ", uid=uid).stdout
                refused = container.run("cat", f"/proc/{inner}/environ", uid=other, check=False)
                self.assertNotEqual(refused.returncode, 0, refused.stdout)
                environments[uid] = dict(
                    pair.split("=", 1) for pair in text.strip("\0").split("\0")
                )
            api, mcp = environments[IMAGE.uid], environments[IMAGE.mcp_uid]
            for name in (
                "DATABASE_URL",
                "TENANT_HEADER_SECRET_PREVIOUS",
                "PGPASSWORD",
                "SOMETHING_OF_THE_HOST",
            ):
                self.assertIn(name, api)
                self.assertNotIn(name, mcp)
            self.assertEqual(
                [name for name in api if name.startswith(("TOOLBRIDGE_", "SUPERVISOR"))], []
            )
            self.assertIn("TOOLBRIDGE_AUTH_EXCHANGE_CLIENT_SECRET", mcp)
            for pid in container.processes().values():
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode()
                for name in ("TENANT_HEADER_SECRET", "JWT_HS256_SECRET", "PGPASSWORD"):
                    self.assertNotIn(container.environment[name], words)
            for path, uid in (
                ("/data/api/toolbridge.db", IMAGE.mcp_uid),
                ("/data/audit/audit.jsonl", IMAGE.uid),
            ):
                for words in (
                    ("cat", path),
                    ("ls", str(pathlib.Path(path).parent)),
                    ("mv", str(pathlib.Path(path).parent), "/data/x"),
                ):
                    self.assertNotEqual(
                        container.run(*words, uid=uid, check=False).returncode, 0, (words, uid)
                    )
            for uid in (IMAGE.uid, IMAGE.mcp_uid):
                self.assertNotEqual(
                    container.run("cat", "/proc/1/environ", uid=uid, check=False).returncode, 0
                )
            self.assertTrue((container.data / "audit/audit.jsonl").exists())

    def test_as_an_ordinary_user_both_programs_run_as_that_one(self):
        with Container(IMAGE, user="10007:10007") as container:
            until_ready(container)
            self.assertFalse(call(container, "create_note", title="t", content="c")["isError"])
            for pid in (container.api, container.mcp, container.supervisor):
                self.assertIn("Uid:\t10007\t10007", pathlib.Path(f"/proc/{pid}/status").read_text())
            self.assertNotIn(
                b"DATABASE_URL", pathlib.Path(f"/proc/{container.mcp}/environ").read_bytes()
            )

    def test_the_api_first_or_the_server_first(self):
        """The server comes up beside an API that is not there yet, says so, and is ready when the
        API is."""
        with Container(IMAGE, replace={"toolbridge-api": LATE_API}) as container:
            gate = make_gate(container)
            container.logged("waiting for the API", "api_unreachable")
            self.assertEqual(get(container.mcp_port, "/healthz")[0], 200)
            status, body = get(container.mcp_port, "/readyz")
            self.assertEqual((status, body["reason"]), (503, "api_unreachable"))
            self.assertEqual(container.healthy()[0], 1)
            result = call(container, "list_notes")
            self.assertEqual(
                json.loads(result["content"][0]["text"])["error"]["category"], "unavailable"
            )
            server = container.mcp
            gate.write_text("open\n")
            container.logged("ready: the API takes our calls")
            container.wait_for("readiness", lambda: ready(container))
            self.assertEqual(container.mcp, server, "it waited, and was not restarted")

    def test_an_api_that_does_not_come_is_seen_and_waited_for(self):
        settings = {"TOOLBRIDGE_API_STARTUP_TIMEOUT": "1200ms"}
        with Container(IMAGE, settings, replace={"toolbridge-api": LATE_API}) as container:
            gate = make_gate(container)
            container.logged("was not ready within api.startup_timeout", '"exit_code":69')
            container.logged("exited: mcp (exit status 69; not expected)")
            wait_for("a second try", lambda: container.count("waiting for the API") >= 2)
            gate.write_text("open\n")
            until_ready(container)

    def test_where_standard_output_belongs_to_root(self):
        with Container(IMAGE, log_owner="root") as container:
            until_ready(container)
            container.logged("listening on", "toolbridge-mcp")
            container.logged('"listening"', "toolbridge-api")
            container.terminate()
            self.assertEqual(container.process.wait(30), 0)
            container.reader.join()
            container.logged("drained")

    def test_every_line_of_the_programs_is_json(self):
        with Container(IMAGE) as container:
            until_ready(container)
            call(container, "list_notes")
            container.terminate()
            container.process.wait(30)
            container.reader.join()
            own = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARN|CRIT) ")
            services, trail = set(), []
            for _, line in container.lines:
                if line.startswith('{"audit":1,'):
                    trail.append(json.loads(line)["event"])
                elif not own.match(line):
                    services.add(json.loads(line)["service"])
            self.assertEqual(trail, ["start", "call", "end"])
            self.assertEqual(services, {"toolbridge-mcp", "toolbridge-api"})


class Failing(unittest.TestCase):
    def test_an_api_that_is_killed_under_load_comes_back(self):
        with Container(IMAGE) as container:
            until_ready(container)
            with Crowd(container, 8) as crowd:
                wait_for("some calls", lambda: len(crowd.done) > 50)
                killed = container.api
                os.kill(killed, signal.SIGKILL)
                container.logged("exited: api")
                # Its successor may come so soon that every call is carried out by being sent once
                # more.
                wait_for("another API", lambda: container.api not in (None, killed))
                container.wait_for("readiness", lambda: ready(container))
                before = len(crowd.done)
                wait_for("calls again", lambda: len(crowd.done) > before + 50)
            self.assertEqual(crowd.cut_off, [], "the server answered every call")
            for failure in crowd.failed:
                self.assertIn(
                    failure["error"]["category"],
                    ("unavailable", "unknown_outcome", "timeout"),
                    failure,
                )
            kept = notes_kept(container)
            self.assertGreaterEqual(kept, len(crowd.done), "an acknowledged note is missing")
            self.assertLessEqual(kept, len(crowd.done) + len(crowd.failed))
            FIGURES["API killed under load"] = crowd.figures()

    def test_a_server_that_is_killed_under_load_comes_back(self):
        with Container(IMAGE) as container:
            until_ready(container)
            with Crowd(container, 8, retry=True) as crowd:
                wait_for("some calls", lambda: len(crowd.done) > 50)
                killed = container.mcp
                os.kill(killed, signal.SIGKILL)
                gone, _ = container.logged("exited: mcp (terminated by SIGKILL; not expected)")
                wait_for("another server", lambda: container.mcp not in (None, killed))
                before = len(crowd.done)
                wait_for("calls again", lambda: len(crowd.done) > before + 50)
            self.assertEqual(crowd.failed, [])
            # While it dies, a connection may still be taken from the backlog that ends with it;
            # afterwards none is.
            self.assertEqual(
                [call for call in crowd.cut_off if call[0] > gone], [], "cut off by the next server"
            )
            kept = notes_kept(container)
            self.assertGreaterEqual(kept, len(crowd.done), "an acknowledged note is missing")
            self.assertLessEqual(kept, len(crowd.done) + len(crowd.cut_off))
            FIGURES["MCP server killed under load"] = crowd.figures()

    def test_without_a_tenant_secret_the_server_stays_off_and_the_api_serves(self):
        with Container(IMAGE, {"TENANT_HEADER_SECRET": None}) as container:
            container.logged("off: tenant.header_secret is not set")
            container.logged("exited: mcp (exit status 0; expected)")
            wait_for("the API", lambda: (get(container.api_port, "/readyz") or [0])[0] == 200)
            self.assertIsNone(get(container.mcp_port, "/healthz"))
            self.assertRegex(container.supervisorctl("status", check=False), r"mcp\s+EXITED")
            status, words = container.healthy()
            self.assertEqual(status, 0, words)
            self.assertIn("off: ", words)
            self.assertEqual(container.count("spawned: 'mcp'"), 1, "it is not tried again")

    def test_a_mistake_in_the_servers_settings_is_seen_and_the_api_serves(self):
        with Container(IMAGE, {"TOOLBRIDGE_PROT": "1"}) as container:
            container.logged(
                "TOOLBRIDGE_PROT (in the environment) is not a setting: did you mean "
                "TOOLBRIDGE_PORT?"
            )
            container.logged("exited: mcp (exit status 64; not expected)")
            wait_for("a second try, later", lambda: container.count("spawned: 'mcp'") >= 2)
            wait_for("the API", lambda: (get(container.api_port, "/readyz") or [0])[0] == 200)
            status, words = container.healthy()
            self.assertEqual(status, 1, words)
            self.assertIn("TOOLBRIDGE_PROT", words)

    def test_a_program_that_cannot_be_started_ends_the_container(self):
        """Only the number of tries differs from the image's configuration, which would take half an
        hour."""
        crash = "#!/bin/sh\nexit 1\n"
        for program in ("toolbridge-api", "toolbridge-mcp"):
            text = (IMAGE.root / "etc/toolbridge/supervisord.conf").read_text()
            settings = {"SUPERVISORD_CONF": "/data/few-tries.conf"}
            with Container(
                IMAGE,
                settings,
                replace={program: crash},
                files={"few-tries.conf": text.replace("startretries = 60", "startretries = 2")},
            ) as container:
                container.logged(
                    "gave up: ", "entered FATAL state, too many start retries too quickly"
                )
                self.assertEqual(container.process.wait(60), 0)

    def test_the_image_tries_for_half_an_hour(self):
        text = (IMAGE.root / "etc/toolbridge/supervisord.conf").read_text()
        self.assertEqual(re.findall(r"^startretries = (.*)$", text, re.M), ["60", "60"])


class Leaving(unittest.TestCase):
    def test_sigterm_under_load_cuts_nobody_off(self):
        with Container(IMAGE) as container:
            until_ready(container)
            with Crowd(container, 20) as crowd:
                wait_for("some calls", lambda: len(crowd.done) > 100)
                begun = time.monotonic()
                container.terminate()
                self.assertEqual(container.process.wait(60), 0)
                took = time.monotonic() - begun
            container.reader.join()
            self.assertEqual((crowd.cut_off, crowd.failed), ([], []))
            self.assertEqual(notes_kept(container), len(crowd.done))
            when_drained, drained = container.logged('"drained"')
            self.assertTrue(json.loads(drained)["finished"], drained)
            self.assertEqual(json.loads(drained)["sessions_abandoned"], 0, drained)
            when_told, _ = container.logged('"stopping"', "toolbridge-api")
            self.assertGreater(
                when_told, when_drained, "the API is told only when the server has drained"
            )
            FIGURES["SIGTERM under load"] = f"{crowd.figures()}, gone after {took:.1f} s"

    def test_a_rolling_restart_of_the_server_is_not_noticed(self):
        """Fifty callers that try again when a connection is refused; the server is restarted three
        times."""
        with Container(IMAGE) as container:
            until_ready(container)
            with Crowd(container, 50, retry=True) as crowd:
                for _ in range(3):
                    before = len(crowd.done)
                    wait_for("some calls", lambda: len(crowd.done) > before + 200)
                    container.supervisorctl("restart", "mcp")
                before = len(crowd.done)
                wait_for("calls again", lambda: len(crowd.done) > before + 200)
            self.assertEqual((crowd.cut_off, crowd.failed), ([], []))
            self.assertEqual(notes_kept(container), len(crowd.done))
            self.assertEqual(container.count('"drained"'), 3)
            FIGURES["resident after 50 callers"] = resident(container)
            wait_for("no session", lambda: sessions_open(container) == 0)
            FIGURES["three rolling restarts, 50 callers"] = crowd.figures()

    def test_readiness_says_no_before_the_door_closes(self):
        with Container(IMAGE) as container:
            until_ready(container)
            container.terminate()
            _, body = wait_for(
                "notice",
                lambda: next(
                    (a for a in [get(container.mcp_port, "/readyz")] if a and a[0] == 503), None
                ),
            )
            self.assertEqual(body["reason"], "draining")
            self.assertEqual(
                get(container.api_port, "/readyz")[0],
                200,
                "the API stays until the server has gone",
            )
            self.assertEqual(container.process.wait(30), 0)


class Content(unittest.TestCase):
    def test_what_is_in_it(self):
        for tool in ["curl", "wget", "gcc", "cc", "go", "cargo", "rustc", "make", "git"]:
            found = [
                place
                for place in ("usr/bin", "usr/local/bin", "bin")
                if (IMAGE.root / place / tool).exists()
            ]
            self.assertEqual(found, [], tool)
        labels = IMAGE.config["Labels"]
        for label in ["title", "description", "licenses", "version", "revision"]:
            self.assertTrue(labels.get(f"org.opencontainers.image.{label}"), label)
        self.assertNotIn("SECRET", " ".join(IMAGE.environment))

        def mib(paths):
            return (
                sum(
                    path.lstat().st_size
                    for path in paths
                    if path.is_file() and not path.is_symlink()
                )
                / 2**20
            )

        added = [
            path
            for path in IMAGE.root.rglob("*")
            if str(path.relative_to(IMAGE.root)) not in IMAGE.base_files
        ]
        programs = [IMAGE.program(name) for name in ("toolbridge-mcp", "toolbridge-api")]
        parts = {program.name: mib([program]) for program in programs}
        parts["Python, supervisor, certificates"] = mib(added) - mib(programs)
        FIGURES["added to Debian"] = ", ".join(
            f"{name} {size:.1f} MiB" for name, size in parts.items()
        )

    def test_the_programs_answer_from_within(self):
        with Container(IMAGE) as container:
            until_ready(container)
            self.assertIn(
                "toolbridge-mcp 0", container.run("/usr/local/bin/toolbridge-mcp", "version").stdout
            )
            self.assertIn(
                "healthy", container.run("/usr/local/bin/toolbridge-api", "healthcheck").stdout
            )
            both = re.compile(r"^api\s+RUNNING[^\0]*^mcp\s+RUNNING", re.M)
            wait_for(
                "both to be running",
                lambda: both.search(container.supervisorctl("status", check=False)),
            )


def tearDownModule():
    print("\nMeasured:")
    for what, figure in FIGURES.items():
        print(f"  {what}: {figure}")


if __name__ == "__main__":
    unittest.main()
