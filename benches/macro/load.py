"""Load from wrk, and what calls look like on the wire."""

import http.client
import json
import os
import pathlib
import shutil
import subprocess

SCRIPT = pathlib.Path(__file__).with_name("load.lua")
UID = "0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11"

ERAS = {"legacy": "2025-11-25", "modern": "2026-07-28"}


class Request:
    """What is asked, and a piece of text that a good answer has."""

    def __init__(self, path, body, headers, sign="", method="POST"):
        self.path, self.body, self.headers, self.sign, self.method = (
            path,
            body,
            headers,
            sign,
            method,
        )


def message(token, method, params, era="legacy", sign=""):
    version = ERAS[era]
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": version,
    }
    if era == "modern":
        params = {
            **params,
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": version,
                "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        }
        headers["Mcp-Method"] = method
        if "name" in params:
            headers["Mcp-Name"] = params["name"]
    body = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, separators=(",", ":")
    )
    return Request("/mcp", body, headers, sign)


def call(token, tool, era="legacy", **arguments):
    return message(
        token, "tools/call", {"name": tool, "arguments": arguments}, era, '"isError":false'
    )


def tools_list(token):
    return message(token, "tools/list", {}, sign='"archive_chat_message"')


def ask(port, request):
    """Once, looking at the answer, which load does not."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(request.method, request.path, request.body, request.headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status >= 300 or request.sign not in text:
            raise SystemExit(f"{answer.status} to {request.body}: {text[:2000]}")
        return text
    finally:
        connection.close()


def wrk(port, request, connections, seconds):
    """Calls a second, and latencies in microseconds."""
    if not shutil.which("wrk"):
        raise SystemExit(
            "wrk is missing. Install it: apt-get install wrk (Debian), brew install wrk (macOS)"
        )
    ask(port, request)
    ran = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "10s",
            "-s",
            SCRIPT,
            f"http://127.0.0.1:{port}{request.path}",
        ],
        env={
            **os.environ,
            "LOAD_METHOD": request.method,
            "LOAD_BODY": request.body or "",
            "LOAD_HEADERS": "\n".join(
                f"{name}: {value}" for name, value in request.headers.items()
            ),
        },
        capture_output=True,
        text=True,
    )
    line = next((line for line in ran.stdout.splitlines() if line.startswith("LOAD ")), None)
    if ran.returncode != 0 or line is None:
        raise SystemExit(f"wrk failed:\n{ran.stdout}{ran.stderr}")
    seen = json.loads(line.removeprefix("LOAD "))
    if seen["failed"]:
        raise SystemExit(f"{seen['failed']} calls failed: {request.body}")
    ask(port, request)
    return {"rate": seen["calls"] / seen["seconds"], "p50": seen["p50"], "p99": seen["p99"]}
