#!/usr/bin/env node
// Starts the program of this platform, which is in an optional dependency, with the same arguments,
// input and output. Signals and the exit code are passed on.
"use strict";

const { spawn } = require("node:child_process");
const { constants } = require("node:os");

const platform = `${process.platform}-${process.arch}`;
const name = process.platform === "win32" ? "toolbridge-mcp.exe" : "toolbridge-mcp";

let program;
try {
  program = require.resolve(`@toolbridge/mcp-${platform}/bin/${name}`);
} catch {
  console.error(
    `toolbridge-mcp: there is no program for ${platform} in this installation. If optional ` +
      "dependencies were left out, install again with them; otherwise build it from source.",
  );
  process.exit(69);
}

const child = spawn(program, process.argv.slice(2), { stdio: "inherit", windowsHide: true });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => child.kill(signal));
}
child.on("error", (error) => {
  console.error(`toolbridge-mcp: ${error.message}`);
  process.exit(69);
});
child.on("exit", (code, signal) => {
  process.exit(signal ? 128 + constants.signals[signal] : code);
});
