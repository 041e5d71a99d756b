// The same as walk.py, for clients in JavaScript.

export function tell(saw, more) {
  console.log(JSON.stringify({ saw, ...more }));
}

export async function walk(client) {
  const step = async (name, args) => {
    const result = await client.callTool({ name, arguments: args });
    const text = result.content[0].text;
    tell(name, { failed: result.isError === true, text });
    return text;
  };
  const { uid, version } = JSON.parse(
    await step("create_note", { title: "First", content: "- oat milk" }),
  );
  await step("list_notes", { limit: 10 });
  await step("update_note", { uid, title: "Second", content: "- oat milk", if_match: version });
  await step("update_note", { uid, title: "Stale", content: "", if_match: version });
  await step("get_note", { uid });
  await step("delete_note", { uid });
  await step("list_notes", { limit: 10 });
}

export async function main(conversation) {
  try {
    await conversation();
  } catch (error) {
    tell("failure", { text: String(error) });
    process.exitCode = 1;
  }
}
