"""A provider of OAuth 1.0a that nobody here wrote: oauthlib checks each signature, token and nonce; this file keeps
what it hands out. Loopback only; what it knows is gone when it ends.

    oauth1_server.py [--unconfirmed] [--no-verifier]

Prints `READY <origin>` and ends when its standard input closes, so that it never outlives a test.

Each client's key and secret are made of the name of its signature method; /key answers the private key whose public
half the RSA clients have registered, /stats what was done and refused.
"""

import argparse
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from oauthlib import oauth1
from oauthlib.oauth1.rfc5849 import errors

METHODS = {
    "hmacsha1": oauth1.SIGNATURE_HMAC_SHA1,
    "hmacsha256": oauth1.SIGNATURE_HMAC_SHA256,
    "rsasha1": oauth1.SIGNATURE_RSA_SHA1,
    "rsasha256": oauth1.SIGNATURE_RSA_SHA256,
    "plaintext": oauth1.SIGNATURE_PLAINTEXT,
}
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE_KEY = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
PUBLIC_KEY = KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
).decode()


def client_of(name):
    """Of twenty characters at least, as oauthlib asks by default."""
    return f"{name}consumerkey0123456789"[:28]


CLIENTS = {client_of(name): name for name in METHODS}


class Validator(oauth1.RequestValidator):
    """Everything that oauthlib asks of a server; lengths and characters are its defaults."""

    enforce_ssl = False
    # The tests move the clock of the client: that a nonce is new is checked, not when it came.
    timestamp_lifetime = 10**10
    allowed_signature_methods = tuple(METHODS.values())
    realms = ["Photos"]
    dummy_client = "dummyconsumerkey0123456789"
    dummy_request_token = dummy_access_token = "dummytokendummytoken01234"

    def __init__(self):
        super().__init__()
        self.request_tokens, self.access_tokens, self.verifiers = {}, {}, {}
        self.nonces = set()

    def get_client_secret(self, client_key, request):
        return f"secret of {CLIENTS[client_key]}: 100%+&=" if client_key in CLIENTS else "dummy"

    def get_rsa_key(self, client_key, request):
        return PUBLIC_KEY

    def get_request_token_secret(self, client_key, token, request):
        return self.request_tokens.get(token, {}).get("oauth_token_secret", "dummy")

    def get_access_token_secret(self, client_key, token, request):
        return self.access_tokens.get(token, {}).get("oauth_token_secret", "dummy")

    def get_default_realms(self, client_key, request):
        return ["Photos"]

    def get_realms(self, token, request):
        return ["Photos"]

    def get_redirect_uri(self, token, request):
        return self.request_tokens[token]["callback"]

    def invalidate_request_token(self, client_key, request_token, request):
        self.request_tokens.pop(request_token, None)

    # A client signs by its own method and no other: a server that let it choose would take the weakest.
    def validate_client_key(self, client_key, request):
        return client_key in CLIENTS and request.signature_method == METHODS[CLIENTS[client_key]]

    def validate_request_token(self, client_key, token, request):
        return self.request_tokens.get(token, {}).get("client") == client_key

    def validate_access_token(self, client_key, token, request):
        return self.access_tokens.get(token, {}).get("client") == client_key

    # Stricter than RFC 5849 3.3: a client uses no nonce twice, whatever the second and the token.
    def validate_timestamp_and_nonce(self, client_key, timestamp, nonce, request, request_token=None, access_token=None):
        fresh = (client_key, nonce) not in self.nonces
        self.nonces.add((client_key, nonce))
        return fresh

    def validate_redirect_uri(self, client_key, redirect_uri, request):
        return redirect_uri.startswith("http://127.0.0.1:")

    def validate_requested_realms(self, client_key, realms, request):
        return True

    def validate_realms(self, client_key, token, request, uri=None, realms=None):
        return True

    def validate_verifier(self, client_key, token, verifier, request):
        return self.verifiers.get(token) == verifier

    def verify_request_token(self, token, request):
        return token in self.request_tokens

    def verify_realms(self, token, realms, request):
        return True

    def save_access_token(self, token, request):
        self.access_tokens[token["oauth_token"]] = {**token, "client": request.client_key}

    def save_request_token(self, token, request):
        saved = {**token, "client": request.client_key, "callback": request.redirect_uri}
        self.request_tokens[token["oauth_token"]] = saved

    def save_verifier(self, token, verifier, request):
        self.verifiers[token] = verifier["oauth_verifier"]


def server(options):
    validator = Validator()
    endpoint = oauth1.WebApplicationServer(validator)
    stats = {"requested": 0, "exchanged": 0, "used": 0, "invalidated": 0, "refused": 0, "extra": [], "places": {}}
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            with lock:
                self.answer()

        do_POST = do_GET

        def answer(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            origin = f"http://{self.headers['host']}"
            asked = (f"{origin}{self.path}", self.command, body, dict(self.headers))
            path = urlsplit(self.path).path
            if path in ("/request_token", "/access_token", "/invalidate"):
                self.note_place(body)
            try:
                status, headers, text = getattr(self, path.strip("/"))(asked, origin)
            except errors.OAuth1Error as error:
                status, headers, text = error.status_code, {}, error.urlencoded
            if status >= 400:
                stats["refused"] += 1
            self.send_response(status)
            for name, value in {"content-type": "application/x-www-form-urlencoded", **headers}.items():
                self.send_header(name, value)
            data = (text or "").encode()
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def note_place(self, body):
            """Where a client's params stand, and with which realm."""
            header = self.headers.get("authorization", "").removeprefix("OAuth ").replace(", ", "&").replace('"', "")
            for place, text in (("header", header), ("query", urlsplit(self.path).query), ("body", body)):
                fields = parse_qs(text)
                if "oauth_signature" in fields:
                    name = CLIENTS.get(fields["oauth_consumer_key"][0], "nobody")
                    realms = stats["places"].setdefault(f"{name}-{place}", [])
                    realms.extend(realm for realm in fields.get("realm", [""]) if realm not in realms)

        def request_token(self, asked, origin):
            headers, text, status = endpoint.create_request_token_response(*asked)
            if status == 200:
                stats["requested"] += 1
                stats["extra"].append(parse_qs(f"{urlsplit(asked[0]).query}&{asked[2]}").get("access", [""])[0])
                if options.unconfirmed:
                    text = "&".join(pair for pair in text.split("&") if "confirmed" not in pair)
            return status, headers, text

        # The end user agrees at once, or declines if the address says so.
        def authorize(self, asked, origin):
            query = parse_qs(urlsplit(asked[0]).query)
            token = query["oauth_token"][0]
            if "decline" in query:
                callback = validator.get_redirect_uri(token, None)
                return 302, {"location": f"{callback}&denied={token}"}, ""
            headers, text, status = endpoint.create_authorization_response(*asked)
            location = headers["Location"]
            if options.no_verifier:
                location = location.split("&oauth_verifier=")[0]
            return status, {"location": location}, text

        def access_token(self, asked, origin):
            headers, text, status = endpoint.create_access_token_response(
                *asked, credentials={"user_id": "42", "screen_name": "ada"}
            )
            stats["exchanged"] += status == 200
            return status, headers, text

        def resource(self, asked, origin):
            valid, request = endpoint.validate_protected_resource_request(*asked, realms=["Photos"])
            if not valid:
                return 401, {}, "oauth_problem=signature_invalid"
            stats["used"] += 1
            return 200, {"content-type": "application/json"}, json.dumps({"photos": ["vacation.jpg"], "id": 42})

        def invalidate(self, asked, origin):
            valid, request = endpoint.validate_protected_resource_request(*asked, realms=["Photos"])
            if not valid:
                return 401, {}, "oauth_problem=token_rejected"
            del validator.access_tokens[request.resource_owner_key]
            stats["invalidated"] += 1
            return 200, {}, ""

        def key(self, asked, origin):
            return 200, {}, PRIVATE_KEY

        def stats(self, asked, origin):
            return 200, {"content-type": "application/json"}, json.dumps(stats)

        def log_message(self, *_):
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--unconfirmed", action="store_true", help="says no oauth_callback_confirmed")
    parser.add_argument("--no-verifier", action="store_true", help="sends the browser back without a verifier")
    running = server(parser.parse_args())
    threading.Thread(target=running.serve_forever, daemon=True).start()
    print(f"READY http://127.0.0.1:{running.server_port}", flush=True)
    sys.stdin.read()


main()
