"""The Python SDK. MODE is "legacy", "auto" or a revision; TRANSPORT is "http", "sse", or a command
to start."""

import json
import os

import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from walk import main, tell, walk


def transport(headers):
    how = os.environ["TRANSPORT"]
    if how == "http":
        return streamable_http_client(
            os.environ["URL"], http_client=httpx2.AsyncClient(headers=headers)
        )
    if how == "sse":
        return sse_client(os.environ["SSE_URL"], headers=headers)
    command, *arguments = json.loads(how)
    return StdioServerParameters(command=command, args=arguments, env=dict(os.environ))


async def conversation():
    token = os.environ.get("TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with Client(
        transport(headers), mode=os.environ["MODE"], read_timeout_seconds=20
    ) as client:
        tell("protocol", value=client.protocol_version)
        tell("tools", value=len((await client.list_tools()).tools))

        async def call(name, arguments):
            result = await client.call_tool(name, arguments)
            return result.is_error, result.content[0].text

        await walk(call)


if __name__ == "__main__":
    main(conversation)
