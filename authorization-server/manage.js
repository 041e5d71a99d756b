// The command line of the one who runs this server.
import { rotateKeys } from "./store.js";
import { exists, names, remove, setPassword } from "./users.js";

const HELP = `npm run --silent manage -- COMMAND

  add NAME       adds a user, and prints the password
  password NAME  gives a user a new password, prints it, and signs the user out
  remove NAME    removes a user
  list           prints the names
  rotate-keys    begins to use the next key at the server's next start`;

function known(name) {
  if (!exists(name)) throw new Error(`there is no user ${name}`);
  return name;
}

const commands = {
  async add(name) {
    if (exists(name)) throw new Error(`there is a user ${name}`);
    console.log(await setPassword(name));
  },
  password: async (name) => console.log(await setPassword(known(name))),
  remove: (name) => remove(known(name)),
  list: () => names().forEach((name) => console.log(name)),
  "rotate-keys": () => rotateKeys(),
};

const [command, name = ""] = process.argv.slice(2);
try {
  if (!Object.hasOwn(commands, command ?? "")) throw new Error(HELP);
  await commands[command](name);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
