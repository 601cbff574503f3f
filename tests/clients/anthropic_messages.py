"""Streams one answer by the `anthropic` package: anthropic_messages.py MODEL PROMPT.

Prints the text as it comes and the reason it stopped for. An error is printed once, on standard
error, and ends it with code 3.
"""

import sys

import anthropic

model, prompt = sys.argv[1:]
client = anthropic.Anthropic()
try:
    with client.messages.stream(
        model=model, max_tokens=24, messages=[{"role": "user", "content": prompt}]
    ) as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
        print(f"\n[{stream.get_final_message().stop_reason}]")
except anthropic.APIStatusError as error:
    print(f"error {error.status_code}: {error.message}", file=sys.stderr)
    sys.exit(3)
