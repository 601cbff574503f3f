"""One turn by `boto3`: bedrock_converse.py plain|stream|count MODEL PROMPT.

Prints the text as it comes, each call of a tool as `call NAME ARGUMENTS`, and at last why and at what cost the answer
ended. An error is printed once, on standard error, and ends it with code 3. Keys, region, base URL, proxy and CA come from
the variables that the package itself reads.
"""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

mode, model, prompt = sys.argv[1:]
client = boto3.client("bedrock-runtime", config=Config(retries={"max_attempts": 0}))
request = {
    "modelId": model,
    "messages": [{"role": "user", "content": [{"text": prompt}]}],
    "inferenceConfig": {"maxTokens": 64},
    "toolConfig": {
        "tools": [
            {
                "toolSpec": {
                    "name": "send",
                    "description": "Sends a note",
                    "inputSchema": {"json": {"type": "object", "properties": {"to": {"type": "string"}}}},
                }
            }
        ]
    },
}


def plain():
    reply = client.converse(**request)
    for block in reply["output"]["message"]["content"]:
        if "text" in block:
            print(block["text"], end="")
        if "toolUse" in block:
            print("call", block["toolUse"]["name"], json.dumps(block["toolUse"]["input"]))
    return reply["stopReason"], reply["usage"]


def stream():
    name, source, stop, usage = None, "", None, None
    for event in client.converse_stream(**request)["stream"]:
        if "contentBlockStart" in event:
            name = event["contentBlockStart"]["start"]["toolUse"]["name"]
        elif "contentBlockDelta" in event:
            delta = event["contentBlockDelta"]["delta"]
            print(delta.get("text", ""), end="", flush=True)
            source += delta.get("toolUse", {}).get("input", "")
        elif "contentBlockStop" in event and name:
            print("call", name, json.dumps(json.loads(source)))
            name, source = None, ""
        elif "messageStop" in event:
            stop = event["messageStop"]["stopReason"]
        elif "metadata" in event:
            usage = event["metadata"]["usage"]
    return stop, usage


def count():
    counted = {"converse": {"messages": request["messages"]}}
    return "counted", client.count_tokens(modelId=model, input=counted)


try:
    stop, usage = {"plain": plain, "stream": stream, "count": count}[mode]()
except EventStreamError as error:
    print(f"error in the stream: {error}", file=sys.stderr)
    sys.exit(3)
except ClientError as error:
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    print(f"error {status}: {error.response['Error']['Message']}", file=sys.stderr)
    sys.exit(3)
print()
print("ended", stop, usage["inputTokens"], usage.get("outputTokens", 0))
