/**
 * The vectors of `tests/peers/python/make_vectors.py`: notes, answers, tickets, sealed credentials and rows, PAE, batches,
 * signed batches.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  canonical,
  contentHash,
  decode,
  type Envelope,
  encode,
  isFabricError,
  KeyRing,
  type KeyRecord,
  messageId,
  open,
  openRows,
  openTicket,
  packFields,
  packRows,
  pae,
  parseRoutingKey,
  routeOf,
  routingKey,
  type RowsContext,
  rowsInfo,
  sealInfo,
  sealKeysFrom,
  signerFromSeed,
  ticketHash,
  toBase64url,
  traceIdOf,
} from "./index.ts";
import { claimOf, prove, proveLater } from "./proofs/proof.ts";
import { ENVELOPE_TYPE } from "./codec/pae.ts";

interface SignedVector {
  readonly name: string;
  readonly identity: readonly (string | number)[];
  readonly message_id: string;
  readonly trace_id: string;
  readonly routing_key: string;
  readonly envelope: Envelope;
  readonly body_b64: string;
  readonly kid: string;
  readonly sig: string;
}

interface TicketVector {
  readonly name: string;
  /** Seconds since 1970. */
  readonly now: number;
  readonly compact: string;
  readonly hash: string;
  readonly claims?: object;
  readonly code?: string;
}

interface SealedVector {
  readonly name: string;
  readonly private_key: string;
  readonly public_key: string;
  readonly context: {
    readonly lease_id: string;
    readonly daemon: string;
    readonly workspace_id: string;
    readonly identity_id: string;
    readonly ticket_hash: string;
  };
  readonly info_hex: string;
  readonly fields_b64u: Readonly<Record<string, string>>;
  readonly packed_hex: string;
  readonly enc: string;
  readonly ct: string;
}

interface RowsVector extends Omit<SealedVector, "context" | "fields_b64u"> {
  readonly context: {
    readonly direction: RowsContext["direction"];
    readonly daemon: string;
    readonly workspace_id: string;
    readonly identity_id: string;
    readonly version: number;
    readonly cursor: string;
  };
  readonly rows_b64u: Readonly<Record<string, string | null>>;
}

const file = (name: string) => readFileSync(new URL(`../vectors/${name}`, import.meta.url), "utf8");
const lines = <T>(name: string) =>
  file(name)
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as T);

const seeds = JSON.parse(file("seeds.json")) as { daemon_seed_hex: string; core_seed_hex: string };
const daemon = signerFromSeed(Buffer.from(seeds.daemon_seed_hex, "hex"));
const core = signerFromSeed(Buffer.from(seeds.core_seed_hex, "hex"));
const keysIn = (name: string) => new KeyRing((JSON.parse(file(name)) as { keys: KeyRecord[] }).keys);
const keys = keysIn("keys.json");
const now = new Date("2026-11-20T12:00:00.000Z");

const signerOf = ({ kid }: SignedVector) => (kid === core.kid ? core : daemon);

const single = [...lines<SignedVector>("notes.jsonl"), ...lines<SignedVector>("answers.jsonl")];
const batches = lines<SignedVector>("batches.jsonl");
const tickets = lines<TicketVector>("tickets.jsonl");
const sealed = lines<SealedVector>("hpke.jsonl");

test.each([...single, ...batches])("$name: ids, route, bytes and signature", (vector) => {
  expect(messageId(vector.identity)).toBe(vector.message_id);
  expect(traceIdOf(vector.message_id)).toBe(vector.trace_id);
  expect(routingKey(routeOf(vector.envelope, 8))).toBe(vector.routing_key);
  const body = Buffer.from(vector.body_b64, "base64");
  expect(Buffer.from(canonical(vector.envelope)).toString("base64")).toBe(vector.body_b64);
  expect(signerOf(vector).sign(ENVELOPE_TYPE, body)).toBe(vector.sig);
  prove(claimOf(ENVELOPE_TYPE, "envelope", { body, kid: vector.kid, sig: vector.sig }, keys, now.getTime()));
});

test.each([...single, ...batches])("$name: encodes to the same and decodes", (vector) => {
  const signed = encode(vector.envelope, signerOf(vector));
  expect(Buffer.from(signed.body).toString("base64")).toBe(vector.body_b64);
  expect(signed.sig).toBe(vector.sig);
  const route = parseRoutingKey(vector.routing_key);
  expect(decode({ ...signed, route }, { keys, now }).envelope).toEqual(vector.envelope);
});

test("each status of a batch has the key of a single one", () => {
  const batch = batches.find(({ name }) => name === "statuses");
  const statuses = (batch?.envelope.payload["statuses"] ?? []) as readonly Readonly<
    Record<string, string | number>
  >[];
  expect(statuses).toHaveLength(2);
  for (const { message_id, intent_id, attempt, part, parts, status, at } of statuses) {
    const outcome = `${status} ${part}/${parts} ${at}`;
    expect(messageId(["answer", "delivery_status", intent_id ?? "", outcome, attempt ?? 0])).toBe(message_id);
  }
});

test.each(lines<{ name: string; type: string; body_hex: string; pae_hex: string }>("pae.jsonl"))(
  "PAE of $name",
  ({ type, body_hex, pae_hex }) => {
    expect(Buffer.from(pae(type, Buffer.from(body_hex, "hex"))).toString("hex")).toBe(pae_hex);
  },
);

test.each(tickets)("ticket, $name", ({ now: seconds, compact, hash, claims, code }) => {
  const expectation = {
    keys: keysIn("ticket-keys.json"),
    now: new Date(seconds * 1_000),
    audience: "daemon:irc:libera",
    cnf: daemon.kid,
  };
  expect(ticketHash(compact)).toBe(hash);
  if (claims !== undefined) expect(openTicket(compact, expectation)).toEqual(claims);
  else expect(codeOf(() => openTicket(compact, expectation))).toBe(code);
});

test.each(
  lines<{ name: string; type: string; body_hex: string; kid: string; sig: string; code?: string }>(
    "signed-batches.jsonl",
  ),
)("signed batch, $name", async ({ type, body_hex, kid, sig, code = "none" }) => {
  const signed = { body: Buffer.from(body_hex, "hex"), kid, sig };
  const claim = () =>
    claimOf(
      type,
      type === ENVELOPE_TYPE ? "envelope" : "ticket",
      signed,
      keysIn("ticket-keys.json"),
      now.getTime(),
    );
  expect(codeOf(() => prove(claim()))).toBe(code);
  const later = () => new Promise<unknown>((done) => proveLater(claim(), done));
  if (code === "none") expect(await later()).toBeUndefined();
});

test("the ticket's intent hash is that of the intent's content", () => {
  const metadata = {
    issuer: "core",
    workspace_id: "acme",
    instance: "libera",
    message_id: daemon.kid,
    conversation: "msgr://channels/acme/bridge/irc/libera/%23linkspan",
    identity_id: "7c3f1c1e-2f0e-4b3a-9d67-0e5a3f0f9a11",
    user_id: "user-1",
  };
  const payload = { text: "hello, grüße" };
  const intent = { service: "irc", action: "outbound_message", metadata, payload } as unknown as Envelope;
  const claims = tickets[0]?.claims as { readonly intent_hash: string };
  expect(toBase64url(contentHash(intent))).toBe(claims.intent_hash);
});

test.each(sealed)("sealed credential, $name", async (vector) => {
  const privateKey = Buffer.from(vector.private_key, "base64url");
  expect(toBase64url(sealKeysFrom(privateKey).publicKey)).toBe(vector.public_key);
  const { lease_id, daemon: issuer, workspace_id, identity_id, ticket_hash } = vector.context;
  const context = {
    leaseId: lease_id,
    daemon: issuer,
    workspaceId: workspace_id,
    identityId: identity_id,
    ticketHash: ticket_hash,
  };
  const info = sealInfo(context);
  expect(Buffer.from(info).toString("hex")).toBe(vector.info_hex);
  const fields = Object.fromEntries(
    Object.entries(vector.fields_b64u).map(([name, value]) => [name, Buffer.from(value, "base64url")]),
  );
  expect(Buffer.from(packFields(fields)).toString("hex")).toBe(vector.packed_hex);
  const { enc, ct } = vector;
  const opened = await open(privateKey, info, { enc, ct });
  expect(
    Object.fromEntries(Object.entries(opened).map(([name, value]) => [name, toBase64url(value)])),
  ).toEqual(vector.fields_b64u);
  const others = sealInfo({ ...context, identityId: "another" });
  await expect(open(privateKey, others, { enc, ct })).rejects.toMatchObject({ code: "vault.unavailable" });
});

function codeOf(work: () => unknown): string {
  try {
    work();
    return "none";
  } catch (error) {
    if (isFabricError(error)) return error.code;
    throw error;
  }
}

test.each(lines<RowsVector>("rows.jsonl"))("sealed rows, $name", async (vector) => {
  const { daemon: issuer, workspace_id: workspaceId, identity_id: identityId, ...rest } = vector.context;
  const context: RowsContext = { ...rest, daemon: issuer, workspaceId, identityId };
  expect(Buffer.from(rowsInfo(context)).toString("hex")).toBe(vector.info_hex);
  const rows = new Map(
    Object.entries(vector.rows_b64u).map(([name, value]) => [
      name,
      value === null ? undefined : Buffer.from(value, "base64url"),
    ]),
  );
  expect(Buffer.from(packRows(rows)).toString("hex")).toBe(vector.packed_hex);
  const { privateKey } = sealKeysFrom(Buffer.from(vector.private_key, "base64url"));
  const opened = await openRows(privateKey, context, { enc: vector.enc, ct: vector.ct });
  const asText = (all: ReadonlyMap<string, Uint8Array | undefined>) =>
    [...all].map(([name, value]) => `${name} ${value && toBase64url(value)}`).toSorted();
  expect(asText(opened)).toEqual(asText(rows));
});
