/** `linkspan quarantine`, `audit`, `replay`, `daemon enrol`, `token`: what operators do. */
import { writeFile } from "node:fs/promises";
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

interface Issued {
  readonly token: string;
  readonly core_kid: string;
  readonly expires_at: string;
}

export interface Enrolment {
  readonly service: string;
  readonly instance: string;
  /** Written for its owner only; the token is then not shown. */
  readonly tokenFile?: string;
}

export async function enrolDaemon(client: Client, out: Output, enrolment: Enrolment): Promise<void> {
  const { service, instance, tokenFile } = enrolment;
  const issued = await client.send<Issued>("POST", "/v1/enrolment-tokens", { service, instance });
  const { token, core_kid, expires_at } = issued;
  const pin = `The core's key id, which the daemon must be shown: ${core_kid}`;
  if (tokenFile === undefined) {
    out.result(
      issued,
      `Give the daemon this token before ${expires_at}; it is good once:\n  ${token}\n${pin}`,
    );
    return;
  }
  await writeFile(tokenFile, `${token}\n`, { mode: 0o600, flag: "wx" });
  const { token: _written, ...shown } = issued;
  out.result(
    { ...shown, token_file: tokenFile },
    `${tokenFile} holds a token that is good once, before ${expires_at}.\n${pin}`,
  );
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

/** One request sends many, not all: each part is a replay with a marker of its own. */
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
