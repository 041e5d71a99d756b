"""The authorization server of authorization-server/, from its own files and as its page says, with
both programs, real clients and a real browser."""

import asyncio
import base64
import concurrent.futures
import hashlib
import http.client
import ipaddress
import json
import os
import pathlib
import pty
import re
import secrets
import shlex
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import unittest
import urllib.parse

import httpx2
import jwt

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "scripts"))
import assistants  # noqa: E402
import browser  # noqa: E402
import pair  # noqa: E402
from test_oauth import Person, scopes as claims_of  # noqa: E402

FOLDER = pair.ROOT / "authorization-server"
PAGE = (FOLDER / "README.md").read_text()
LOGIN, SERVER = "https://toolbridge-acme-login.fly.dev", "https://toolbridge-acme.fly.dev"
TIMEOUT = 120
USERS = ["alice", "bob", "dora", "erik"]
CALLBACK = "http://127.0.0.1:49151/callback"
CLAUDE = "https://claude.ai/oauth/claude-code-client-metadata"
CODEX = "https://chatgpt.com/oauth/codex/client.json"


def document(url, name, *callbacks):
    return {
        "client_id": url,
        "client_name": name,
        "redirect_uris": callbacks,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }


DOCUMENTS = [
    document(CLAUDE, "Claude Code", "http://localhost/callback", "http://127.0.0.1/callback"),
    document(CODEX, "Codex", "http://127.0.0.1/callback", "http://localhost/callback"),
]


def search_path():
    nodes = [str(path) for path in HERE.glob("node_modules/node-linux-*/bin")]
    return os.pathsep.join([*nodes, os.environ["PATH"]])


class AuthorizationServer:
    """As `npm start` runs it."""

    def __init__(self, resource, **settings):
        self.port = pair.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = tempfile.TemporaryDirectory()
        package = json.loads((FOLDER / "package.json").read_text())
        self.commands = {name: shlex.split(line) for name, line in package["scripts"].items()}
        # What the file says holds where the environment says nothing else.
        self.environment = {
            "PATH": search_path(),
            "ISSUER": self.url,
            "RESOURCE": resource,
            "PORT": str(self.port),
            "DATA": self.data.name,
            "PUBLISHED": json.dumps({each["client_id"]: each for each in DOCUMENTS}),
            "NODE_OPTIONS": f"--import={(HERE / 'published_documents.mjs').resolve().as_uri()}",
            # Each caller of a test has an address of its own, and so limits of its own.
            "CLIENT_ADDRESS_HEADER": "X-Real-IP",
            **settings,
        }
        unset = [name for name, value in self.environment.items() if value is None]
        for name in unset:
            del self.environment[name]
        if unset:
            # The file would set them.
            words = self.commands["start"]
            self.commands["start"] = [word for word in words if "env-file" not in word]
        self.start()

    def start(self):
        self.log = open(pathlib.Path(self.data.name) / "log", "w")
        self.process = subprocess.Popen(
            self.commands["start"],
            cwd=FOLDER,
            env=self.environment,
            text=True,
            stdout=self.log,
            stderr=self.log,
        )
        until = time.monotonic() + TIMEOUT
        while '"ready"' not in self.said():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(self.said())
            time.sleep(0.02)

    def said(self):
        """Since it was started."""
        return pathlib.Path(self.log.name).read_text()

    def stop(self):
        self.process.terminate()
        self.process.wait(TIMEOUT)
        self.log.close()

    def manage(self, *words):
        done = subprocess.run(
            [*self.commands["manage"], *words],
            cwd=FOLDER,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT,
        )
        return done.stdout.strip()

    def run(self, program):
        """What a program that uses its files prints."""
        words = [*self.commands["manage"][:-1], "--input-type=module"]
        done = subprocess.run(
            words,
            input=program,
            cwd=FOLDER,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
        )
        return json.loads(done.stdout)

    def signing_key(self):
        with sqlite3.connect(pathlib.Path(self.data.name) / "login.db") as database:
            rows = database.execute("SELECT jwk FROM keys ORDER BY number DESC").fetchall()
        return json.loads(rows[1][0])

    def close(self):
        self.stop()
        self.data.cleanup()


def from_elsewhere():
    """The header of a caller with a new address."""
    return {"X-Real-IP": str(ipaddress.IPv4Address(secrets.randbits(32)))}


class Place:
    """The authorization server, and both programs with the settings of its page."""

    def __init__(self, **settings):
        self.port = pair.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.resource = self.url + "/mcp"
        self.authority = AuthorizationServer(self.resource, **settings)
        self.passwords = {}
        try:
            [block] = re.findall(r"(?s)```toml\n(.*?)```", PAGE)
            shown = block.replace(LOGIN, self.authority.url).replace(SERVER, self.url)
            shown = {**tomllib.loads(shown), "JWT_HS256_SECRET": ""}
            self.both = pair.Pair(
                mcp={**shown, "TOOLBRIDGE_AUTH_LEEWAY": "0s"},
                api=shown,
                ports=[self.port, pair.free_port()],
            )
            for name in USERS:
                self.passwords[name] = self.authority.manage("add", name)
        except Exception:
            self.authority.close()
            raise

    def close(self):
        self.both.close()
        self.authority.close()

    def user(self, name, **more):
        return User(self, name, **more)

    def post(self, token, name="list_notes", **arguments):
        """The status and the body of a call."""
        params = {"name": name, "arguments": arguments}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
        answer = httpx2.post(self.resource, json=message, headers=headers, timeout=30)
        return answer.status_code, answer.json()

    def titles(self, token):
        status, body = self.post(token)
        items = body["result"]["structuredContent"]["items"]
        return [item["payload"]["title"] for item in items]

    def minted(self, **claims):
        """A token that the authorization server could have signed."""
        key = self.authority.signing_key()
        now = int(time.time())
        claims = {
            "iss": self.authority.url,
            "aud": self.resource,
            "sub": "alice",
            "tenant_id": "acme",
            "iat": now,
            "exp": now + 300,
            "scope": "toolbridge:read",
            **claims,
        }
        signing = jwt.PyJWK(key).key
        return jwt.encode(claims, signing, "ES256", {"kid": key["kid"], "typ": "at+jwt"})


class User(Person):
    """Somebody with the Python SDK as the client. Pages are filled in without a browser."""

    callback_at = CALLBACK

    def __init__(self, place, name, ticks=lambda scope: True, document=None):
        super().__init__(place, name, ticks, document)
        self.password = place.passwords[name]

    async def redirect(self, url):
        self.asked.append(httpx2.URL(url).params)
        self.agreed = await self.sign_in(url)

    async def sign_in(self, url):
        writes = {"name": self.login, "password": self.password}
        return await browser.agree(url, self.callback_at, writes, self.ticks, from_elsewhere())


class UserAtChromium(User):
    shown = None

    async def sign_in(self, url):
        pictures = pair.TARGET / "login"
        pictures.mkdir(exist_ok=True)
        asked = {
            "url": url,
            "name": self.login,
            "password": self.password,
            "callback": self.callback_at,
            "pictures": str(pictures),
        }
        process = await asyncio.create_subprocess_exec(
            "node",
            "chromium.mjs",
            json.dumps(asked),
            cwd=HERE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PATH": search_path()},
        )
        said, _ = await asyncio.wait_for(process.communicate(), TIMEOUT)
        self.shown = json.loads(said)
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.shown["sent"]).query))


PLACE = None


def setUpModule():
    global PLACE
    PLACE = Place()
    unittest.addModuleCleanup(PLACE.close)


class SigningIn(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.place = PLACE

    async def test_each_user_signs_in_in_a_browser_and_sees_their_own_notes(self):
        users = {}
        for name in ("alice", "bob"):
            user = users[name] = UserAtChromium(self.place, name)
            async with user.client() as client:
                self.assertEqual(len((await client.list_tools()).tools), pair.tool_count())
                made = await client.call_tool("create_note", {"title": f"of {name}", "content": ""})
                self.assertFalse(made.is_error, made)
                listed = await client.call_tool("list_notes", {})
            titles = [item["payload"]["title"] for item in listed.structured_content["items"]]
            self.assertEqual(titles, [f"of {name}"])
            self.assertEqual(user.shown["problems"], [])
            for words in ("a client", name, "a program on this computer", "read everything"):
                self.assertIn(words, user.shown["text"])
            claims = claims_of(user.storage.tokens.access_token)
            expected = {
                "iss": self.place.authority.url,
                "aud": self.place.resource,
                "sub": name,
                "tenant_id": "acme",
            }
            self.assertEqual({key: claims[key] for key in expected}, expected)
            [asked] = user.asked
            self.assertEqual(asked["code_challenge_method"], "S256")

    async def test_a_user_may_allow_reading_only(self):
        carla = self.place.user("bob", ticks=lambda scope: scope.endswith(":read"))
        async with carla.client() as client:
            tools = len((await client.list_tools()).tools)
        self.assertEqual(tools, pair.tool_count(reads_only=True))

    def test_a_user_reads_how_far_a_scope_reaches(self):
        for scope, words in [
            ("toolbridge:notes:write", "> create, change and delete notes<"),
            ("toolbridge:edit:write", "> create, change and delete everything, with"),
            ("toolbridge:compact:write", "> create, change and delete everything, with"),
            ("toolbridge:find:read", "> read everything, with"),
        ]:
            self.assertIn(words, self.attack().page(scope=scope).text)

    def test_who_allows_nothing_or_refuses_gives_no_token(self):
        answer = self.attack().answer(ticks=lambda scope: False)
        self.assertEqual(answer["error"], "access_denied")
        attack = self.attack()
        page = attack.page()
        form = {"answer": "refuse", "scope": "toolbridge:read"}
        answer = attack.browser.post(page.url, data=form, headers=attack.origin)
        while answer.headers["location"].startswith(attack.url):
            answer = attack.browser.get(answer.headers["location"])
        self.assertIn("error=access_denied", answer.headers["location"])

    def test_the_doctor_finds_nothing(self):
        token = {"TOOLBRIDGE_TOKEN": self.place.minted(scope="toolbridge:read toolbridge:write")}
        done = subprocess.run(
            [pair.MCP, "doctor", self.place.url, "--json"],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], **token},
            timeout=TIMEOUT,
        )
        checks = {each["id"]: each for each in json.loads(done.stdout)["checks"]}
        wrong = [each for each in checks.values() if each["outcome"] in ("warning", "failed")]
        self.assertEqual(wrong, [])
        self.assertIn("or register themselves", checks["authorization_servers"]["what"])

    def test_it_knows_every_scope_that_toolbridge_lists(self):
        def scopes(url, path):
            return set(httpx2.get(url + path).json()["scopes_supported"])

        ours = scopes(self.place.url, "/.well-known/oauth-protected-resource/mcp")
        self.assertGreater(len(ours), 2)
        known = scopes(self.place.authority.url, "/.well-known/oauth-authorization-server")
        self.assertEqual(ours, known - {"openid", "offline_access"})

    def test_tokens_that_are_not_for_this_server(self):
        place = self.place
        self.assertEqual(place.post(place.minted())[0], 200)
        for claims, reason in [
            ({"aud": "https://toolbridge-other.fly.dev/mcp"}, "wrong_audience"),
            ({"aud": place.url}, "wrong_audience"),
            ({"iss": "https://elsewhere.example"}, "wrong_issuer"),
        ]:
            status, body = place.post(place.minted(**claims))
            self.assertEqual((status, body.get("reason")), (401, reason), claims)
        status, body = place.post(place.minted(tenant_id="other"))
        self.assertEqual(status, 403, body)
        # Neither an empty list of scopes nor a missing one, as of other issuers, allows anything.
        for scope in ("", None):
            claims = place.minted(scope=scope) if scope == "" else self.without_scope()
            status, body = place.post(claims)
            self.assertEqual((status, body["error"]["code"]), (403, -31010))

    def without_scope(self):
        claims = jwt.decode(self.place.minted(), options={"verify_signature": False})
        del claims["scope"]
        key = self.place.authority.signing_key()
        return jwt.encode(claims, jwt.PyJWK(key).key, "ES256", {"kid": key["kid"]})

    def attack(self, **client):
        attack = Attack(self.place, **client)
        self.addCleanup(attack.browser.close)
        return attack

    def test_what_a_client_may_not_ask_for(self):
        for words, changes in [
            ("PKCE", {"code_challenge": None, "code_challenge_method": None}),
            ("code_challenge_method", {"code_challenge_method": "plain"}),
            ("response_type", {"response_type": "token"}),
            ("resource", {"resource": "https://toolbridge-other.fly.dev/mcp"}),
        ]:
            answer = self.attack().answer(**changes)
            self.assertIn("error", answer, words)
            self.assertNotIn("code", answer)
            self.assertIn(words.lower(), (answer["error"] + answer["error_description"]).lower())
        answer = self.attack().answer(scope="openid")
        self.assertEqual(answer["error"], "access_denied")
        self.assertIn("no scope", answer["error_description"])

    def test_where_an_answer_may_not_go(self):
        # What nobody registered: another path, another scheme, a host that looks like this machine.
        for target in [
            CALLBACK + "/more",
            CALLBACK + "@elsewhere.example",
            "https://127.0.0.1:49151/callback",
            "http://127.0.0.1.elsewhere.example/callback",
            "https://elsewhere.example/callback",
        ]:
            self.nowhere(self.attack(), target)
        # What somebody registered, and no operator allows.
        for target in [
            "https://elsewhere.example/callback",
            "https://claude.ai.elsewhere.example/callback",
            "https://claude.ai:8443/callback",
            "elsewhere:/callback",
        ]:
            self.nowhere(self.attack(redirect_uris=[target]), target)
            # A client with one address may be used to leave it out.
            for changes in ({}, {"scope": "toolbridge:read"}, {"response_type": "token"}):
                attack = self.attack(redirect_uris=[target])
                self.nowhere(attack, target, redirect_uri=None, **changes)
        for target in ["http://elsewhere.example/callback", "javascript:alert(1)"]:
            with self.assertRaises(KeyError):
                self.attack(redirect_uris=[target])
        allowed = self.attack(redirect_uris=["https://claude.ai/api/mcp/auth_callback"])
        answer = allowed.begin(redirect_uri="https://claude.ai/api/mcp/auth_callback")
        self.assertEqual(answer.status_code, 303)

    def nowhere(self, attack, target, **changes):
        answer = attack.begin(**{"redirect_uri": target, **changes})
        self.assertEqual((answer.status_code, answer.headers.get("location")), (400, None), target)
        self.assertIn("Signing in failed", answer.text)

    def test_documents_are_fetched_from_known_sites_only(self):
        for client in [
            "https://127.0.0.1/client.json",
            "https://localhost/client.json",
            "https://169.254.169.254/latest",
            "https://claude.ai:8443/client.json",
            "https://elsewhere.example/client.json",
            "http://claude.ai/client.json",
            "https://claude.ai.elsewhere.example/x",
            "https://claude.ai@elsewhere.example/x",
        ]:
            answer = self.attack().begin(client_id=client)
            self.assertEqual(answer.status_code, 400, client)
            self.assertRegex(answer.text, "fetch not allowed|client is invalid", client)
        # Nor is anything else that a client names.
        for uri in ["https://169.254.169.254/latest", "https://elsewhere.example/uris.json"]:
            with self.assertRaises(KeyError):
                self.attack(sector_identifier_uri=uri, subject_type="public")
        lines = [json.loads(line) for line in self.place.authority.said().splitlines()]
        fetched = {line["fetched"] for line in lines if "fetched" in line}
        self.assertLessEqual(fetched, {CLAUDE, CODEX})

    def test_the_metadata_is_that_of_the_issuer_whatever_host_a_request_names(self):
        at = self.place.authority.url + "/.well-known/oauth-authorization-server"
        names = {"Host": "elsewhere.example", "X-Forwarded-Host": "elsewhere.example"}
        names["X-Forwarded-Proto"] = "https"
        metadata = httpx2.get(at, headers=names).json()
        for key in ("issuer", "authorization_endpoint", "token_endpoint", "registration_endpoint"):
            self.assertTrue(metadata[key].startswith(self.place.authority.url), metadata[key])

    def test_the_files_agree(self):
        lines = (FOLDER / "settings.env").read_text().splitlines()
        settings = dict(line.split("=", 1) for line in lines if line and line[0] != "#")
        fly = tomllib.loads((FOLDER / "fly.toml").read_text())["env"]
        self.assertLessEqual(fly.keys(), settings.keys())
        for name in ("ISSUER", "RESOURCE", "TENANT", "PORT"):
            self.assertEqual(fly[name], settings[name])
        self.assertEqual((settings["ISSUER"], settings["RESOURCE"]), (LOGIN, SERVER + "/mcp"))
        code = "".join(path.read_text() for path in FOLDER.glob("*.js"))
        for name in settings:
            self.assertIn(name, code)

    def test_a_page_shows_what_a_client_says_of_itself_as_text(self):
        attack = self.attack(client_name="<img src=x onerror=alert(1)>\"'&")
        page = attack.page()
        self.assertIn("&#60;img src=x onerror=alert(1)&#62;&#34;&#39;&#38;", page.text)
        self.assertNotIn("<img", page.text)
        # Nor can a name turn around or push away what the page says of it.
        page = self.attack(client_name="evil\u202e\u2066\nname " + "x" * 5000).page()
        self.assertIn("<bdi>evil name xxx", page.text)
        self.assertNotRegex(page.text, "[\u202a-\u202e\u2066-\u2069]|x{61}")
        policy = page.headers["Content-Security-Policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertIn("frame-ancestors 'none'", policy)

    def test_forms_from_elsewhere_and_other_sign_ins(self):
        attack = self.attack()
        location = attack.begin().headers["location"]
        fields = {"name": "alice", "password": self.place.passwords["alice"]}
        for origin in ({"Origin": "https://elsewhere.example"}, {"Origin": "null"}, {}):
            answer = attack.browser.post(location, data=fields, headers=origin)
            self.assertEqual(answer.status_code, 400)
        # Somebody else's browser, which has not begun this.
        answer = httpx2.post(attack.at(location), data=fields, headers=attack.origin)
        self.assertEqual(answer.status_code, 400)
        answer = attack.browser.post(location, data=fields, headers=attack.origin)
        self.assertEqual(answer.status_code, 303)

    def test_a_code_and_a_refresh_token_are_good_once(self):
        attack = self.attack()
        code = attack.answer()["code"]
        self.assertEqual(attack.exchange(code, code_verifier="v" * 43).status_code, 400)
        code = attack.answer()["code"]
        both = list(
            zip(
                *[
                    (answer.status_code, answer)
                    for answer in attack.at_once(
                        lambda: attack.exchange(code),
                        4,
                    )
                ]
            )
        )
        self.assertEqual(sorted(both[0]), [200, 400, 400, 400])

        first = attack.tokens()["refresh_token"]
        second = attack.refresh(first).json()["refresh_token"]
        self.assertEqual(attack.refresh(first).status_code, 400)
        # Somebody has used it twice: all that came of it is void.
        self.assertEqual(attack.refresh(second).status_code, 400)

    def test_a_refresh_gains_nothing(self):
        attack = self.attack()
        reading = attack.tokens(scope="openid offline_access toolbridge:read")
        token = attack.refresh(reading["refresh_token"], scope="toolbridge:read toolbridge:write")
        self.assertEqual(token.json()["error"], "invalid_scope")
        # No scope of ToolBridge is not the same as all of them.
        token = attack.refresh(reading["refresh_token"], scope="openid").json()
        self.assertEqual(claims_of(token["access_token"])["scope"], "")
        self.assertEqual(self.place.post(token["access_token"])[0], 403)
        other = "https://toolbridge-other.fly.dev/mcp"
        token = attack.refresh(token["refresh_token"], resource=other)
        self.assertEqual(token.json()["error"], "invalid_target")

    def test_another_client_cannot_use_what_one_was_given(self):
        first, second = self.attack(), self.attack()
        code = first.answer()["code"]
        self.assertEqual(second.exchange(code).status_code, 400)
        tokens = first.tokens()
        self.assertEqual(second.refresh(tokens["refresh_token"]).status_code, 400)

    def test_a_user_who_is_removed_or_gets_a_new_password_is_signed_out(self):
        authority, passwords = self.place.authority, self.place.passwords
        passwords["carla"] = authority.manage("add", "carla")
        attack = self.attack(user="carla")
        tokens = attack.tokens()
        passwords["carla"] = authority.manage("password", "carla")
        self.assertEqual(attack.refresh(tokens["refresh_token"]).status_code, 400)
        tokens = attack.tokens()
        authority.manage("remove", "carla")
        self.assertEqual(attack.refresh(tokens["refresh_token"]).status_code, 400)
        self.assertEqual(authority.manage("list").split(), USERS)
        with self.assertRaises(subprocess.CalledProcessError):
            authority.manage("add", "alice")

    def test_a_record_is_used_once_expires_and_goes_with_its_grant(self):
        """Even if oidc-provider waited between finding and using it, which it does not today."""
        program = """
            import { Records } from "./store.js";
            const records = new Records("RefreshToken");
            const id = Math.random().toString();
            await records.upsert(id, { grantId: "g", clientId: "c" }, 60);
            await records.consume(id);
            const again = await records.consume(id).then(() => "twice", (error) => error.error);
            await records.upsert("old", { grantId: "h", clientId: "c" }, -1);
            const found = [await records.find(id), await records.find("old")];
            await records.revokeByGrantId("g");
            found.push(await records.find(id));
            console.log(JSON.stringify([again, ...found.map((record) => typeof record)]));
        """
        said = self.place.authority.run(program)
        self.assertEqual(said, ["invalid_grant", "object", "undefined", "undefined"])

    def test_passwords_are_hashed(self):
        data = (pathlib.Path(self.place.authority.data.name) / "login.db").read_bytes()
        self.assertIn(b"scrypt:", data)
        for password in self.place.passwords.values():
            self.assertNotIn(password.encode(), data)


class Attack:
    """A client that somebody has registered, whose requests are made one by one."""

    def __init__(self, place, user="alice", **metadata):
        self.place, self.user = place, user
        self.url = place.authority.url
        self.origin = {"Origin": self.url}
        self.verifier = secrets.token_urlsafe(48)
        self.elsewhere = from_elsewhere()
        registered = httpx2.post(
            self.at("/reg"),
            headers=self.elsewhere,
            json={
                "client_name": "an attacker",
                "redirect_uris": [CALLBACK],
                "grant_types": ["authorization_code", "refresh_token"],
                "token_endpoint_auth_method": "none",
                **metadata,
            },
        )
        self.id = registered.json()["client_id"]
        self.browser = httpx2.Client(base_url=self.url, timeout=30, headers=self.elsewhere)

    def at(self, path):
        return urllib.parse.urljoin(self.url, path)

    def request(self, **changes):
        hashed = hashlib.sha256(self.verifier.encode()).digest()
        asked = {
            "client_id": self.id,
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "code_challenge": base64.urlsafe_b64encode(hashed).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "resource": self.place.resource,
            "state": "s",
            "scope": "openid offline_access toolbridge:read toolbridge:write",
            **changes,
        }
        return {key: value for key, value in asked.items() if value is not None}

    def begin(self, **changes):
        html = {"Accept": "text/html"}
        return self.browser.get("/auth", params=self.request(**changes), headers=html)

    def page(self, **changes):
        """The page on which the user is asked."""
        location = self.begin(**changes).headers["location"]
        fields = {"name": self.user, "password": self.place.passwords[self.user]}
        answer = self.browser.post(location, data=fields, headers=self.origin)
        while answer.is_redirect:
            answer = self.browser.get(answer.headers["location"])
        return answer

    def answer(self, ticks=lambda scope: True, **changes):
        """What the callback gets."""
        url = self.at("/auth?" + urllib.parse.urlencode(self.request(**changes)))
        writes = {"name": self.user, "password": self.place.passwords[self.user]}
        return asyncio.run(browser.agree(url, CALLBACK, writes, ticks, self.elsewhere))

    def token(self, **form):
        return httpx2.post(self.at("/token"), data={"client_id": self.id, **form}, timeout=30)

    def exchange(self, code, **changes):
        form = {"redirect_uri": CALLBACK, "code_verifier": self.verifier, **changes}
        return self.token(grant_type="authorization_code", code=code, **form)

    def refresh(self, token, **more):
        return self.token(grant_type="refresh_token", refresh_token=token, **more)

    def tokens(self, **changes):
        return self.exchange(self.answer(**changes)["code"]).json()

    def at_once(self, call, times):
        with concurrent.futures.ThreadPoolExecutor(times) as pool:
            return [each.result() for each in [pool.submit(call) for _ in range(times)]]


class Guessing(unittest.TestCase):
    def test_passwords_are_not_guessed_for_long(self):
        attack = Attack(PLACE)
        self.addCleanup(attack.browser.close)
        location = attack.begin().headers["location"]

        def tries(address, name, password):
            headers = {**attack.origin, "X-Real-IP": address}
            fields = {"name": name, "password": password}
            return attack.browser.post(location, data=fields, headers=headers)

        for name in ["alice", "nobody"] * 4:
            answer = tries("192.0.2.1", name, "guessed")
            self.assertEqual(answer.status_code, 403)
            self.assertIn("The name or the password is wrong.", answer.text)
        # A minute may end between two of them.
        for _ in range(25):
            answer = tries("192.0.2.1", "alice", "guessed")
            if "Too many tries" in answer.text:
                break
        self.assertIn("Too many tries", answer.text)
        # Not even with the right one; and others are not affected.
        right = PLACE.passwords["alice"]
        self.assertIn("Too many tries", tries("192.0.2.1", "alice", right).text)
        self.assertEqual(tries("192.0.2.2", "alice", right).status_code, 303)

    def test_registrations_are_limited_however_their_address_is_written(self):
        def registers(path, address):
            asked = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
            at = urllib.parse.urlsplit(PLACE.authority.url)
            connection = http.client.HTTPConnection(at.hostname, at.port, timeout=30)
            self.addCleanup(connection.close)
            headers = {"X-Real-IP": address, "Content-Type": "application/json"}
            connection.request("POST", path, json.dumps(asked), headers)
            return connection.getresponse().status

        for number, path in enumerate(
            [
                "/reg",
                "/REG",
                "/reg/",
                "/reg?x",
                "/reg#x",
                "/reg\\",
                "/%72eg",
                PLACE.authority.url + "/reg",
            ]
        ):
            address = f"198.51.100.{number}"
            # A minute may end between two of them.
            statuses = {registers(path, address) for _ in range(65)}
            self.assertIn(statuses, [{201, 429}, {400}], path)

    def test_sign_ins_that_are_begun_are_limited(self):
        attack = Attack(PLACE)
        self.addCleanup(attack.browser.close)
        # A minute may end between two of them.
        statuses = {attack.begin(state=str(each)).status_code for each in range(205)}
        self.assertEqual(statuses, {303, 429})

    def test_what_clients_say_takes_bounded_space(self):
        asked = {
            "redirect_uris": [CALLBACK],
            "token_endpoint_auth_method": "none",
            "client_name": "x" * 8192,
        }
        answer = httpx2.post(PLACE.authority.url + "/reg", json=asked, headers=from_elsewhere())
        said = (answer.status_code, answer.json()["error"])
        self.assertEqual(said, (400, "invalid_client_metadata"))
        program = """
            import { Records, database } from "./store.js";
            const [clients, tokens] = [new Records("Client"), new Records("RefreshToken")];
            database.exec("BEGIN");
            await clients.upsert("used", {});
            await tokens.upsert("t", { clientId: "used" }, 60);
            for (let each = 0; each < 2010; each++) await clients.upsert(`unused ${each}`, {});
            const found = ["used", "unused 0", "unused 9", "unused 10", "unused 2009"]
              .map((id) => clients.find(id));
            console.log(JSON.stringify((await Promise.all(found)).map((client) => typeof client)));
            database.exec("ROLLBACK");
        """
        kept = ["object", "undefined", "undefined", "object", "object"]
        self.assertEqual(PLACE.authority.run(program), kept)

    def test_addresses_of_one_network_share_a_limit(self):
        program = """
            import { limit } from "./users.js";
            const may = limit(1);
            const tries = [
              ["192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1"],
              ["2001:db8::1", "2001:db8::2:0:0:1", "2001:DB8:0:0:3::"],
              ["2001:db8:0:1::1", "2001:db8:0:1:ffff::1"],
            ];
            console.log(JSON.stringify(tries.map((each) => each.map(may))));
        """
        self.assertEqual(
            PLACE.authority.run(program),
            [
                [True, True, False],
                [True, False, False],
                [True, False],
            ],
        )


class BehindTls(unittest.TestCase):
    """As it is deployed: the addresses are those of the file, and a proxy ends TLS."""

    @classmethod
    def setUpClass(cls):
        cls.authority = AuthorizationServer(SERVER + "/mcp", ISSUER=LOGIN)
        cls.addClassCleanup(cls.authority.close)

    def test_addresses_are_https_and_cookies_are_secure(self):
        with httpx2.Client(base_url=self.authority.url, headers={"Host": "internal"}) as proxy:
            metadata = proxy.get("/.well-known/oauth-authorization-server").json()
            self.assertTrue(metadata["token_endpoint"].startswith(LOGIN + "/"))
            client = proxy.post(
                "/reg",
                json={
                    "redirect_uris": [CALLBACK],
                    "token_endpoint_auth_method": "none",
                },
            ).json()
            begun = proxy.get(
                "/auth",
                params={
                    "client_id": client["client_id"],
                    "response_type": "code",
                    "state": "s",
                    "redirect_uri": CALLBACK,
                    "code_challenge": "c" * 43,
                    "scope": "toolbridge:read",
                    "code_challenge_method": "S256",
                    "resource": SERVER + "/mcp",
                },
            )
        self.assertRegex(begun.headers["location"], "^/interaction/")
        self.assertTrue(begun.headers["strict-transport-security"])
        cookies = begun.headers.get_list("set-cookie")
        self.assertGreater(len(cookies), 1)
        for cookie in cookies:
            self.assertRegex(cookie.lower(), "secure.*httponly|httponly.*secure")
            self.assertIn("samesite=lax", cookie.lower())

    def test_a_caller_does_not_choose_whose_limit_applies(self):
        """Where no header of the proxy is named, no header counts."""
        settings = {"ISSUER": LOGIN, "TENANT": "acme", "CLIENT_ADDRESS_HEADER": None}
        authority = AuthorizationServer(SERVER + "/mcp", **settings)
        self.addCleanup(authority.close)
        at = authority.url + "/reg"
        asked = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
        # A minute may end between two of them.
        statuses = {
            httpx2.post(
                at, json=asked, headers={"undefined": str(each), "X-Real-IP": str(each)}
            ).status_code
            for each in range(65)
        }
        self.assertEqual(statuses, {201, 429})

    def test_it_does_not_start_where_tokens_would_go_in_the_clear(self):
        for settings in [
            {"ISSUER": "http://login.example"},
            {"ISSUER": LOGIN + "/path"},
            {"TENANT": ""},
            {"RESOURCE": "acme"},
            {"ACCESS_TOKEN_SECONDS": "soon"},
        ]:
            done = subprocess.run(
                self.authority.commands["start"],
                cwd=FOLDER,
                capture_output=True,
                text=True,
                env={**self.authority.environment, "PORT": "0", **settings},
                timeout=TIMEOUT,
            )
            self.assertEqual(done.returncode, 64, settings)
            self.assertIn("toolbridge-login: ", done.stderr)


class Lasting(unittest.IsolatedAsyncioTestCase):
    """Tokens expire, keys are replaced, and the authorization server is restarted."""

    @classmethod
    def setUpClass(cls):
        cls.place = Place(ACCESS_TOKEN_SECONDS="5")
        cls.addClassCleanup(cls.place.close)

    async def test_a_sign_in_outlasts_tokens_keys_and_restarts(self):
        # Restarts are waited for.
        asyncio.get_running_loop().slow_callback_duration = TIMEOUT
        place, alice = self.place, self.place.user("alice", document=CLAUDE)
        alice.callback_at = "http://localhost:49152/callback"
        async with alice.client() as client:
            await client.list_tools()
            for change in (False, True, True):
                first = alice.storage.tokens.access_token
                if change:
                    place.authority.manage("rotate-keys")
                    place.authority.stop()
                    place.authority.start()
                # Both the client and the server take it for expired.
                while time.time() < alice.storage.expires or place.post(first)[0] != 401:
                    await asyncio.sleep(0.2)
                listed = await client.call_tool("list_notes", {})
                self.assertFalse(listed.is_error, listed)
                second = alice.storage.tokens.access_token
                self.assertNotEqual(second, first)
                kids = [jwt.get_unverified_header(token)["kid"] for token in (first, second)]
                self.assertEqual(kids[0] != kids[1], change)
        self.assertEqual(len(alice.asked), 1, "the person signed in once")
        self.assertEqual(claims_of(second)["client_id"], CLAUDE)


class SignedInAssistant:
    """Mixed into an assistant: it takes what `client-config --oauth` prints, and signs in as it
    does on a machine without a browser."""

    @classmethod
    def programs(cls):
        return PLACE.both

    def log_in(self, user):
        """The callback that the assistant waits for, after the user has signed in."""
        text = ""
        terminal, end = pty.openpty()
        process = subprocess.Popen(
            [self.path, "mcp", "login", "--no-browser", "toolbridge"],
            cwd=self.project,
            env=self.environment(TERM="dumb"),
            stdin=end,
            stdout=end,
            stderr=end,
            start_new_session=True,
        )
        os.close(end)
        limit = threading.Timer(TIMEOUT, process.kill)
        limit.start()
        try:
            answered = False
            while part := self.read(terminal):
                text += part
                found = re.search(r"(http://127\.0\.0\.1:\d+/auth\?[!-~]+)[^!-~]", text)
                if found and not answered:
                    answered = True
                    self.asked = dict(urllib.parse.parse_qsl(found[1].partition("?")[2]))
                    at = self.asked["redirect_uri"]
                    writes = {"name": user, "password": PLACE.passwords[user]}
                    agreed = browser.agree(found[1], at, writes, lambda _: True, from_elsewhere())
                    self.answer(terminal, at + "?" + urllib.parse.urlencode(asyncio.run(agreed)))
            self.assertEqual(process.wait(TIMEOUT), 0, text)
        finally:
            limit.cancel()
            os.close(terminal)

    def read(self, terminal):
        try:
            return os.read(terminal, 65536).decode(errors="replace")
        except OSError:
            # The assistant has ended.
            return ""


class ClaudeCodeSignsIn(SignedInAssistant, assistants.ClaudeCode):
    def answer(self, terminal, callback):
        """Its own listener takes it."""
        httpx2.get(callback, timeout=30)

    def test_it_works_with_the_tools_as_the_user_who_signed_in(self):
        configuration = self.configuration("--oauth")
        server = json.loads(configuration)["mcpServers"]["toolbridge"]
        self.run_it("mcp", "add-json", "toolbridge", json.dumps(server))
        self.log_in("dora")
        self.assertEqual(self.asked["client_id"], CLAUDE)
        create = "mcp__toolbridge__create_note"
        steps = [
            ("ToolSearch", {"query": f"select:{create}", "max_results": 5}),
            (create, {"title": "From Claude Code", "content": "c"}),
        ]
        model, begun, _ = self.work(steps, ["create_note"], "--oauth", token="")
        states = [(each["name"], each["status"]) for each in begun["mcp_servers"]]
        self.assertEqual(states, [("toolbridge", "connected")])
        self.assertFalse(model.results()[1][1])
        self.assertIn("From Claude Code", PLACE.titles(PLACE.minted(sub="dora")))
        self.assertNotIn("From Claude Code", PLACE.titles(PLACE.minted(sub="alice")))


class CodexSignsIn(SignedInAssistant, assistants.CodexCli):
    def answer(self, terminal, callback):
        """The user pastes it."""
        os.write(terminal, callback.encode() + b"\r")

    def test_it_lists_the_tools_after_signing_in(self):
        file = self.home / ".codex" / "config.toml"
        file.parent.mkdir()
        file.write_text(self.configuration("--oauth"))
        self.log_in("erik")
        self.assertEqual(self.asked["client_id"], CODEX)
        server = self.ask(self.configuration("--oauth"), "")
        self.assertEqual(server["authStatus"], "oAuth")
        self.assertEqual(len(server["tools"]), pair.tool_count())


if __name__ == "__main__":
    unittest.main()
