"""A stand-in for the API of a model: it calls the tools of a script, one after the other.

A step is (tool, input) or a function that makes one of the results so far. When the script is over,
the model says that it is done. Only what Claude Code needs of the Messages API is here.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ScriptedModel:
    def __init__(self, steps):
        self.steps, self.requests = steps, []
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                length = int(self.headers.get("Content-Length", 0))
                request = json.loads(self.rfile.read(length) or b"{}")
                if self.path.split("?")[0] != "/v1/messages":
                    self.answer("application/json", b'{"input_tokens": 1}')
                    return
                model.requests.append(request)
                message = model.message(request)
                if request.get("stream"):
                    self.answer("text/event-stream", events(message))
                else:
                    self.answer("application/json", json.dumps(message).encode())

            def answer(self, kind, body):
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def message(self, request):
        results = tool_results(request)
        if request.get("tools") and len(results) < len(self.steps):
            step = self.steps[len(results)]
            tool, given = step(results) if callable(step) else step
            call = {"type": "tool_use", "id": f"toolu_{len(results)}", "name": tool, "input": given}
            return message(request, call, "tool_use")
        return message(request, {"type": "text", "text": "That is done."}, "end_turn")

    def results(self):
        """Of each step, what the model was given: (text, whether it is an error)."""
        return max((tool_results(request) for request in self.requests), key=len)

    def told(self):
        """All that the model was told before the user's words."""
        return json.dumps(self.requests, ensure_ascii=False)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def tool_results(request):
    found = []
    for each in request["messages"]:
        for part in each["content"] if isinstance(each["content"], list) else []:
            if part["type"] == "tool_result":
                content = part.get("content", "")
                if isinstance(content, list):
                    content = "".join(piece.get("text", "") for piece in content)
                found.append((content, part.get("is_error", False)))
    return found


def message(request, block, reason):
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": request.get("model"),
        "content": [block],
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def events(message):
    [block] = message["content"]
    if block["type"] == "text":
        begun, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
    else:
        text = json.dumps(block["input"])
        begun, delta = {**block, "input": {}}, {"type": "input_json_delta", "partial_json": text}
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    sequence = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": begun},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    lines = (f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in sequence)
    return "".join(lines).encode()
