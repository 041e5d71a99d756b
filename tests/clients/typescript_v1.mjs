// The TypeScript SDK, version 1.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { main, tell, walk } from "./walk.mjs";

const { TOKEN, TRANSPORT, URL: url, SSE_URL } = process.env;
const requestInit = { headers: TOKEN ? { Authorization: `Bearer ${TOKEN}` } : {} };

await main(async () => {
  const transport =
    TRANSPORT === "sse"
      ? new SSEClientTransport(new URL(SSE_URL), { requestInit })
      : new StreamableHTTPClientTransport(new URL(url), { requestInit });
  let protocol;
  const own = transport.setProtocolVersion?.bind(transport);
  transport.setProtocolVersion = (version) => {
    protocol = version;
    own?.(version);
  };
  const client = new Client({ name: "matrix", version: "1" });
  await client.connect(transport);
  tell("protocol", { value: protocol });
  tell("tools", { value: (await client.listTools()).tools.length });
  await walk(client);
  await client.close();
});
