// An authorization server for the users of one ToolBridge tenant. The protocol is oidc-provider's;
// here are its settings, and the pages between. See README.md.
import { createServer } from "node:http";
import { Provider, errors } from "oidc-provider";
import { HEADERS, agree, failure, send, signIn } from "./pages.js";
import { Records, forgetExpired, keys } from "./store.js";
import { exists, isBusy, limit, verify } from "./users.js";

const { ISSUER, RESOURCE, TENANT, HOST = "127.0.0.1", PORT = "8080" } = process.env;
const ACCESS_TOKEN_SECONDS = Number(process.env.ACCESS_TOKEN_SECONDS || 900);
const ADDRESS_HEADER = (process.env.CLIENT_ADDRESS_HEADER ?? "").toLowerCase();
const SITES = (process.env.CLIENT_SITES ?? "").split(" ").filter(Boolean);
const LOOPBACK = ["127.0.0.1", "[::1]", "localhost"];
const DAY = 24 * 3600;
// Those that ToolBridge lists: clients register with them.
const SCOPES = ["toolbridge:read", "toolbridge:write"];
for (const kind of ["notes", "tasks", "comments", "chats", "chat_messages"]) {
  SCOPES.push(`toolbridge:${kind}:read`, `toolbridge:${kind}:write`);
}
SCOPES.push("toolbridge:find:read", "toolbridge:edit:read", "toolbridge:edit:write");
SCOPES.push("toolbridge:compact:write");
// The scope that includes this one.
const wide = (scope) => `toolbridge:${scope.split(":").pop()}`;

const issuer = URL.parse(ISSUER ?? "");
const overTls = issuer?.protocol === "https:";
function refuse(why) {
  console.error(`toolbridge-login: ${why}`);
  process.exit(64);
}
if (!issuer || issuer.origin !== ISSUER) refuse("ISSUER is no address without a path");
if (!overTls && !LOOPBACK.includes(issuer.hostname)) refuse("ISSUER has to be https");
if (!URL.canParse(RESOURCE) || !TENANT) refuse("RESOURCE and TENANT are missing");
if (!(ACCESS_TOKEN_SECONDS > 0)) refuse("ACCESS_TOKEN_SECONDS is no number of seconds");

const log = (msg, more) => console.log(JSON.stringify({ time: new Date(), msg, ...more }));

function isSite(text) {
  const url = URL.parse(text);
  return url?.protocol === "https:" && !url.port && SITES.includes(url.hostname);
}
function mayReturnTo(text) {
  const url = URL.parse(text);
  if (url?.protocol === "http:") return LOOPBACK.includes(url.hostname);
  return isSite(text) || SITES.includes(url?.protocol);
}

const { jwks, cookies } = keys();
const provider = new Provider(ISSUER, {
  adapter: Records,
  jwks,
  cookies: { keys: cookies },
  scopes: ["openid", "offline_access", ...SCOPES],
  responseTypes: ["code"],
  // The address of a client that leaves it out would not pass mayReturnTo.
  allowOmittingSingleRegisteredRedirectUri: false,
  pkce: { required: () => true },
  // Native: a program may listen at any port of its own machine, and its user is always asked.
  clientDefaults: { application_type: "native", id_token_signed_response_alg: "ES256" },
  clientBasedCORS: () => false,
  ttl: {
    AuthorizationCode: 60,
    Interaction: 600,
    Session: DAY / 2,
    RefreshToken: 30 * DAY,
    Grant: 90 * DAY,
    IdToken: ACCESS_TOKEN_SECONDS,
    AccessToken: ACCESS_TOKEN_SECONDS,
  },
  issueRefreshToken: (_, client) => client.grantTypeAllowed("refresh_token"),
  rotateRefreshToken: true,
  expiresWithSession: () => false,
  findAccount: (_, name) => exists(name) && { accountId: name, claims: () => ({ sub: name }) },
  // A client that asks again has to be allowed again.
  loadExistingGrant: (ctx) => {
    const allowed = ctx.oidc.result?.consent?.grantId;
    return allowed && ctx.oidc.provider.Grant.find(allowed);
  },
  // A token without a claim of scopes would not be limited to any.
  formats: {
    customizers: {
      jwt: (_, token, { payload }) =>
        Object.assign(payload, { scope: token.scope ?? "", tenant_id: TENANT }),
    },
  },
  renderError: (ctx, out) => {
    ctx.set(HEADERS);
    ctx.body = failure(out.error_description ?? out.error);
  },
  // oidc-provider's dispatcher refuses private addresses; without it nothing is fetched.
  fetch: (url, options) => {
    if (!options.dispatcher || !isSite(url)) throw new Error("not an address to fetch from");
    return fetch(url, { ...options, redirect: "error" });
  },
  interactions: { url: (_, { uid }) => `/interaction/${uid}` },
  features: {
    devInteractions: { enabled: false },
    userinfo: { enabled: false },
    rpInitiatedLogout: { enabled: false },
    pushedAuthorizationRequests: { enabled: false },
    dPoP: { enabled: false },
    revocation: {
      enabled: true,
      allowedPolicy: (_, client, token) => token.clientId === client.clientId,
    },
    registration: { enabled: true, issueRegistrationAccessToken: false },
    clientIdMetadataDocument: { enabled: true, ack: "draft-02", allowFetch: (_, id) => isSite(id) },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => {
        if (resource !== RESOURCE) throw new errors.InvalidTarget();
        return {
          scope: SCOPES.join(" "),
          audience: RESOURCE,
          accessTokenTTL: ACCESS_TOKEN_SECONDS,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "ES256" } },
        };
      },
    },
  },
});
provider.proxy = true;

const registered = provider.Client.prototype.redirectUriAllowed;
provider.Client.prototype.redirectUriAllowed = function allowed(uri) {
  return mayReturnTo(uri) && registered.call(this, uri);
};

for (const event of ["authorization.error", "grant.error", "registration_create.error"]) {
  provider.on(event, (ctx, error) => {
    const { client_id: client } = ctx.oidc?.params ?? {};
    log("refused", { what: event, client, error: error.error, why: error.error_description });
  });
}
provider.on("server_error", (_, error) => log("failed", { error: String(error.stack) }));
provider.on("registration_create.success", (_, { clientName, redirectUris }) =>
  log("client registered", { client: clientName, redirectUris }));

async function form(request) {
  let text = "";
  for await (const part of request) {
    text += part;
    if (text.length > 8192) throw new errors.InvalidRequest("the form is too large");
  }
  return new URLSearchParams(text);
}

const maySignIn = limit(10);
async function interaction(request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  const finish = (result) => provider.interactionFinished(request, response, result);
  const denied = (why) => finish({ error: "access_denied", error_description: why });
  const scopes = Object.values(prompt.details.missingResourceScopes ?? {}).flat();
  const posted = request.method === "POST";
  // A browser names the page that sends a form.
  if (posted && request.headers.origin !== ISSUER) throw new errors.InvalidRequest("wrong origin");
  const fields = posted ? await form(request) : new URLSearchParams();

  if (prompt.name === "login") {
    if (!posted) return signIn(response);
    const name = (fields.get("name") ?? "").trim().toLowerCase();
    if (!maySignIn(request.caller) || isBusy()) {
      return signIn(response, "Too many tries. Wait for a minute.");
    }
    if (!(await verify(name, fields.get("password") ?? ""))) {
      log("sign-in refused", { caller: request.caller });
      return signIn(response, "The name or the password is wrong.");
    }
    log("signed in", { user: name, caller: request.caller });
    return finish({ login: { accountId: name } });
  }
  if (scopes.length === 0) return denied("the client asked for no scope of ToolBridge");
  const client = await provider.Client.find(params.client_id);
  const user = session.accountId;
  if (!posted) {
    const again = new URLSearchParams({ ...params, prompt: "login" });
    return agree(response, {
      client: client.clientName ?? client.clientId,
      target: params.redirect_uri,
      user,
      // Most clients ask for all that there is.
      scopes: scopes.filter((scope) => scope === wide(scope) || !scopes.includes(wide(scope))),
      otherUser: `/auth?${again}`,
    });
  }
  const boxes = fields.getAll("scope");
  const ticked = scopes.filter((scope) => boxes.includes(scope) || boxes.includes(wide(scope)));
  if (fields.get("answer") !== "allow" || ticked.length === 0) return denied("the user refused");
  const grant = new provider.Grant({ accountId: user, clientId: client.clientId });
  grant.addOIDCScope((prompt.details.missingOIDCScope ?? []).join(" "));
  grant.addResourceScope(RESOURCE, ticked.join(" "));
  const rest = scopes.filter((scope) => !ticked.includes(scope));
  if (rest.length > 0) grant.rejectResourceScope(RESOURCE, rest.join(" "));
  log("client allowed", { user, client: client.clientId, scopes: ticked });
  return finish({ consent: { grantId: await grant.save() } });
}

const mayRegister = limit(30);
// Each sign-in that is begun is kept for ten minutes, of up to 16 KiB.
const mayBegin = limit(100);
const serve = provider.callback();
const server = createServer((request, response) => {
  // Only what every parser of addresses reads alike.
  const path = /^\/[\w.~/-]*(?=\?|$)/.exec(request.url)?.[0];
  if (path === undefined) return response.writeHead(400).end();
  request.caller = request.headers[ADDRESS_HEADER] ?? request.socket.remoteAddress;
  // What oidc-provider makes addresses of, whatever the caller says.
  request.headers.host = issuer.host;
  request.headers["x-forwarded-proto"] = issuer.protocol.slice(0, -1);
  delete request.headers["x-forwarded-host"];
  if (overTls) response.setHeader("Strict-Transport-Security", "max-age=31536000");
  if (path === "/healthz") return response.end("ok");
  // oidc-provider ignores case and a slash at the end.
  const [route] = /^\/(?:reg|auth)(?=\/?$)/.exec(path.toLowerCase()) ?? [];
  const mayGoOn = { "/reg": mayRegister, "/auth": mayBegin }[route];
  if (mayGoOn && !mayGoOn(request.caller)) {
    response.setHeader("Retry-After", "60");
    return send(response, 429, failure("too many requests, wait for a minute"));
  }
  if (!path.startsWith("/interaction/")) return serve(request, response);
  return interaction(request, response).catch((error) => {
    if (!error.expose) log("failed", { error: String(error.stack) });
    if (response.headersSent) return response.destroy();
    return send(response, error.expose ? 400 : 500, failure("this sign-in has ended"));
  });
});
server.listen(Number(PORT), HOST, () => log("ready", { issuer: ISSUER, resource: RESOURCE }));

forgetExpired();
setInterval(forgetExpired, 600_000).unref();
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => server.close());
