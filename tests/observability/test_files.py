"""What the files in observability/ say of each other, of the programs and of the pages. Needs
nothing that runs but promtool."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from watching import DASHBOARD, HERE, ROOT, expressions, selectors

RULES = (HERE / "rules.yml").read_text()
COMPOSE = (HERE / "compose.yaml").read_text()
PAGE = (ROOT / "docs/OPERATIONS.md").read_text()
ALERTS = re.findall(r"^ +- alert: (\w+)$", RULES, re.M)


def promtool(*words, cwd=HERE):
    return subprocess.run(["promtool", *words], cwd=cwd, capture_output=True, text=True)


@unittest.skipUnless(shutil.which("promtool"), "promtool is not here")
class Promtool(unittest.TestCase):
    def succeeds(self, *words):
        ran = promtool(*words)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)

    def test_the_rules_can_be_read(self):
        self.succeeds("check", "rules", "rules.yml")

    def test_the_configuration_can_be_read(self):
        self.succeeds("check", "config", "prometheus.yml")

    def test_alerts_fire_when_they_should_and_only_then(self):
        self.succeeds("test", "rules", "rules.test.yml")

    def test_each_alert_is_seen_to_fire(self):
        """Without it, the tests of the rules fail: so there is one that needs it."""
        parts = re.split(r"(?=^ +- alert: )", RULES, flags=re.M)
        self.assertEqual(len(parts), len(ALERTS) + 1)
        cases = (HERE / "rules.test.yml").read_text()
        for name in ALERTS:
            self.assertIn(f'{{alertname="{name}", app="failing"}}', cases)
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "rules.yml").write_text(parts[0].replace("rules:", "rules: []"))
            (pathlib.Path(folder) / "rules.test.yml").write_text(cases)
            ran = promtool("test", "rules", "rules.test.yml", cwd=folder)
        silent = set(re.findall(r'alertname="(\w+)"', ran.stdout + ran.stderr))
        self.assertEqual(silent, set(ALERTS))


class Runbook(unittest.TestCase):
    def test_each_alert_has_an_entry_and_each_entry_an_alert(self):
        section = PAGE.split("\n## Alerts\n")[1].split("\n## ")[0]
        self.assertEqual(re.findall(r"^### (.*)$", section, re.M), ALERTS)

    def test_each_alert_says_how_bad_it_is_what_it_is_and_where_to_read_on(self):
        for alert in re.split(r"^ +- alert: ", RULES, flags=re.M)[1:]:
            name = alert.split("\n")[0]
            self.assertRegex(alert, r"severity: (critical|warning)\b")
            self.assertRegex(alert, r'summary: ("|>-\s+)\{\{ \$labels\.app \}\}: ')
            self.assertRegex(
                alert, rf"runbook_url: https://\S+/docs/OPERATIONS\.md#{name.lower()}\n"
            )
        repository = json.loads((ROOT / "server.json").read_text())["repository"]["url"]
        self.assertEqual(
            set(re.findall(r"(https://\S+)/blob/main/docs", RULES + DASHBOARD.read_text())),
            {repository},
        )

    def test_each_query_of_the_page_is_of_things_that_there_are(self):
        known = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M))
        queries = [
            query
            for query in re.findall(r"`([^`\n]+)`", PAGE)
            if re.search(r"(rate|sum|increase)[ (]", query)
        ]
        self.assertGreater(len(queries), 4)
        for query in queries:
            for name, _ in selectors(query.replace("\\|", "|")):
                self.assertIn(re.sub("_(bucket|sum|count)$", "", name), known, query)


class Dashboard(unittest.TestCase):
    DASHBOARD = json.loads(DASHBOARD.read_text())

    def test_every_query_is_of_the_chosen_tenants(self):
        for title, expression in expressions():
            found = list(selectors(expression))
            self.assertTrue(found, expression)
            for name, matchers in found:
                self.assertIn(("app", "=~", "$app"), matchers, f"{title}: {name}")

    def test_no_two_panels_lie_on_each_other(self):
        taken = {}
        for panel in self.DASHBOARD["panels"]:
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
            for x in range(at["x"], at["x"] + at["w"]):
                for y in range(at["y"], at["y"] + at["h"]):
                    self.assertNotIn((x, y), taken, f"{panel['title']} and {taken.get((x, y))}")
                    taken[x, y] = panel["title"]
        ids = [panel["id"] for panel in self.DASHBOARD["panels"]]
        self.assertEqual(len(ids), len(set(ids)))

    def test_it_asks_the_source_that_is_provisioned(self):
        sources = (HERE / "grafana/provisioning/datasources/toolbridge.yml").read_text()
        variable = self.DASHBOARD["templating"]["list"][0]
        self.assertIn(f"uid: {variable['current']['value']}\n", sources)
        for panel in self.DASHBOARD["panels"]:
            for target in panel.get("targets", []):
                self.assertEqual(target["datasource"]["uid"], "${" + variable["name"] + "}")


class Compose(unittest.TestCase):
    def test_no_secret_has_a_default(self):
        asked = re.findall(r"\$\{([A-Z0-9_]+)([^}]*)\}", COMPOSE)
        self.assertGreater(len(asked), 3)
        for name, rest in asked:
            self.assertRegex(rest, r"^:\?", name)
        made = set(
            re.search(
                r"^for name in ([A-Z0-9_ ]+);", (ROOT / "scripts/compose-env").read_text(), re.M
            )
            .group(1)
            .split()
        )
        self.assertEqual({name for name, _ in asked}, made)
        for name in re.findall(r"^ +(\w*(?:SECRET|PASSWORD)): (?!\$\{)", COMPOSE, re.M):
            self.fail(f"{name} is in the file")

    def test_ports_are_for_this_machine_only(self):
        ports = [
            port
            for line in re.findall(r"^ +ports: \[(.*)\]", COMPOSE, re.M)
            for port in re.findall(r'"([^"]+)"', line)
        ]
        self.assertGreater(len(ports), 4)
        for port in ports:
            self.assertRegex(port, r"^127\.0\.0\.1:(\d+):\1$")
        self.assertNotRegex(COMPOSE, r"network_mode|privileged|docker\.sock")

    def test_images_are_pinned_and_healthy(self):
        services = re.split(
            r"^  (?=\w+:$)", COMPOSE.split("\nservices:\n")[1].split("\nvolumes:")[0], flags=re.M
        )[1:]
        for service in services:
            name = service.split(":")[0]
            if name == "toolbridge":
                self.assertIn("HEALTHCHECK", (ROOT / "Dockerfile").read_text())
                continue
            self.assertRegex(service, r"image: [a-z/-]+:v?\d+\.\d+[\w.-]*\n", name)
            self.assertIn("healthcheck:", service, name)

    def test_the_ports_that_are_scraped_are_those_of_the_image(self):
        dockerfile = (ROOT / "Dockerfile").read_text()
        for name in ("TOOLBRIDGE_METRICS_ADDR=0.0.0.0", " METRICS_ADDR="):
            port = re.search(rf"{name}:(\d+)", dockerfile).group(1)
            self.assertIn(f'"toolbridge:{port}"', (HERE / "prometheus.yml").read_text())

    def test_every_file_and_host_that_is_named_is_there(self):
        for name in re.findall(r"(\./[\w./-]+):/", COMPOSE):
            self.assertTrue((HERE / name).exists(), name)
        services = set(re.findall(r"^  (\w+):$", COMPOSE.split("\nvolumes:")[0], re.M))
        named = (
            "".join(
                path.read_text()
                for path in [HERE / "prometheus.yml", *HERE.glob("grafana/provisioning/*/*.yml")]
            )
            + COMPOSE
        )
        hosts = set(re.findall(r"(?:https?://|[\"@ ])([a-z]+):\d{4,5}\b", named)) - {"localhost"}
        self.assertGreater(len(hosts), 4)
        self.assertLessEqual(hosts, services)

    def test_docker_reads_it(self):
        if (
            not shutil.which("docker")
            or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0
        ):
            self.skipTest("docker compose is not here")
        made = {
            name: "0123456789abcdef" for name, _ in re.findall(r"\$\{([A-Z0-9_]+)(:\?)", COMPOSE)
        }
        ran = subprocess.run(
            ["docker", "compose", "-f", HERE / "compose.yaml", "config", "--quiet"],
            env={**os.environ, **made},
            capture_output=True,
            text=True,
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)


if __name__ == "__main__":
    unittest.main()
