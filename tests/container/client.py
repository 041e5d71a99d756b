"""What calls a container in these tests: plain HTTP with kept connections, and callers that count
what becomes of each call."""

import http.client
import json
import subprocess
import threading
import time


def token(container, user):
    made = subprocess.run(
        [str(container.image.program("toolbridge-mcp")), "token", "--sub", user, "--ttl", "1h"],
        env=container.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout.strip()


def get(port, path):
    """Status and JSON body; None without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except OSError:
        return None
    finally:
        connection.close()


class Refused(Exception):
    """The connection was refused, so nothing was sent."""


class CutOff(Exception):
    """The connection was taken, and ended before the answer."""


class Client:
    """One caller with one kept connection."""

    def __init__(self, container, user):
        self.port, self.token = container.mcp_port, token(container, user)
        self.connection = None

    def call(self, tool, **arguments):
        """A tool's result. Raises what became of the connection otherwise."""
        body = json.dumps(
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/call",
                "params": {"name": tool, "arguments": arguments},
            }
        )
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2025-11-25",
        }
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                self.connection.connect()
            except ConnectionRefusedError as why:
                self.connection = None
                raise Refused from why
        try:
            self.connection.request("POST", "/mcp", body, headers)
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as why:
            self.connection.close()
            self.connection = None
            raise CutOff(repr(why)) from why
        if answer.will_close:
            self.connection.close()
            self.connection = None
        assert answer.status == 200, (answer.status, text)
        return json.loads(text)["result"]

    def close(self):
        if self.connection is not None:
            self.connection.close()


def call(container, tool, **arguments):
    """One call on a connection of its own."""
    client = Client(container, "ada")
    try:
        return client.call(tool, **arguments)
    finally:
        client.close()


class Crowd:
    """Many callers at once, each creating notes until told to stop. `retry`: a refused connection
    is tried again, as any client would. Of a call that is cut off, it is kept when it began and
    what was seen."""

    def __init__(self, container, size, retry=False):
        self.done, self.failed, self.refused, self.cut_off = [], [], 0, []
        self.retry, self.over = retry, threading.Event()
        self.lock = threading.Lock()
        self.clients = [Client(container, f"crowd-{number}") for number in range(size)]
        self.threads = [
            threading.Thread(target=self._call, args=(client,)) for client in self.clients
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        for client in self.clients:
            client.close()

    def _call(self, client):
        while not self.over.is_set():
            began = time.monotonic()
            try:
                result = client.call("create_note", title="from the crowd", content="x")
            except Refused:
                with self.lock:
                    self.refused += 1
                time.sleep(0.005)
                if not self.retry and self.over.wait(0.05):
                    return
                continue
            except CutOff as why:
                with self.lock:
                    self.cut_off.append((began, str(why)))
                continue
            with self.lock:
                (self.failed if result["isError"] else self.done).append(
                    json.loads(result["content"][0]["text"])
                )

    def figures(self):
        return (
            f"{len(self.done)} done, {len(self.failed)} failed, {self.refused} refused, "
            f"{len(self.cut_off)} cut off"
        )
