/** `linkspan daemon enrol`, `keys`, `revoke`, `rotate`: which daemons the core believes. */
import { writeFile } from "node:fs/promises";
import type { Client } from "../client.ts";
import type { Output } from "../output.ts";

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
  await handOver(out, issued, tokenFile);
}

/** Shows the token, or writes it where only its owner reads it. */
async function handOver(out: Output, issued: Issued, tokenFile: string | undefined): Promise<void> {
  const { token, core_kid, expires_at } = issued;
  const pin = `It names the core's key, which the daemon pins: ${core_kid}`;
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

interface KeyView {
  readonly kid: string;
  readonly issuers: readonly string[];
  readonly state: string;
  readonly not_after: string;
}

export async function listKeys(client: Client, out: Output): Promise<void> {
  for (let after: string | undefined = ""; after !== undefined; ) {
    const query: string = after === "" ? "" : `?after=${after}`;
    const page: { keys: KeyView[]; next_after?: string } = await client.get(`/v1/keys${query}`);
    for (const key of page.keys) {
      const state = key.state === "in_force" ? out.good(key.state) : out.bad(key.state);
      out.result(key, `${key.kid}  ${key.issuers.join(",")}  ${state}  until ${key.not_after}`);
    }
    after = page.next_after;
  }
}

export async function revokeKey(
  client: Client,
  out: Output,
  kid: string,
  { why }: { readonly why: string },
): Promise<void> {
  await client.send("POST", `/v1/keys/${kid}/revoke`, { why });
  out.result({ kid, state: "revoked" }, `${kid}: revoked, in every process within a second`);
}

export interface Rotation {
  /** How long the old key stays good beside the new one, seconds. */
  readonly grace: number;
  readonly tokenFile?: string;
}

export async function rotateKey(
  client: Client,
  out: Output,
  kid: string,
  { grace, tokenFile }: Rotation,
): Promise<void> {
  const issued = await client.send<Issued>("POST", `/v1/keys/${kid}/rotate`, { grace_s: grace });
  await handOver(out, issued, tokenFile);
}
