"""Streams a chat completion through the proxy with OpenAI's own client: `pip install openai`, then `python3 chat.py`."""

import sys

from openai import OpenAI

base = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8080/v1"
# The key goes to the model server; this one does not look at it.
client = OpenAI(base_url=base, api_key="none")
words = client.chat.completions.create(
    model="echo",
    messages=[{"role": "user", "content": "Kafka carries every word as it is spoken"}],
    stream=True,
)
for word in words:
    print(word.choices[0].delta.content or "", end="", flush=True)
print()
