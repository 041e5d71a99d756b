"""scripts/rotate-secret: one new secret per rotation, however often it is begun, and the old one
kept until the end."""

import unittest

import pair
import repository_case


class RotateSecret(repository_case.RepositoryCase):
    def setUp(self):
        super().setUp()
        self.run_script("new-tenant", "acme", "--apply")
        self.stub_smoke()
        self.run_script("deploy", "acme")
        self.state(log=[])
        self.old = self.secrets()

    def backups(self):
        return sorted(self.root.glob("tenants/acme/secrets.env.before-*"))

    def test_without_apply_nothing_changes(self):
        for kind, name in (("tenant-header", "TENANT_HEADER_SECRET"), ("jwt", "JWT_HS256_SECRET")):
            self.run_script(
                "rotate-secret",
                "acme",
                kind,
                says=[
                    "Nothing has been changed",
                    f"a new {name} is generated",
                    "flyctl secrets deploy",
                ],
            )
        self.run_script(
            "rotate-secret",
            "acme",
            says="(gets on its standard input: TENANT_HEADER_SECRET, "
            "TENANT_HEADER_SECRET_PREVIOUS)",
        )
        self.assertEqual(self.calls(), [])
        self.assertEqual(self.secrets(), self.old)
        self.assertEqual(self.backups(), [])

    def test_the_tenant_header_secret_is_rotated_in_one_restart(self):
        self.run_script(
            "rotate-secret",
            "acme",
            "--apply",
            says=[
                "TENANT_HEADER_SECRET is rotated",
                "smoke https://toolbridge-acme.fly.dev",
                "with a token",
                "--confirm",
            ],
        )
        new = self.secrets()
        self.assertRegex(new["TENANT_HEADER_SECRET"], "^[0-9a-f]{64}$")
        self.assertNotEqual(new["TENANT_HEADER_SECRET"], self.old["TENANT_HEADER_SECRET"])
        self.assertEqual(new["JWT_HS256_SECRET"], self.old["JWT_HS256_SECRET"])
        self.assertEqual(new["TENANT_HEADER_SECRET_PREVIOUS"], self.old["TENANT_HEADER_SECRET"])
        self.assertEqual(self.app()["secrets"], new)
        self.assertEqual(
            self.calls("secrets"),
            [
                "secrets import --stage --app toolbridge-acme",
                "secrets deploy --app toolbridge-acme",
            ],
        )
        [sent] = [call["input"] for call in self.state()["log"] if call["input"]]
        self.assertEqual(
            sent,
            f"TENANT_HEADER_SECRET={new['TENANT_HEADER_SECRET']}\n"
            f"TENANT_HEADER_SECRET_PREVIOUS={self.old['TENANT_HEADER_SECRET']}\n",
        )

        [backup] = self.backups()
        self.assertIn(self.old["TENANT_HEADER_SECRET"], backup.read_text())
        self.run_script("rotate-secret", "acme", "jwt", "--confirm", says="there is no copy")
        self.assertEqual(self.backups(), [backup])
        self.run_script(
            "rotate-secret",
            "acme",
            "--confirm",
            says=["flyctl secrets unset TENANT_HEADER_SECRET_PREVIOUS", "deleted"],
        )
        self.assertEqual(self.backups(), [])
        del new["TENANT_HEADER_SECRET_PREVIOUS"]
        self.assertEqual(self.secrets(), new)
        self.assertEqual(self.app()["secrets"], new)
        self.run_script(
            "rotate-secret", "acme", "--confirm", says="there is no copy", never=["unset"]
        )
        self.run_script("new-tenant", "acme", "--apply", says="the secrets are there")

    def test_the_jwt_secret_comes_with_a_warning_and_a_token_of_its_own(self):
        (self.root / "scripts" / "smoke").write_text(
            '#!/bin/sh\n[ "$TOOLBRIDGE_TOKEN" != old ] && [ -n "$TOOLBRIDGE_TOKEN" ]\n'
        )
        self.run_script(
            "rotate-secret",
            "acme",
            "jwt",
            "--apply",
            env={"TOOLBRIDGE_TOKEN": "old"},
            says="Every token made with the old JWT_HS256_SECRET is refused",
        )
        self.assertNotEqual(self.secrets()["JWT_HS256_SECRET"], self.old["JWT_HS256_SECRET"])
        self.assertEqual(self.secrets()["TENANT_HEADER_SECRET"], self.old["TENANT_HEADER_SECRET"])

    def test_wherever_it_fails_it_goes_on_with_the_same_secret(self):
        for fails, now in (
            ("secrets import", self.old),
            ("secrets import", self.old),
            ("secrets deploy", self.old),
        ):
            self.state(fails=[fails])
            self.run_script(
                "rotate-secret",
                "acme",
                "--apply",
                code=1,
                says=["again: it continues with the same new secret"],
                never=["is rotated"],
            )
            self.assertEqual(self.secrets(), now)
        self.state(fails=[])
        self.stub_smoke(code=1)
        self.run_script(
            "rotate-secret",
            "acme",
            "--apply",
            code=1,
            says=["in progress", "but the check failed", "The old one is in"],
        )
        made = self.secrets()
        self.run_script("rotate-secret", "acme", "--confirm", code=1, says="is not finished")
        self.run_script(
            "rotate-secret",
            "acme",
            "jwt",
            "--apply",
            code=1,
            says=["is not finished", "rotate-secret acme tenant-header --apply first"],
        )
        self.stub_smoke()
        self.run_script("rotate-secret", "acme", "--apply", says=["in progress", "is rotated"])
        self.assertEqual(self.secrets(), made)
        sent = {call["input"] for call in self.state()["log"] if call["input"]}
        self.assertEqual(
            sent,
            {
                f"TENANT_HEADER_SECRET={made['TENANT_HEADER_SECRET']}\n"
                f"TENANT_HEADER_SECRET_PREVIOUS={self.old['TENANT_HEADER_SECRET']}\n"
            },
        )
        [backup] = self.backups()
        self.assertIn(self.old["TENANT_HEADER_SECRET"], backup.read_text())
        self.assertFalse(self.file("rotation.env").exists())

    def test_wherever_confirming_fails_it_is_done_again(self):
        self.run_script("rotate-secret", "acme", "--apply")
        made = self.secrets()
        for fails, code in (("secrets list", 0), ("secrets unset", 0), (None, 1)):
            self.state(fails=[fails] if fails else [])
            self.stub_smoke(code=code)
            self.run_script(
                "rotate-secret",
                "acme",
                "--confirm",
                code=1,
                says="--confirm again",
                never=["deleted"],
            )
            self.assertEqual(self.secrets(), made)
            self.assertEqual(len(self.backups()), 1)
        # It has been unset by now, and is not missed.
        self.assertNotIn("TENANT_HEADER_SECRET_PREVIOUS", self.app()["secrets"])
        self.stub_smoke()
        self.run_script(
            "rotate-secret", "acme", "--confirm", says="deleted", never=["flyctl secrets unset"]
        )
        self.assertNotIn("TENANT_HEADER_SECRET_PREVIOUS", self.secrets())
        self.assertEqual(self.backups(), [])

    def test_a_second_rotation_lets_the_first_ones_secret_count_on(self):
        self.run_script("rotate-secret", "acme", "--apply")
        first = self.secrets()
        self.run_script("rotate-secret", "acme", "--apply")
        self.assertEqual(
            self.secrets()["TENANT_HEADER_SECRET_PREVIOUS"], first["TENANT_HEADER_SECRET"]
        )
        self.assertEqual(self.app()["secrets"], self.secrets())
        self.run_script("rotate-secret", "acme", "--confirm", says="deleted")
        self.assertNotIn("TENANT_HEADER_SECRET_PREVIOUS", self.app()["secrets"])

    def test_two_rotations_leave_two_old_ones_or_none(self):
        self.run_script("rotate-secret", "acme", "--apply")
        self.run_script("rotate-secret", "acme", "jwt", "--apply")
        self.assertEqual(len(self.backups()), 2)
        self.run_script("rotate-secret", "acme", "jwt", "--confirm")
        self.assertEqual(len(self.backups()), 1)

    def test_the_way_back_that_the_documentation_gives(self):
        self.run_script("rotate-secret", "acme", "--apply")
        [backup] = self.backups()
        backup.rename(self.file("secrets.env"))
        self.assertEqual(self.secrets(), self.old)

    def test_what_cannot_be_rotated(self):
        self.run_script(
            "new-tenant",
            "globex",
            "--jwks-url",
            "https://l.example.com/k",
            "--issuer",
            "https://l.example.com",
            "--audience",
            "a",
        )
        self.run_script(
            "rotate-secret",
            "globex",
            "jwt",
            "--apply",
            code=1,
            says=["an authorization server (https://l.example.com)", "rotated there"],
        )
        self.run_script(
            "rotate-secret", "nobody", code=1, says="there is no tenants/nobody/fly.toml"
        )
        for args, words in (
            (["acme", "password"], 'no secret "password"'),
            (["../acme"], "cannot be a tenant's name"),
            (["acme", "--apply", "--confirm"], "not both"),
            (["acme", "jwt", "x"], "too many arguments"),
            ([], "which tenant?"),
        ):
            self.run_script("rotate-secret", *args, code=64, says=words)

    def test_on_a_real_pair_that_gets_the_new_secret_late(self):
        pair.build()
        made = pair.Pair(mcp=self.old, api=self.old)
        self.addCleanup(made.close)
        self.serve_at(made.url, made.api_url)
        self.run_script(
            "rotate-secret",
            "acme",
            "jwt",
            "--apply",
            code=1,
            says=["signed with another key", "but the check failed"],
        )
        made.close()
        late = pair.Pair(mcp=self.secrets(), api=self.secrets())
        self.addCleanup(late.close)
        self.serve_at(late.url, late.api_url)
        self.run_script(
            "rotate-secret",
            "acme",
            "jwt",
            "--apply",
            says=["a note was created, read and deleted", "JWT_HS256_SECRET is rotated"],
        )


if __name__ == "__main__":
    unittest.main()
