/**
 * A tenant with every right that a tenant has, who misuses each of them: generated settings, texts, ids and paths,
 * floods, connections that are opened and left, event streams that are never read.
 */
import { connect, type Socket } from "node:net";
import type { Random } from "@linkspan/time";
import { below, hostileNumber, hostileText, hostileValue, mutated, pick } from "./values.ts";

export interface TenantOptions {
  readonly url: string;
  readonly token: string;
  readonly random: Random;
  /** Where the hostile IRC server listens. */
  readonly ircPort: number;
  /** What belongs to somebody else, to be asked for. */
  readonly foreign: { readonly identityId: string; readonly workspace: string; readonly mark: string };
  readonly signal: AbortSignal;
}

/** What the tenant saw that must not be. */
export interface Findings {
  readonly statuses: Map<number, number>;
  readonly faults: string[];
}

const ROUTES: readonly (readonly [method: string, path: string])[] = [
  ["GET", "/v1/intents"],
  ["GET", "/v1/intents/{}"],
  ["POST", "/v1/intents/{}/cancel"],
  ["POST", "/v1/intents/{}/resolve"],
  ["GET", "/v1/events?cursor={}&limit={}"],
  ["GET", "/v1/identities?user_id={}"],
  ["GET", "/v1/identities/{}"],
  ["DELETE", "/v1/identities/{}"],
  ["GET", "/v1/audit?subject={}&limit={}"],
  ["GET", "/v1/quarantine?state={}&code={}"],
  ["GET", "/v1/quarantine/{}"],
  ["POST", "/v1/quarantine/{}/retry"],
  ["POST", "/v1/quarantine/{}/drop"],
  ["GET", "/v1/connectors/{}"],
  ["GET", "/v1/tokens?workspace_id={}"],
  ["POST", "/v1/tokens"],
  ["POST", "/v1/enrolment-tokens"],
  ["POST", "/v1/enrolments"],
  ["POST", "/v1/replays"],
  ["DELETE", "/v1/tokens/{}"],
  ["GET", "/api/bridges/catalog?status={}"],
  ["POST", "/api/bridges/{}/sessions"],
  ["GET", "/api/bridges/sessions/{}"],
  ["POST", "/api/bridges/irc/sessions/{}/credentials"],
  ["DELETE", "/api/bridges/{}?user_id={}"],
];

const OPEN_SOCKETS = 60;
const LANES = 8;

export class HostileTenant {
  readonly findings: Findings = { statuses: new Map(), faults: [] };
  readonly #options: TenantOptions;
  readonly #random: Random;
  readonly #sockets: Socket[] = [];
  readonly #identities: string[] = [];
  #requests = 0;

  constructor(options: TenantOptions) {
    this.#options = options;
    this.#random = options.random;
  }

  get requests(): number {
    return this.#requests;
  }

  /** Runs until the signal; never rejects for what the server answers. */
  async run(): Promise<Findings> {
    const lanes = Array.from({ length: LANES }, async () => {
      while (!this.#options.signal.aborted) await this.#act();
    });
    await Promise.all(lanes);
    for (const socket of this.#sockets) socket.destroy();
    return this.findings;
  }

  #act(): Promise<unknown> {
    const acts = [
      () => this.#garbage(),
      () => this.#garbage(),
      () => this.#garbage(),
      () => this.#link("irc", this.#ircFields()),
      () => this.#link("echo", { name: hostileText(this.#random).slice(0, 3_000) }),
      () => this.#link("irc", mutated(this.#random, this.#ircFields())),
      () => this.#intend(),
      () => this.#intend(),
      () => this.#intend(),
      () => this.#flood(),
      () => this.#leaveOpen(),
      () => this.#rawBytes(),
      () => this.#lookAround(),
    ];
    return pick(this.#random, acts)();
  }

  /** A field each for what a network, a nickname, a key and a password can hold, sometimes with line breaks. */
  #ircFields(): Record<string, unknown> {
    const odd = () => pick(this.#random, ["x", "x\r\nQUIT", "a b", "", "é".repeat(300), "\0"]);
    return {
      network: pick(this.#random, ["evil", odd()]),
      host: pick(this.#random, ["127.0.0.1", "::1", "0.0.0.0", "localhost", "169.254.169.254"]),
      port: this.#options.ircPort,
      tls: false,
      nick: `evil${below(this.#random, 1_000)}`,
      channels: pick(this.#random, ["#a", "#a,#b", Array(2_000).fill("#x").join(",")]),
      ...(this.#random() < 0.3 && { server_password: odd() }),
      ...(this.#random() < 0.3 && { password: odd() }),
    };
  }

  async #garbage(): Promise<void> {
    const [method, pattern] = pick(this.#random, ROUTES);
    const path = pattern.replaceAll("{}", () =>
      encodeURIComponent(this.#id().slice(0, 4_000).toWellFormed()),
    );
    const body = method === "GET" || this.#random() < 0.2 ? undefined : hostileValue(this.#random);
    await this.#send(method, path, body);
  }

  #id(): string {
    const { identityId, workspace } = this.#options.foreign;
    const own = this.#identities.at(-1) ?? "none";
    return pick(this.#random, [identityId, workspace, own, "*", hostileText(this.#random), "-1", "1e9"]);
  }

  async #link(service: string, credentials: Record<string, unknown>): Promise<void> {
    const user = pick(this.#random, ["mallory", "ada", `m${below(this.#random, 100)}`]);
    const answer = await this.#send("POST", `/api/bridges/${service}/sessions`, { user_id: user });
    const id = (answer as { data?: { id?: string } } | undefined)?.data?.id;
    if (id === undefined) return;
    await this.#send("POST", `/api/bridges/${service}/sessions/${id}/credentials`, { credentials });
    const listed = await this.#send("GET", "/v1/identities");
    const { identities = [] } = (listed ?? {}) as { identities?: { id: string; state?: string }[] };
    this.#identities.splice(0, this.#identities.length, ...identities.map((identity) => identity.id));
    if (identities.length > 15) await this.#send("DELETE", `/v1/identities/${identities[0]?.id}`);
  }

  async #intend(): Promise<void> {
    const { foreign } = this.#options;
    const intent = {
      identity_id: pick(this.#random, [foreign.identityId, ...this.#identities.slice(-5)]),
      conversation: pick(this.#random, [
        `msgr://channels/${foreign.workspace}/bridge/echo/0`,
        "msgr://channels/evil/bridge/irc/evil/%23a",
        `msgr://channels/evil/bridge/echo/${below(this.#random, 50)}`,
        hostileText(this.#random),
      ]),
      payload: { text: hostileText(this.#random) },
    };
    const body = this.#random() < 0.4 ? mutated(this.#random, intent) : intent;
    await this.#send("POST", "/v1/intents", body, {
      "idempotency-key": `evil-${below(this.#random, 1e9)}`,
    });
  }

  async #flood(): Promise<void> {
    await Promise.all(Array.from({ length: 40 }, () => this.#intend()));
  }

  async #lookAround(): Promise<void> {
    for (const path of [
      "/v1/events?cursor=0&limit=1000",
      "/v1/intents?limit=200",
      "/v1/audit",
      "/v1/identities",
    ]) {
      await this.#send("GET", path);
    }
  }

  /** Half a request, a stream that nobody reads, or nothing at all; the oldest is closed when there are many. */
  #leaveOpen(): Promise<void> {
    const { port, hostname, host } = new URL(this.#options.url);
    const socket = connect({ port: Number(port), host: hostname });
    socket.on("error", () => undefined).pause();
    const auth = `host: ${host}\r\nauthorization: Bearer ${this.#options.token}\r\n`;
    const starts = [
      "",
      "GET /v1/events HTTP/1.1\r\nho",
      `POST /v1/intents HTTP/1.1\r\n${auth}content-type: application/json\r\ncontent-length: 1000000\r\n\r\n{"a":`,
      `GET /v1/events/stream?cursor=0 HTTP/1.1\r\n${auth}\r\n`,
      `GET /v1/events?cursor=0&wait_ms=60000 HTTP/1.1\r\n${auth}\r\n`,
    ];
    socket.write(pick(this.#random, starts));
    this.#sockets.push(socket);
    if (this.#sockets.length > OPEN_SOCKETS) this.#sockets.shift()?.destroy();
    return Promise.resolve();
  }

  /** What is no HTTP, or too much of it. */
  #rawBytes(): Promise<void> {
    const { port, hostname } = new URL(this.#options.url);
    const socket = connect({ port: Number(port), host: hostname });
    socket.on("error", () => undefined).resume();
    const bytes = [
      Buffer.from(Array.from({ length: 2_000 }, () => below(this.#random, 256))),
      `GET /${"a".repeat(100_000)} HTTP/1.1\r\n\r\n`,
      `GET / HTTP/1.1\r\n${"x: y\r\n".repeat(5_000)}\r\n`,
      "POST /v1/intents HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFF\r\n",
      `GET /v1/events HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${hostileText(this.#random)}\r\n\r\n`,
    ];
    return new Promise((resolve) => {
      socket.once("close", () => resolve());
      socket.end(pick(this.#random, bytes));
      setTimeout(() => socket.destroy(), 1_000).unref();
    });
  }

  async #send(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<unknown> {
    const { url, token, signal, foreign } = this.#options;
    if (signal.aborted) return undefined;
    this.#requests++;
    try {
      const response = await fetch(`${url}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body !== undefined && { "content-type": "application/json" }),
          ...headers,
        },
        ...(body !== undefined && { body: this.#written(body) }),
        signal: AbortSignal.any([signal, AbortSignal.timeout(20_000)]),
      });
      const text = await response.text();
      const { statuses, faults } = this.findings;
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
      if (response.status >= 500 && response.status !== 503) {
        faults.push(`${method} ${path.slice(0, 200)} answered ${response.status}: ${text.slice(0, 300)}`);
      }
      if (text.includes(foreign.mark))
        faults.push(`${method} ${path.slice(0, 200)} shows another tenant's text`);
      return text === "" ? undefined : JSON.parse(text);
    } catch {
      return undefined; // refused, reset or timed out: what the honest tenant sees is what counts
    }
  }

  #written(body: unknown): string {
    const text = JSON.stringify(body) ?? "null";
    const chance = this.#random();
    if (chance < 0.05) return text.slice(0, text.length / 2);
    if (chance < 0.08) return `${text}${" ".repeat(3_000_000)}`;
    if (chance < 0.1) return text.replace("{", `{"n":${hostileNumber(this.#random)},`);
    return text;
  }
}
