"""scripts/deploy: what is built, what is checked before and after, and the way back."""

import os
import subprocess
import unittest

import pair
import repository_case


class Deploy(repository_case.RepositoryCase):
    def setUp(self):
        super().setUp()
        self.run_script("new-tenant", "acme", "--apply")
        self.stub_smoke()
        self.head = self.git("rev-parse", "HEAD")
        self.command = (
            "deploy --config tenants/acme/fly.toml --app toolbridge-acme --strategy rolling "
            "--ha=false "
            f"--remote-only --dockerfile Dockerfile --build-arg GIT_REVISION={self.head}"
        )

    def test_a_commit_is_deployed_and_checked(self):
        self.run_script(
            "deploy",
            "acme",
            says=[
                "smoke https://toolbridge-acme.fly.dev --wait 60 with a token",
                "flyctl releases --app toolbridge-acme --image",
                "scripts/deploy acme --image IMAGE",
            ],
        )
        self.assertEqual(self.calls("deploy"), [self.command])
        self.assertEqual(self.app()["secrets"], self.secrets())

    def test_an_api_that_is_published_is_checked_too(self):
        self.publish_api(8443)
        self.run_script(
            "deploy",
            "acme",
            says=[
                "smoke https://toolbridge-acme.fly.dev --api https://toolbridge-acme.fly.dev:8443 "
                "--wait 60 with a token",
            ],
        )

    def test_a_dry_run_only_shows(self):
        self.state(log=[])
        self.run_script(
            "deploy",
            "acme",
            "--dry-run",
            "--build-arg",
            "FEATURE=on",
            env={"PATH": os.environ["PATH"]},
            says=[
                "flyctl " + self.command + " --build-arg FEATURE=on",
                "scripts/smoke https://toolbridge-acme.fly.dev",
            ],
        )
        self.assertEqual(self.calls(), [])

    def test_what_is_not_committed_is_not_deployed(self):
        (self.root / "new file").write_text("x")
        self.run_script("deploy", "acme", code=1, says=["new file", "not committed", "--dirty"])
        self.assertEqual(self.calls("deploy"), [])
        self.run_script("deploy", "acme", "--dirty")
        self.assertEqual(self.calls("deploy"), [self.command + "-dirty"])

    def test_the_way_back_needs_no_clean_folder(self):
        (self.root / "new file").write_text("x")
        self.run_script(
            "deploy", "acme", "--image", "images.example.com/toolbridge-acme:deployment-1"
        )
        self.assertEqual(
            self.calls("deploy"),
            [
                "deploy --config tenants/acme/fly.toml --app toolbridge-acme --strategy rolling "
                "--ha=false "
                "--image images.example.com/toolbridge-acme:deployment-1"
            ],
        )
        self.run_script(
            "deploy",
            "acme",
            "--image",
            "x",
            "--build-arg",
            "A=b",
            code=64,
            says="takes no --build-arg",
        )

    def test_what_has_not_been_prepared(self):
        self.run_script(
            "deploy",
            "globex",
            code=1,
            says=["no tenants/globex/fly.toml", "scripts/new-tenant globex"],
        )
        state = self.state()
        del state["apps"]["toolbridge-acme"]["staged"]["JWT_HS256_SECRET"]
        self.state(**state)
        self.run_script(
            "deploy",
            "acme",
            code=1,
            says=["has no JWT_HS256_SECRET", "scripts/new-tenant acme --apply"],
        )
        self.state(apps={})
        self.run_script(
            "deploy", "acme", code=1, says=["Could not find App", "scripts/new-tenant acme --apply"]
        )
        self.assertEqual(self.calls("deploy"), [])
        (self.root / "Dockerfile").unlink()
        self.run_script("deploy", "acme", "--dirty", code=1, says="there is no Dockerfile")

    def test_failures_say_how_to_go_back(self):
        self.state(fails=["deploy"])
        self.run_script(
            "deploy",
            "acme",
            code=1,
            says=["the deploy failed", "flyctl logs --app toolbridge-acme", "To roll back"],
            never=["smoke https"],
        )
        self.state(fails=[])
        self.stub_smoke(code=1)
        self.run_script(
            "deploy", "acme", code=1, says=["deployed, but the check failed", "To roll back"]
        )

    def test_a_token_from_a_file(self):
        (self.outside / "my token").write_text("a.b.c\n")
        (self.root / "scripts" / "smoke").write_text(
            '#!/bin/sh\necho "the token is $TOOLBRIDGE_TOKEN"\n'
        )
        self.run_script(
            "deploy", "acme", "--dirty", "--token-file", "my token", says="the token is a.b.c"
        )
        self.run_script(
            "deploy", "acme", "--token-file", "elsewhere", code=64, says="cannot be read"
        )
        self.run_script("deploy", "acme", "--token-file", "/", code=64, says="/ cannot be read")

    def test_an_unfinished_rotation_is_mentioned(self):
        self.state(fails=["secrets deploy"])
        self.run_script("rotate-secret", "acme", "--apply", code=1)
        self.run_script("deploy", "acme", says="a rotation of TENANT_HEADER_SECRET is not finished")

    def test_from_a_path_and_a_shell_that_are_odd(self):
        env = {"CDPATH": str(self.outside)}
        (self.outside / "scripts").mkdir()
        done = subprocess.run(
            ["scripts/deploy", "acme", "--dry-run"],
            env={**self.env, **env},
            cwd=self.root,
            capture_output=True,
            text=True,
        )
        self.assertIn("This would run", done.stdout + done.stderr)

    def test_mistakes_on_the_command_line(self):
        for args, words in (
            ([], "which tenant?"),
            (["../acme"], "cannot be a tenant's name"),
            (["acme", "globex"], "one tenant"),
            (["acme", "--build-arg", "x"], "NAME=VALUE"),
            (["acme", "--image"], "--image needs a value"),
            (["acme", "--force"], "unknown option --force"),
        ):
            self.run_script("deploy", *args, code=64, says=words)
        self.run_script(
            "deploy", "acme", env={"PATH": os.environ["PATH"]}, code=69, says="flyctl is missing"
        )

    def test_the_real_check_on_a_real_pair_with_the_tenants_secrets(self):
        pair.build()
        made = pair.Pair(mcp=self.secrets(), api=self.secrets())
        self.addCleanup(made.close)
        self.serve_at(made.url, made.api_url)
        self.run_script("deploy", "acme", "--dirty", says="a note was created, read and deleted")


if __name__ == "__main__":
    unittest.main()
