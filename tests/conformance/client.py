"""The client that the suite starts: what a desktop client does, through `toolbridge-mcp connect`.

`client.py PROGRAM URL`: the suite appends the URL of its server. The scenario and the revision are
in the environment.
"""

import json
import os
import subprocess
import sys

MODERN = "2026-07-28"
CLIENT = {"name": "conformance-client", "version": "1"}


class Client:
    def __init__(self, program, url, revision):
        self.revision, self.count = revision, 0
        environment = {**os.environ, "TOOLBRIDGE_TOKEN": "any"}
        self.bridge = subprocess.Popen(
            [program, "connect", url],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def send(self, message):
        self.bridge.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.bridge.stdin.flush()

    def ask(self, method, params=None):
        """The result, or None after an error."""
        self.count += 1
        params = params or {}
        if self.revision == MODERN:
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": CLIENT,
                "io.modelcontextprotocol/clientCapabilities": {},
            }
        self.send({"id": self.count, "method": method, "params": params})
        for line in self.bridge.stdout:
            answer = json.loads(line)
            if answer.get("id") == self.count and "method" not in answer:
                return answer.get("result")
        raise SystemExit(f"no answer to {method}")

    def begin(self):
        if self.revision == MODERN:
            self.ask("server/discover")
        else:
            capabilities = {"capabilities": {}, "clientInfo": CLIENT}
            self.ask("initialize", {"protocolVersion": self.revision, **capabilities})
            self.send({"method": "notifications/initialized"})

    def close(self):
        self.bridge.stdin.close()
        self.bridge.wait(60)


def arguments(tool, tools):
    """What this tool is called with: the suite has one that adds, and one that repeats a schema."""
    if tool["name"] == "add_numbers":
        return {"a": 5, "b": 3}
    if "schema" in tool["inputSchema"].get("properties", {}):
        echoed = next(each for each in tools if each is not tool)
        return {"schema": echoed["inputSchema"]}
    return {}


def listed(client, method, key):
    return (client.ask(method) or {}).get(key, [])


def main(program, url):
    revision = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", MODERN)
    client = Client(program, url, revision)
    client.begin()
    tools = listed(client, "tools/list", "tools")
    # Some scenarios say which calls they want.
    calls = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}").get("toolCalls")
    for tool in tools if calls is None else []:
        client.ask("tools/call", {"name": tool["name"], "arguments": arguments(tool, tools)})
    for call in calls or []:
        client.ask("tools/call", {"name": call["name"], "arguments": call["arguments"]})
    if os.environ["MCP_CONFORMANCE_SCENARIO"] == "http-standard-headers":
        for resource in listed(client, "resources/list", "resources"):
            client.ask("resources/read", {"uri": resource["uri"]})
        for prompt in listed(client, "prompts/list", "prompts"):
            client.ask("prompts/get", {"name": prompt["name"]})
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
