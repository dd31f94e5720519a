"""Asks a URL twenty times on one connection, and prints the versions and statuses that came. The standard library has no HTTP/2."""

import http.client
import ssl
import sys
from urllib.parse import urlsplit

url, ca = urlsplit(sys.argv[1]), sys.argv[2]
connection = http.client.HTTPSConnection(url.netloc, context=ssl.create_default_context(cafile=ca))
for _ in range(20):
    connection.request("POST", url.path, b"hello")
    answer = connection.getresponse()
    echoed = b'"body":"hello"' in answer.read()
    print(f"HTTP_{answer.version // 10}_{answer.version % 10} {answer.status} {str(echoed).lower()}")
