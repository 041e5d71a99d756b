// The pages that a user sees: plain HTML without scripts.
import { createHash } from "node:crypto";

const STYLE = `:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:24rem;margin:4rem auto;padding:0 1rem}h1{font-size:1.3rem}
label{display:block;margin:.8rem 0}input:not([type=checkbox]){display:block;width:100%;
box-sizing:border-box;font:inherit;padding:.5rem}button{font:inherit;padding:.5rem 1.2rem}
.wrong{color:light-dark(#b00020,#ff8a80)}`;
// Without form-action: Chromium applies it to redirects too, and the last one leads to the client.
const POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(STYLE).digest("base64")}'`,
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ");

const escaped = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

export const HEADERS = {
  "Content-Type": "text/html; charset=utf-8",
  "Content-Security-Policy": POLICY,
  "Cache-Control": "no-store",
  "Referrer-Policy": "same-origin",
  "X-Content-Type-Options": "nosniff",
};

export function send(response, status, html) {
  response.writeHead(status, HEADERS).end(html);
}

const page = (title, body) => `<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>${title}</title>
<style>${STYLE}</style><h1>${title}</h1>${body}</html>`;

export const failure = (why) =>
  page("Signing in failed", `<p>Start again in your client.</p>
<p><small>${escaped(why)}</small></p>`);

export function signIn(response, wrong) {
  const status = wrong ? 403 : 200;
  send(response, status, page("Sign in to ToolBridge", `<form method="post">
${wrong ? `<p class="wrong" role="alert">${escaped(wrong)}</p>` : ""}
<label>Name
<input name="name" autocomplete="username" autocapitalize="none" required autofocus></label>
<label>Password
<input name="password" type="password" autocomplete="current-password" required></label>
<button>Sign in</button></form>`));
}

const WORDS = { read: "read", write: "create, change and delete" };
// The names of tools rather than of a kind of items: they reach every kind.
const TOOLS = ["find", "edit", "compact"];
function allows(scope) {
  const [kind, access] = scope.split(":").slice(-2);
  if (kind === "toolbridge") return `${WORDS[access]} everything`;
  if (TOOLS.includes(kind)) return `${WORDS[access]} everything, with the tools “${kind}”`;
  return `${WORDS[access]} ${kind.replace("_", " ")}`;
}

// A name without what could hide or turn around the words after it.
function short(name) {
  const letters = [...String(name).replace(/[\p{C}\p{Z}]+/gu, " ").trim()];
  return letters.length > 60 ? letters.slice(0, 60).join("") + "…" : letters.join("");
}

// The name of a client is what it says of itself; where the answer goes is checked.
export function agree(response, { client, target, user, scopes, otherUser }) {
  const { protocol, hostname } = new URL(target);
  const local = protocol === "http:" ? "a program on this computer" : protocol + "//" + hostname;
  const boxes = scopes.map((scope) => `<label><input type="checkbox" name="scope" checked
value="${escaped(scope)}"> ${escaped(allows(scope))}</label>`);
  send(response, 200, page("Allow access to ToolBridge?", `<form method="post">
<p>A client that calls itself <b><bdi>${escaped(short(client))}</bdi></b> asks for access as
<b>${escaped(user)}</b>. The answer goes to <b>${escaped(local)}</b>. If you did not just start
this, refuse.</p>
${boxes.join("\n")}
<p><button name="answer" value="allow">Allow</button>
<button name="answer" value="refuse">Refuse</button></p></form>
<p><a href="${escaped(otherUser)}">Sign in as somebody else</a></p>`));
}
