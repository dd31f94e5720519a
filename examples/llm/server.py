"""A stand-in for an OpenAI-compatible server (vLLM, Ollama, llama.cpp): it repeats the last message, word by word.

Run as `python3 server.py PORT [SECONDS BETWEEN WORDS]`. It needs nothing but Python.
"""

import http.server
import json
import sys
import time

PAUSE = float(sys.argv[2]) if len(sys.argv) > 2 else 0.2


class Chat(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        known = self.path in ("/v1/models", "/health")
        models = {"object": "list", "data": [{"id": "echo", "object": "model", "created": 0, "owned_by": "example"}]}
        self.answer(200 if known else 404, models)

    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        words = question["messages"][-1]["content"].split()
        if question.get("stream"):
            self.stream(words)
        else:
            message = {"role": "assistant", "content": " ".join(words)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.answer(200, head("chat.completion") | {"choices": [choice]})

    def stream(self, words):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for word in words:
                self.event(json.dumps(piece({"content": word + " "}, None)))
                time.sleep(PAUSE)
            self.event(json.dumps(piece({}, "stop")))
            self.event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            # Nobody reads any more: a real server would stop to compute here.
            print("the client left", flush=True)

    def event(self, data):
        event = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def head(kind):
    return {"id": "chatcmpl-1", "object": kind, "created": int(time.time()), "model": "echo"}


def piece(delta, reason):
    return head("chat.completion.chunk") | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Chat)
print(f"listening on {server.server_address[1]}", flush=True)
server.serve_forever()
