"""A stub of S3 for one test: multipart uploads, objects, and parts of them, in memory. Prints the port that it listens on."""

import hashlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

XML = '<?xml version="1.0" encoding="UTF-8"?>'
uploads, objects, lock = {}, {}, threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
            return data
        plain = b""
        while True:
            size, data = data.split(b"\r\n", 1)
            size = int(size.split(b";")[0], 16)
            if size == 0:
                return plain
            plain, data = plain + data[:size], data[size + 2 :]

    def answer(self, status, body=b"", **fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        body = self.body()
        with lock:
            if "uploads" in query:
                key = f"upload-{len(uploads)}"
                uploads[key] = {}
                text = f"{XML}<InitiateMultipartUploadResult><UploadId>{key}</UploadId></InitiateMultipartUploadResult>"
                return self.answer(200, text.encode(), Content_Type="application/xml")
            parts = uploads.pop(query["uploadId"][0])
            whole = b"".join(parts[number] for number in sorted(parts))
            assert body.count(b"<PartNumber>") == len(parts), body
            objects[path] = whole
        print(f"{path} {len(parts)} parts {hashlib.sha256(whole).hexdigest()}", flush=True)
        text = f"{XML}<CompleteMultipartUploadResult><ETag>&quot;whole&quot;</ETag></CompleteMultipartUploadResult>"
        self.answer(200, text.encode(), Content_Type="application/xml")

    def do_PUT(self):
        query, body = parse_qs(urlsplit(self.path).query), self.body()
        with lock:
            uploads[query["uploadId"][0]][int(query["partNumber"][0])] = body
        self.answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')

    def do_GET(self):
        with lock:
            body = objects.get(urlsplit(self.path).path)
        if body is None:
            return self.answer(404)
        fields = {"ETag": '"whole"', "Accept_Ranges": "bytes", "Content_Type": "application/octet-stream"}
        asked = self.headers.get("Range")
        if asked is None:
            return self.answer(200, body, **fields)
        first, last = asked.removeprefix("bytes=").split("-")
        first, last = int(first), min(int(last or len(body)), len(body) - 1)
        fields["Content_Range"] = f"bytes {first}-{last}/{len(body)}"
        self.answer(206, body[first : last + 1], **fields)

    do_HEAD = do_GET


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
sys.exit(server.serve_forever())
