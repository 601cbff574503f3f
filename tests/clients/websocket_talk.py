"""Asks over one WebSocket in the Responses dialect, by the `websockets` package: websocket_talk.py URL TEXT...

Each text goes out in fragments of seven letters, compressed where that was agreed on. Prints what was agreed on, then for
each text what the deltas come to, or the error. Proxy and CA come from the variables that the package itself reads.
"""

import json
import sys

from websockets.sync.client import connect

url, *texts = sys.argv[1:]
with connect(url, additional_headers={"Authorization": "Bearer sk-dummy"}) as socket:
    print([type(extension).__name__ for extension in socket.protocol.extensions])
    for text in texts:
        message = json.dumps({"type": "response.create", "model": "gpt-x", "input": text})
        socket.send(message[at : at + 7] for at in range(0, len(message), 7))
        said = ""
        while True:
            event = json.loads(socket.recv(timeout=30))
            said += event.get("delta", "")
            if event["type"] in ("response.completed", "error"):
                break
        print(event["error"]["message"] if event["type"] == "error" else said)
    socket.ping().wait(30)
print(socket.close_code)
