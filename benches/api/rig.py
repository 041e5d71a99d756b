"""The API as it is released, started on a port of its own; callers with tokens, signed headers and
open sessions; and wrk."""

import base64
import hashlib
import hmac
import http.client
import http.server
import json
import os
import pathlib
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = ROOT / "target/bench/toolbridge-api"
TENANT = "bench"
JWT_SECRET, TENANT_SECRET = secrets.token_hex(32), secrets.token_hex(32)
TIMEOUT = 60

# How many requests a route's load consists of.
STEPS = {"session": 2, "read": 3, "write": 3, "call": 3}


def need(tool, package):
    if not shutil.which(tool):
        raise SystemExit(
            f"{tool} is missing. Install it: apt-get install {package} (Debian), brew install "
            f"{package} (macOS)"
        )


def with_postgres():
    """Starts this command anew with a throwaway PostgreSQL, unless there is one."""
    if "TEST_POSTGRES_URL" not in os.environ:
        need("psql", "postgresql")
        os.execv(ROOT / "scripts/postgres", ["postgres", sys.executable, *sys.argv])


def build(binary=BINARY, replaced=None):
    """As the Dockerfile does. Files of the source, by path below api/, may have another text."""
    need("go", "golang")
    need("wrk", "wrk")
    command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", binary]
    with tempfile.TemporaryDirectory() as folder:
        overlay = {}
        for number, (path, text) in enumerate((replaced or {}).items()):
            other = pathlib.Path(folder, f"{number}.go")
            other.write_text(text)
            overlay[str(ROOT / "api" / path)] = str(other)
        described = pathlib.Path(folder, "overlay.json")
        described.write_text(json.dumps({"Replace": overlay}))
        command += ["-overlay", described, "./cmd/toolbridge-api"]
        subprocess.run(
            command, cwd=ROOT / "api", env={**os.environ, "CGO_ENABLED": "0"}, check=True
        )
    return binary


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def segment(value):
    return base64url(json.dumps(value, separators=(",", ":")).encode())


def claims(subject):
    now = int(time.time())
    return {
        "sub": subject,
        "iss": "https://bench.example",
        "aud": "bench",
        "iat": now,
        "exp": now + 3600,
        "scope": "notes:read notes:write",
    }


def shared_secret_token(subject):
    text = segment({"alg": "HS256", "typ": "JWT"}) + b"." + segment(claims(subject))
    return (text + b"." + base64url(hmac.digest(JWT_SECRET.encode(), text, "sha256"))).decode()


class KeyServer:
    """An authorization server, as far as an API knows one: tokens signed with RS256, and the key to
    verify them with."""

    def __enter__(self):
        need("openssl", "openssl")
        self.key = tempfile.NamedTemporaryFile()
        self._openssl("genrsa", "-out", self.key.name, "2048")
        modulus = (
            self._openssl("rsa", "-in", self.key.name, "-noout", "-modulus")
            .decode()
            .strip()
            .removeprefix("Modulus=")
        )
        n = base64url(bytes.fromhex(modulus)).decode()
        keys = json.dumps(
            {
                "keys": [
                    {
                        "kty": "RSA",
                        "kid": "bench",
                        "use": "sig",
                        "alg": "RS256",
                        "n": n,
                        "e": "AQAB",
                    }
                ]
            }
        ).encode()

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(keys)))
                self.end_headers()
                self.wfile.write(keys)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.settings = {
            "JWT_JWKS_URL": f"http://127.0.0.1:{self.server.server_port}/",
            "JWT_ISSUER": claims("")["iss"],
            "JWT_AUDIENCE": claims("")["aud"],
        }
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.key.close()

    def token(self, subject):
        text = (
            segment({"alg": "RS256", "typ": "JWT", "kid": "bench"})
            + b"."
            + segment(claims(subject))
        )
        return (
            text
            + b"."
            + base64url(self._openssl("dgst", "-sha256", "-sign", self.key.name, given=text))
        ).decode()

    @staticmethod
    def _openssl(*arguments, given=None):
        return subprocess.run(
            ["openssl", *arguments], input=given, capture_output=True, check=True
        ).stdout


def signed_headers():
    """They are good for five minutes, so each load gets new ones."""
    sent = str(int(time.time() * 1000))
    signature = hmac.new(
        TENANT_SECRET.encode(), f"{TENANT}:{sent}".encode(), hashlib.sha256
    ).hexdigest()
    return {"X-TB-Tenant-ID": TENANT, "X-TB-Timestamp": sent, "X-TB-Signature": signature}


def cpu_of(pid, ended_children=False):
    """Processor time so far, in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return sum(int(fields[n]) for n in range(11, 15 if ended_children else 13)) / os.sysconf(
        "SC_CLK_TCK"
    )


class Api:
    """A running API. Its log goes to a file at the level that it has by default; only the rate
    limit is off."""

    def __init__(self, database, binary=BINARY, token=shared_secret_token, settings=None):
        self.database, self.binary, self.token, self.settings = (
            database,
            binary,
            token,
            settings or {"JWT_HS256_SECRET": JWT_SECRET},
        )

    def __enter__(self):
        self.log = tempfile.NamedTemporaryFile()
        environment = {
            "PATH": os.environ["PATH"],
            "HTTP_ADDR": "127.0.0.1:0",
            "METRICS_ADDR": "off",
            "DATABASE_URL": self.database.url,
            "TENANT_HEADER_SECRET": TENANT_SECRET,
            "RATE_LIMIT_PER_MINUTE": "0",
            **self.settings,
        }
        self.process = subprocess.Popen(
            [self.binary], env=environment, stdout=self.log, stderr=self.log
        )
        began = time.monotonic()
        while not (
            listening := re.search(
                r'"msg":"listening","[^}]*"address":"127\.0\.0\.1:(\d+)"', self._said()
            )
        ):
            if self.process.poll() is not None or time.monotonic() - began > TIMEOUT:
                self.process.kill()
                raise SystemExit(f"the API did not come up:\n{self._said()[-2000:]}")
            time.sleep(0.01)
        self.port = int(listening[1])
        return self

    def _said(self):
        return pathlib.Path(self.log.name).read_text()

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()

    def callers(self, numbers):
        """Each gets a session. The result is a file as load.lua reads it."""
        file = tempfile.NamedTemporaryFile("w")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        for number in numbers:
            token = self.token(subject(number))
            connection.request(
                "POST",
                "/v1/sync/sessions",
                headers={"Authorization": f"Bearer {token}", **signed_headers()},
            )
            answer = connection.getresponse()
            session = json.load(answer)
            if answer.status != 201:
                raise SystemExit(f"no session: {answer.status} {session}")
            file.write(f"{number} {token} {session['id']} {session['epoch']}\n")
        connection.close()
        file.flush()
        return file

    def resident(self):
        """MiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def cpu_seconds(self):
        return cpu_of(self.process.pid)

    def load(
        self,
        route,
        callers,
        seconds,
        items=1,
        cursor="",
        connections=8,
        body="",
        path="",
        method="GET",
    ):
        """Calls a second, latencies in microseconds, processor time in microseconds a call: of the
        API, and with the database's."""
        steps = STEPS.get(route, 1)
        threads = connections if steps > 1 else 1
        before, before_database = self.cpu_seconds(), self.database.cpu_seconds()
        ran = subprocess.run(
            [
                "wrk",
                f"-t{threads}",
                f"-c{connections}",
                f"-d{seconds}s",
                "--timeout",
                "10s",
                "-s",
                pathlib.Path(__file__).with_name("load.lua"),
                f"http://127.0.0.1:{self.port}",
            ],
            env={
                **os.environ,
                "LOAD_ROUTE": route,
                "LOAD_CALLERS": callers.name,
                "LOAD_ITEMS": str(items),
                "LOAD_CURSOR": cursor,
                "LOAD_BODY": body,
                "LOAD_PATH": path,
                "LOAD_METHOD": method,
                "LOAD_SIGNED": "\r\n".join(
                    f"{name}: {value}" for name, value in signed_headers().items()
                ),
            },
            capture_output=True,
            text=True,
        )
        line = re.search(r"^LOAD (.*)$", ran.stdout, re.M)
        if ran.returncode != 0 or not line:
            raise SystemExit(f"wrk failed:\n{ran.stdout}{ran.stderr}")
        seen = json.loads(line[1])
        if not seen["requests"] and seconds < TIMEOUT / 4:  # none has been answered in this time
            return self.load(
                route, callers, 4 * seconds, items, cursor, connections, body, path, method
            )
        if seen["failed"] or not seen["requests"]:
            raise SystemExit(
                f"{seen['failed']} of {seen['requests']} requests of {route!r} "
                f"failed:\n{self._said()[-600:]}"
            )
        calls = seen["requests"] / steps
        cpu = self.cpu_seconds() - before
        return {
            "calls": calls,
            "rate": calls / seen["seconds"],
            "p50": seen["p50"],
            "p99": seen["p99"],
            "cpu": cpu * 1e6 / calls,
            "cpu_all": (cpu + self.database.cpu_seconds() - before_database) * 1e6 / calls,
        }


def subject(number):
    return f"bench-{number}"


def write(rows, path):
    """For machines, where a file is asked for."""
    if path:
        with open(path, "w") as file:
            json.dump(rows, file, indent=1)
