// Documents about clients, in place of the web, which these tests do not reach. To be imported
// before a server; PUBLISHED has them by URL.
const published = JSON.parse(process.env.PUBLISHED);
globalThis.fetch = async (url) => {
  console.log(JSON.stringify({ fetched: String(url) }));
  const document = published[String(url)];
  return document ? Response.json(document) : new Response("", { status: 404 });
};
