/** `linkspan quarantine`, `audit`, `replay`, `token`: commands for operators. */
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "../client.ts";
import type { Output } from "../output.ts";

interface QuarantineView {
  readonly id: string;
  readonly at: string;
  readonly code: string;
  readonly detail: string;
  readonly routing_key: string;
  readonly issuer?: string;
  readonly seen: number;
  readonly state: string;
}

export async function listQuarantine(client: Client, out: Output, options: { state: string; limit: number }) {
  const { entries } = await client.get<{ entries: QuarantineView[] }>(
    `/v1/quarantine?state=${options.state}&limit=${options.limit}`,
  );
  if (entries.length === 0) out.progress("nothing is in quarantine");
  for (const entry of entries) {
    out.result(
      entry,
      `${entry.id}  ${entry.at}  ${out.bad(entry.code)}  ${entry.routing_key}  ×${entry.seen}  ${entry.detail}`,
    );
  }
}

export async function showQuarantined(client: Client, out: Output, id: string): Promise<void> {
  const entry = await client.get<QuarantineView>(`/v1/quarantine/${id}`);
  out.result(entry, JSON.stringify(entry, undefined, 2));
}

export async function settleQuarantined(
  client: Client,
  out: Output,
  id: string,
  what: "retry" | "drop",
): Promise<void> {
  await client.send("POST", `/v1/quarantine/${id}/${what}`);
  out.result({ id, done: what }, `${id}: ${what === "retry" ? "published again" : "dropped"}`);
}

interface StuckView {
  readonly queue: string;
  readonly message_id: string;
  readonly code: string;
  readonly failures: number;
  readonly since: string;
  readonly given_up: boolean;
}

export async function listStuck(client: Client, out: Output, { limit }: { limit: number }): Promise<void> {
  const { messages } = await client.get<{ messages: StuckView[] }>(`/v1/stuck?limit=${limit}`);
  if (messages.length === 0) out.progress("no message is stuck");
  for (const one of messages) {
    const { queue, message_id, code, failures, since, given_up } = one;
    const decided = given_up ? "  given up, on its way to quarantine" : "";
    out.result(one, `${queue}  ${message_id}  ${out.bad(code)}  ×${failures}  since ${since}${decided}`);
  }
}

/** How long to wait for the process that holds the message. */
const GIVE_UP_LOOKS = 60;
const GIVE_UP_LOOK_MS = 500;

/** @returns false when the decision is recorded and not carried out yet */
export async function giveUp(
  client: Client,
  out: Output,
  queue: string,
  messageId: string,
): Promise<boolean> {
  const name = { queue, message_id: messageId };
  await client.send("POST", "/v1/stuck/give-up", name);
  for (let look = 0; look < GIVE_UP_LOOKS; look++) {
    const { messages } = await client.get<{ messages: StuckView[] }>("/v1/stuck?limit=500");
    if (!messages.some((one) => one.queue === queue && one.message_id === messageId)) {
      out.result({ ...name, done: "given_up" }, `${messageId}: in quarantine; see linkspan quarantine list`);
      return true;
    }
    await pause(GIVE_UP_LOOK_MS);
  }
  out.result({ ...name, done: "decided" }, `${messageId}: goes to quarantine when it fails the next time`);
  return false;
}

export async function showAudit(client: Client, out: Output, options: { subject?: string; limit: number }) {
  const query = new URLSearchParams({
    limit: String(options.limit),
    ...(options.subject && { subject: options.subject }),
  });
  const { entries } = await client.get<{
    entries: {
      at: string;
      actor: string;
      action: string;
      subject: string;
      detail: Record<string, unknown>;
    }[];
  }>(`/v1/audit?${query}`);
  for (const entry of entries) {
    const detail = out.dim(JSON.stringify(entry.detail));
    out.result(entry, `${entry.at}  ${entry.actor}  ${out.good(entry.action)}  ${entry.subject}  ${detail}`);
  }
}

interface RefusalView {
  readonly minute: string;
  readonly kind: string;
  readonly workspace_id: string;
  readonly subject: string;
  readonly code: string;
  readonly count: number;
}

export async function showRefusals(client: Client, out: Output, { limit }: { limit: number }): Promise<void> {
  const { refusals } = await client.get<{ refusals: RefusalView[] }>(`/v1/audit/refusals?limit=${limit}`);
  if (refusals.length === 0) out.progress("nothing was refused");
  for (const one of refusals) {
    const { minute, workspace_id, subject, code, count } = one;
    out.result(one, `${minute}  ${workspace_id}  ${subject}  ${out.bad(code)}  ×${count}`);
  }
}

export async function createToken(
  client: Client,
  out: Output,
  wanted: { readonly name: string; readonly role: string },
): Promise<void> {
  const created = await client.send<{ token: string }>("POST", "/v1/tokens", {
    ...wanted,
    ...(client.workspace !== undefined && { workspace_id: client.workspace }),
  });
  out.result(created, created.token);
  out.progress("It is shown this once.");
}

export interface ReplayOptions {
  readonly subscriber: string;
  /** First and last position, inclusive; default the oldest to the newest. */
  readonly from: number;
  readonly to?: number;
}

interface ReplayView {
  readonly count: number;
  readonly skipped: number;
  readonly marker: string;
  readonly next?: number;
}

/** One request sends many events, not all: each part is a replay with its own marker. */
export async function replay(client: Client, out: Output, options: ReplayOptions): Promise<void> {
  const { subscriber, to } = options;
  for (let from: number | undefined = options.from; from !== undefined; ) {
    const part: ReplayView = await client.send("POST", "/v1/replays", {
      subscriber,
      from,
      ...(to !== undefined && { to }),
    });
    const left = part.skipped === 0 ? "" : `; ${part.skipped} leave no room for the note around them`;
    out.result(part, `${part.count} events sent again to ${subscriber}, marked ${part.marker}${left}`);
    from = part.next;
  }
}
