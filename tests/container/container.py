"""A container without a container engine: the image's files as a read-only root of their own,
process and mount namespaces, the image's own user, environment, folder and entry point. Only the
network is this machine's, so ports are given.

tests/container/image leaves what is needed: FOLDER/root and FOLDER/image.json.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

# Nothing here takes as long, unless it will never come.
TIMEOUT = 30.0

# What a container engine does before the entry point runs. $1 root, $2 data, $3 uid:gid; the rest
# is run in it.
ENTER = r"""
root=$1 data=$2 user=$3; shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --bind "$data" "$root/data"
exec chroot --userspec="$user" "$root" "$@"
"""


class Image:
    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.root = folder / "root"
        self.config = json.loads((folder / "image.json").read_text())["Docker"]["config"]
        self.base_files = set((folder / "base-files").read_text().splitlines())
        self.environment = dict(pair.split("=", 1) for pair in self.config["Env"])
        self.user = self.config.get("User") or "0:0"
        passwd = [line.split(":") for line in (self.root / "etc/passwd").read_text().splitlines()]
        ids = {entry[0]: (int(entry[2]), int(entry[3])) for entry in passwd}
        self.uid, self.gid = ids["toolbridge-api"]
        self.mcp_uid, self.mcp_gid = ids["toolbridge-mcp"]

    def program(self, name):
        return self.root / "usr/local/bin" / name


def free_port():
    """Below those that the kernel gives to connections, or one that goes out could have it by the
    time it is needed."""
    while True:
        port = random.randrange(10_000, 32_768)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def wait_for(what, look, timeout=TIMEOUT):
    """Waits until `look` returns something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:.0f} s for {what}")
        time.sleep(0.01)


class Container:
    """One container: `with Container(image, …) as container`. Its log is in `lines`. `files` are
    put into /data."""

    def __init__(
        self, image, environment=(), replace=None, log_owner="toolbridge", files=(), user=None
    ):
        self.image = image
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="toolbridge-container-"))
        self.data = self.scratch / "data"
        self.data.mkdir(mode=0o700)
        # As a volume is: owned by root, or by the user that a test sets instead of the image's.
        self.user = user or image.user
        os.chown(self.data, *(int(part) for part in self.user.split(":")))
        for name, text in dict(files).items():
            (self.data / name).write_text(text)
        self.mcp_port, self.api_port = free_port(), free_port()
        self.mcp_metrics_port, self.metrics_port = free_port(), free_port()
        self.environment = {
            **image.environment,
            "TOOLBRIDGE_PORT": str(self.mcp_port),
            "TOOLBRIDGE_GO_API_BASE_URL": f"http://127.0.0.1:{self.api_port}",
            "HTTP_ADDR": f":{self.api_port}",
            "TOOLBRIDGE_METRICS_ADDR": f"0.0.0.0:{self.mcp_metrics_port}",
            "METRICS_ADDR": f":{self.metrics_port}",
            "TOOLBRIDGE_TENANT_ID": "acme",
            "TENANT_HEADER_SECRET": os.urandom(32).hex(),
            "JWT_HS256_SECRET": os.urandom(32).hex(),
            "RATE_LIMIT_PER_MINUTE": "0",
            **dict(environment),
        }
        self.environment = {
            name: value for name, value in self.environment.items() if value is not None
        }
        self.replace = replace or {}
        self.log_owner = log_owner
        self.lines = []

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        # The end of the first process of a process namespace is the end of all.
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        if self.process.poll() is None:
            for child in children.read_text().split():
                os.kill(int(child), signal.SIGKILL)
        self.process.wait()
        self.reader.join()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def start(self):
        config = self.image.config
        # Another program in the place of one of the image's: a bind mount over it, inside the
        # container's own namespace.
        mounts = ""
        for name, text in self.replace.items():
            stand_in = self.scratch / name
            stand_in.write_text(text)
            stand_in.chmod(0o755)
            target = self.image.program(name)
            mounts += f"mount --bind '{stand_in}' '{target}'\n"
        # The namespace begins as a copy: what is mounted over the root before it is made read-only
        # stays visible.
        enter = ENTER.replace(
            'mount --bind "$root" "$root"\n', mounts + 'mount --rbind "$root" "$root"\n'
        )
        read, write = os.pipe()
        if self.log_owner == "toolbridge":
            os.fchown(write, self.image.uid, self.image.gid)
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "sh", "-ec", enter, "enter"]
            + [str(self.image.root), str(self.data), self.user]
            + ["/usr/bin/env", "-C", config["WorkingDir"]]
            + config["Entrypoint"]
            + (config["Cmd"] or []),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=write,
            stderr=write,
        )
        os.close(write)
        self.reader = threading.Thread(target=self._read, args=(read,), daemon=True)
        self.reader.start()

    def _read(self, pipe):
        with os.fdopen(pipe, errors="replace") as lines:
            for line in lines:
                self.lines.append((time.monotonic(), line.rstrip("\n")))

    # ---- its log

    def log(self):
        return "\n".join(line for _, line in self.lines)

    def logged(self, *parts, after=0):
        """The first line, from the given one on, that has all parts; with the time at which it
        came."""

        def look():
            for when, line in self.lines[after:]:
                if all(part in line for part in parts):
                    return when, line
            return None

        return self.wait_for(f"a line with {parts}", look)

    def wait_for(self, what, look):
        """The same as without a container, whose log tells why it did not come."""
        try:
            return wait_for(what, look)
        except AssertionError as why:
            raise AssertionError(f"{why}; the log:\n{self.log()}") from None

    def count(self, *parts):
        return sum(all(part in line for part in parts) for _, line in self.lines)

    # ---- its processes

    def processes(self):
        """Command line → process id here, of everything that runs in it."""
        found = {}
        children = [self.process.pid]
        while children:
            pid = children.pop()
            try:
                for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                    children += [int(child) for child in (task / "children").read_text().split()]
                words = (
                    pathlib.Path(f"/proc/{pid}/cmdline")
                    .read_bytes()
                    .rstrip(b"\0")
                    .decode()
                    .split("\0")
                )
            except (FileNotFoundError, ProcessLookupError):
                continue
            found[" ".join(words)] = pid
        return found

    def pid(self, part):
        return next((pid for words, pid in self.processes().items() if part in words), None)

    @property
    def mcp(self):
        return self.pid("toolbridge-mcp serve")

    @property
    def api(self):
        return next(
            (
                p
                for words, p in self.processes().items()
                if words == "/usr/local/bin/toolbridge-api"
            ),
            None,
        )

    @property
    def supervisor(self):
        return self.pid("/usr/bin/supervisord")

    def terminate(self):
        os.kill(self.supervisor, signal.SIGTERM)

    def resident_kib(self, pid):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def run(self, *words, check=True, uid=None):
        """A command inside, as `fly ssh console -C` or a health check of the engine would run it,
        or as another user."""
        owner = int(self.user.split(":")[0]) if uid is None else uid
        ran = subprocess.run(
            ["nsenter", "--target", str(self.supervisor), "--mount", "--pid", "--root"]
            + [
                "env",
                "-C",
                self.image.config["WorkingDir"],
                "setpriv",
                f"--reuid={owner}",
                f"--regid={owner}",
                "--clear-groups",
                *words,
            ],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        if check and ran.returncode != 0:
            raise AssertionError(f"{words}: {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran

    def supervisorctl(self, *words, check=True):
        return self.run(
            "supervisorctl", "-c", "/etc/toolbridge/supervisord.conf", *words, check=check
        ).stdout

    def healthy(self):
        """What the image's HEALTHCHECK says: exit code and words."""
        test = self.image.config["Healthcheck"]["Test"]
        assert test[0] == "CMD", test
        ran = self.run(*test[1:], check=False)
        return ran.returncode, ran.stdout + ran.stderr
