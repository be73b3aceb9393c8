/**
 * Captures one message of each step between a core and the daemon in Python, as RabbitMQ carries it, for
 * `envelopes/samples`: `node tests/peers/python/capture-samples.ts`. The keys are fixed and protect nothing, so that the
 * samples can be verified and unsealed for good.
 */
import { createHash, randomUUID } from "node:crypto";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, connectClient, parseConfig } from "@linkspan/compose";
import {
  channelRef,
  type Envelope,
  type KeyRecord,
  sealKeysFrom,
  signerFromSeed,
  toBase64url,
} from "@linkspan/envelopes";
import { connect, type Message } from "amqplib";
import { Process } from "../../chaos/fabric.ts";
import { reservePort } from "../../servers/port.ts";
import { startPostgres } from "../../servers/postgres.ts";
import { startRabbitmq } from "../../servers/rabbitmq.ts";
import { until } from "../../servers/until.ts";
import { CoreForger } from "./forger.ts";
import { PythonPeer } from "./peer.ts";

const SAMPLES = join(import.meta.dirname, "../../../envelopes/samples");

const fixed = (name: string) => createHash("sha256").update(`linkspan sample ${name}`).digest();
const SEEDS = {
  core_seed: fixed("core"),
  core_seal: fixed("core seal"),
  daemon_seed: fixed("daemon"),
  daemon_seal: fixed("daemon seal"),
};

interface Tapped {
  readonly message: Message;
  readonly at: Date;
  readonly envelope: Envelope;
}

/** Everything that goes through the exchange, in the order in which it came. */
async function tap(url: string, stack: AsyncDisposableStack): Promise<readonly Tapped[]> {
  const connection = await connect(url);
  stack.defer(() => connection.close());
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue("", { exclusive: true });
  await channel.bindQueue(queue, "bridge", "#");
  const tapped: Tapped[] = [];
  await channel.consume(
    queue,
    (message) => {
      if (message === null) return;
      const envelope = JSON.parse(message.content.toString()) as Envelope;
      tapped.push({ message, at: new Date(), envelope });
    },
    { noAck: true },
  );
  return tapped;
}

interface Enrolled {
  readonly core_keys: KeyRecord[];
  readonly partitions: number;
  readonly generation: number;
}

async function enrol(client: Client, place: string): Promise<void> {
  const path = "/v1/enrolments";
  const { token } = await client.send<{ token: string }>("POST", "/v1/enrolment-tokens", { service: "echo" });
  const request = {
    token,
    public_key_b64u: toBase64url(signerFromSeed(SEEDS.daemon_seed).publicKey),
    seal_b64u: toBase64url(sealKeysFrom(SEEDS.daemon_seal).publicKey),
  };
  const answer = await client.send<Enrolled>("POST", path, request);
  write("01-enrolment", { step: "enrolment", method: "POST", path, status: 201, request, answer });
  const { core_keys, partitions, generation } = answer;
  const kept = { core_keys, partitions, generation };
  const [seed, seal_private] = [SEEDS.daemon_seed.toString("hex"), SEEDS.daemon_seal.toString("hex")];
  writeFileSync(join(place, "keys.json"), JSON.stringify({ seed, seal_private, ...kept }), { mode: 0o600 });
  const seeds = Object.fromEntries(
    Object.entries(SEEDS).map(([name, bytes]) => [name, bytes.toString("hex")]),
  );
  write("keys", { note: "Fixed, and they protect nothing.", ...seeds });
}

/** What the account goes through: linked, told something, saying something. */
async function live(client: Client, peer: PythonPeer, place: string): Promise<string> {
  await peer.tells("term.begun");
  const path = "/api/bridges/echo/sessions";
  const open = () => client.send<{ data: { id: string } }>("POST", path, { user_id: "user-1" });
  const session = await until(() => open().catch(() => undefined), { what: "the link form" });
  const credentials = { nick: "ada", password: "correct horse" };
  await client.send("POST", `${path}/${session.data.id}/credentials`, { credentials });
  await peer.tells("identity.connected");
  const { identities } = await client.get<{ identities: { id: string }[] }>("/v1/identities");
  const identity = identities[0]?.id ?? "";
  const entry = { id: "m1", from: "bob", channel: "room", text: "hello, grüße", at: Date.now() / 1_000 };
  appendFileSync(join(place, `${identity}.log.jsonl`), `${JSON.stringify(entry)}\n`);
  await peer.tells("events.acknowledged");
  const intent = await client.send<{ id: string }>(
    "POST",
    "/v1/intents",
    {
      identity_id: identity,
      user_id: "user-1",
      conversation: channelRef("default", "echo", ["room"]),
      payload: { text: "hello, bob" },
    },
    { "idempotency-key": randomUUID() },
  );
  await until(
    async () => (await client.get<{ state: string }>(`/v1/intents/${intent.id}`)).state === "sent",
    {
      what: "the intent to be sent",
    },
  );
  return identity;
}

type Pick = (tapped: Tapped) => boolean;

const isReply = ({ message }: Tapped) => message.fields.routingKey.startsWith("reply.");
const asked =
  (action: string, more: Pick = () => true): Pick =>
  (one) =>
    one.envelope.action === action && !isReply(one) && !isDead(one) && more(one);
const answered =
  (action: string, more: Pick = () => true): Pick =>
  (one) =>
    one.envelope.action === action && isReply(one) && more(one);
const isDead: Pick = ({ message }) => message.fields.routingKey.startsWith("bridge.dead.");
const fromDaemon: Pick = ({ envelope }) => envelope.metadata.issuer.startsWith("daemon:");
const hasIdentities: Pick = ({ envelope }) => (envelope.payload.identities as unknown[]).length > 0;

const STEPS: readonly (readonly [name: string, pick: Pick])[] = [
  ["02-hello", asked("hello")],
  ["03-hello-answer", answered("hello")],
  ["04-capabilities", asked("capabilities")],
  ["05-link-account", asked("link_account")],
  ["06-checkout", asked("checkout")],
  ["07-checkout-answer", answered("checkout")],
  ["08-release", asked("release")],
  ["09-release-answer", answered("release")],
  ["10-link-account-answer", answered("link_account", fromDaemon)],
  ["11-changed", asked("changed", ({ envelope }) => envelope.payload.what === "assignments")],
  ["12-resume", asked("resume")],
  ["13-resume-answer", answered("resume", hasIdentities)],
  ["14-write-back", asked("write_back")],
  ["15-write-back-answer", answered("write_back")],
  ["16-bridge-state", asked("bridge_state", ({ envelope }) => envelope.payload.state === "connected")],
  ["17-inbound-event", asked("inbound_event")],
  ["18-ack-event", asked("ack_event")],
  ["19-checkpoint", asked("checkpoint")],
  ["20-outbound-message", asked("outbound_message")],
  ["21-attempt", asked("attempt")],
  ["22-attempt-answer", answered("attempt")],
  ["23-delivery-status", asked("delivery_status")],
  ["24-health", asked("health")],
  ["25-dead-letter", isDead],
  ["26-hello-leaving", asked("hello", ({ envelope }) => envelope.payload.leaving === true)],
];

function sampleOf(name: string, { message, at, envelope }: Tapped): object {
  const { fields, properties, content } = message;
  const { contentType, deliveryMode, messageId, correlationId, replyTo, expiration, type, appId, timestamp } =
    { ...properties } as Record<string, unknown>;
  const all = {
    content_type: contentType,
    delivery_mode: deliveryMode,
    message_id: messageId,
    correlation_id: correlationId,
    reply_to: replyTo,
    expiration,
    type,
    app_id: appId,
    timestamp,
  };
  return {
    step: name.slice(3).replaceAll("-", " "),
    captured_at: at.toISOString(),
    exchange: fields.exchange,
    routing_key: fields.routingKey,
    properties: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)),
    headers: properties.headers ?? {},
    body: content.toString("utf8"),
    envelope,
  };
}

function write(name: string, value: object): void {
  writeFileSync(join(SAMPLES, `${name}.json`), `${JSON.stringify(value, undefined, 2)}\n`);
}

await using stack = new AsyncDisposableStack();
const postgres = stack.use(await startPostgres());
const rabbitmq = stack.use(await startRabbitmq());
const amqpUrl = await rabbitmq.vhost("main");
const data = mkdtempSync(join(tmpdir(), "linkspan-samples-"));
stack.defer(() => rmSync(data, { recursive: true, force: true }));
const port = await reservePort();
stack.defer(() => port.release());
writeFileSync(join(data, "core.seed"), SEEDS.core_seed.toString("hex"), { mode: 0o600 });
writeFileSync(join(data, "core.seal"), SEEDS.core_seal.toString("hex"), { mode: 0o600 });
const env = { LINKSPAN_PORT: String(port.number) };
const databaseUrl = await postgres.createDatabase("samples");
const core = stack.use(
  new Process("core,api", data, { ...env, LINKSPAN_AMQP_URL: amqpUrl, LINKSPAN_DATABASE_URL: databaseUrl }),
);
await core.start();
const client = await connectClient(parseConfig({ ...env, LINKSPAN_DATA: data }, undefined));
const tapped = await tap(amqpUrl, stack);
await enrol(client, data);
const place = {
  client,
  amqpUrl,
  platform: data,
  keys: join(data, "keys.json"),
  tokenFile: join(data, "enrol.token"),
};
const peer = stack.use(PythonPeer.start(place));
const identity = await live(client, peer, data);
{
  await using forger = await CoreForger.open(data, place, identity);
  await forger
    .attempts()
    .find(({ code }) => code === "envelope.unsigned")
    ?.publish();
  await until(() => tapped.some(isDead), { what: "the dead letter" });
}
await peer.stop();
for (const [name, pick] of STEPS) {
  const found = await until(() => tapped.find(pick), { what: name });
  write(name, sampleOf(name, found));
}
