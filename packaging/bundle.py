"""Packages the program for people: archives, bundles for Claude Desktop, and npm packages.

    bundle.py [--out FOLDER] PLATFORM=PROGRAM…

See `scripts/bundle --help`. All of it is reproducible: times in archives are fixed, and entries are
sorted.
"""

import argparse
import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NAME = "toolbridge-mcp"
SCOPE = "@toolbridge/mcp"
# By the name in an archive's: that of Claude Desktop, and Node's process.platform and arch.
PLATFORMS = {
    "linux-x64": ("linux", "linux", "x64"),
    "linux-arm64": ("linux", "linux", "arm64"),
    "macos-x64": ("darwin", "darwin", "x64"),
    "macos-arm64": ("darwin", "darwin", "arm64"),
    "windows-x64": ("win32", "win32", "x64"),
}
# The earliest time that a zip archive can state.
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
EXECUTABLE, PLAIN = 0o755, 0o644


def version():
    return re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)


def program_name(platform):
    return NAME + (".exe" if platform.startswith("windows") else "")


def zipped(path, files):
    """`files` are (name, mode, bytes)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, mode, data in sorted(files):
            entry = zipfile.ZipInfo(name, ZIP_TIME)
            # Unix, a regular file; otherwise the program could not be started when it is unpacked.
            entry.create_system = 3
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)


def tarred(path, files):
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name, mode, data in sorted(files):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(data), mode
                archive.addfile(entry, io.BytesIO(data))


def archive(platform, program, out):
    folder = f"{NAME}-{version()}-{platform}"
    files = [
        (f"{folder}/{program_name(platform)}", EXECUTABLE, program.read_bytes()),
        (f"{folder}/LICENSE", PLAIN, (ROOT / "LICENSE").read_bytes()),
        (f"{folder}/README.md", PLAIN, (HERE / "README.md").read_bytes()),
    ]
    if platform.startswith("windows"):
        zipped(out / f"{folder}.zip", files)
    else:
        tarred(out / f"{folder}.tar.gz", files)


def manifest(platform):
    """The manifest of the bundle, with what depends on the version and the platform."""
    described = json.loads((HERE / "mcpb" / "manifest.json").read_text())
    described["version"] = version()
    described["compatibility"] = {"platforms": [PLATFORMS[platform][0]]}
    server = described["server"]
    server["entry_point"] = f"server/{program_name(platform)}"
    server["mcp_config"]["command"] = "${__dirname}/" + server["entry_point"]
    return described


def desktop_bundle(platform, program, out):
    described = json.dumps(manifest(platform), indent=2) + "\n"
    zipped(
        out / f"{NAME}-{version()}-{platform}.mcpb",
        [
            ("manifest.json", PLAIN, described.encode()),
            ("icon.png", PLAIN, (HERE / "icon.png").read_bytes()),
            ("LICENSE", PLAIN, (ROOT / "LICENSE").read_bytes()),
            (f"server/{program_name(platform)}", EXECUTABLE, program.read_bytes()),
        ],
    )


def npm_package(folder, out):
    """Packs a folder; npm sets the times itself."""
    command = ["npm", "pack", "--silent", "--pack-destination", str(out.resolve())]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def npm_packages(programs, out):
    """One package for each platform, and the one that people name, which starts the right one."""
    shared = json.loads((HERE / "npm" / "package.json").read_text())
    shared["version"] = version()
    folders = out / "npm"
    shutil.rmtree(folders, ignore_errors=True)
    for platform, program in programs.items():
        _, system, processor = PLATFORMS[platform]
        folder = folders / f"mcp-{system}-{processor}"
        (folder / "bin").mkdir(parents=True)
        shutil.copyfile(program, folder / "bin" / program_name(platform))
        (folder / "bin" / program_name(platform)).chmod(EXECUTABLE)
        shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")
        described = {key: shared[key] for key in ("version", "license", "repository", "homepage")}
        described |= {
            "name": f"{SCOPE}-{system}-{processor}",
            "description": f"{NAME} for {platform}; install {SCOPE} instead",
            "os": [system],
            "cpu": [processor],
            "files": ["bin"],
            "preferUnplugged": True,
        }
        write(folder / "package.json", described)
        npm_package(folder, out)
        shared.setdefault("optionalDependencies", {})[described["name"]] = version()
    folder = folders / "mcp"
    (folder / "bin").mkdir(parents=True)
    shutil.copyfile(HERE / "npm" / "start.cjs", folder / "bin" / "start.cjs")
    shutil.copyfile(HERE / "README.md", folder / "README.md")
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")
    write(folder / "package.json", shared)
    npm_package(folder, out)


def write(path, described):
    path.write_text(json.dumps(described, indent=2) + "\n")


def checksums(out):
    files = sorted(file for file in out.iterdir() if file.is_file() and file.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (out / "SHA256SUMS").write_text("".join(lines))


def main(words):
    reader = argparse.ArgumentParser(usage="scripts/bundle [--out FOLDER] PLATFORM=PROGRAM…")
    reader.add_argument("--out", type=Path, default=ROOT / "target" / "bundle")
    reader.add_argument("programs", nargs="+", metavar="PLATFORM=PROGRAM")
    given = reader.parse_args(words)
    programs = {}
    for word in given.programs:
        platform, _, program = word.partition("=")
        if platform not in PLATFORMS:
            reader.error(f"{platform} is no platform: {', '.join(PLATFORMS)}")
        if not Path(program).is_file():
            reader.error(f"there is no file {program}")
        programs[platform] = Path(program)
    given.out.mkdir(parents=True, exist_ok=True)
    for platform, program in programs.items():
        archive(platform, program, given.out)
        desktop_bundle(platform, program, given.out)
    npm_packages(programs, given.out)
    checksums(given.out)
    print((given.out / "SHA256SUMS").read_text(), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
