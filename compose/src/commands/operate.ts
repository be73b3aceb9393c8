/** `linkspan quarantine`, `audit`, `daemon enrol`, `token`: what operators do. */
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
  if (entries.length === 0) out.result([], "nothing is in quarantine");
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

export async function enrolDaemon(
  client: Client,
  out: Output,
  service: string,
  instance: string,
): Promise<void> {
  const issued = await client.send<{ token: string; core_kid: string; expires_at: string }>(
    "POST",
    "/v1/enrolment-tokens",
    {
      service,
      instance,
    },
  );
  out.result(
    issued,
    `Give the daemon this one-time token before ${issued.expires_at}:\n  ${issued.token}\nIt must see the core's key id:\n  ${issued.core_kid}`,
  );
}

export async function createToken(
  client: Client,
  out: Output,
  wanted: { name: string; role: string; workspace: string },
): Promise<void> {
  const created = await client.send<{ token: string }>("POST", "/v1/tokens", {
    name: wanted.name,
    role: wanted.role,
    workspace_id: wanted.workspace,
  });
  out.result(created, `${created.token}\nIt is shown once.`);
}

export async function replay(
  client: Client,
  out: Output,
  options: { subscriber: string; from: number; to?: number },
): Promise<void> {
  const done = await client.send<{ count: number; marker: string }>("POST", "/v1/replays", {
    subscriber: options.subscriber,
    from: options.from,
    ...(options.to !== undefined && { to: options.to }),
  });
  out.result(done, `${done.count} events sent again to ${options.subscriber}, marked ${done.marker}`);
}
