"""A tenant's backend that calls an API of OAuth 1.0a with oauthlib, knowing only what get-access-token answered and its
own client secret.

Reads JSON from standard input: url, client_secret (or rsa_key), and answer, which is get-access-token's. Prints the
status and the body of the API's answer.
"""

import json
import sys
import urllib.error
import urllib.request

from oauthlib import oauth1

PLACES = {"header": oauth1.SIGNATURE_TYPE_AUTH_HEADER, "query": oauth1.SIGNATURE_TYPE_QUERY, "body": oauth1.SIGNATURE_TYPE_BODY}

asked = json.load(sys.stdin)
answer = asked["answer"]
signing = answer["signing"]
client = oauth1.Client(
    signing["consumer_key"],
    client_secret=asked.get("client_secret"),
    resource_owner_key=answer["access_token"],
    resource_owner_secret=answer["token_secret"],
    signature_method=signing["signature_method"],
    signature_type=PLACES[signing["params_in"]],
    rsa_key=asked.get("rsa_key"),
    realm=signing.get("realm"),
)
form = {"Content-Type": "application/x-www-form-urlencoded"}
url, headers, body = client.sign(asked["url"], "POST", body="size=original&file=a+b", headers=form)
request = urllib.request.Request(url, data=body.encode(), headers=headers, method="POST")
try:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as came:
        print(came.status, came.read().decode())
except urllib.error.HTTPError as refused:
    print(refused.code, refused.read().decode())
