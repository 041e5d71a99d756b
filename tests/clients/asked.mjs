// The same as asked.py, for both versions of the TypeScript SDK: SDK is "v1" or "v2".
import { main, tell } from "./walk.mjs";

const { ANSWERS, MODE, SDK, TOKEN, TRANSPORT, URL: url, SSE_URL } = process.env;
const requestInit = { headers: { Authorization: `Bearer ${TOKEN}` } };
const answers = ANSWERS.split(",");
const waiting = answers.values();
let withdraw;
const withdrawn = new Promise((resolve) => (withdraw = resolve));

async function person(request, extra) {
  tell("asked", { value: request.params.message });
  const answer = waiting.next().value;
  if (answer === "late") {
    const signal = extra.signal ?? extra.mcpReq.signal;
    signal.addEventListener("abort", withdraw);
    await withdrawn;
  }
  const action = answer === "late" ? "accept" : answer;
  return action === "accept" ? { action, content: {} } : { action };
}

async function v1() {
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const { SSEClientTransport } = await import("@modelcontextprotocol/sdk/client/sse.js");
  const http = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const { ElicitRequestSchema } = await import("@modelcontextprotocol/sdk/types.js");
  const client = new Client({ name: "asked", version: "1" }, { capabilities: { elicitation: {} } });
  client.setRequestHandler(ElicitRequestSchema, person);
  await client.connect(
    TRANSPORT === "sse"
      ? new SSEClientTransport(new URL(SSE_URL), { requestInit })
      : new http.StreamableHTTPClientTransport(new URL(url), { requestInit }),
  );
  return [client, (call, options) => client.callTool(call, undefined, options)];
}

async function v2() {
  const sdk = await import("@modelcontextprotocol/client");
  const mode = ["legacy", "auto"].includes(MODE) ? MODE : { pin: MODE };
  const client = new sdk.Client(
    { name: "asked", version: "1" },
    { capabilities: { elicitation: {} }, versionNegotiation: { mode } },
  );
  client.setRequestHandler("elicitation/create", person);
  await client.connect(
    TRANSPORT === "sse"
      ? new sdk.SSEClientTransport(new URL(SSE_URL), { requestInit })
      : new sdk.StreamableHTTPClientTransport(new URL(url), { requestInit }),
  );
  return [client, (call, options) => client.callTool(call, options)];
}

await main(async () => {
  const [client, call] = await (SDK === "v1" ? v1() : v2());
  const read = async (name, args) => {
    const result = await call({ name, arguments: args });
    return JSON.parse(result.content[0].text);
  };
  const operations = [];
  for (let number = 0; number < 6; number++) {
    const { uid } = await read("create_note", { title: `Note ${number}`, content: "c" });
    operations.push({ op: "delete", kind: "note", uid });
  }
  for (const answer of answers) {
    const batch = { name: "batch", arguments: { operations } };
    if (answer === "late") {
      await call(batch, { timeout: 2000 }).catch(() => tell("gave_up"));
      await withdrawn;
    } else {
      const result = await call(batch);
      tell("batch", { failed: result.isError === true, text: result.content[0].text });
    }
    tell("left", { value: (await read("list_notes", {})).items.length });
  }
  await client.close();
});
