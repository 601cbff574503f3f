"""Streams one answer by LangChain: langchain_chat.py openai|anthropic MODEL PROMPT.

Prints the text as it comes. An error is printed once, on standard error, and ends it with code 3.
Key, base URL, proxy and CA come from the variables that the packages themselves read.
"""

import sys

import anthropic
import openai

kind, model, prompt = sys.argv[1:]
if kind == "openai":
    from langchain_openai import ChatOpenAI as Chat
else:
    from langchain_anthropic import ChatAnthropic as Chat
try:
    for chunk in Chat(model=model, max_tokens=24).stream(prompt):
        print(chunk.text if isinstance(chunk.text, str) else chunk.text(), end="", flush=True)
except (openai.APIStatusError, anthropic.APIStatusError) as error:
    print(f"error {error.status_code}: {error.message}", file=sys.stderr)
    sys.exit(3)
print()
