"""Both programs, really running: on free ports, with an embedded database and secrets made for the
run."""

import base64
import fcntl
import hashlib
import hmac
import json
import os
import pathlib
import secrets
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
MCP = TARGET / "debug" / "toolbridge-mcp"
API = TARGET / "toolbridge-api-for-scripts"


def tool_count(reads_only=False):
    """The number of tools that a server without a filter lists."""
    tools = json.loads((ROOT / "tests/snapshots/tools.json").read_text())["tools"]
    return sum(1 for tool in tools if not reads_only or tool["annotations"]["readOnlyHint"])


def build():
    """Builds both programs, one caller at a time: Go may overwrite a program that just started."""
    TARGET.mkdir(parents=True, exist_ok=True)
    with open(TARGET / ".pair.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # A test beside it: then its dependencies have the features that "cargo test" gives them,
        # and neither command compiles what the other has compiled.
        cargo = ["cargo", "build", "--quiet", "--bins", "--test", "cli"]
        subprocess.run(cargo, cwd=ROOT, check=True)
        go = ["go", "build", "-o", API, "./cmd/toolbridge-api"]
        subprocess.run(go, cwd=ROOT / "api", check=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def token(secret, ttl=300, **claims):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    now = int(time.time())
    body = {"sub": "smoke-test", "iat": now, "exp": now + ttl, **claims}
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(body).encode())
    return (
        signed + b"." + part(hmac.new(secret.encode(), signed, hashlib.sha256).digest())
    ).decode()


class Pair:
    """Settings for one program alone: mcp={…}, api={…}; None leaves that program away. The ports
    are given where settings name them."""

    def __init__(self, mcp=(), api=(), ports=None):
        self.folder = tempfile.TemporaryDirectory()
        self.secret = secrets.token_hex(32)
        self.tenant_secret = secrets.token_hex(32)
        ports = ports or [free_port() for _ in range(2)]
        self.url = f"http://127.0.0.1:{ports[0]}"
        self.api_url = f"http://127.0.0.1:{ports[1]}"
        self.running = {}
        self.how = {}
        common = {
            "PATH": os.environ["PATH"],
            "JWT_HS256_SECRET": self.secret,
            "TENANT_HEADER_SECRET": self.tenant_secret,
        }
        if api is not None:
            self.start(
                "api",
                [API],
                self.api_url + "/healthz",
                {
                    **common,
                    "HTTP_ADDR": f"127.0.0.1:{ports[1]}",
                    "METRICS_ADDR": "off",
                    "DATABASE_URL": f"sqlite://{self.folder.name}/tb.db",
                    **dict(api),
                },
            )
        if mcp is not None:
            self.start(
                "mcp",
                [MCP, "serve"],
                self.url + "/healthz",
                {
                    **common,
                    "TOOLBRIDGE_TENANT_ID": "acme",
                    "TOOLBRIDGE_PORT": str(ports[0]),
                    "TOOLBRIDGE_GO_API_BASE_URL": self.api_url,
                    **dict(mcp),
                },
            )

    def start(self, name, command, healthy, env):
        self.how[name] = command, healthy, env
        with open(f"{self.folder.name}/{name}.log", "ab") as log:
            # Its own folder, so that no toolbridge.toml of the working directory gets in.
            self.running[name] = subprocess.Popen(
                command, env=env, stdout=log, stderr=log, cwd=self.folder.name
            )
        for _ in range(200):
            try:
                return urllib.request.urlopen(healthy, timeout=2).close()
            except (urllib.error.URLError, OSError):
                if self.running[name].poll() is not None:
                    break
                time.sleep(0.05)
        raise RuntimeError(pathlib.Path(log.name).read_text())

    def token(self, **claims):
        return token(self.secret, **claims)

    def stop(self, *names):
        for name in names or list(self.running):
            program = self.running.pop(name)
            program.terminate()
            program.wait(10)

    def kill(self, name):
        program = self.running.pop(name)
        program.kill()
        program.wait(10)

    def start_again(self, name):
        self.start(name, *self.how[name])

    def close(self):
        self.stop()
        self.folder.cleanup()

    def notes(self):
        """The titles of the caller's living notes, by the server itself."""
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "list_notes", "arguments": {}},
        }
        request = urllib.request.Request(
            self.url + "/mcp",
            json.dumps(message).encode(),
            {
                "Authorization": "Bearer " + self.token(),
                "Content-Type": "application/json",
                "Accept": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            page = json.load(answer)["result"]["structuredContent"]
        return [item["payload"]["title"] for item in page["items"]]
