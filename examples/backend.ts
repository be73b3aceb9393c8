/**
 * A backend: sends one message as a linked identity, waits until it is settled, then prints what is said in that
 * conversation until an answer of somebody else has come.
 *
 *     LINKSPAN_URL=http://127.0.0.1:8787 LINKSPAN_TOKEN=lsp_… node examples/backend.ts IDENTITY CONVERSATION TEXT
 */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";

interface Intent {
  readonly id: string;
  readonly state: string;
  readonly code?: string;
}
interface Event {
  readonly conversation?: string;
  readonly envelope: { readonly payload: { text?: string; sender: { name: string; is_self: boolean } } };
}
interface Page {
  readonly events: readonly Event[];
  readonly next_cursor: number;
}

const { LINKSPAN_URL: url = "http://127.0.0.1:8787", LINKSPAN_TOKEN: token = "" } = process.env;
const [identity_id = "", conversation = "", text = ""] = process.argv.slice(2);

async function ask<T>(method: string, path: string, body?: object, headers = {}): Promise<T> {
  const response = await fetch(new URL(path, url), {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(await response.text()); // a problem: branch on its `code`
  return (await response.json()) as T;
}

// Where the log of events ends now: what is read after it came later.
let { next_cursor: cursor } = await ask<Page>("GET", "/v1/events?cursor=latest");

// The key makes the request repeatable: keep it with your own record, and ask again with it after a time-out.
const key = { "idempotency-key": randomUUID() };
let intent = await ask<Intent>("POST", "/v1/intents", { identity_id, conversation, payload: { text } }, key);
while (["recorded", "queued", "attempting"].includes(intent.state)) {
  await pause(100);
  intent = await ask<Intent>("GET", `/v1/intents/${intent.id}`);
}
console.log(`${intent.state} ${intent.code ?? ""}`.trim());

for (let answered = intent.state !== "sent"; !answered; ) {
  const page = await ask<Page>("GET", `/v1/events?cursor=${cursor}&wait_ms=20000`);
  for (const { envelope, conversation: where } of page.events.filter(
    (one) => one.conversation === conversation,
  )) {
    const { sender, text: said = "" } = envelope.payload;
    console.log(`${where} <${sender.name}> ${said}`);
    answered ||= !sender.is_self;
  }
  cursor = page.next_cursor;
}
