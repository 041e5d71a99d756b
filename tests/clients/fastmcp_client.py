"""fastmcp. MODE is "legacy", "auto" or a revision."""

import os

from fastmcp import Client
from fastmcp.client.transports import SSETransport, StreamableHttpTransport

from walk import main, tell, walk


async def conversation():
    how, url = (
        (SSETransport, "SSE_URL")
        if os.environ["TRANSPORT"] == "sse"
        else (StreamableHttpTransport, "URL")
    )
    token = os.environ.get("TOKEN")
    async with Client(
        how(os.environ[url], auth=token or None), mode=os.environ["MODE"], timeout=20
    ) as client:
        tell("protocol", value=client.protocol_version)
        tell("tools", value=len(await client.list_tools()))

        async def call(name, arguments):
            result = await client.call_tool(name, arguments, raise_on_error=False)
            return result.is_error, result.content[0].text

        await walk(call)


main(conversation)
