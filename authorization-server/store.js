// What this server keeps: users, keys, and the records of oidc-provider, in one SQLite file.
import { generateKeyPairSync, randomBytes, randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { errors } from "oidc-provider";

const HOUR = 3600;
// Of clients that no user has signed in with: 16 MiB in all.
const MAX_UNUSED_CLIENTS = 2000;
const MAX_CLIENT_LETTERS = 8192;
const now = () => Math.floor(Date.now() / 1000);

process.umask(0o077);
const folder = process.env.DATA || "data";
mkdirSync(folder, { recursive: true });
export const database = new DatabaseSync(join(folder, "login.db"));
database.exec(`
  PRAGMA busy_timeout = 5000;
  PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, password TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS keys (number INTEGER PRIMARY KEY AUTOINCREMENT, jwk TEXT NOT NULL,
    cookie TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS records (model TEXT, id TEXT, payload TEXT NOT NULL, grant_id TEXT,
    uid TEXT, account TEXT, consumed INTEGER, expires INTEGER, PRIMARY KEY (model, id)) STRICT;
  CREATE INDEX IF NOT EXISTS records_of_grant ON records (grant_id);
  CREATE INDEX IF NOT EXISTS records_of_account ON records (account);
  CREATE INDEX IF NOT EXISTS records_of_uid ON records (uid);
`);

// Of three keys the last one is published before it signs, so that no server that keeps the set of
// keys for a while refuses it, and the first one until its tokens have expired.
export function rotateKeys() {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = privateKey.export({ format: "jwk" });
  const named = JSON.stringify({ ...jwk, kid: randomUUID(), alg: "ES256", use: "sig" });
  const insert = "INSERT INTO keys (jwk, cookie) VALUES (?, ?)";
  database.prepare(insert).run(named, randomBytes(32).toString("base64url"));
  database.exec(
    "DELETE FROM keys WHERE number NOT IN (SELECT number FROM keys ORDER BY number DESC LIMIT 3)",
  );
}

// The one that signs comes first.
export function keys() {
  const rows = () => database.prepare("SELECT jwk, cookie FROM keys ORDER BY number").all();
  while (rows().length < 2) rotateKeys();
  const [next, signs, old] = rows().reverse();
  const ordered = [signs, next, ...(old ? [old] : [])];
  return {
    jwks: { keys: ordered.map((row) => JSON.parse(row.jwk)) },
    cookies: ordered.map((row) => row.cookie),
  };
}

export function forgetExpired() {
  database.prepare("DELETE FROM records WHERE expires <= ?").run(now());
}

// Whoever registers many clients pushes out unused ones, and does not fill the disk.
function forgetUnusedClients() {
  const unused = "model = 'Client' AND expires <= ?";
  const remove = `DELETE FROM records WHERE ${unused} AND rowid IN (SELECT rowid FROM records
    WHERE ${unused} ORDER BY expires DESC, rowid DESC LIMIT -1 OFFSET ${MAX_UNUSED_CLIENTS})`;
  const until = now() + 24 * HOUR;
  database.prepare(remove).run(until, until);
}

// The adapter that oidc-provider asks for.
export class Records {
  constructor(model) {
    this.model = model;
  }

  async upsert(id, payload, seconds) {
    const { grantId = null, uid = null, accountId = null } = payload;
    // Anyone can register a client: one that no user has signed in with is forgotten after a day.
    const lasts = this.model === "Client" ? 24 * HOUR : seconds;
    const insert = "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, NULL, ?)";
    const expires = lasts ? now() + lasts : null;
    const text = JSON.stringify(payload);
    if (this.model === "Client" && text.length > MAX_CLIENT_LETTERS) {
      throw new errors.InvalidClientMetadata("the client says too much of itself");
    }
    database.prepare(insert).run(this.model, id, text, grantId, uid, accountId, expires);
    if (this.model === "Client") forgetUnusedClients();
    if (this.model === "RefreshToken") {
      const keep = "UPDATE records SET expires = ? WHERE model = 'Client' AND id = ?";
      database.prepare(keep).run(now() + 100 * 24 * HOUR, payload.clientId);
    }
  }

  #one(column, value) {
    const select = `SELECT payload, consumed FROM records
      WHERE model = ? AND ${column} = ? AND (expires IS NULL OR expires > ?)`;
    const row = database.prepare(select).get(this.model, value, now());
    return row && { ...JSON.parse(row.payload), ...(row.consumed && { consumed: row.consumed }) };
  }

  async find(id) {
    return this.#one("id", id);
  }

  async findByUid(uid) {
    return this.#one("uid", uid);
  }

  async findByUserCode() {}

  // Of two requests with one code or one refresh token, only the first is served.
  async consume(id) {
    const consume = `UPDATE records SET consumed = ?
      WHERE model = ? AND id = ? AND consumed IS NULL`;
    const { changes } = database.prepare(consume).run(now(), this.model, id);
    if (changes !== 1) throw new errors.InvalidGrant("it has been used");
  }

  async destroy(id) {
    database.prepare("DELETE FROM records WHERE model = ? AND id = ?").run(this.model, id);
  }

  async revokeByGrantId(grantId) {
    database.prepare("DELETE FROM records WHERE grant_id = ?").run(grantId);
  }
}
