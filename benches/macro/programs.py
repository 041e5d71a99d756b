"""The programs that are measured: built, started on ports of their own, looked at from outside,
stopped."""

import http.client
import pathlib
import secrets
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVER = ROOT / "target/release/toolbridge-mcp"
BENCH = ROOT / "benches/floor/target/release"

TENANT = "bench"
SECRETS = {"TENANT_HEADER_SECRET": secrets.token_hex(32), "JWT_HS256_SECRET": secrets.token_hex(32)}
TIMEOUT = 20


def build():
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=BENCH.parents[1], check=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def token(user="bench"):
    made = subprocess.run(
        [SERVER, "token", "--sub", user, "--ttl", "24h"],
        env={**SECRETS, "TOOLBRIDGE_TENANT_ID": TENANT},
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout.strip()


class Program:
    """One that listens on a port. Its output goes to a file, as a log would."""

    def __init__(self, command, environment, port, ready="/"):
        self.command, self.environment, self.port, self.ready = command, environment, port, ready

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            self.command, env=self.environment, stdout=self.log, stderr=self.log
        )
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() - self.began > TIMEOUT:
                self.log.seek(0)
                raise SystemExit(
                    f"{self.command[0]} did not come up:\n{self.log.read().decode()[-2000:]}"
                )
        self.ready_after = time.monotonic() - self.began
        return self

    def _answers(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", self.ready)
            return connection.getresponse().status == 200
        except OSError:
            time.sleep(0.0005)
            return False
        finally:
            connection.close()

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()

    def status(self, key):
        """A line of /proc/PID/status in KiB, such as VmRSS."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1])
        raise KeyError(key)

    def resident(self):
        return self.status("VmRSS") / 1024


def stub(item_bytes=200, constant_bytes=0):
    port = free_port()
    environment = {
        "STUB_LISTEN": f"127.0.0.1:{port}",
        "STUB_ITEM_BYTES": str(item_bytes),
        "STUB_CONSTANT_BYTES": str(constant_bytes),
    }
    return Program([BENCH / "stub"], environment, port, "/readyz")


def floor(api):
    port = free_port()
    environment = {
        "FLOOR_LISTEN": f"127.0.0.1:{port}",
        "FLOOR_API": f"127.0.0.1:{api.port}",
        "FLOOR_TENANT": TENANT,
        "FLOOR_SECRET": SECRETS["TENANT_HEADER_SECRET"],
    }
    return Listening([BENCH / "floor"], environment, port)


def server(api, **settings):
    """The product as it is deployed: verification, figures, the log at info, and the audit trail
    among its lines."""
    port = free_port()
    environment = {
        **SECRETS,
        "TOOLBRIDGE_TENANT_ID": TENANT,
        "TOOLBRIDGE_PORT": str(port),
        "TOOLBRIDGE_GO_API_BASE_URL": f"http://127.0.0.1:{api.port}",
        "TOOLBRIDGE_METRICS_ADDR": f"127.0.0.1:{free_port()}",
        "TOOLBRIDGE_AUDIT_TO": "stdout",
        **settings,
    }
    return Program([SERVER, "serve"], environment, port, "/readyz")


class Listening(Program):
    """One that answers nothing but calls: it is up when it takes connections."""

    def _answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
