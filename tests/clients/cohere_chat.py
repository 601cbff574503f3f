"""One turn by the `cohere` package: cohere_chat.py plain|stream MODEL PROMPT.

Prints the text as it comes, each call of a tool as `call NAME ARGUMENTS`, and at last why and at what cost the answer
ended. An error is printed once, on standard error, and ends it with code 3. Key, base URL, proxy and CA come from the
variables that the package itself reads.
"""

import json
import sys

import cohere
from cohere.core.api_error import ApiError

mode, model, prompt = sys.argv[1:]
client = cohere.ClientV2()
request = {
    "model": model,
    "messages": [{"role": "user", "content": prompt}],
    "max_tokens": 64,
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "send",
                "description": "Sends a note",
                "parameters": {"type": "object", "properties": {"to": {"type": "string"}}},
            },
        }
    ],
    "request_options": {"max_retries": 0},
}


def plain():
    reply = client.chat(**request)
    for content in reply.message.content or []:
        print(content.text, end="")
    for call in reply.message.tool_calls or []:
        print("call", call.function.name, json.dumps(json.loads(call.function.arguments)))
    return reply.finish_reason, reply.usage


def stream():
    name, source, end = None, "", None
    for event in client.chat_stream(**request):
        if event.type == "content-delta":
            print(event.delta.message.content.text, end="", flush=True)
        elif event.type == "tool-call-start":
            name = event.delta.message.tool_calls.function.name
        elif event.type == "tool-call-delta":
            source += event.delta.message.tool_calls.function.arguments
        elif event.type == "tool-call-end":
            print("call", name, json.dumps(json.loads(source)))
        elif event.type == "message-end":
            end = event.delta
    return end.finish_reason, end.usage


try:
    stop, usage = {"plain": plain, "stream": stream}[mode]()
except ApiError as error:
    print(f"error {error.status_code}: {error.body}", file=sys.stderr)
    sys.exit(3)
print()
print("ended", stop, int(usage.tokens.input_tokens), int(usage.tokens.output_tokens))
