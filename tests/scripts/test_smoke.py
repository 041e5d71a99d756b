"""scripts/smoke against a pair that is well, and against everything that can be wrong."""

import http.server
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

import pair

SMOKE = pair.ROOT / "scripts" / "smoke"


def setUpModule():
    pair.build()


def smoke(*args, token=None, env=(), cwd="/", command=SMOKE):
    env = {
        "PATH": os.environ["PATH"],
        "HOME": "/dev/null",
        **({"TOOLBRIDGE_TOKEN": token} if token else {}),
        **dict(env),
    }
    done = subprocess.run(
        [command, *args], env=env, cwd=cwd, capture_output=True, text=True, timeout=120
    )
    done.said = done.stdout + done.stderr
    return done


class Case(unittest.TestCase):
    def check(self, done, code, *words, never=()):
        self.assertEqual(done.returncode, code, done.said)
        for word in words:
            self.assertIn(word, done.said)
        for word in never:
            self.assertNotIn(word, done.said)

    def pair(self, **settings):
        made = pair.Pair(**settings)
        self.addCleanup(made.close)
        return made

    def server(self, handler, tls=None):
        """Something else than ToolBridge; its URL."""
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http{'s' if tls else ''}://localhost:{server.server_port}"


class Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass


def in_front_of(url, changed=lambda body, answer: answer, seen=None):
    """A proxy before a real server that may change what it answers: changed(request body, (status,
    body))."""

    class Handler(Quiet):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = urllib.request.Request(
                url + self.path, body or None, dict(self.headers), method=self.command
            )
            try:
                real = urllib.request.urlopen(request, timeout=20)
            except urllib.error.HTTPError as why:
                real = why
            if seen is not None:
                seen.append(body)
            answer = changed(body, (real.status, real.read()))
            if answer is None:
                return
            self.send_response(answer[0])
            for name in ("Content-Type", "WWW-Authenticate"):
                if name in real.headers:
                    self.send_header(name, real.headers[name])
            self.send_header("Content-Length", str(len(answer[1])))
            self.end_headers()
            self.wfile.write(answer[1])

        do_POST = do_GET

    return Handler


class Well(Case):
    @classmethod
    def setUpClass(cls):
        cls.pair = pair.Pair()
        cls.addClassCleanup(cls.pair.close)

    def test_every_step_is_shown_with_its_time_and_nothing_is_left_behind(self):
        token = self.pair.token()
        done = smoke(self.pair.url, "--api", self.pair.api_url, token=token)
        self.check(
            done,
            0,
            "/healthz: the MCP server runs",
            "/readyz: a call would be served now",
            "a request without a token is refused",
            "OAuth is not configured",
            "the REST API is ready",
            f"tools/list: {pair.tool_count()} tools",
            "it returns what was written",
            "the note is gone",
            "is well, and a note was created, read and deleted",
            never=["WRONG", token],
        )
        self.assertRegex(done.stdout, r"create_note  \(\d+\.\d+ s\)")
        self.assertEqual(self.pair.notes(), [])

    def test_an_api_without_readyz_is_asked_for_its_health(self):
        for status in (404, 405):

            def changed(_, answer, status=status):
                return (
                    (status, b"404 page not found\n") if b"tenantSignature" in answer[1] else answer
                )

            api = self.server(in_front_of(self.pair.api_url, changed))
            done = smoke(self.pair.url, "--api", api, token=self.pair.token())
            self.check(
                done, 0, "it has no /readyz, so /healthz was asked", "is well", never=["WRONG"]
            )

    def test_the_urls_that_people_paste(self):
        for tail in ("/", "/mcp", "/mcp/"):
            self.check(smoke(self.pair.url + tail, token=self.pair.token()), 0, "is well")

    def test_a_token_from_a_file_and_from_a_path_with_spaces(self):
        with tempfile.TemporaryDirectory(prefix="with spaces ") as folder:
            pathlib.Path(folder, "to ken").write_text(self.pair.token() + "\n")
            self.check(
                smoke(self.pair.url, "--token-file", "to ken", cwd=folder),
                0,
                "a note was created, read and deleted",
            )
            shutil.copytree(pair.ROOT / "scripts", pathlib.Path(folder, "scripts"))
            self.check(smoke(self.pair.url, command="scripts/smoke", cwd=folder), 0, "is well")

    def test_without_a_token_it_says_what_it_did_not_try(self):
        self.check(
            smoke(self.pair.url),
            0,
            "no call was tried: give a token",
            "is well",
            never=["create_note"],
        )

    def test_tokens_that_do_not_do(self):
        for token, words in (
            (self.pair.token(ttl=-3600), ["the token has expired", "get a new one"]),
            (pair.token("x" * 64), ["signed with another key", "JWT_HS256_SECRET"]),
            (self.pair.token(tenant_id="globex"), ["belongs to another tenant"]),
            ("abc", ["the token is malformed"]),
        ):
            self.check(
                smoke(self.pair.url, token=token),
                1,
                "tools/list",
                "is not well",
                *words,
                never=[token],
            )

    def test_the_token_is_in_no_command_line(self):
        with tempfile.TemporaryDirectory() as folder:
            stand_in = pathlib.Path(folder, "curl")
            stand_in.write_text(
                f'#!/bin/sh\nprintf "%s\\n" "$@" >>"{folder}/argv"\nexec {shutil.which("curl")} '
                '"$@"\n'
            )
            stand_in.chmod(0o755)
            token = self.pair.token()
            self.check(
                smoke(self.pair.url, token=token, env={"PATH": folder + ":" + os.environ["PATH"]}),
                0,
                "is well",
            )
            argv = pathlib.Path(folder, "argv").read_text()
        self.assertIn("--config", argv)
        self.assertNotIn(token, argv)

    def test_a_step_that_fails_leaves_no_note(self):
        def changed(body, answer):
            return (500, b"{}") if b"get_note" in body else answer

        url = self.server(in_front_of(self.pair.url, changed))
        self.check(
            smoke(url, token=self.pair.token()), 1, "get_note: it answered 500", "has been deleted"
        )
        self.assertEqual(self.pair.notes(), [])

    def test_an_interruption_leaves_no_note(self):
        reached = threading.Event()

        def changed(body, answer):
            if b"get_note" in body:
                reached.set()
                time.sleep(1)
            return answer

        url = self.server(in_front_of(self.pair.url, changed))
        program = subprocess.Popen(
            [SMOKE, url],
            env={**os.environ, "TOOLBRIDGE_TOKEN": self.pair.token()},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.assertTrue(reached.wait(30))
        program.send_signal(signal.SIGTERM)
        said, _ = program.communicate(timeout=30)
        self.assertEqual(program.returncode, 143)
        self.assertIn("has been deleted", said)
        self.assertEqual(self.pair.notes(), [])

    def test_a_lost_answer_to_the_creation_is_said(self):
        lost = self.server(
            in_front_of(
                self.pair.url, lambda body, answer: None if b"create_note" in body else answer
            )
        )
        self.check(
            smoke(lost, token=self.pair.token(sub="unlucky")),
            1,
            "create_note: no answer",
            "may have been left behind",
        )

    def test_a_note_that_stays_is_wrong_and_a_tool_too_few_too(self):
        kept = {}

        def changed(body, answer):
            if b"tools/list" in body:
                listed = json.loads(answer[1])
                tools = listed["result"]["tools"]
                tools[:] = [tool for tool in tools if tool["name"] != "process_chat_message"]
                return 200, json.dumps(listed).encode()
            if b"get_note" in body:
                kept.setdefault("answer", answer)
                return kept["answer"]
            return answer

        url = self.server(in_front_of(self.pair.url, changed))
        self.check(
            smoke(url, token=self.pair.token()),
            1,
            f"{pair.tool_count() - 1} tools, and these are missing: process_chat_message",
            "still there after it was deleted",
        )


class Narrowed(Case):
    """Deployments and tokens that offer some of the tools."""

    def looks(self, code, *words, mcp=(), never=(), **claims):
        made = self.pair(mcp=dict(mcp))
        self.check(smoke(made.url, token=made.token(**claims)), code, *words, never=never)
        self.assertEqual(made.notes() if not mcp else [], [])

    def test_a_server_that_only_reads(self):
        self.looks(
            0,
            f"tools/list: {pair.tool_count(reads_only=True)} tools",
            "list_notes",
            "nothing was written",
            "and it answers reads",
            mcp={"TOOLBRIDGE_TOOLS_READ_ONLY": "true"},
            never=["create_", "went there"],
        )

    def test_a_server_without_notes(self):
        self.looks(
            0,
            "tools/list: 8 tools",
            "create_task",
            "get_task: the task is gone",
            "and a task was created, read and deleted",
            mcp={"TOOLBRIDGE_TOOLS_TOOLSETS": "tasks"},
        )
        self.looks(
            0,
            "tools/list: 16 tools",
            "create_chat",
            "and a chat was created, read and deleted",
            mcp={"TOOLBRIDGE_TOOLS_TOOLSETS": "chats,comments"},
        )

    def test_a_server_with_nothing_that_stands_alone(self):
        self.looks(
            0,
            "tools/list: 8 tools",
            "list_comments",
            "nothing was written",
            mcp={"TOOLBRIDGE_TOOLS_TOOLSETS": "comments"},
            never=["create_"],
        )

    def test_a_token_that_may_only_read_and_one_that_may_only_write(self):
        self.looks(
            0,
            f"tools/list: {pair.tool_count(reads_only=True)} tools",
            "list_notes",
            "nothing was written",
            scope="toolbridge:read",
        )
        self.looks(
            0,
            f"tools/list: {pair.tool_count() - pair.tool_count(reads_only=True)} tools",
            "create_note",
            "delete_note",
            "it was not read back",
            "and a note was created, read and deleted",
            scope="toolbridge:write",
            never=["get_note:"],
        )

    def test_a_token_that_may_do_nothing(self):
        self.looks(1, "tools/list: no tools", "the scopes of the token", scope="calendar:read")

    def test_tools_that_this_check_does_not_know(self):
        made = self.pair()

        def changed(body, answer):
            if b"tools/list" in body:
                listed = json.loads(answer[1])
                listed["result"]["tools"] = [{"name": "search"}, {"name": "\x1b[31m"}]
                return 200, json.dumps(listed).encode()
            return answer

        url = self.server(in_front_of(made.url, changed))
        self.check(
            smoke(url, token=made.token()),
            0,
            "tools/list: 2 tools",
            "no call was tried",
            "is well.",
            never=["\x1b"],
        )


class Ill(Case):
    def test_nothing_listens(self):
        self.check(
            smoke(f"http://127.0.0.1:{pair.free_port()}"),
            1,
            "nothing listens at 127.0.0.1",
            "what to do",
        )

    def test_a_name_that_does_not_exist(self):
        self.check(
            smoke("https://toolbridge-acme.invalid"),
            1,
            "the name toolbridge-acme.invalid does not exist",
            "flyctl apps list",
        )

    def test_something_else_answers(self):
        class Files(http.server.SimpleHTTPRequestHandler):
            log_message = Quiet.log_message

        self.check(
            smoke(self.server(Files)),
            1,
            "/healthz: it answered 404",
            "which is not ToolBridge",
            never=["create_note"],
        )

    def test_something_that_says_yes_to_everything(self):
        class Yes(Quiet):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"status":"ok"}\x1b[31m')

            do_POST = do_GET

        url = self.server(Yes)
        self.check(smoke(url), 1, "which is not ToolBridge", never=["\x1b"])
        Yes.do_GET = lambda self: (
            self.send_response(200),
            self.end_headers(),
            self.wfile.write(b'{"status":"ok"}'),
        )
        Yes.do_POST = Yes.do_GET
        self.check(smoke(url), 1, "without a token it answered 200, and should have answered 401")

    def test_something_that_hangs_up(self):
        class Silent(Quiet):
            def do_GET(self):
                pass

        self.check(
            smoke(self.server(Silent)), 1, "closed the connection without an answer", "what to do"
        )

    def test_plain_http_where_tls_is_expected(self):
        class Files(http.server.SimpleHTTPRequestHandler):
            log_message = Quiet.log_message

        self.check(
            smoke(self.server(Files).replace("http:", "https:")),
            1,
            "no TLS connection",
            "give http://",
        )

    def test_certificates(self):
        good = self.pair()
        with tempfile.TemporaryDirectory() as folder:
            for days, words in ((3, "valid only until"), (90, "trusted and valid until")):
                made = f"{folder}/{days}.pem"
                subprocess.run(
                    [
                        "openssl",
                        "req",
                        "-x509",
                        "-newkey",
                        "rsa:2048",
                        "-nodes",
                        "-days",
                        str(days),
                        "-subj",
                        "/CN=localhost",
                        "-addext",
                        "subjectAltName=DNS:localhost",
                        "-keyout",
                        made,
                        "-out",
                        made + ".crt",
                    ],
                    check=True,
                    capture_output=True,
                )
                pathlib.Path(made).write_text(
                    pathlib.Path(made).read_text() + pathlib.Path(made + ".crt").read_text()
                )
                url = self.server(in_front_of(good.url), tls=made)
                self.check(smoke(url, env={"CURL_CA_BUNDLE": made + ".crt"}), 0, words)
            self.check(smoke(url), 1, "is not trusted", "flyctl certs check")

    def test_the_api_is_down(self):
        made = self.pair(api=None)
        self.check(
            smoke(made.url, "--api", made.api_url, token=made.token()),
            1,
            "the REST API beside the server cannot be reached",
            "flyctl logs",
            "nothing listens",
            "flyctl ips list",
            never=["create_note"],
        )

    def test_different_tenant_secrets(self):
        made = self.pair(api={"TENANT_HEADER_SECRET": "another-secret-of-more-than-32-bytes"})
        self.check(
            smoke(made.url, token=made.token()),
            1,
            "different tenant secrets",
            "the same TENANT_HEADER_SECRET",
            "the server is not ready",
        )

    def test_the_api_has_no_tenant_secret(self):
        made = self.pair(api={"TENANT_HEADER_SECRET": ""})
        self.check(
            smoke(made.url), 1, "does not check signatures", "set TENANT_HEADER_SECRET for both"
        )

    def test_the_keys_cannot_be_fetched(self):
        keys = {
            "JWT_HS256_SECRET": "",
            "JWT_JWKS_URL": f"http://127.0.0.1:{pair.free_port()}/keys",
            "JWT_ISSUER": "i",
            "JWT_AUDIENCE": "a",
        }
        made = self.pair(mcp=keys)
        self.check(smoke(made.url, token="a.b.c"), 1, "JWT_JWKS_URL is right")

    def test_every_documented_reason_is_explained(self):
        documented = (pair.ROOT / "docs" / "PROTOCOL.md").read_text()
        script = SMOKE.read_text()
        for reason in (
            "api_unreachable",
            "api_timeout",
            "api_not_ready",
            "clock_skew",
            "signature_refused",
            "signature_version",
            "signature_unchecked",
            "keys_unavailable",
            "draining",
            "malformed",
            "expired",
            "not_yet_valid",
            "bad_signature",
            "wrong_issuer",
            "wrong_audience",
            "unknown_key",
            "algorithm",
            "tenant_mismatch",
        ):
            self.assertIn(reason, documented)
            self.assertRegex(script, rf"(?m)^    {reason}\)( |$)")

    def test_a_host_name_the_server_does_not_know(self):
        made = self.pair(mcp={"TOOLBRIDGE_SERVER_PUBLIC_URL": "https://elsewhere.example.com"})
        seen = self.server(in_front_of(made.url, lambda body, answer: answer))
        # The name goes through as it came, since the proxy hands the headers on.
        name = seen.replace("localhost", "toolbridge.test")
        with tempfile.TemporaryDirectory() as folder:
            stand_in = pathlib.Path(folder, "curl")
            stand_in.write_text(
                f'#!/bin/sh\nshift\nexec {shutil.which("curl")} -q --resolve '
                f'"{name[7:]}:127.0.0.1" "$@"\n'
            )
            stand_in.chmod(0o755)
            self.check(
                smoke(name, env={"PATH": folder + ":" + os.environ["PATH"]}),
                1,
                "does not know this host name",
                f"TOOLBRIDGE_SERVER_PUBLIC_URL to {name}",
            )

    def test_metadata_that_leads_here_and_metadata_that_leads_elsewhere(self):
        port = pair.free_port()
        url = f"http://127.0.0.1:{port}"
        oauth = {
            "TOOLBRIDGE_AUTH_AUTHORIZATION_SERVERS": "https://login.example.com",
            "TOOLBRIDGE_PORT": str(port),
        }
        made = pair.Pair(mcp=None)
        self.addCleanup(made.close)
        common = {
            "PATH": os.environ["PATH"],
            "JWT_HS256_SECRET": made.secret,
            "TENANT_HEADER_SECRET": made.tenant_secret,
            "TOOLBRIDGE_TENANT_ID": "acme",
            "TOOLBRIDGE_GO_API_BASE_URL": made.api_url,
            **oauth,
        }
        for public, code, words in (
            (url, 0, "clients are sent to https://login.example.com"),
            ("https://elsewhere.example.com", 1, "which is not at this URL"),
        ):
            made.start(
                "mcp",
                [pair.MCP, "serve"],
                url + "/healthz",
                {**common, "TOOLBRIDGE_SERVER_PUBLIC_URL": public},
            )
            self.check(smoke(url), code, words)
            made.stop("mcp")

    def test_it_can_wait_for_a_server_that_comes_up(self):
        made = self.pair()
        turns = iter([503, 503])

        class Late(in_front_of(made.url)):
            def do_GET(self):
                if self.path == "/readyz" and next(turns, None):
                    self.send_error(503)
                else:
                    super().do_GET()

        self.check(smoke(self.server(Late), "--wait", "30"), 0, "is well")


class Usage(Case):
    def test_mistakes_on_the_command_line(self):
        for args, words in (
            ([], "which URL?"),
            (["toolbridge-acme.fly.dev"], "is not a URL that can be checked"),
            (["https://user:secret@host"], "is not a URL that can be checked"),
            (["https://a", "https://b"], "one URL"),
            (["https://a", "--wat"], "unknown option --wat"),
            (["https://a", "--wait", "long"], "whole seconds"),
            (["https://a", "--api"], "--api needs a value"),
            (["https://a", "--token-file", "/dev/null/token"], "/dev/null/token cannot be read"),
            (["https://a", "--token-file", "/"], "/ cannot be read"),
            (["https://a", "--token-file", "/dev/null"], "/dev/null is empty"),
            (["https://a", "--token-file", "/dev/zero"], "/dev/zero is empty"),
        ):
            self.check(smoke(*args), 64, words, "see scripts/smoke --help")
        with tempfile.NamedTemporaryFile("w") as long:
            long.write("a" * 100_000)
            long.flush()
            self.check(
                smoke("https://a", "--token-file", long.name), 64, "is too long to be a token"
            )
        self.check(smoke("http://example.com", token="a.b.c"), 64, "not sent over plain http")
        self.check(
            smoke("http://127.0.0.1.example.com", token="a.b.c"), 64, "not sent over plain http"
        )
        self.check(
            smoke("https://a", token="a b"), 64, "characters that no token has", never=["a b"]
        )

    def test_help(self):
        self.check(smoke("--help"), 0, "scripts/smoke URL", "Exit codes", never=["set -euo"])

    def test_a_missing_tool(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("bash", "dirname", "basename", "env"):
                os.symlink(shutil.which(name), f"{folder}/{name}")
            self.check(smoke("https://a", env={"PATH": folder}), 69, "curl is missing")


if __name__ == "__main__":
    unittest.main()
