"""Computes a request's signature by `botocore`: check_signature.py ACCESS_KEY SECRET REGION SERVICE REQUEST.

REQUEST is JSON: method, url, headers (pairs), body in base64. Prints `fits`, or ends with code 3 and says what was
computed. Which headers are signed is what the request's own `authorization` says.
"""

import base64
import json
import re
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

access_key, secret, region, service, request = sys.argv[1:]
given = json.loads(request)
headers = {name: value for name, value in given["headers"]}
match = re.fullmatch(
    r"AWS4-HMAC-SHA256 Credential=([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]{64})",
    headers["authorization"],
)
assert match, headers["authorization"]
credential, signed, signature = match.groups()
moment = headers["x-amz-date"]
assert credential == f"{access_key}/{moment[:8]}/{region}/{service}/aws4_request", credential
request = AWSRequest(
    method=given["method"],
    url=given["url"],
    data=base64.b64decode(given["body"]),
    headers={name: headers[name] for name in signed.split(";") if name != "host"},
)
request.context["timestamp"] = moment
auth = SigV4Auth(Credentials(access_key, secret), service, region)
canonical = auth.canonical_request(request)
computed = auth.signature(auth.string_to_sign(request, canonical), request)
if computed != signature or "host" not in signed.split(";"):
    print(f"{computed} was computed over:\n{canonical}", file=sys.stderr)
    sys.exit(3)
print("fits")
