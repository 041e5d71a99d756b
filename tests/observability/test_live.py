"""The dashboard and the rules, held against a pair that runs and a real Prometheus that watches it:
every name exists, every query is understood, and where something has happened, something is
shown."""

import os
import pathlib
import re
import secrets
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import watching
from watching import HERE, ROOT, expressions, filled, selectors

WINDOW = "30s"
# What a few seconds cannot show: an alert, tokens that are exchanged, a limit that is reached.
QUIET = ("ALERTS{", "toolbridge_mcp_token_exchanges_total", "toolbridge_mcp_limit_refusals_total")
# Made by others: Prometheus itself, and the blackbox exporter.
OTHERS = {"up", "ALERTS", "probe_success", "probe_ssl_earliest_cert_expiry"}
# Labels whose words come from the outside or from what happened, so that a word may be missing
# here.
OPEN = {"route", "method", "app", "job", "service", "alertstate"}
# Of the API's counters only what has happened is there; the words are those of its source.
OF_THE_API = {"toolbridge_api_auth_failures_total"}


def rules():
    """The name and the expression of each alert, as Prometheus has read them."""
    for group in Live.prometheus.ask("rules")["groups"]:
        for rule in group["rules"]:
            yield rule["name"], rule["query"]


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        watching.pair.build()
        cls.watched = watching.Watched()
        cls.addClassCleanup(cls.watched.close)
        cls.prometheus = watching.Prometheus(cls.watched)
        cls.addClassCleanup(cls.prometheus.close)
        seen = lambda expression: cls.prometheus.until(
            expression, lambda: cls.prometheus.value(expression)
        )  # noqa: E731
        # Each state is seen by a scrape before the next one comes.
        cls.watched.rounds(0, 12)
        seen('sum(mcp_tool_invocations_total{outcome="ok"}) > 10')
        cls.watched.kill("api")
        cls.watched.rounds(12, 24)
        seen('toolbridge_mcp_breaker_state{state="closed"} == 0')
        seen("sum(toolbridge_mcp_retries_total) > 0")
        cls.watched.start_again("api")

        def works_again():
            cls.watched.rounds(36, 6)
            return cls.prometheus.value('toolbridge_mcp_breaker_state{state="closed"} == 1')

        cls.prometheus.until("closed", works_again)
        # The new API's counters begin anew, and a rate takes two scrapes.
        ok = cls.prometheus.value("sum(toolbridge_api_requests_total)")[0]["value"][1]
        cls.watched.rounds(42, 12)
        seen(f"sum(toolbridge_api_requests_total) > {ok}")

    def test_both_programs_figures_are_in_good_form(self):
        for address in (self.watched.mcp_figures, self.watched.api_figures):
            text = self.watched.figures(address)
            ran = subprocess.run(
                ["promtool", "check", "metrics"], input=text, capture_output=True, text=True
            )
            self.assertEqual((ran.returncode, ran.stdout + ran.stderr), (0, ""))

    def test_every_name_that_is_asked_for_exists(self):
        asked = {*((title, query) for title, query in expressions()), *rules()}
        checked = 0
        for title, expression in asked:
            for name, matchers in selectors(expression):
                if name in OTHERS:
                    continue
                with self.subTest(title, name=name):
                    checked += self.exists(name, matchers)
        self.assertGreater(checked, 20)

    def exists(self, name, matchers):
        """How many words of labels were looked at."""
        labels = {
            label
            for series in self.prometheus.ask("series", **{"match[]": name})
            for label in series
        }
        self.assertTrue(labels, "there is no such metric")
        words = []
        for label, _, alternatives in matchers:
            self.assertIn(label, labels)
            if label not in OPEN:
                words += [(label, word) for word in alternatives.split("|")]
        for label, word in words:
            if name in OF_THE_API:
                sources = "".join(
                    path.read_text() for path in (ROOT / "api/internal").rglob("*.go")
                )
                self.assertTrue(f'"{word}"' in sources, f"{label} is never {word}")
            else:
                self.assertTrue(
                    self.prometheus.ask("series", **{"match[]": f'{name}{{{label}="{word}"}}'}),
                    f"{label} is never {word}",
                )
        return len(words)

    def test_groups_are_by_labels_that_there_are(self):
        for title, expression in {*expressions(), *rules()}:
            for by in re.findall(r"\b(?:by|on|ignoring) ?\(([^)]*)\)", expression):
                known = {"app", "le"} | {
                    label
                    for name, _ in selectors(expression)
                    for series in self.prometheus.ask("series", **{"match[]": name})
                    for label in series
                }
                for label in filter(None, map(str.strip, by.split(","))):
                    self.assertIn(label, known | {"instance"}, f"{title}: {expression}")

    def test_every_panel_shows_what_has_happened(self):
        for title, expression in expressions():
            with self.subTest(title, query=expression):
                found = self.prometheus.value(filled(expression, WINDOW))
                if not any(name in expression for name in QUIET):
                    self.assertTrue(found, "no data")

    def test_every_rule_was_evaluated(self):
        names = re.findall(r"alert: (\w+)", (HERE / "rules.yml").read_text())

        def evaluated():
            groups = self.prometheus.ask("rules")["groups"]
            return [
                rule for group in groups for rule in group["rules"] if rule["health"] != "unknown"
            ]

        found = self.prometheus.until("evaluated", evaluated)
        self.assertEqual(
            [(rule["name"], rule["health"]) for rule in found], [(name, "ok") for name in names]
        )

    def test_both_programs_take_the_settings_of_the_compose_file(self):
        image = re.search(
            r"^ENV (.*?)\n(?! )", (ROOT / "Dockerfile").read_text(), re.S | re.M
        ).group(1)
        block = (
            (HERE / "compose.yaml").read_text().split("\n  postgres:")[0].split("environment:\n")[1]
        )
        given = dict(re.findall(r"([A-Z_]+)=(\S+)", image)) | dict(
            re.findall(r"^      ([A-Z0-9_]+): (.*)$", block, re.M)
        )
        self.assertIn("DATABASE_URL", given)
        # As Compose fills them in, with secrets as scripts/compose-env makes them.
        made = {
            name: re.sub(r"\$\{[^}]*\}", lambda _: secrets.token_hex(32), value)
            for name, value in given.items()
        }
        for command in ([watching.pair.MCP, "serve", "--check"], [watching.pair.API, "check"]):
            ran = subprocess.run(
                command,
                env={"PATH": os.environ["PATH"], **made},
                cwd=self.watched.folder.name,
                capture_output=True,
                text=True,
            )
            self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)

    def test_the_table_of_the_apis_figures_is_true(self):
        """UPDATE_DOCS=1 writes it anew."""
        text = self.watched.figures(self.watched.api_figures)
        lines = ["", "| metric | kind | labels | what |", "|---|---|---|---|"]
        for name, what in re.findall(r"^# HELP (toolbridge_api_\w+) (.*)$", text, re.M):
            kind = re.search(rf"^# TYPE {name} (\w+)$", text, re.M).group(1)
            sample = re.search(rf"^{name}(?:_count)?(?:\{{(.*)\}})? ", text, re.M).group(1) or ""
            labels = "; ".join(f"`{label}`" for label in re.findall(r'(\w+)="', sample))
            lines.append(f"| `{name}` | {kind} | {labels} | {what} |")
        path = ROOT / "docs/OPERATIONS.md"
        page = path.read_text()
        before, rest = page.split("<!-- the API's metrics: start -->\n")
        _, after = rest.split("<!-- the API's metrics: end -->")
        made = (
            before
            + "<!-- the API's metrics: start -->\n"
            + "\n".join(lines)
            + "\n\n<!-- the API's metrics: end -->"
            + after
        )
        if os.environ.get("UPDATE_DOCS"):
            path.write_text(made)
        else:
            self.assertEqual(page, made, "run UPDATE_DOCS=1 scripts/test observability")


if __name__ == "__main__":
    unittest.main()
