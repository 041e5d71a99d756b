"""Instructions per call, counted by valgrind, against those of the last release. A count does not
depend on what else the machine does, so a call that has become dearer shows, and nothing else does.

    python3 benches/guard/run.py            compares; fails where a call has become dearer by more
                                            than the tolerance
    python3 benches/guard/run.py --update   makes what is counted now the baseline

The baseline belongs to a compiler and a C library; with others, take a new one of the release
first.
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "macro"))
import load  # noqa: E402
import programs  # noqa: E402

BASELINE = pathlib.Path(__file__).with_name("baseline.json")
# What the order of tasks leaves open from run to run is well below this.
TOLERANCE = 0.03
WARM, COUNTED = 50, 200


def ask(port, request, times):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(times):
        connection.request(request.method, request.path, request.body, request.headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200 or request.sign not in text:
            raise SystemExit(f"{answer.status}: {text[:500]}")
    connection.close()


def count(api, request):
    """One process for each kind of call, so that none finds what another has left in a cache."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out"
        server = programs.server(api, PATH=os.environ["PATH"])
        options = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
        server.command = ["valgrind", "--quiet", *options, *server.command]
        with server:
            ask(server.port, request, WARM)
            counting(server, "on")
            ask(server.port, request, COUNTED)
            counting(server, "off")
        # One for each part of the run; what was not counted has none.
        counted = re.findall(
            r"^totals: (\d+)", "".join(path.read_text() for path in parts(out)), re.M
        )
        return max(map(int, counted)) // COUNTED


def counting(server, state):
    switch = ["callgrind_control", "-i", state, str(server.process.pid)]
    subprocess.run(switch, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def parts(out):
    return sorted(pathlib.Path(out).parent.glob("out*"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--update", action="store_true", help="make this the baseline")
    arguments = parser.parse_args()
    programs.TIMEOUT = 120
    programs.build()
    token = programs.token()
    calls = {
        "get_note": load.call(token, "get_note", uid=load.UID),
        "get_note, modern": load.call(token, "get_note", "modern", uid=load.UID),
        "list_notes of 50": load.call(token, "list_notes", limit=50),
        "create_note": load.call(token, "create_note", title="Groceries", content="x" * 200),
        "tools/list": load.tools_list(token),
    }
    with programs.stub() as api:
        counts = {name: count(api, request) for name, request in calls.items()}
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    dearer = 0
    for name, counted in counts.items():
        before = known.get(name)
        change = f"{100 * (counted / before - 1):+6.1f} %" if before else "   new"
        print(f"{name:20} {counted:10} instructions a call {change}")
        dearer += bool(before) and counted > before * (1 + TOLERANCE)
    if arguments.update:
        BASELINE.write_text(json.dumps(counts, indent=1) + "\n")
    elif dearer:
        raise SystemExit(
            f"dearer than the baseline by more than {TOLERANCE:.0%}: {dearer}. Find out why, or "
            "--update and say why"
        )


if __name__ == "__main__":
    main()
