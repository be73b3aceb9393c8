/**
 * `linkspan demo`: sends one message through the whole installation and back, with data that is deleted
 * afterwards.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FabricError } from "@linkspan/envelopes";
import { type Client, connect } from "../client.ts";
import { parseConfig } from "../config.ts";
import type { Output } from "../output.ts";
import { events } from "./events.ts";
import { link } from "./link.ts";
import { showAudit } from "./operate.ts";
import { send, wasSaid } from "./send.ts";
import { start } from "./up.ts";

const USER = "demo";
/** The echo arrives at once; this timeout is for machines that swap. */
const ECHO_WITHIN_MS = 20_000;

/** @throws FabricError when a step does not end as expected */
export async function demo(out: Output, signal: AbortSignal): Promise<void> {
  const data = await mkdtemp(join(tmpdir(), "linkspan-demo-"));
  try {
    const config = parseConfig(
      {
        LINKSPAN_DATA: data,
        LINKSPAN_PORT: "0",
        LINKSPAN_ROLES: "core,api,echo",
        LINKSPAN_LOG_LEVEL: "error",
      },
      undefined,
    );
    out.say("Starting a database, the core, the API and an echo daemon in this process.");
    await using running = await start(config, { signal, temporary: true });
    out.say(`Ready at ${running.url}.`);
    await tour(await connect(config), out, signal);
  } finally {
    await rm(data, { recursive: true, force: true });
  }
}

async function tour(client: Client, out: Output, signal: AbortSignal): Promise<void> {
  out.say("\nLinking an account of the fake platform:");
  const options = { user: USER, field: [["nick", "ada"]] as const, secretFile: [] };
  const identity = await link(client, out, "echo", options);
  if (identity === undefined) throw new FabricError("internal", "the echo platform asked for more");

  out.say("\nSending a message as that account:");
  const to = { identity, to: "lobby", wait: true };
  const intent = await send(client, out, "hello, is anybody there?", to);
  if (!wasSaid(intent)) throw new FabricError(intent.code ?? "internal", intent.detail ?? intent.state);

  out.say("\nWhat came back from the platform, signed by the daemon:");
  await firstEvent(client, signal);
  await events(client, out, { follow: false, cursor: 0, limit: 10 }, signal);

  out.say("\nWho did what:");
  await showAudit(client, out, { limit: 20 });
  out.say("\nThat was all of it: npm start does the same, and keeps its data.");
}

async function firstEvent(client: Client, signal: AbortSignal): Promise<void> {
  const enough = AbortSignal.any([signal, AbortSignal.timeout(ECHO_WITHIN_MS)]);
  for await (const _event of client.stream("/v1/events/stream", enough)) return;
}
