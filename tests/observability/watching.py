"""A pair that runs, callers of every kind, and a real Prometheus with the project's own
configuration and rules that watches both."""

import concurrent.futures
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "observability"
DASHBOARD = HERE / "grafana/dashboards/toolbridge.json"
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests" / "scripts"))
import pair  # noqa: E402

KINDS = ["note", "task", "chat"]


def expressions():
    """Every query of the dashboard, with its panel's title; then those of the annotations."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def selectors(expression):
    """What a query asks for: names of metrics, with the labels that are matched."""
    ours = r"\b((?:toolbridge_|mcp_|process_|probe_)\w+|up|ALERTS)\b(?!\()\s*(\{[^}]*\})?"
    for name, matchers in re.findall(ours, expression):
        yield name, re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers)


def filled(expression, window):
    """As Grafana would send it, for all tenants."""
    return expression.replace("$__rate_interval", window).replace("$app", ".*")


class Watched(pair.Pair):
    """A pair whose figures are served, and whose API comes back when it is told to."""

    def __init__(self):
        self.mcp_figures, self.api_figures = (f"127.0.0.1:{pair.free_port()}" for _ in range(2))
        super().__init__(
            # A breaker that opens and closes while somebody looks on.
            mcp={"TOOLBRIDGE_METRICS_ADDR": self.mcp_figures, "TOOLBRIDGE_API_BREAKER_PAUSE": "2s"},
            api={"METRICS_ADDR": self.api_figures},
        )

    def figures(self, address):
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def call(self, tool, arguments, token):
        """The tool's result, or None for a caller who is turned away."""
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": tool, "arguments": arguments},
        }
        head = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if token:
            head["Authorization"] = "Bearer " + token
        request = urllib.request.Request(self.url + "/mcp", json.dumps(message).encode(), head)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer).get("result", {}).get("structuredContent", {})
        except (urllib.error.HTTPError, ConnectionError, TimeoutError):
            return None

    def past_the_server(self):
        """Somebody calls the API itself, with nothing to show for it."""
        try:
            urllib.request.urlopen(self.api_url + "/v1/notes", timeout=10).close()
        except OSError:
            pass

    def round(self, number):
        """What one person does, and what others try."""
        token = self.token(sub=f"person-{number % 5}")
        kind = KINDS[number % len(KINDS)]
        fields = {
            "note": {"title": "a", "content": "b"},
            "task": {"title": "a"},
            "chat": {"title": "a"},
        }[kind]
        made = self.call(f"create_{kind}", fields, token) or {}
        if "uid" in made:
            self.call(f"get_{kind}", {"uid": made["uid"]}, token)
            self.call(f"delete_{kind}", {"uid": made["uid"]}, token)
        self.call(f"list_{kind}s", {}, token)
        if number % 3 == 0:
            self.call("get_note", {"uid": "0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11"}, token)
            self.call("create_note", {"title": 7}, token)
        if number % 4 == 0:
            self.call("list_notes", {}, None)
            self.call("list_notes", {}, self.token(exp=1))
            self.call("list_notes", {}, token[:-6] + "AAAAAA")
            self.call("delete_note", {"uid": "x"}, self.token(scope="toolbridge:read"))
            self.past_the_server()

    def rounds(self, first, count, callers=6):
        with concurrent.futures.ThreadPoolExecutor(callers) as people:
            list(people.map(self.round, range(first, first + count)))


class Prometheus:
    """The one that the machine has, with prometheus.yml and rules.yml as they are but for the
    addresses and how often it looks."""

    def __init__(self, watched, every="1s"):
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        config = (HERE / "prometheus.yml").read_text()
        figures = f'"{watched.mcp_figures}", "{watched.api_figures}"'
        for name, address in {
            '"toolbridge:9091", "toolbridge:9092"': figures,
            "_interval: 15s": f"_interval: {every}",
        }.items():
            assert name in config, name
            config = config.replace(name, address)
        (folder / "prometheus.yml").write_text(config)
        (folder / "rules.yml").write_text((HERE / "rules.yml").read_text())
        address = f"127.0.0.1:{pair.free_port()}"
        self.url = f"http://{address}"
        with open(folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder}/prometheus.yml",
                    f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address={address}",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=log,
                cwd=folder,
            )
        self.until(
            "ready",
            lambda: urllib.request.urlopen(self.url + "/-/ready", timeout=2).close() is None,
        )

    def until(self, what, done, seconds=60):
        """Waits for something to become true."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if result := done():
                    return result
            except (urllib.error.URLError, ConnectionError):
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                log = (pathlib.Path(self.folder.name) / "log").read_text()
                raise AssertionError(f"not {what} after {seconds} s\n{log}")
            time.sleep(0.1)

    def ask(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{parameters}: {refused.read().decode()}") from refused

    def value(self, expression):
        return self.ask("query", query=expression)["result"]

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.folder.cleanup()
