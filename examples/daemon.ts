/**
 * A daemon on the kit, in one file, for a made-up chat server with one room. Over TCP, a line each, members apart by tabs:
 *
 *     client → server   HELLO <name> <last id seen>       the server sends every line after that id
 *                       SAY <key> <text>
 *     server → client   <id> <name> <text> [<key>]        ids grow; the key comes back to who said it
 *
 * It serves the name `echo`, because the names of services are the contract's. A daemon that stays has the tree of
 * daemons/echo instead (daemons/kit/README.md). Beside a core on RabbitMQ:
 *
 *     linkspan daemon enrol echo --instance lines --token-file lines.token
 *     LINKSPAN_DAEMON_INSTANCE=lines LINKSPAN_DAEMON_BUS_URL=amqp://… LINKSPAN_DAEMON_CORE_URL=http://127.0.0.1:8787 \
 *       LINKSPAN_DAEMON_ENROL_TOKEN_FILE=lines.token node examples/daemon.ts
 *     linkspan link echo --user alice --instance lines --field host=… --field port=… --field name=alice
 */
import { createConnection, type Socket } from "node:net";
import { createInterface } from "node:readline";
import {
  type Capabilities,
  type Connection,
  type Connector,
  type IdentityHost,
  type LinkedIdentity,
  type OutboundAction,
  type Part,
  parseConfig,
  type Said,
  startDaemon,
  UncertainSend,
  type Window,
} from "@linkspan/daemon-kit";
import { LOG_OPTIONS, logDestination, stopOnSignals } from "@linkspan/daemon-kit/process";
import { channelRef, FabricError, identityRef, type LinkField, timestamp } from "@linkspan/envelopes";
import { AmqpBus } from "@linkspan/fabric";
import pino from "pino";

const SERVICE = "echo";

const CAPABILITIES: Capabilities = {
  send: ["text"],
  edit: false,
  delete: false,
  reaction: false,
  typing: false,
  read: false,
  history: false,
  roster: false,
  maxPartBytes: undefined,
  pace: { perSecond: 5, burst: 10 },
  entities: [],
};

const field = (name: string, label: string, syntax: LinkField["syntax"]): LinkField => {
  return { name, label, syntax, required: true, secret: false, max_bytes: 200 };
};
const FIELDS = [
  field("host", "Host of the server", "word"),
  field("port", "Its port", "integer"),
  field("name", "Name to appear under", "word"),
];

class LineConnection implements Connection {
  readonly self: { readonly remote: string; readonly name: string };
  readonly #identity: LinkedIdentity;
  readonly #host: IdentityHost;
  readonly #socket: Socket;
  readonly #waiting = new Map<string, PromiseWithResolvers<Said>>();
  #isClosing = false;

  constructor(identity: LinkedIdentity, host: IdentityHost) {
    const { settings, checkpoint } = identity;
    const name = String(settings["name"]);
    this.self = { remote: name, name };
    this.#identity = identity;
    this.#host = host;
    const socket = createConnection({ host: String(settings["host"]), port: Number(settings["port"]) });
    this.#socket = socket;
    const onConnect = (): void => {
      socket.write(`HELLO\t${name}\t${String(checkpoint?.["id"] ?? 0)}\n`);
      host.state({ state: "connected", message: "Connected." });
    };
    // What is thrown behind the guard ends this connection only; the kit opens it again, ever more slowly.
    socket.on(
      "error",
      host.guard(() => this.#lost()),
    );
    socket.on("connect", host.guard(onConnect));
    host.guard(() => this.#read())();
  }

  async #read(): Promise<void> {
    // Each event is waited for, so that a full fabric stops the reading of the socket.
    for await (const line of createInterface({ input: this.#socket })) await this.#onLine(line);
    this.#lost();
  }

  async #onLine(line: string): Promise<void> {
    const [id = "", name = "", text = "", key = ""] = line.split("\t");
    const at = new Date();
    const { workspaceId, identityId } = this.#identity;
    await this.#host.event({
      conversation: channelRef(workspaceId, SERVICE, ["room"]),
      occurredAt: at,
      payload: {
        kind: "message",
        remote_id: id,
        revision: "0",
        account: identityId,
        sender: { ref: identityRef(SERVICE, [name]), name, is_self: name === this.self.name },
        sent_at: timestamp(at),
        text,
        cursor: { id: Number(id) }, // comes back as `checkpoint` once the core has everything up to here
      },
    });
    this.#waiting.get(key)?.resolve({ remoteId: id, at });
  }

  /** @throws FabricError `platform.unavailable` unless it was closed on purpose */
  #lost(): void {
    for (const { reject } of this.#waiting.values()) reject(new UncertainSend("the connection was lost"));
    if (!this.#isClosing) throw new FabricError("platform.unavailable", "the server is gone");
  }

  plan({ action, payload }: OutboundAction): readonly Part[] {
    if (action !== "outbound_message") throw new FabricError("platform.unsupported", `no ${action} here`);
    const lines = String(payload["text"]).split(/[\r\n]+/);
    return lines.map((line, index) => ({ index, data: line.replaceAll("\t", " "), cost: 1 }));
  }

  async perform(part: Part, key: string, window: Window): Promise<Said> {
    const said = Promise.withResolvers<Said>();
    const giveUp = (): void => said.reject(new UncertainSend("it was not confirmed in time"));
    window.signal.addEventListener("abort", giveUp, { once: true });
    this.#waiting.set(key, said);
    this.#socket.write(`SAY\t${key}\t${String(part.data)}\n`);
    return said.promise.finally(() => this.#waiting.delete(key));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true;
    this.#socket.destroy();
  }
}

const connector: Connector = {
  service: SERVICE,
  capabilities: CAPABILITIES,
  declaration: { name: "Lines", description: "A made-up chat server with one room.", fields: FIELDS },
  open: async (identity, host) => new LineConnection(identity, host),
};

const config = parseConfig(process.env);
const log = pino({ ...LOG_OPTIONS, level: config.logLevel }, logDestination());
const stop = stopOnSignals();
const { instance, busUrl: url } = config;
await using bus = await AmqpBus.connect({ service: SERVICE, instance, bootId: crypto.randomUUID(), url });
await (await startDaemon({ config, connector, bus, log }, stop.signal)).done;
