"""What Dockerfile, supervisord.conf, fly.toml, the scripts and the pages say of each other and of
the programs. Needs no image."""

import configparser
import pathlib
import re
import subprocess
import tomllib
import unittest

HOME = pathlib.Path(__file__).resolve().parents[2]


def text(name):
    return (HOME / name).read_text()


FLY = tomllib.loads(text("fly.toml"))
SUPERVISOR = configparser.ConfigParser(interpolation=None)
SUPERVISOR.read_string(text("supervisord.conf"))
DOCKERFILE = text("Dockerfile")
DEFAULTS = tomllib.loads(text("src/config/default.toml"))


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", duration).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


def of_the_server():
    """Every variable that the MCP server knows: the table is tested against its code."""
    return set(re.findall(r"`([A-Z][A-Z_0-9]+)`", text("docs/CONFIGURATION.md")))


def of_the_api():
    return set(re.findall(r'"([A-Z][A-Z_]{2,})"', text("api/internal/config/config.go")))


def image_environment():
    block = re.search(r"^ENV (.*?)\n(?![ ])", DOCKERFILE, re.S | re.M).group(1)
    return dict(re.findall(r"([A-Z_]+)=(\S+)", block))


class Names(unittest.TestCase):
    def test_every_variable_exists_in_the_code(self):
        known = of_the_server() | of_the_api()
        prefixes = {name.split("_")[0] for name in known if "_" in name} - {"HTTP", "LOG", "MAX"}
        # A word in capitals that begins as ours do. Others, such as POST or CI, are no settings.
        name = re.compile(
            r"\b((?:"
            + "|".join(sorted(prefixes))
            + r")_[A-Z0-9_]*[A-Z0-9]"
            + r"|DATABASE_URL|HTTP_ADDR|LOG_LEVEL|LOG_FORMAT|MAX_BODY_BYTES)\b(?!\*)"
        )
        others = {
            # The standard's own, read by the API's exporter of traces.
            *re.findall(r"\bOTEL_[A-Z_]+", text("api/internal/telemetry/telemetry.go")),
            # For the suites, not for the programs.
            *re.findall(
                r'"(TOOLBRIDGE_[A-Z_]+)"',
                "".join(p.read_text() for p in (HOME / "api/contract").glob("*.go")),
            ),
            *re.findall(
                r'environ\["(TOOLBRIDGE_[A-Z_]+)"\]',
                "".join(p.read_text() for p in (HOME / "tests").glob("*/*.py")),
            ),
            "TOOLBRIDGE_REQUIRE_CONTAINER",
            # The convention of HTTP clients for what goes past a proxy.
            "NO_PROXY",
            # The examples of a mistake.
            "TOOLBRIDGE_PROT",
        }
        pages = [*HOME.glob("docs/**/*.md"), *HOME.glob("*.md")]
        files = [
            HOME / "Dockerfile",
            HOME / "supervisord.conf",
            HOME / "fly.toml",
            HOME / "observability/compose.yaml",
            *HOME.glob(".github/**/*.yml"),
        ]
        scripts = [path for path in (HOME / "scripts").rglob("*") if path.is_file()]
        # What a script takes for itself has a default there.
        others |= set(
            re.findall(r"\$\{([A-Z_]+):?-", "".join(path.read_text() for path in scripts))
        )
        for path in {*pages, *files, *scripts}:
            for found in name.findall(path.read_text()):
                self.assertIn(found, known | others, path.relative_to(HOME))

    def test_both_programs_are_known_here(self):
        """Lest the patterns above find nothing."""
        self.assertLessEqual(
            {"TOOLBRIDGE_SERVER_PORT", "TENANT_HEADER_SECRET", "JWT_JWKS_URL"}, of_the_server()
        )
        self.assertLessEqual(
            {"DATABASE_URL", "METRICS_ADDR", "SHUTDOWN_TIMEOUT_SECONDS"}, of_the_api()
        )
        self.assertIn("TOOLBRIDGE_PORT", image_environment())


class Pages(unittest.TestCase):
    PAGES = [
        HOME / "README.md",
        *HOME.glob("*.md"),
        *HOME.glob("docs/**/*.md"),
        HOME / "tests/README.md",
        HOME / "observability/README.md",
        HOME / "authorization-server/README.md",
    ]

    def test_every_file_that_a_page_names_is_there(self):
        path = re.compile(
            r"`((?:src|api|tests|docs|scripts|\.github)/[A-Za-z0-9_./-]+"
            r"|[A-Za-z]+\.(?:toml|conf|md))(?: [^`]*)?`"
        )
        for page in self.PAGES:
            for name in path.findall(page.read_text()):
                made = name.startswith("toolbridge.toml")
                self.assertTrue(
                    made or (HOME / name).exists() or (page.parent / name).exists(),
                    f"{page.relative_to(HOME)}: {name}",
                )

    def test_every_link_leads_somewhere(self):
        link = re.compile(r"\]\(([^)#:]*)(?:#([^)]*))?\)")
        for page in self.PAGES:
            for name, anchor in link.findall(page.read_text()):
                target = (page.parent / name).resolve() if name else page
                self.assertTrue(target.exists(), f"{page.relative_to(HOME)}: {name}")
                if anchor:
                    headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
                    anchors = {
                        re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")
                        for heading in headings
                    }
                    self.assertIn(anchor, anchors, f"{page.relative_to(HOME)}: {name}")


class Tests(unittest.TestCase):
    def test_the_page_about_tests_names_each_module(self):
        named = set(
            re.findall(r"^\| `(\w+)` \|", (HOME / "tests/README.md").read_text(), re.MULTILINE)
        )
        there = {path.stem for path in (HOME / "tests/it").iterdir()} - {"main", "harness"}
        self.assertFalse(there - named)


class Timeouts(unittest.TestCase):
    """Each waits longer than the one whose end it waits for."""

    def test_the_supervisor_waits_for_the_programs(self):
        drain = seconds(DEFAULTS["server"]["drain_timeout"])
        self.assertGreater(SUPERVISOR.getint("program:mcp", "stopwaitsecs"), drain)
        api = re.search(
            r'"SHUTDOWN_TIMEOUT_SECONDS", (\d+)', text("api/internal/config/config.go")
        ).group(1)
        self.assertGreater(SUPERVISOR.getint("program:api", "stopwaitsecs"), int(api))

    def test_the_platform_waits_for_the_supervisor(self):
        both = sum(SUPERVISOR.getint(f"program:{name}", "stopwaitsecs") for name in ("api", "mcp"))
        self.assertGreater(seconds(FLY["kill_timeout"]), both)
        self.assertEqual(FLY["kill_signal"], "SIGTERM")
        self.assertIn("STOPSIGNAL SIGTERM", DOCKERFILE)

    def test_the_server_starts_last_and_stops_first(self):
        self.assertGreater(
            SUPERVISOR.getint("program:mcp", "priority"),
            SUPERVISOR.getint("program:api", "priority"),
        )

    def test_an_exit_with_0_leaves_the_server_off(self):
        self.assertEqual(SUPERVISOR["program:mcp"]["autorestart"], "unexpected")
        self.assertEqual(SUPERVISOR["program:mcp"]["exitcodes"], "0")
        delay = re.search(
            r"OFF_EXIT_DELAY: Duration = Duration::from_secs\((\d+)\)", text("src/cli/serve.rs")
        ).group(1)
        self.assertGreater(int(delay), SUPERVISOR.getint("program:mcp", "startsecs"))


class Signatures(unittest.TestCase):
    def test_our_api_demands_what_the_server_sends_and_another_api_finds_version_1(self):
        demanded = image_environment()["TENANT_SIGNATURE_DEMANDED"]
        self.assertEqual(demanded, "v2")
        self.assertIn(f'= "{demanded}"', text("api/internal/config/config.go"))
        self.assertEqual(DEFAULTS["tenant"]["signature"], "both")
        self.assertNotIn("TOOLBRIDGE_TENANT_SIGNATURE", {*image_environment(), *FLY["env"]})


class Ports(unittest.TestCase):
    def test_ports_are_the_same_everywhere(self):
        environment = image_environment()
        mcp, api = (
            int(environment["TOOLBRIDGE_PORT"]),
            int(environment["HTTP_ADDR"].removeprefix("127.0.0.1:")),
        )
        of_mcp = int(environment["TOOLBRIDGE_METRICS_ADDR"].rsplit(":", 1)[1])
        of_api = int(environment["METRICS_ADDR"].lstrip(":"))
        self.assertEqual(environment["TOOLBRIDGE_GO_API_BASE_URL"], f"http://127.0.0.1:{api}")
        self.assertEqual(FLY["http_service"]["internal_port"], mcp)
        self.assertEqual([metrics["port"] for metrics in FLY["metrics"]], [of_mcp, of_api])
        self.assertEqual([metrics["path"] for metrics in FLY["metrics"]], ["/metrics", "/metrics"])
        self.assertEqual(DEFAULTS["metrics"]["addr"], f"127.0.0.1:{of_mcp}")
        self.assertIn(
            f'"METRICS_ADDR", "127.0.0.1:{of_api}"', text("api/internal/config/config.go")
        )
        self.assertIn(f"EXPOSE {mcp} {of_mcp} {of_api}", DOCKERFILE)

    def test_metrics_are_not_reachable_from_outside(self):
        inside = [FLY["http_service"]["internal_port"]]
        for metrics in FLY["metrics"]:
            self.assertNotIn(metrics["port"], inside)

    def test_idle_connections_do_not_count(self):
        self.assertEqual(FLY["http_service"]["concurrency"]["type"], "requests")

    def test_the_server_is_checked(self):
        self.assertEqual([check["path"] for check in FLY["http_service"]["checks"]], ["/readyz"])

    def test_the_api_is_not_published(self):
        self.assertNotIn("services", FLY)
        self.assertNotIn("HTTP_ADDR", FLY["env"])
        self.assertTrue(image_environment()["HTTP_ADDR"].startswith("127.0.0.1:"))

    def test_the_page_publishes_it_where_it_listens(self):
        (block,) = re.findall(r"```toml\n(# In \[env\]:.*?)```", text("docs/OPERATIONS.md"), re.S)
        opened = tomllib.loads(block)
        api = image_environment()["HTTP_ADDR"].rsplit(":", 1)[1]
        (service,) = opened["services"]
        self.assertEqual(opened["HTTP_ADDR"], f":{api}")
        self.assertEqual(service["internal_port"], int(api))
        self.assertEqual(service["concurrency"]["type"], "requests")
        self.assertEqual([check["path"] for check in service["http_checks"]], ["/readyz"])

    def test_no_secret_is_in_a_file(self):
        for name in FLY["env"]:
            self.assertNotRegex(name, "SECRET|TOKEN|PASSWORD")
        self.assertNotRegex(" ".join(image_environment()), "SECRET|TOKEN|PASSWORD")

    def test_the_data_is_where_the_volume_is(self):
        (mount,) = FLY["mounts"]
        self.assertEqual(mount["destination"], "/data")
        for database in (FLY["env"]["DATABASE_URL"], image_environment()["DATABASE_URL"]):
            self.assertTrue(database.startswith(f"sqlite://{mount['destination']}/"), database)


class Pins(unittest.TestCase):
    def test_every_base_is_pinned_to_a_release(self):
        bases = [
            base
            for base in re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
            if base not in ("scratch", "${API}")
        ]
        self.assertEqual(len(bases), 3)
        for base in bases:
            self.assertRegex(base, r"^[a-z]+:\d+\.\d+")

    def test_they_are_the_languages_that_the_code_asks_for(self):
        rust = re.search(r'^rust-version = "(.*)"', text("Cargo.toml"), re.M).group(1)
        self.assertRegex(DOCKERFILE, rf"FROM rust:{re.escape(rust)}\.")
        go = re.search(r"^go (\d+\.\d+)", text("api/go.mod"), re.M).group(1)
        self.assertRegex(DOCKERFILE, rf"FROM golang:{re.escape(go)}\.")

    def test_the_release_is_that_of_the_package(self):
        version = re.search(r'^version = "(.*)"', text("Cargo.toml"), re.M).group(1)
        self.assertEqual(set(re.findall(r"^ARG RELEASE=(.*)$", DOCKERFILE, re.M)), {version})

    def test_they_are_built_as_scripts_reproducible_builds_them(self):
        release = text("scripts/lib/release.sh")
        flags = re.search(r'go build (.*?) (?:\\\s+)?-ldflags "(.*?) -X', release).groups()
        self.assertEqual(
            re.search(r"go build (.*?) -o .*?-ldflags \"(.*?) -X", DOCKERFILE, re.S).groups(), flags
        )
        home = "/usr/local/cargo"
        # What a build without such flags takes from here.
        plain = re.search(r'^CFLAGS = "(.*)"', text(".cargo/config.toml"), re.M).group(1)
        for name, option, more in (
            ("RUSTFLAGS", "--remap-path-prefix", ""),
            ("CFLAGS", "-ffile-prefix-map", " " + plain),
        ):
            common = re.search(rf'echo "{option}=\$2=(\S+) \S+=/src{more}"', release).group(1)
            self.assertIn(f'ARG {name}="{option}={home}={common}{more}"', DOCKERFILE)
        epoch = re.search(r"SOURCE_DATE_EPOCH=\d+", release).group(0)
        self.assertIn(f"ARG {epoch}\n", DOCKERFILE)
        self.assertEqual(DOCKERFILE.count("cargo build --release --locked"), 2)

    def test_the_release_profile_is_what_is_shipped(self):
        """tests/container/image may build it with a cheaper one; the Dockerfile may not."""
        release = tomllib.loads(text("Cargo.toml"))["profile"]["release"]
        self.assertEqual(
            (release["lto"], release["codegen-units"], release["strip"]), ("fat", 1, "symbols")
        )
        self.assertNotIn("opt-level", release)
        self.assertNotIn("CARGO_PROFILE", DOCKERFILE)
        self.assertNotRegex(text(".cargo/config.toml"), r"CARGO_PROFILE|\[profile|\[build")
        self.assertRegex(DOCKERFILE, r"COPY --from=mcp /src/target/release/toolbridge-mcp ")


class Width(unittest.TestCase):
    """No line of code has more than 100 columns; a tab counts four."""

    # The tables, links and output of pages are wider, and so is data.
    OTHER_FILES = re.compile(
        r"\.(md|svg|png|json|snap|lock|sum)$|^LICENSE|^demo/items\.txt$|^fuzz/corpus/"
    )
    # What cannot be broken.
    LINES = {
        # An address.
        r"observability/compose\.yaml": r"^ +DATABASE_URL: \S",
        r"observability/rules(\.test)?\.yml": r"^ +runbook_url: \S+$",
        # A matcher of PromQL.
        r"observability/rules\.yml": r'^ +\w+=~"[\w|]+"$',
    }

    def test_lines_have_100_columns_at_most(self):
        listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=HOME, text=True)
        names = [name for name in listed.split("\0") if name]
        self.assertIn("src/main.rs", names)
        wide = []
        for name in names:
            path = HOME / name
            if self.OTHER_FILES.search(name) or not path.is_file():
                continue
            may = [line for file, line in self.LINES.items() if re.fullmatch(file, name)]
            for number, line in enumerate(path.read_text().split("\n"), 1):
                if len(line.expandtabs(4)) > 100 and not any(re.search(one, line) for one in may):
                    wide.append(f"{name}:{number}")
        self.assertEqual(wide, [])


if __name__ == "__main__":
    unittest.main()
