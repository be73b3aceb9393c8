/** A tenant that does nothing special: it sends numbered texts through an echo account and waits for each echo. */
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "@linkspan/compose";
import { channelRef } from "@linkspan/envelopes";
import { expect } from "vitest";
import { insist, outcomes } from "../chaos/talk.ts";
import { until } from "../servers/until.ts";

const EVERY_MS = 100;
const LANES = 3;
const USER = "ada";

interface Stored {
  readonly envelope: {
    readonly metadata: {
      readonly issuer: string;
      readonly workspace_id: string;
      readonly conversation?: string;
    };
    readonly payload: { readonly kind: string; readonly text?: string };
  };
}

interface Submitted {
  readonly id: string;
  readonly lane: number;
  readonly text: string;
}

export class HonestTenant implements AsyncDisposable {
  readonly #client: Client;
  readonly #identityId: string;
  readonly #workspace: string;
  readonly #mark: string;
  readonly #stop = new AbortController();
  readonly #submitted: Submitted[] = [];
  readonly #sentAt = new Map<string, number>();
  #latencies: number[] = [];
  readonly #running: Promise<unknown>;

  private constructor(client: Client, workspace: string, identityId: string, mark: string) {
    this.#client = client;
    this.#workspace = workspace;
    this.#identityId = identityId;
    this.#mark = mark;
    this.#running = Promise.all([this.#follow(), this.#talk()]);
    this.#running.catch(() => undefined); // `check` reports it
  }

  /** @param mark stands in every text, so that it can be looked for where it must not be */
  static async start(client: Client, workspace: string, mark: string): Promise<HonestTenant> {
    type Session = { readonly data: { readonly id: string; readonly state: string } };
    const opened = await client.send<Session>("POST", "/api/bridges/echo/sessions", { user_id: USER });
    const path = `/api/bridges/echo/sessions/${opened.data.id}/credentials`;
    await client.send("POST", path, { credentials: { name: "honest" } });
    const session = () => client.get<Session>(`/api/bridges/sessions/${opened.data.id}`);
    await until(async () => (await session()).data.state === "linked", { what: "the account to be linked" });
    const { identities } = await client.get<{ identities: { id: string }[] }>("/v1/identities");
    return new HonestTenant(client, workspace, identities[0]?.id as string, mark);
  }

  get identityId(): string {
    return this.#identityId;
  }

  /** Milliseconds from submitting to the echo, for texts sent while it measures; the 99th percentile. */
  async measure(forMs: number): Promise<{ readonly p99: number; readonly count: number }> {
    this.#latencies = [];
    await pause(forMs, undefined, { signal: this.#stop.signal });
    const sorted = this.#latencies.toSorted((a, b) => a - b);
    return {
      p99: sorted[Math.ceil(sorted.length * 0.99) - 1] ?? Number.POSITIVE_INFINITY,
      count: sorted.length,
    };
  }

  /** Stops, and proves that everything arrived once, in order, and that nothing else is there. */
  async check(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    const states = await outcomes(
      this.#client,
      this.#submitted.map(({ id }) => id),
      120_000,
    );
    expect(states.filter((state) => state !== "sent")).toEqual([]);
    const messages = async () =>
      (await this.#events()).filter(({ envelope }) => envelope.payload.kind === "message");
    await until(async () => (await messages()).length >= this.#submitted.length, {
      what: "every echo to be stored",
      timeoutMs: 60_000,
    });
    const stored = await messages();
    for (let lane = 0; lane < LANES; lane++) {
      const texts = this.#submitted.filter((one) => one.lane === lane).map(({ text }) => text);
      const heard = stored
        .filter(({ envelope }) => envelope.metadata.conversation === this.#ref(lane))
        .map(({ envelope }) => envelope.payload.text);
      expect(heard).toEqual(texts);
    }
    for (const { envelope } of await this.#events()) {
      expect(envelope.metadata.workspace_id).toBe(this.#workspace);
      expect(envelope.metadata.issuer).toBe("daemon:echo:primary");
    }
  }

  get submitted(): number {
    return this.#submitted.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running.catch(() => undefined);
  }

  async #talk(): Promise<void> {
    for (let i = 0; !this.#stop.signal.aborted; i++) {
      const lane = i % LANES;
      const text = `${this.#mark} ${i}`;
      this.#sentAt.set(text, performance.now());
      const id = await this.#submit(lane, text);
      this.#submitted.push({ id, lane, text });
      await pause(EVERY_MS);
    }
  }

  #submit(lane: number, text: string): Promise<string> {
    const body = {
      identity_id: this.#identityId,
      user_id: USER,
      conversation: this.#ref(lane),
      payload: { text },
    };
    const key = { "idempotency-key": text.replaceAll(" ", "-") };
    return insist(async () => (await this.#client.send<{ id: string }>("POST", "/v1/intents", body, key)).id);
  }

  /** Listens as a backend does; a stream that ends is opened again where it was. */
  async #follow(): Promise<void> {
    let last = "0";
    while (!this.#stop.signal.aborted) {
      try {
        const path = `/v1/events/stream?cursor=${last}`;
        for await (const { id, data } of this.#client.stream(path, this.#stop.signal)) {
          if (id !== undefined) last = id;
          this.#heard(data);
        }
      } catch {
        if (!this.#stop.signal.aborted) await pause(50);
      }
    }
  }

  #heard(data: string): void {
    const { envelope } = JSON.parse(data) as Partial<Stored>;
    const text = envelope?.payload.text ?? "";
    const sentAt = this.#sentAt.get(text);
    if (sentAt === undefined) return;
    this.#sentAt.delete(text);
    this.#latencies.push(performance.now() - sentAt);
  }

  #ref(lane: number): string {
    return channelRef(this.#workspace, "echo", [String(lane)]);
  }

  async #events(): Promise<Stored[]> {
    const all: Stored[] = [];
    for (let cursor = 0; ; ) {
      const page = await insist(() =>
        this.#client.get<{ events: Stored[]; next_cursor: number }>(`/v1/events?cursor=${cursor}&limit=1000`),
      );
      if (page.events.length === 0) return all;
      all.push(...page.events);
      cursor = page.next_cursor;
    }
  }
}
