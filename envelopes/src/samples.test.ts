/** The captured messages of `samples/` still decode and verify as of their capture, tickets and credentials included. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  assertTicketFor,
  type CheckoutReply,
  contentHash,
  decode,
  type Envelope,
  type EnrolmentAnswer,
  FabricError,
  KeyRing,
  type KeyRecord,
  open,
  openTicket,
  parseRoutingKey,
  proveEnrolment,
  sealInfo,
  sealKeysFrom,
  signerFromSeed,
  ticketHash,
  toBase64url,
} from "./index.ts";

interface Sample {
  readonly step: string;
  readonly captured_at: string;
  readonly exchange: string;
  readonly routing_key: string;
  readonly properties: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly envelope: Envelope;
}

interface Enrolment {
  readonly request: { readonly token: string; readonly public_key_b64u: string; readonly seal_b64u: string };
  readonly answer: EnrolmentAnswer & { readonly sig: string };
}

const DIRECTORY = new URL("../samples/", import.meta.url);
const read = (name: string): unknown => JSON.parse(readFileSync(new URL(`${name}.json`, DIRECTORY), "utf8"));
const sample = (name: string) => read(name) as Sample;

const seeds = read("keys") as Readonly<Record<"core_seal" | "daemon_seed" | "daemon_seal", string>>;
const daemon = signerFromSeed(Buffer.from(seeds.daemon_seed, "hex"));
const enrolment = read("01-enrolment") as Enrolment;
const keys = new KeyRing([
  ...enrolment.answer.core_keys,
  {
    ...(enrolment.answer.core_keys[0] as KeyRecord),
    kid: daemon.kid,
    public_key_b64u: toBase64url(daemon.publicKey),
    issuers: ["daemon:echo:primary"],
    purposes: ["envelope"],
  },
]);

const names = readdirSync(DIRECTORY)
  .filter((name) => /^\d\d-.*\.json$/.test(name) && !name.startsWith("01-"))
  .map((name) => name.slice(0, -5))
  .toSorted();

test("there is a sample of each step", () => {
  expect(names).toHaveLength(25);
  expect(names.map((name) => Number(name.slice(0, 2)))).toEqual(names.map((_, at) => at + 2));
});

test("the answer to the enrolment is the core's that the token names", () => {
  const { request, answer } = enrolment;
  expect(request.public_key_b64u).toBe(toBase64url(daemon.publicKey));
  expect(request.seal_b64u).toBe(toBase64url(sealKeysFrom(Buffer.from(seeds.daemon_seal, "hex")).publicKey));
  proveEnrolment(answer, answer.sig, request.token.split(".")[1] ?? "");
  const altered = { ...answer, partitions: answer.partitions + 1 };
  expect(() => proveEnrolment(altered, answer.sig, request.token.split(".")[1] ?? "")).toThrow(FabricError);
});

test.each(names)("%s decodes, verifies, and its properties agree with it", (name) => {
  const { captured_at, routing_key, exchange, properties, headers, body, envelope } = sample(name);
  const isAddress = /^(reply|bridge\.dead)\./.test(routing_key);
  const received = {
    body: Buffer.from(body),
    kid: headers["kid"],
    sig: headers["sig"],
    ...(!isAddress && { route: parseRoutingKey(routing_key) }),
  };
  const decoded = () => decode(received, { keys, now: new Date(captured_at) });
  expect(exchange).toBe("bridge");
  expect(JSON.parse(body)).toEqual(envelope);
  if (routing_key.startsWith("bridge.dead.")) {
    expect(decoded).toThrow(expect.objectContaining({ code: headers["death-code"] }));
    expect(parseRoutingKey(headers["death-route"] ?? "").action).toBe(envelope.action);
    return;
  }
  expect(decoded().envelope).toEqual(envelope);
  const { metadata } = envelope;
  expect(properties).toMatchObject({
    content_type: "application/vnd.msgr.bridge.v1+json",
    delivery_mode: 2,
    message_id: metadata.message_id,
  });
  if (metadata.in_reply_to !== undefined) expect(properties["correlation_id"]).toBe(metadata.in_reply_to);
  expect(properties["reply_to"] === undefined).toBe(metadata.reply_to === undefined);
});

test("the intent's ticket covers it, and the attempt and the status are about it", () => {
  const { envelope, captured_at } = sample("20-outbound-message");
  const { metadata } = envelope;
  const claims = openTicket(metadata.ticket, {
    keys,
    now: new Date(captured_at),
    audience: "daemon:echo:primary",
    cnf: daemon.kid,
  });
  assertTicketFor(claims, {
    workspaceId: metadata.workspace_id,
    identityId: metadata.identity_id ?? "",
    service: "echo",
    action: "outbound_message",
    capability: "send",
    conversation: metadata.conversation,
    intentHash: toBase64url(contentHash(envelope)),
    attempt: 1,
  });
  const about = { intent_id: metadata.message_id, attempt: 1, part: 0, parts: 1 };
  expect(sample("21-attempt").envelope.payload).toEqual(about);
  expect(sample("22-attempt-answer").envelope.payload).toMatchObject({ decision: "go" });
  expect(sample("23-delivery-status").envelope.payload).toMatchObject({ ...about, status: "sent" });
});

test("each credential opens with its own context and key, in both directions", async () => {
  const { envelope } = sample("06-checkout");
  const { ticket } = envelope.payload as { readonly ticket: string };
  const identityId = sample("05-link-account").envelope.metadata.identity_id ?? "";
  const { lease_id, sealed } = sample("07-checkout-answer").envelope.payload as CheckoutReply;
  const context = (leaseId: string, shown: string) =>
    sealInfo({
      leaseId,
      daemon: "daemon:echo:primary",
      workspaceId: envelope.metadata.workspace_id,
      identityId,
      ticketHash: ticketHash(shown),
    });
  if (sealed === undefined) throw new Error("nothing is sealed");
  const fields = await open(Buffer.from(seeds.daemon_seal, "hex"), context(lease_id, ticket), sealed);
  expect(Buffer.from(fields["password"] ?? "").toString()).toBe("correct horse");

  const resumed = sample("13-resume-answer").envelope.payload as {
    readonly identities: readonly { readonly ticket: string }[];
  };
  const written = sample("14-write-back").envelope.payload as {
    readonly lease_id: string;
    readonly sealed: { readonly enc: string; readonly ct: string };
  };
  const info = context(written.lease_id, resumed.identities[0]?.ticket ?? "");
  const kept = await open(Buffer.from(seeds.core_seal, "hex"), info, written.sealed);
  expect(Object.keys(kept)).toEqual(["password", "token"]);
});
