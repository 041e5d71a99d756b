"""The Inspector on the command line: one process per request. MODE is "legacy", "auto" or
"modern"."""

import json
import os
import subprocess

from walk import main, tell, walk


def inspector(*arguments):
    url = os.environ["SSE_URL" if os.environ["TRANSPORT"] == "sse" else "URL"]
    token = os.environ.get("TOKEN")
    done = subprocess.run(
        [
            "mcp-inspector",
            "--cli",
            url,
            "--transport",
            os.environ["TRANSPORT"],
            "--protocol-era",
            os.environ["MODE"],
            "--stored-auth-only",
            "--format",
            "json",
            *arguments,
        ]
        + (["--header", f"Authorization: Bearer {token}"] if token else []),
        capture_output=True,
        text=True,
        timeout=60,
    )
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise RuntimeError((done.stderr or done.stdout).strip()) from None


async def conversation():
    tell(
        "protocol",
        value=inspector("--method", "initialize").get("result", {}).get("protocolVersion"),
    )
    tell("tools", value=len(inspector("--method", "tools/list")["result"]["tools"]))

    async def call(name, arguments):
        result = inspector(
            "--method", "tools/call", "--tool-name", name, "--tool-args-json", json.dumps(arguments)
        )["result"]
        return result.get("isError", False), result["content"][0]["text"]

    await walk(call)


main(conversation)
