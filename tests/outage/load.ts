/**
 * A backend that sends numbered texts through one echo account, without pause, in several conversations. The peer
 * of the echo platform repeats each text, so every text that was sent must come back as one event, in its
 * conversation's order, whatever failed in between.
 */
import { setTimeout as pause } from "node:timers/promises";
import { channelRef } from "@linkspan/envelopes";
import type { Client } from "@linkspan/compose";
import { expect } from "vitest";
import { insist, outcomes } from "../chaos/talk.ts";
import { until } from "../servers/until.ts";

const LANES = 4;
const EVERY_MS = 150;
const USER = "user-1";
const MINUTES = 60_000;

interface Page {
  readonly events: {
    readonly envelope: {
      readonly metadata: { readonly conversation?: string };
      readonly payload: { readonly kind: string; readonly text?: string };
    };
  }[];
  readonly next_cursor: number;
}

export class Load implements AsyncDisposable {
  readonly #client: Client;
  readonly #identityId: string;
  readonly #stop = new AbortController();
  readonly #lanes: Promise<void>[];
  readonly #ids: string[][] = Array.from({ length: LANES }, () => []);

  private constructor(client: Client, identityId: string) {
    this.#client = client;
    this.#identityId = identityId;
    this.#lanes = this.#ids.map((_, lane) => this.#run(lane));
    for (const lane of this.#lanes) lane.catch(() => undefined); // `check` reports it
  }

  /** Links an echo account and starts. */
  static async start(client: Client): Promise<Load> {
    type Session = { readonly data: { readonly id: string; readonly state: string } };
    // The daemon's announcement may be on its way.
    const opened = await insist(() =>
      client.send<Session>("POST", "/api/bridges/echo/sessions", { user_id: USER }),
    );
    const path = `/api/bridges/echo/sessions/${opened.data.id}/credentials`;
    await client.send("POST", path, { credentials: { name: "outage" } });
    const session = () => client.get<Session>(`/api/bridges/sessions/${opened.data.id}`);
    await until(async () => (await session()).data.state === "linked", { what: "the account to be linked" });
    const { identities } = await client.get<{ identities: { id: string }[] }>("/v1/identities");
    return new Load(client, identities[0]?.id as string);
  }

  get submitted(): number {
    return this.#ids.reduce((sum, ids) => sum + ids.length, 0);
  }

  /** Milliseconds until a text that is submitted now has come back. */
  async roundTrip(mark: string): Promise<number> {
    const startedAt = performance.now();
    await this.#submit(`lane-probe-${mark}`, `probe ${mark}`);
    const back = async () => (await this.#texts()).some(({ text }) => text === `probe ${mark}`);
    await until(back, {
      what: `the text "probe ${mark}" to come back`,
      timeoutMs: 3 * MINUTES,
      everyMs: 100,
    });
    return performance.now() - startedAt;
  }

  /**
   * Stops submitting, and proves that every text was sent and came back once, in order. One that was under way in
   * its conversation when something failed may end as uncertain; it came back once or not at all.
   *
   * @returns how many ended as uncertain
   */
  async check(): Promise<number> {
    this.#stop.abort();
    await Promise.all(this.#lanes);
    let uncertain = 0;
    for (const [lane, ids] of this.#ids.entries()) {
      const states = await outcomes(this.#client, ids, 3 * MINUTES);
      const inDoubt = states.flatMap((state, number) =>
        state === "uncertain" ? [`${lane}: ${number}`] : [],
      );
      expect(inDoubt.length, "in doubt").toBeLessThanOrEqual(1);
      uncertain += inDoubt.length;
      expect(states.filter((state) => state !== "sent" && state !== "uncertain")).toEqual([]);
      const texts = ids.map((_, number) => `${lane}: ${number}`);
      const sent = texts.filter((text) => !inDoubt.includes(text));
      const back = async () => {
        const echoes = await this.#echoes(String(lane));
        return sent.every((text) => echoes.includes(text)) ? echoes : undefined;
      };
      const echoes = await until(back, {
        what: `all ${sent.length} echoes of lane ${lane}`,
        timeoutMs: 2 * MINUTES,
        everyMs: 250,
      });
      expect(echoes).toEqual(texts.filter((text) => sent.includes(text) || echoes.includes(text)));
    }
    const { entries } = await insist(() =>
      this.#client.get<{ entries: { code: string; detail: string }[] }>("/v1/quarantine"),
    );
    expect(entries.map(({ code, detail }) => `${code} ${detail}`)).toEqual([]);
    return uncertain;
  }

  async #echoes(lane: string): Promise<string[]> {
    return (await this.#texts())
      .filter(({ conversation, text }) => conversation === this.#ref(lane) && text.startsWith(`${lane}: `))
      .map(({ text }) => text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#lanes);
  }

  async #run(lane: number): Promise<void> {
    const ids = this.#ids[lane] as string[];
    while (!this.#stop.signal.aborted) {
      ids.push(await this.#submit(String(lane), `${lane}: ${ids.length}`));
      await pause(EVERY_MS);
    }
  }

  async #submit(lane: string, text: string): Promise<string> {
    const body = {
      identity_id: this.#identityId,
      user_id: USER,
      conversation: this.#ref(lane),
      payload: { text },
    };
    const key = { "idempotency-key": `outage-${text.replace(/[^a-z0-9]+/g, "-")}` };
    return insist(async () => (await this.#client.send<{ id: string }>("POST", "/v1/intents", body, key)).id);
  }

  #ref(lane: string): string {
    return channelRef("default", "echo", [lane]);
  }

  async #texts(): Promise<{ readonly conversation: string; readonly text: string }[]> {
    const texts: { conversation: string; text: string }[] = [];
    for (let cursor = 0; ; ) {
      const page = await insist(() => this.#client.get<Page>(`/v1/events?cursor=${cursor}&limit=1000`));
      if (page.events.length === 0) return texts;
      for (const { envelope } of page.events) {
        const { kind, text = "" } = envelope.payload;
        if (kind === "message") texts.push({ conversation: envelope.metadata.conversation ?? "", text });
      }
      cursor = page.next_cursor;
    }
  }
}
