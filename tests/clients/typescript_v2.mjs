// The TypeScript SDK, version 2. MODE is "legacy", "auto" or a revision.
import {
  Client,
  SSEClientTransport,
  StreamableHTTPClientTransport,
} from "@modelcontextprotocol/client";
import { main, tell, walk } from "./walk.mjs";

const { MODE, TOKEN, TRANSPORT, URL: url, SSE_URL } = process.env;
const requestInit = { headers: TOKEN ? { Authorization: `Bearer ${TOKEN}` } : {} };

await main(async () => {
  const transport =
    TRANSPORT === "sse"
      ? new SSEClientTransport(new URL(SSE_URL), { requestInit })
      : new StreamableHTTPClientTransport(new URL(url), { requestInit });
  const mode = ["legacy", "auto"].includes(MODE) ? MODE : { pin: MODE };
  const client = new Client({ name: "matrix", version: "1" }, { versionNegotiation: { mode } });
  await client.connect(transport);
  tell("protocol", { value: client.getNegotiatedProtocolVersion() });
  tell("tools", { value: (await client.listTools()).tools.length });
  await walk(client);
  await client.close();
});
