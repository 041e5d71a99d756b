"""What a client does whose person is asked before notes are deleted. ANSWERS says how the person
answers, in order: accept, decline, cancel, or late: not before the client has given up, and the
server has withdrawn the question.

    {"saw": "asked", "value": "Delete 6 notes? …"}
    {"saw": "batch", "failed": true, "text": "{…}"}   or {"saw": "gave_up"}
    {"saw": "left", "value": 6}                         the notes that are left
"""

import asyncio
import json
import os

from mcp import Client
from mcp.types import ElicitResult

from python_sdk import transport
from walk import main, tell


async def conversation():
    headers = {"Authorization": "Bearer " + os.environ["TOKEN"]}
    answers = os.environ["ANSWERS"].split(",")
    withdrawn = asyncio.Event()
    waiting = iter(answers)

    async def person(context, params):
        tell("asked", value=params.message)
        answer = next(waiting)
        if answer != "late":
            return ElicitResult(action=answer, content={} if answer == "accept" else None)
        try:
            await asyncio.Event().wait()
        finally:
            withdrawn.set()

    async with Client(
        transport(headers),
        mode=os.environ["MODE"],
        read_timeout_seconds=60,
        elicitation_callback=person,
    ) as client:
        tell("protocol", value=client.protocol_version)
        uids = []
        for number in range(6):
            note = {"title": f"Note {number}", "content": "c"}
            made = await client.call_tool("create_note", note)
            uids.append(json.loads(made.content[0].text)["uid"])
        batch = {"operations": [{"op": "delete", "kind": "note", "uid": uid} for uid in uids]}
        for answer in answers:
            if answer == "late":
                try:
                    await client.call_tool("batch", batch, read_timeout_seconds=2)
                except Exception:
                    tell("gave_up")
                await withdrawn.wait()
            else:
                result = await client.call_tool("batch", batch)
                tell("batch", failed=result.is_error, text=result.content[0].text)
            listed = await client.call_tool("list_notes", {})
            tell("left", value=len(json.loads(listed.content[0].text)["items"]))


main(conversation)
