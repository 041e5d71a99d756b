// Users, their passwords, and how often a caller may try one.
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { isIPv6 } from "node:net";
import { promisify } from "node:util";
import { database } from "./store.js";

const derived = promisify(scrypt);
// 32 MiB and some 200 ms.
const COST = { N: 2 ** 15, r: 8, p: 3, maxmem: 2 ** 26 };
const NAME = /^[a-z0-9][a-z0-9._@+-]{0,63}$/;

async function hashed(password, salt) {
  const hash = await derived(password.normalize("NFC"), Buffer.from(salt, "base64url"), 32, COST);
  return `scrypt:${salt}:${hash.toString("base64url")}`;
}

export const names = () =>
  database.prepare("SELECT name FROM users ORDER BY name").all().map((row) => row.name);

export const exists = (name) => database.prepare("SELECT 1 FROM users WHERE name = ?").get(name);

// The password, which is random and shown this once. The user is signed out everywhere.
export async function setPassword(name) {
  if (!NAME.test(name)) throw new Error("a name has a-z, 0-9 and . _ @ + -, 64 at most");
  const password = randomBytes(15).toString("base64url");
  const stored = await hashed(password, randomBytes(16).toString("base64url"));
  signOut(name);
  database.prepare("INSERT OR REPLACE INTO users VALUES (?, ?)").run(name, stored);
  return password;
}

export function remove(name) {
  signOut(name);
  database.prepare("DELETE FROM users WHERE name = ?").run(name);
}

function signOut(name) {
  database.prepare("DELETE FROM records WHERE account = ?").run(name);
}

// One at a time, so that guesses cannot take all memory and all processors.
let last = Promise.resolve();
let waiting = 0;
export const isBusy = () => waiting >= 50;
export function verify(name, password) {
  waiting += 1;
  last = last.catch(() => {}).then(() => verified(name, password));
  return last.finally(() => (waiting -= 1));
}

async function verified(name, password) {
  const row = database.prepare("SELECT password FROM users WHERE name = ?").get(name);
  // An unknown name takes as long as a known one.
  const stored = row?.password ?? `scrypt:${"A".repeat(22)}:${"A".repeat(43)}`;
  const found = await hashed(password, stored.split(":")[1]);
  const same = timingSafeEqual(Buffer.from(found), Buffer.from(stored));
  return same && row !== undefined;
}

// One customer has all of an IPv6 network of 64 bits.
function network(address) {
  const plain = address.replace(/^::ffff:(?=[\d.]+$)/i, "");
  if (!isIPv6(plain)) return plain;
  // Without leading zeros, and in lower case.
  const url = URL.parse(`http://[${plain}]`);
  const [head, tail] = (url?.hostname.slice(1, -1) ?? plain).split("::");
  const groups = (part) => (part ? part.split(":") : []);
  const [first, last] = [groups(head), groups(tail)];
  const zeros = Array(Math.max(0, 8 - first.length - last.length)).fill("0");
  return [...first, ...zeros, ...last].slice(0, 4).join(":");
}

// A limit for each address, in memory: `true` while it has tries left in this minute.
export function limit(perMinute) {
  let tries = new Map();
  setInterval(() => (tries = new Map()), 60_000).unref();
  return (address) => {
    const who = network(address);
    const made = (tries.get(who) ?? 0) + 1;
    tries.set(who, made);
    return made <= perMinute;
  };
}
