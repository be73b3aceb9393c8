/**
 * `linkspan daemon enrol`, `backend enrol`, `daemon keys`, `revoke`, `rotate`: which keys the core accepts.
 */
import { type FileHandle, open, rm } from "node:fs/promises";
import { FabricError } from "@linkspan/envelopes";
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
  /** The file is readable by its owner only; the token is then not shown. */
  readonly tokenFile?: string;
}

export async function enrolDaemon(client: Client, out: Output, enrolment: Enrolment): Promise<void> {
  const { service, instance, tokenFile } = enrolment;
  await handOver(out, tokenFile, () =>
    client.send<Issued>("POST", "/v1/enrolment-tokens", { service, instance }),
  );
}

export interface BackendEnrolment {
  readonly workspaces: readonly string[];
  readonly tokenFile?: string;
}

export async function enrolBackend(
  client: Client,
  out: Output,
  backend: string,
  { workspaces, tokenFile }: BackendEnrolment,
): Promise<void> {
  await handOver(out, tokenFile, () =>
    client.send<Issued>("POST", "/v1/enrolment-tokens", { backend, workspaces }),
  );
}

/** Shows the token, or writes it to a file that only its owner can read. */
async function handOver(
  out: Output,
  tokenFile: string | undefined,
  issue: () => Promise<Issued>,
): Promise<void> {
  if (tokenFile === undefined) {
    const issued = await issue();
    out.result(
      issued,
      `Hand over this token before ${issued.expires_at}; it is good once:\n  ${issued.token}\n${pinOf(issued)}`,
    );
    return;
  }
  // The file is created first: if writing the token failed afterwards, the token would be valid but lost.
  await using file = await create(tokenFile);
  const issued = await issue().catch(async (error: unknown) => {
    await rm(tokenFile, { force: true });
    throw error;
  });
  await file.writeFile(`${issued.token}\n`);
  const { token: _written, ...shown } = issued;
  out.result(
    { ...shown, token_file: tokenFile },
    `${tokenFile} holds a token that is good once, before ${issued.expires_at}.\n${pinOf(issued)}`,
  );
}

function pinOf({ core_kid }: Issued): string {
  return `It names the core's key, which whoever enrols pins: ${core_kid}`;
}

async function create(path: string): Promise<FileHandle> {
  try {
    return await open(path, "wx", 0o600);
  } catch (cause) {
    const why =
      (cause as NodeJS.ErrnoException).code === "EEXIST"
        ? "exists; remove it, or name another file"
        : `cannot be written: ${(cause as Error).message}`;
    throw new FabricError("request.invalid", `${path} ${why}`, { cause });
  }
}

interface KeyView {
  readonly kid: string;
  readonly issuers: readonly string[];
  readonly workspaces: readonly string[];
  readonly state: string;
  readonly not_after: string;
}

export async function listKeys(client: Client, out: Output): Promise<void> {
  for (let after: string | undefined = ""; after !== undefined; ) {
    const query: string = after === "" ? "" : `?after=${after}`;
    const page: { keys: KeyView[]; next_after?: string } = await client.get(`/v1/keys${query}`);
    for (const key of page.keys) {
      const state = key.state === "in_force" ? out.good(key.state) : out.bad(key.state);
      out.result(
        key,
        `${key.kid}  ${key.issuers.join(",")}  for ${key.workspaces.join(",")}  ${state}  until ${key.not_after}`,
      );
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
  /** How long the old key stays valid beside the new one, seconds. */
  readonly grace: number;
  readonly tokenFile?: string;
}

export async function rotateKey(
  client: Client,
  out: Output,
  kid: string,
  { grace, tokenFile }: Rotation,
): Promise<void> {
  await handOver(out, tokenFile, () =>
    client.send<Issued>("POST", `/v1/keys/${kid}/rotate`, { grace_s: grace }),
  );
}
