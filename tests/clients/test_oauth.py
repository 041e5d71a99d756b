"""OAuth from end to end: a real client's flow, a real authorization server, the real server and the
real API."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import secrets
import subprocess
import sys
import time
import unittest
import urllib.error
import urllib.request

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata
from mcp.shared.exceptions import MCPError

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "scripts"))
import browser  # noqa: E402
import pair  # noqa: E402

CALLBACK = "http://127.0.0.1:1/callback"
READ, WRITE = "toolbridge:read", "toolbridge:write"
API_AUDIENCE = "https://api.example/toolbridge"


class AuthorizationServer:
    def __init__(self, resource, *words):
        port = pair.free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.secret = secrets.token_hex(32)
        nodes = [str(path) for path in HERE.glob("node_modules/node-linux-*/bin")]
        self.process = subprocess.Popen(
            [
                "node",
                "authorization_server.mjs",
                str(port),
                resource,
                API_AUDIENCE,
                self.secret,
                *words,
            ],
            cwd=HERE,
            env={"PATH": os.pathsep.join([*nodes, os.environ["PATH"]])},
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in self.process.stdout:
            if line == "ready\n":
                return
        raise RuntimeError("the authorization server did not start")

    def test(self, **asked):
        with urllib.request.urlopen(
            self.url + "/test", json.dumps(asked).encode(), timeout=10
        ) as answer:
            return json.load(answer)

    def token(self, header=None, **claims):
        scope = {"scope": f"{READ} {WRITE}"}
        return self.test(sign={"sub": "alice", **scope, **claims}, header=header or {})["token"]

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()


class Place:
    """An authorization server and both programs beside it, set up as docs/CONFIGURATION.md has
    it."""

    def __init__(self, mcp=(), api=(), jwks="up", authority=()):
        self.port = pair.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.resource = self.url + "/mcp"
        self.authority = AuthorizationServer(self.resource, *authority)
        self.authority.test(jwks=jwks)
        try:
            common = {
                # Published keys only.
                "JWT_HS256_SECRET": "",
                "JWT_JWKS_URL": self.authority.url + "/jwks",
                "JWT_ISSUER": self.authority.url,
                "JWT_AUDIENCE": self.resource,
            }
            self.both = pair.Pair(
                mcp={
                    **common,
                    "TOOLBRIDGE_SERVER_PUBLIC_URL": self.url,
                    "TOOLBRIDGE_AUTH_AUTHORIZATION_SERVERS": self.authority.url,
                    "TOOLBRIDGE_AUTH_LEEWAY": "0s",
                    **{
                        key: value.format(authority=self.authority)
                        for key, value in dict(mcp).items()
                    },
                },
                api={**common, **dict(api)},
                ports=[self.port, pair.free_port()],
            )
        except Exception:
            self.authority.close()
            raise

    def close(self):
        self.both.close()
        self.authority.close()

    def post(self, token, name="list_notes", **arguments):
        """(status, body, challenge) of one call."""
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": name, "arguments": arguments},
        }
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            headers["Authorization"] = "Bearer " + token
        request = urllib.request.Request(self.resource, json.dumps(message).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer), ""
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused), refused.headers.get("WWW-Authenticate", "")

    def doctor(self):
        """(outcome, what it says) of the check of the authorization servers, from outside."""
        token = {"TOOLBRIDGE_TOKEN": self.authority.token()}
        done = subprocess.run(
            [pair.MCP, "doctor", self.url, "--json"],
            env={"PATH": os.environ["PATH"], **token},
            capture_output=True,
            text=True,
        )
        checks = json.loads(done.stdout)["checks"]
        [check] = [check for check in checks if check["id"] == "authorization_servers"]
        return check["outcome"], check["what"]

    def ready(self):
        try:
            with urllib.request.urlopen(self.url + "/readyz", timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)


class Storage:
    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens
        self.expires = time.time() + (tokens.expires_in or 0)

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Person:
    """Somebody with a client and a browser."""

    callback_at = CALLBACK

    def __init__(self, place, login, ticks=lambda scope: True, document=None):
        self.place, self.login, self.ticks, self.document = place, login, ticks, document
        self.storage = Storage()
        self.asked = []
        self.agreed = None

    async def redirect(self, url):
        self.asked.append(httpx2.URL(url).params)
        self.agreed = await browser.agree(url, self.callback_at, {"login": self.login}, self.ticks)

    async def callback(self):
        return AuthorizationCodeResult(
            code=self.agreed["code"],
            state=self.agreed.get("state"),
            iss=self.agreed.get("iss"),
        )

    @contextlib.asynccontextmanager
    async def client(self):
        metadata = OAuthClientMetadata(client_name="a client", redirect_uris=[self.callback_at])
        auth = OAuthClientProvider(
            self.place.resource,
            metadata,
            self.storage,
            self.redirect,
            self.callback,
            client_metadata_url=self.document,
        )
        async with httpx2.AsyncClient(auth=auth, timeout=30) as http:
            async with Client(
                streamable_http_client(self.place.resource, http_client=http)
            ) as client:
                yield client


def scopes(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=="))


class OneResource(unittest.IsolatedAsyncioTestCase):
    """auth.mode = "verify": the caller's token for both programs."""

    @classmethod
    def setUpClass(cls):
        cls.place = Place()
        cls.addClassCleanup(cls.place.close)

    def setUp(self):
        self.place.authority.test(ttl=300, jwks="up")

    async def test_from_the_first_401_to_a_note(self):
        status, _, challenge = self.place.post("")
        self.assertEqual(status, 401)
        self.assertIn(
            f'resource_metadata="{self.place.url}/.well-known/oauth-protected-resource/mcp"',
            challenge,
        )
        alice = Person(self.place, "alice")
        async with alice.client() as client:
            self.assertEqual(len((await client.list_tools()).tools), pair.tool_count())
            made = await client.call_tool("create_note", {"title": "By OAuth", "content": ""})
            self.assertFalse(made.is_error, made)
        self.assertEqual(len(alice.asked), 1)
        asked = alice.asked[0]
        self.assertEqual(
            (asked["code_challenge_method"], asked["resource"]), ("S256", self.place.resource)
        )
        self.assertLessEqual({READ, WRITE}, set(asked["scope"].split()))
        claims = scopes(alice.storage.tokens.access_token)
        self.assertEqual(
            (claims["iss"], claims["aud"], claims["sub"]),
            (self.place.authority.url, self.place.resource, "alice"),
        )
        paths = [step.get("path") for step in self.place.authority.test()["seen"]]
        for path in ("/.well-known/oauth-authorization-server", "/reg", "/auth", "/token"):
            self.assertIn(path, paths)

    def test_the_doctor_says_how_clients_sign_in(self):
        outcome, what = self.place.doctor()
        self.assertEqual(outcome, "ok")
        self.assertIn("clients register themselves", what)

    async def test_an_expired_token_is_refreshed_without_the_person(self):
        self.place.authority.test(ttl=2)
        bert = Person(self.place, "bert")
        async with bert.client() as client:
            await client.list_tools()
            first = bert.storage.tokens.access_token
            await asyncio.sleep(2.5)
            status, body, challenge = self.place.post(first)
            self.assertEqual((status, body["reason"]), (401, "expired"))
            self.assertIn('error="invalid_token"', challenge)
            listed = await client.call_tool("list_notes", {})
            self.assertFalse(listed.is_error, listed)
        self.assertNotEqual(bert.storage.tokens.access_token, first)
        self.assertEqual(len(bert.asked), 1)

    async def test_a_scope_that_is_missing_is_asked_for_and_granted(self):
        carla = Person(self.place, "carla", ticks=lambda scope: scope == READ)
        async with carla.client() as client:
            self.assertEqual(
                len((await client.list_tools()).tools), pair.tool_count(reads_only=True)
            )
            reading = carla.storage.tokens.access_token
            self.assertEqual(scopes(reading)["scope"], READ)
            status, body, challenge = self.place.post(reading, "create_note", title="x", content="")
            self.assertEqual((status, body["error"]["code"]), (403, -31010))
            self.assertIn('error="insufficient_scope"', challenge)
            self.assertIn('scope="toolbridge:notes:write"', challenge)

            carla.ticks = lambda scope: True
            made = await client.call_tool("create_note", {"title": "Later", "content": ""})
            self.assertFalse(made.is_error, made)
        self.assertEqual(len(carla.asked), 2)
        self.assertLessEqual(
            {READ, WRITE}, set(scopes(carla.storage.tokens.access_token)["scope"].split())
        )

    async def test_whoever_grants_nothing_can_do_nothing_and_is_told(self):
        dora = Person(self.place, "dora", ticks=lambda scope: scope == READ)
        async with dora.client() as client:
            await client.list_tools()
            with self.assertRaises(MCPError) as refused:
                await asyncio.wait_for(
                    client.call_tool("create_note", {"title": "x", "content": ""}), 30
                )
        self.assertIn("scope", str(refused.exception))

    def refused(self, token, reason):
        status, body, challenge = self.place.post(token)
        self.assertEqual((status, body.get("reason")), (401, reason))
        self.assertIn('error="invalid_token"', challenge)

    def test_tokens_that_are_not_for_this_place(self):
        authority = self.place.authority
        self.assertEqual(self.place.post(authority.token())[0], 200)
        self.refused(authority.token(aud="https://elsewhere.example/mcp"), "wrong_audience")
        self.refused(authority.token(iss="https://elsewhere.example"), "wrong_issuer")
        self.refused(authority.token(header={"kid": "nobody's"}), "unknown_key")

    def test_tokens_that_nobody_signed(self):
        now = int(time.time())
        claims = {
            "sub": "alice",
            "iss": self.place.authority.url,
            "aud": self.place.resource,
            "iat": now,
            "exp": now + 300,
        }
        known = self.place.authority.test()

        def part(value):
            return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

        def made(header, key=None):
            signed = part(json.dumps(header).encode()) + "." + part(json.dumps(claims).encode())
            return (
                signed
                + "."
                + (part(hmac.new(key, signed.encode(), hashlib.sha256).digest()) if key else "")
            )

        for header in ({"alg": "none"}, {"alg": "none", "kid": known["kid"]}):
            status, body, _ = self.place.post(made(header))
            self.assertEqual(status, 401, body)
        for header in ({"alg": "HS256"}, {"alg": "HS256", "kid": known["kid"]}):
            status, body, _ = self.place.post(made(header, known["pem"].encode()))
            self.assertEqual((status, body["reason"]), (401, "algorithm"))

    def test_keys_come_and_go(self):
        authority = self.place.authority
        old = authority.token()
        self.assertEqual(self.place.post(old)[0], 200)
        # While the keys cannot be had, those that are known go on.
        authority.test(jwks="down")
        self.assertEqual(self.place.post(old)[0], 200)
        authority.test(jwks="up", rotate=True)
        new = authority.token()
        # The server asks for keys at most every ten seconds.
        until = time.monotonic() + 30
        while self.place.post(new)[0] != 200 and time.monotonic() < until:
            time.sleep(0.5)
        status, body, _ = self.place.post(new)
        self.assertEqual(status, 200, body)
        self.assertFalse(body["result"].get("isError"), body)
        self.refused(old, "unknown_key")


class ClientsWithADocument(unittest.IsolatedAsyncioTestCase):
    """No client can register itself: its id is the URL of a document about it."""

    DOCUMENT = "https://client.example/mcp/client.json"

    @classmethod
    def setUpClass(cls):
        cls.place = Place(authority=["documents"])
        cls.addClassCleanup(cls.place.close)
        cls.place.authority.test(
            publish={
                cls.DOCUMENT: {
                    "client_id": cls.DOCUMENT,
                    "client_name": "a client",
                    "redirect_uris": [CALLBACK],
                    "grant_types": ["authorization_code", "refresh_token"],
                    "response_types": ["code"],
                    "token_endpoint_auth_method": "none",
                },
            }
        )

    async def test_signs_in_and_refreshes_without_registration(self):
        self.place.authority.test(ttl=5)
        fay = Person(self.place, "fay", document=self.DOCUMENT)
        async with fay.client() as client:
            made = await client.call_tool("create_note", {"title": "By document", "content": ""})
            self.assertFalse(made.is_error, made)
            first = fay.storage.tokens.access_token
            self.assertEqual(scopes(first)["client_id"], self.DOCUMENT)
            # Both the client and the server take it for expired.
            while time.time() < fay.storage.expires or self.place.post(first)[0] != 401:
                await asyncio.sleep(0.2)
            listed = await client.call_tool("list_notes", {})
            self.assertFalse(listed.is_error, listed)
        self.assertNotEqual(fay.storage.tokens.access_token, first)
        self.assertEqual(len(fay.asked), 1, "the person signed in once")
        seen = self.place.authority.test()["seen"]
        self.assertIn({"document": self.DOCUMENT}, seen)
        self.assertNotIn("/reg", [step.get("path") for step in seen])

    def test_the_doctor_says_how_clients_sign_in(self):
        outcome, what = self.place.doctor()
        self.assertEqual(outcome, "ok")
        self.assertIn("clients name a document", what)

    async def test_a_client_without_a_document_gets_no_further(self):
        gus = Person(self.place, "gus")
        with self.assertLogs("mcp.client.auth", "ERROR"), self.assertRaises(Exception):
            async with gus.client() as client:
                await client.list_tools()
        self.assertEqual(gus.asked, [], "there was no page to sign in at")


class NoWayIn(unittest.TestCase):
    def test_the_doctor_warns_that_clients_cannot_sign_in(self):
        place = Place(authority=["closed"])
        self.addCleanup(place.close)
        outcome, what = place.doctor()
        self.assertEqual(outcome, "warning")
        self.assertIn("neither client id metadata documents nor dynamic registration", what)


class KeysThatNeverCame(unittest.TestCase):
    def test_the_server_says_that_it_is_not_ready_and_recovers(self):
        place = Place(jwks="down")
        self.addCleanup(place.close)
        token = place.authority.token()
        status, body, _ = place.post(token)
        self.assertEqual((status, body["reason"]), (503, "keys_unavailable"))
        status, body = place.ready()
        self.assertEqual(status, 503, body)
        place.authority.test(jwks="up")
        until = time.monotonic() + 30
        while place.post(token)[0] != 200 and time.monotonic() < until:
            time.sleep(0.5)
        self.assertEqual(place.post(token)[0], 200)


class TwoResources(unittest.IsolatedAsyncioTestCase):
    """auth.mode = "exchange": the API has an audience of its own."""

    @classmethod
    def setUpClass(cls):
        cls.place = Place(
            mcp={
                "TOOLBRIDGE_AUTH_MODE": "exchange",
                "TOOLBRIDGE_AUTH_EXCHANGE_TOKEN_URL": "{authority.url}/token",
                "TOOLBRIDGE_AUTH_EXCHANGE_AUDIENCE": API_AUDIENCE,
                "TOOLBRIDGE_AUTH_EXCHANGE_CLIENT_ID": "toolbridge-mcp",
                "TOOLBRIDGE_AUTH_EXCHANGE_CLIENT_SECRET": "{authority.secret}",
            },
            api={"JWT_AUDIENCE": API_AUDIENCE},
        )
        cls.addClassCleanup(cls.place.close)

    async def test_the_api_gets_a_token_of_its_own(self):
        erik = Person(self.place, "erik")
        self.place.authority.test()
        async with erik.client() as client:
            for title in ("one", "two"):
                made = await client.call_tool("create_note", {"title": title, "content": ""})
                self.assertFalse(made.is_error, made)
        exchanged = [
            step["exchanged"] for step in self.place.authority.test()["seen"] if "exchanged" in step
        ]
        self.assertEqual(exchanged, ["erik"], "once, and kept")
        # The caller's own token does not open the API.
        request = urllib.request.Request(
            self.place.both.api_url + "/v1/notes",
            headers={"Authorization": "Bearer " + erik.storage.tokens.access_token},
        )
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        self.assertEqual(refused.exception.code, 401)
        refused.exception.close()

    def test_whom_the_authorization_server_turns_away(self):
        status, body, _ = self.place.post(self.place.authority.token(sub="stranger"))
        result = body["result"]
        self.assertTrue(status == 200 and result["isError"], body)
        error = json.loads(result["content"][0]["text"])["error"]
        self.assertEqual(error["code"], "exchange_denied")


if __name__ == "__main__":
    unittest.main()
