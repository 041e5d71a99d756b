"""What each client does, and how it tells: one JSON object per line.

{"saw": "protocol", "value": "2025-11-25"}
{"saw": "tools", "value": …}                             the number of tools
{"saw": "create_note", "failed": false, "text": "{…}"}   for each call, in order
{"saw": "failure", "text": "…"}                          instead of all that, when there is no
                                                         conversation
"""

import json
import sys
import traceback


def tell(saw, **more):
    print(json.dumps({"saw": saw, **more}), flush=True)


async def walk(call):
    """`call(name, arguments)` gives (failed, text)."""

    async def step(name, **arguments):
        failed, text = await call(name, arguments)
        tell(name, failed=failed, text=text)
        return text

    note = json.loads(await step("create_note", title="First", content="- oat milk"))
    uid, version = note["uid"], note["version"]
    await step("list_notes", limit=10)
    await step("update_note", uid=uid, title="Second", content="- oat milk", if_match=version)
    await step("update_note", uid=uid, title="Stale", content="", if_match=version)
    await step("get_note", uid=uid)
    await step("delete_note", uid=uid)
    await step("list_notes", limit=10)


def words(error):
    """What an exception says, without the groups it came in."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(words(inner) for inner in error.exceptions))
    return "".join(traceback.format_exception_only(error)).strip()


def main(conversation):
    """A failure is told, and ends with 1, as a person's own script would."""
    import asyncio

    try:
        asyncio.run(conversation())
    except Exception as error:
        tell("failure", text=words(error))
        sys.exit(1)
