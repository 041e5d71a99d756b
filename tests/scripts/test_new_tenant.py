"""scripts/new-tenant: the files, the commands at Fly, and that a second run changes nothing."""

import os
import re
import subprocess
import unittest

import repository_case

KEYS = (
    "--jwks-url",
    "https://login.example.com/jwks.json",
    "--issuer",
    "https://login.example.com/",
    "--audience",
    "https://a.example.com/mcp",
)


class NewTenant(repository_case.RepositoryCase):
    def test_without_apply_files_are_made_and_nobody_is_asked(self):
        self.run_script(
            "new-tenant",
            "acme",
            says=[
                "Nothing has been sent to Fly",
                "flyctl apps create toolbridge-acme --org personal",
                "flyctl volumes create data --app toolbridge-acme --region",
                "flyctl secrets import --stage --app toolbridge-acme   (gets on its standard "
                "input: TENANT_HEADER_SECRET, JWT_HS256_SECRET)",
                "Keep a copy of tenants/acme/secrets.env",
                "scripts/new-tenant acme --apply",
            ],
        )
        self.assertEqual(self.calls(), [])
        self.assertEqual(list(self.secrets()), ["TENANT_HEADER_SECRET", "JWT_HS256_SECRET"])
        for value in self.secrets().values():
            self.assertRegex(value, "^[0-9a-f]{64}$")
        self.assertEqual(len(set(self.secrets().values())), 2)
        self.assertEqual(self.git("status", "--porcelain"), "", "git would take the tenant's files")

    def test_the_settings_are_the_tenants(self):
        self.run_script("new-tenant", "acme", "--region", "ams")
        config = self.file("fly.toml").read_text()
        for line in (
            'app = "toolbridge-acme"',
            'primary_region = "ams"',
            "sqlite:///data/api/toolbridge.db",
            "[mounts]",
        ):
            self.assertIn(line, config)
        self.assertRegex(config, r'TOOLBRIDGE_TENANT_ID\s*=\s*"acme"')
        self.assertRegex(
            config, r'TOOLBRIDGE_SERVER_PUBLIC_URL\s*=\s*"https://toolbridge-acme\.fly\.dev"'
        )
        self.assertNotRegex(config, r"\bTENANT\b|sqlite only")
        try:
            import tomllib
        except ImportError:
            return
        self.assertEqual(tomllib.loads(config)["env"]["TOOLBRIDGE_TENANT_ID"], "acme")

    def test_apply_makes_everything_once(self):
        self.run_script(
            "new-tenant",
            "acme",
            "--org",
            "our-company",
            "--apply",
            says="scripts/deploy acme",
            never=["Nothing has been sent"],
        )
        self.assertEqual(self.app()["volumes"], ["data"])
        self.assertEqual(self.app()["staged"], self.secrets())
        self.assertEqual(
            self.calls("apps create"), ["apps create toolbridge-acme --org our-company"]
        )
        self.assertEqual(
            self.calls("volumes create"),
            [
                "volumes create data --app toolbridge-acme --region fra --size 1 "
                "--snapshot-retention 14 --yes"
            ],
        )
        self.assertEqual(self.calls("deploy"), [])
        before = {file: file.read_bytes() for file in self.root.glob("tenants/acme/*")}
        for spelling in ("Name", "name"):
            self.state(log=[], spelling=spelling)
            self.run_script(
                "new-tenant",
                "acme",
                "--apply",
                says=[
                    "the app toolbridge-acme is there",
                    "the volume data is there",
                    "the secrets are there",
                ],
            )
            self.assertEqual(self.calls("apps create", "volumes create", "secrets import"), [])
        self.assertEqual(
            {file: file.read_bytes() for file in self.root.glob("tenants/acme/*")}, before
        )

    def test_what_fails_half_way_goes_on_from_there(self):
        known = None
        for fails in (
            "apps list",
            "apps create",
            "volumes list",
            "volumes create",
            "secrets list",
            "secrets import",
        ):
            self.state(fails=[fails])
            self.run_script(
                "new-tenant",
                "acme",
                "--apply",
                code=1,
                says="failed, see above",
                never=["scripts/deploy acme"],
            )
            known = known or self.secrets()
            self.assertEqual(self.secrets(), known)
        self.state(fails=[])
        self.run_script("new-tenant", "acme", "--apply", says="scripts/deploy acme")
        self.assertEqual(self.app()["staged"], known)
        self.assertEqual(self.app()["volumes"], ["data"])

    def test_a_volume_is_as_large_as_the_settings_say(self):
        self.run_script("new-tenant", "acme")
        config = self.file("fly.toml")
        config.write_text(
            config.read_text().replace('"1gb"', '"20gb"').replace("snapshot_retention = 14", "")
        )
        self.run_script("new-tenant", "acme", "--apply", says="--size 20 --yes")

    def test_a_secret_that_was_taken_away_comes_back_alone(self):
        self.run_script("new-tenant", "acme", "--apply")
        state = self.state(log=[])
        del state["apps"]["toolbridge-acme"]["staged"]["TENANT_HEADER_SECRET"]
        self.state(**state)
        self.run_script(
            "new-tenant",
            "acme",
            "--apply",
            says="(gets on its standard input: TENANT_HEADER_SECRET)",
        )
        self.assertEqual(self.app()["staged"], self.secrets())
        self.assertEqual(
            [call["input"].count("=") for call in self.state()["log"] if call["input"]], [1]
        )

    def test_answers_of_fly_that_cannot_be_read(self):
        stand_in = self.outside / "flyctl"
        stand_in.write_text('#!/bin/sh\n[ "$1" = auth ] || echo "<html>"\n')
        stand_in.chmod(0o755)
        self.run_script(
            "new-tenant",
            "acme",
            "--apply",
            env={"PATH": f"{self.outside}:{os.environ['PATH']}"},
            code=1,
            says="flyctl apps list failed",
        )

    def test_an_interruption_at_fly_leaves_what_a_second_run_needs(self):
        # The stand-in dies with the script, after Fly has the app and before it has the secrets.
        stand_in = self.outside / "flyctl"
        stand_in.write_text(
            '#!/bin/sh\ncase "$1 $2" in "secrets import") kill -TERM $PPID; exit 1;; esac\nexec '
            f'"{repository_case.HERE}/stand-in/flyctl" "$@"\n'
        )
        stand_in.chmod(0o755)
        done = subprocess.run(
            [self.root / "scripts" / "new-tenant", "acme", "--apply"],
            env={**self.env, "PATH": f"{self.outside}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
        )
        self.assertNotEqual(done.returncode, 0)
        before = self.secrets()
        self.run_script("new-tenant", "acme", "--apply", says="scripts/deploy acme")
        self.assertEqual(self.app()["staged"], before)

    def test_secrets_of_an_app_that_somebody_else_made_are_left_alone(self):
        theirs = {"TENANT_HEADER_SECRET": "theirs", "JWT_HS256_SECRET": "theirs"}
        self.state(apps={"toolbridge-acme": {"volumes": ["data"], "secrets": theirs, "staged": {}}})
        self.run_script(
            "new-tenant",
            "acme",
            "--apply",
            code=1,
            says=["does not come from this folder", "copy tenants/acme"],
        )
        self.assertEqual(self.calls("secrets import"), [])

    def test_postgres(self):
        url = "postgres://u:hunter2%40@db.example.com:5432/acme?sslmode=require"
        self.run_script(
            "new-tenant",
            "acme",
            "--database",
            "postgres",
            code=1,
            says=["where is PostgreSQL?", "--database-url-file"],
        )
        self.run_script(
            "new-tenant",
            "acme",
            env={"DATABASE_URL": "mysql://u:hunter2@x"},
            code=1,
            says="begins with postgres://",
            never=["hunter2"],
        )
        self.run_script(
            "new-tenant",
            "acme",
            env={"DATABASE_URL": url + "\nEVIL=1"},
            code=1,
            says="one line",
            never=["hunter2"],
        )
        (self.outside / "the url").write_text(url + "\n")
        self.run_script(
            "new-tenant", "acme", "--database-url-file", "the url", "--apply", never=["hunter2"]
        )
        self.assertEqual(self.app()["staged"]["DATABASE_URL"], url)
        self.assertEqual(self.calls("volumes"), [])
        config = self.file("fly.toml").read_text()
        self.assertNotIn("sqlite://", config)
        self.assertNotIn("[mounts]", config)
        # Another address in the environment later on is not this tenant's.
        self.run_script(
            "new-tenant", "acme", "--apply", env={"DATABASE_URL": "postgres://elsewhere/x"}
        )
        self.assertEqual(self.secrets()["DATABASE_URL"], url)

    def test_tokens_of_an_authorization_server(self):
        self.run_script("new-tenant", "acme", *KEYS)
        config = self.file("fly.toml").read_text()
        env = config.split("\n[env]\n")[1].split("\n[")[0]
        for line in (
            'JWT_JWKS_URL = "https://login.example.com/jwks.json"',
            'JWT_ISSUER = "https://login.example.com/"',
            'JWT_AUDIENCE = "https://a.example.com/mcp"',
            'TOOLBRIDGE_AUTH_AUTHORIZATION_SERVERS = "https://login.example.com/"',
        ):
            self.assertIn(line, env)
        self.assertEqual(list(self.secrets()), ["TENANT_HEADER_SECRET"])
        self.run_script("new-tenant", "acme", *KEYS[:2], code=64, says="go together")

    def test_a_second_run_does_not_change_settings_and_says_so(self):
        self.run_script("new-tenant", "acme", "--region", "ams")
        with open(self.file("fly.toml"), "a") as config:
            config.write("# mine\n")
        self.run_script("new-tenant", "acme", says="exists, and is kept")
        self.assertTrue(self.file("fly.toml").read_text().endswith("# mine\n"))
        for options in (("--region", "fra"), ("--database", "postgres"), KEYS):
            self.run_script(
                "new-tenant",
                "acme",
                *options,
                code=1,
                says=["edit that file", "does not move any data"],
            )

    def test_a_secrets_file_that_others_could_read_is_closed(self):
        self.run_script("new-tenant", "acme")
        os.chmod(self.file("secrets.env"), 0o644)
        self.run_script("new-tenant", "acme")

    def test_names_that_are_none(self):
        for name in (
            "../x",
            "a b",
            "Acme",
            "-x",
            "x-",
            "1x",
            "a_b",
            "a/b",
            "a\nb",
            "x" * 20,
            "acme;id",
            "",
            "é",
        ):
            self.run_script(
                "new-tenant",
                name,
                code=64,
                says="which tenant?" if name in ("",) else "see scripts/new-tenant --help",
            )
        self.run_script("new-tenant", code=64, says="which tenant?")
        self.assertFalse((self.root / "tenants").exists())
        self.run_script("new-tenant", "x" * 19)

    def test_mistakes_on_the_command_line(self):
        for args, words in (
            (["acme", "globex"], "one tenant"),
            (["acme", "--wat"], "unknown option --wat"),
            (["acme", "--region"], "--region needs a value"),
            (["acme", "--region", "--apply"], "--region needs a value"),
            (["acme", "--region", "x;y"], "a region of Fly"),
            (["acme", "--database", "mysql"], "sqlite or postgres"),
            (
                ["acme", "--jwks-url", "http://x", "--issuer", "i", "--audience", "a"],
                "an https:// URL",
            ),
            (
                ["acme", "--jwks-url", "https://x", "--issuer", 'i"\n[x]', "--audience", "a"],
                "what a token's iss says",
            ),
        ):
            self.run_script("new-tenant", *args, code=64, says=words)

    def test_templates_that_do_not_fit_leave_nothing(self):
        template = self.root / "fly.toml"
        whole = template.read_text()
        for changed, words in (
            (whole.replace("toolbridge-TENANT", "toolbridge"), 'app is not "toolbridge-acme"'),
            (re.sub(r"primary_region.*", "", whole), "primary_region is missing"),
            (whole.replace("[mounts]", "[other]"), "SQLite needs [mounts]"),
            (whole + '\n[build]\ndockerfile = "Dockerfile"\n', "dockerfile is set"),
        ):
            template.write_text(changed)
            self.run_script("new-tenant", "acme", code=1, says=words)
            self.assertFalse(self.file("fly.toml").exists())

    def test_where_nothing_can_be_written(self):
        (self.root / "tenants").write_text("in the way")
        self.run_script("new-tenant", "acme", code=1, says="tenants/acme cannot be created here")

    def test_without_flyctl_and_without_a_login(self):
        self.run_script(
            "new-tenant",
            "acme",
            "--apply",
            env={"PATH": os.environ["PATH"]},
            code=69,
            says=["flyctl is missing", "https://fly.io"],
        )
        self.state(fails=["auth whoami"])
        self.run_script("new-tenant", "acme", "--apply", code=1, says="flyctl auth login")
        self.assertFalse((self.root / "tenants").exists())

    def test_help(self):
        for name in ("new-tenant", "deploy", "rotate-secret"):
            self.run_script(
                name, "--help", says=[f"scripts/{name} TENANT", "Exit codes"], never=["set -euo"]
            )
        # However the script is called, also from a folder that it leaves.
        for called, cwd in (
            ("scripts/{}", "."),
            ("./{}", "scripts"),
            ("../{}", "scripts/lib"),
            ("bash {}", "scripts"),
        ):
            for name in ("smoke", "new-tenant", "deploy", "rotate-secret"):
                done = subprocess.run(
                    [*called.format(name).split(), "-h"],
                    cwd=self.root / cwd,
                    capture_output=True,
                    text=True,
                )
                self.assertIn("Exit codes", done.stdout, done.stderr)


if __name__ == "__main__":
    unittest.main()
