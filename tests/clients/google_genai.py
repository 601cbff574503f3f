"""Streams one answer by the `google-genai` package: google_genai.py MODEL PROMPT.

Prints the text as it comes. An error is printed once, on standard error, and ends it with code 3.
Key, base URL, proxy and CA come from the variables that the package itself reads.
"""

import sys

from google import genai

model, prompt = sys.argv[1:]
client = genai.Client()
try:
    for chunk in client.models.generate_content_stream(model=model, contents=prompt):
        print(chunk.text or "", end="", flush=True)
except genai.errors.APIError as error:
    print(f"error {error.code}: {error.message}", file=sys.stderr)
    sys.exit(3)
print()
