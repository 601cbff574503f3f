"""Streams one answer by the `ollama` package: ollama_chat.py MODEL PROMPT.

Prints the text as it comes. An error is printed once, on standard error, and ends it with code 3.
Key, base URL and CA come from the variables that the package itself reads.
"""

import sys

import ollama

model, prompt = sys.argv[1:]
try:
    for part in ollama.chat(model=model, messages=[{"role": "user", "content": prompt}], stream=True):
        print(part.message.content or "", end="", flush=True)
except ollama.ResponseError as error:
    print(f"error {error.status_code}: {error.error}", file=sys.stderr)
    sys.exit(3)
print()
