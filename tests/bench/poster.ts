/**
 * Posts intents over HTTP as a process of its own: `poster.ts <url> <token> <count> <run> <callers> <members>`. More
 * than one member makes lists. Prints `ready`, starts on a line of standard input, ends when all are answered.
 */
import { once } from "node:events";
import { Agent, request } from "node:http";
import { refOf, messageOf } from "./sends.ts";

const [url = "", token = "", count = "0", run = "", callers = "1", members = "1"] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true, maxSockets: Number(callers) });

function bodyOf(n: number): Record<string, unknown> {
  const { account, channel, text } = messageOf(run, n);
  return { identity_id: account, conversation: refOf(channel), payload: { text } };
}

async function post(body: unknown, key: string | undefined): Promise<void> {
  const asked = request(new URL("/v1/intents", url), {
    agent,
    method: "POST",
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${token}`,
      ...(key !== undefined && { "idempotency-key": key }),
    },
  });
  asked.end(JSON.stringify(body));
  const [answer] = (await once(asked, "response")) as [NodeJS.ReadableStream & { statusCode: number }];
  let text = "";
  for await (const chunk of answer) text += String(chunk);
  if (answer.statusCode >= 300 || text.includes('"problem"')) throw new Error(`${answer.statusCode} ${text}`);
}

/** A caller posts the next ones when the last were answered; one conversation's follow each other by far. */
const size = Number(members);
let next = 0;
async function caller(): Promise<void> {
  while (next < Number(count)) {
    const from = next;
    next = Math.min(from + size, Number(count));
    const numbers = Array.from({ length: next - from }, (_, i) => from + i);
    if (size === 1) await post(bodyOf(from), messageOf(run, from).key);
    else
      await post(
        { intents: numbers.map((n) => ({ idempotency_key: messageOf(run, n).key, ...bodyOf(n) })) },
        undefined,
      );
  }
}

process.stdin.once("end", () => process.exit(1)); // who started it has ended
process.stdout.write("ready\n");
await once(process.stdin, "data");
await Promise.all(Array.from({ length: Number(callers) }, caller));
process.exit(0);
