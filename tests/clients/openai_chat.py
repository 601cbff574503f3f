"""Streams one answer by the `openai` package: openai_chat.py chat|responses MODEL PROMPT.

Prints the text as it comes. An error is printed once, on standard error, and ends it with code 3.
Key, base URL, proxy and CA come from the variables that the package itself reads.
"""

import sys

import openai

kind, model, prompt = sys.argv[1:]
client = openai.OpenAI()
try:
    if kind == "chat":
        stream = client.chat.completions.create(
            model=model, stream=True, max_tokens=24, messages=[{"role": "user", "content": prompt}]
        )
        for chunk in stream:
            for choice in chunk.choices:
                print(choice.delta.content or "", end="", flush=True)
    else:
        stream = client.responses.create(model=model, stream=True, max_output_tokens=24, input=prompt)
        for event in stream:
            if event.type == "response.output_text.delta":
                print(event.delta, end="", flush=True)
            elif event.type == "response.completed":
                print(f"\n[{event.response.status}]", end="")
except openai.APIStatusError as error:
    print(f"error {error.status_code}: {error.message}", file=sys.stderr)
    sys.exit(3)
print()
