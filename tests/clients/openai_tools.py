"""One turn with a tool by the `openai` package: openai_tools.py plain|stream MODEL PROMPT.

Prints the text as it comes, each call of a tool as `call NAME ARGUMENTS`, and at last why and at what cost the answer
ended. An error is printed once, on standard error, and ends it with code 3. Key, base URL, proxy and CA come from the
variables that the package itself reads.
"""

import json
import sys

import openai

mode, model, prompt = sys.argv[1:]
client = openai.OpenAI(max_retries=0)
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
}


def plain():
    reply = client.chat.completions.create(**request)
    message = reply.choices[0].message
    print(message.content or "", end="")
    for call in message.tool_calls or []:
        print("call", call.function.name, json.dumps(json.loads(call.function.arguments)))
    return reply.choices[0].finish_reason, reply.usage


def stream():
    calls, stop, usage = [], None, None
    chunks = client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True})
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            print(choice.delta.content or "", end="", flush=True)
            for call in choice.delta.tool_calls or []:
                if call.index == len(calls):
                    calls.append([call.function.name, ""])
                calls[call.index][1] += call.function.arguments or ""
            stop = choice.finish_reason or stop
    for name, arguments in calls:
        print("call", name, json.dumps(json.loads(arguments)))
    return stop, usage


try:
    stop, usage = {"plain": plain, "stream": stream}[mode]()
except openai.APIStatusError as error:
    print(f"error {error.status_code}: {error.message}", file=sys.stderr)
    sys.exit(3)
except openai.APIError as error:
    print(f"error in the stream: {error.message}", file=sys.stderr)
    sys.exit(3)
print()
print("ended", stop, usage.prompt_tokens, usage.completion_tokens)
