// An authorization server for the tests: oidc-provider as it comes, with pages of its own for
// signing in and agreeing, and with token exchange (RFC 8693), which oidc-provider leaves to its
// users.
//
//   node authorization_server.mjs PORT RESOURCE API-AUDIENCE CLIENT-SECRET [documents|closed]
//
// With "documents" a client cannot register itself: its id is the URL of a document about it. With
// "closed" it cannot do that either.
// POST /test is how a test reaches into it: {"ttl": 2}, {"jwks": "down"}, {"rotate": true},
// {"sign": {…}}.
import { createServer } from "node:http";
import { SignJWT, exportJWK, exportSPKI, generateKeyPair, importJWK, jwtVerify } from "jose";
import { Provider, errors } from "oidc-provider";
import { createMemoryAdapter } from "oidc-provider/lib/adapters/memory_adapter.js";

const [port, resource, audience, secret, registering] = process.argv.slice(2);
const documents = registering === "documents";
const issuer = `http://127.0.0.1:${port}`;
const SCOPES = "toolbridge:read toolbridge:write";
const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const OTHER = "https://elsewhere.example/mcp";

let ttl = 300;
let jwks = "up";
let key, provider;
const seen = [];
// By URL, in place of the servers of those who make clients.
const published = {};
// One for all providers: new keys are no reason to forget who has registered.
const memory = createMemoryAdapter();

async function rotate() {
  const pair = await generateKeyPair("ES256", { extractable: true });
  const jwk = {
    ...(await exportJWK(pair.privateKey)),
    kid: crypto.randomUUID(),
    alg: "ES256",
    use: "sig",
  };
  key = { jwk, private: await importJWK(jwk, "ES256"), public: pair.publicKey };
  provider = serving(key.jwk);
}

const sign = (claims, header = {}) =>
  new SignJWT({ iss: issuer, aud: resource, ...claims })
    .setProtectedHeader({ alg: "ES256", kid: key.jwk.kid, typ: "at+jwt", ...header })
    .setIssuedAt()
    .setExpirationTime("5m")
    .sign(key.private);

function serving(jwk) {
  const made = new Provider(issuer, {
    adapter: memory,
    jwks: { keys: [jwk] },
    clients: [
      {
        client_id: "toolbridge-mcp",
        client_secret: secret,
        grant_types: [EXCHANGE],
        redirect_uris: [],
        response_types: [],
      },
    ],
    scopes: ["openid", "offline_access", ...SCOPES.split(" ")],
    clientDefaults: { id_token_signed_response_alg: "ES256" },
    cookies: { keys: [secret] },
    ttl: {
      AccessToken: () => ttl,
      RefreshToken: 3600,
      Session: 3600,
      Grant: 3600,
      Interaction: 600,
    },
    issueRefreshToken: (_, client) => client.grantTypeAllowed("refresh_token"),
    expiresWithSession: () => false,
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    // Whoever asks again is asked again.
    loadExistingGrant: (ctx) => {
      const agreed = ctx.oidc.result?.consent?.grantId;
      return agreed && ctx.oidc.provider.Grant.find(agreed);
    },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    fetch: async (url) => {
      const document = published[String(url)];
      if (document) seen.push({ document: String(url) });
      return document ? Response.json(document) : new Response("", { status: 404 });
    },
    features: {
      devInteractions: { enabled: false },
      registration: { enabled: !registering },
      clientIdMetadataDocument: { enabled: documents, ack: "draft-02" },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, indicator) => {
          if (![resource, OTHER].includes(indicator)) throw new errors.InvalidTarget();
          return {
            scope: SCOPES,
            audience: indicator,
            accessTokenFormat: "jwt",
            jwt: { sign: { alg: "ES256" } },
          };
        },
      },
    },
  });
  made.registerGrantType(
    EXCHANGE,
    async (ctx) => {
      const asked = ctx.oidc.params;
      if (asked.audience !== audience) throw new errors.InvalidTarget();
      const { payload } = await jwtVerify(asked.subject_token, key.public, {
        issuer,
        audience: resource,
      }).catch(() => {
        throw new errors.InvalidGrant("the subject token does not verify");
      });
      if (payload.sub === "stranger") throw new errors.AccessDenied();
      seen.push({ exchanged: payload.sub });
      ctx.body = {
        access_token: await sign({
          sub: payload.sub,
          aud: audience,
          act: { sub: ctx.oidc.client.clientId },
        }),
        issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
        token_type: "Bearer",
        expires_in: 300,
      };
    },
    [
      "subject_token",
      "subject_token_type",
      "requested_token_type",
      "audience",
      "resource",
      "scope",
    ],
  );
  return made;
}

const page = (fields) =>
  `<!doctype html><form method="post">${fields}<button>Go on</button></form>`;

async function interaction(request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  const wanted = prompt.details.missingResourceScopes ?? {};
  if (request.method === "GET") {
    const fields =
      prompt.name === "login"
        ? `<input name="login">`
        : Object.values(wanted)
            .flat()
            .map((scope) => `<input type="checkbox" name="scope" value="${scope}">`)
            .join("");
    response.setHeader("Content-Type", "text/html");
    return response.end(page(fields));
  }
  const form = new URLSearchParams(await body(request));
  if (prompt.name === "login") {
    return provider.interactionFinished(request, response, {
      login: { accountId: form.get("login") },
    });
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  if (prompt.details.missingOIDCScope)
    grant.addOIDCScope(prompt.details.missingOIDCScope.join(" "));
  for (const [where, scopes] of Object.entries(wanted)) {
    for (const scope of scopes) {
      if (form.getAll("scope").includes(scope)) grant.addResourceScope(where, scope);
      else grant.rejectResourceScope(where, scope);
    }
  }
  const consent = { grantId: await grant.save() };
  return provider.interactionFinished(
    request,
    response,
    { consent },
    { mergeWithLastSubmission: true },
  );
}

async function test(request, response) {
  const asked = JSON.parse(await body(request));
  const answer = {};
  if (asked.ttl) ttl = asked.ttl;
  if (asked.publish) Object.assign(published, asked.publish);
  if (asked.jwks) jwks = asked.jwks;
  if (asked.rotate) await rotate();
  if (asked.sign) answer.token = await sign(asked.sign, asked.header);
  answer.pem = await exportSPKI(key.public);
  answer.kid = key.jwk.kid;
  answer.seen = seen.splice(0);
  response.end(JSON.stringify(answer));
}

async function body(request) {
  let text = "";
  for await (const part of request) text += part;
  return text;
}

await rotate();
createServer((request, response) => {
  const path = new URL(request.url, issuer).pathname;
  if (path !== "/test" && !path.startsWith("/interaction/"))
    seen.push({ method: request.method, path });
  const failed = (error) => response.writeHead(500).end(String(error.stack));
  if (path === "/test") test(request, response).catch(failed);
  else if (path.startsWith("/interaction/")) interaction(request, response).catch(failed);
  else if (path === "/jwks" && jwks === "down") response.writeHead(503).end();
  else provider.callback()(request, response);
}).listen(Number(port), "127.0.0.1", () => console.log("ready"));
