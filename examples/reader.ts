/**
 * An event reader without a webhook: follows the stream of server-sent events and keeps in a file how far it came, so
 * that it goes on there after a restart, of itself or of the server. Nothing is missed; what was printed right
 * before a crash may come again, so keep the cursor in the same transaction as what you do with an event.
 *
 *     LINKSPAN_URL=http://127.0.0.1:8787 LINKSPAN_TOKEN=lsp_… node examples/reader.ts CURSOR_FILE
 */
import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";

interface Event {
  readonly conversation?: string;
  readonly envelope: { readonly payload: { readonly kind: string; text?: string; sender: { name: string } } };
}

const AGAIN_MS = 1_000;
const { LINKSPAN_URL: url = "http://127.0.0.1:8787", LINKSPAN_TOKEN: token = "" } = process.env;
const [file = "cursor"] = process.argv.slice(2);

function readCursor(): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "0"; // from the first event on
  }
}

/** The blocks of a stream of server-sent events (WHATWG HTML, section 9.2.6); an empty line ends each. */
async function* blocks(body: AsyncIterable<Uint8Array>): AsyncGenerator<Map<string, string>> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const [...whole] = (rest + decoder.decode(chunk, { stream: true })).split("\n\n");
    rest = whole.pop() ?? "";
    for (const block of whole) {
      const lines = block.split("\n").map((line) => /^(\w*): ?(.*)$/.exec(line) ?? ["", "", ""]);
      yield new Map(lines.map(([, name = "", value = ""]) => [name, value]));
    }
  }
}

async function follow(): Promise<void> {
  const response = await fetch(new URL("/v1/events/stream", url), {
    headers: { authorization: `Bearer ${token}`, "last-event-id": readCursor() },
  });
  if (!response.ok) throw new Error(await response.text());
  for await (const block of blocks(response.body as AsyncIterable<Uint8Array>)) {
    const id = block.get("id");
    if (id === undefined) continue; // a comment that keeps the connection open, or the reason of its end
    const { conversation = "-", envelope } = JSON.parse(block.get("data") ?? "") as Event;
    const { sender, text, kind } = envelope.payload;
    console.log(`${id} ${conversation} <${sender.name}> ${text ?? `[${kind}]`}`);
    writeFileSync(file, id);
  }
}

for (;;) {
  await follow().catch((error: unknown) => console.error(String(error)));
  await pause(AGAIN_MS);
}
