/**
 * Which readers are woken by which workspace's events, and what that costs the database. The log is a list in
 * memory.
 */
import { EventEmitter } from "node:events";
import type { StoredEvent } from "@linkspan/store";
import type { Core } from "@linkspan/worker";
import { expect, test } from "vitest";
import { Feed } from "./feed.ts";
import { awaitPage, sharedPages } from "./pages.ts";

class Log {
  readonly rows: { readonly position: number; readonly workspace_id: string }[] = [];
  readonly #wakes = new EventEmitter();
  statements = 0;
  away = false;
  /** Statements wait for it. */
  held: Promise<void> = Promise.resolve();

  readonly core: Core;

  constructor() {
    const query = async (asked: string | { text: string; values: unknown[] }) => {
      this.statements += 1;
      const { text, values } = typeof asked === "string" ? { text: asked, values: [] } : asked;
      const rows = this.#answer(text, values);
      await this.held;
      return { rows };
    };
    const wakes = {
      on: (wake: string, listener: () => void) => this.#wakes.on(wake, listener),
    };
    this.core = {
      database: { pool: { query }, query: (text: string) => query(text) },
      wakes,
      log: { debug: () => undefined },
    } as unknown as Core;
  }

  /** The rows that were committed when the statement began. */
  #answer(text: string, values: unknown[]): object[] {
    if (this.away) throw new Error("Connection terminated");
    if (text.includes("FROM sequencer")) return [{ position: String(this.rows.at(-1)?.position ?? 0) }];
    if (text.includes("DISTINCT workspace_id")) {
      const [after, upTo] = values as number[];
      const names = this.rows.filter(({ position }) => position > (after ?? 0) && position <= (upTo ?? 0));
      return [...new Set(names.map(({ workspace_id }) => workspace_id))].map((workspace_id) => ({
        workspace_id,
      }));
    }
    const [, workspace, after] = values as [number, string, number];
    return this.rows
      .filter(({ position, workspace_id }) => workspace_id === workspace && position > after)
      .map((row) => ({ ...row, message_id: Buffer.alloc(0), body: Buffer.from("{}") }));
  }

  say(workspace_id: string): void {
    this.rows.push({ position: this.rows.length + 1, workspace_id });
    this.#wakes.emit("positions");
  }
}

const forever = new AbortController().signal;
const turn = () => new Promise((resolve) => setImmediate(resolve));
const SIZE = { limit: 50, maxBytes: 1_000 };

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await turn();
}

test("four hundred streams of silent workspaces cost nothing when another workspace speaks", async () => {
  const log = new Log();
  await using feed = new Feed(log.core);
  const first = feed.watch("loud");
  await first.wait(forever);
  const watches = Array.from({ length: 400 }, (_, i) => feed.watch(`silent${i}`));
  const before = log.statements;
  for (let i = 0; i < 20; i++) {
    const watch = feed.watch("loud");
    log.say("loud");
    await watch.wait(forever);
    watch.end();
  }
  expect(watches.some((watch) => watch.changed)).toBe(false);
  expect(log.statements - before).toBeLessThan(100);
  for (const watch of [...watches, first]) watch.end();
});

test("a reader that joins another's page across a wake-up misses nothing", async () => {
  const log = new Log();
  await using feed = new Feed(log.core);
  const readPage = sharedPages(log.core, feed);
  const read = () => readPage({ workspaceId: "acme", after: 0 }, SIZE);
  const page = (log2 = read) => awaitPage(feed, log2, "acme", forever);
  // The first reader's statement began before the event and answers after it was announced.
  const gate = Promise.withResolvers<void>();
  const settled = feed.watch("acme");
  await settled.wait(forever);
  const slow: Promise<readonly StoredEvent[]>[] = [];
  const first = page(() => {
    log.held = slow.length === 0 ? gate.promise : Promise.resolve();
    const asked = read();
    log.held = Promise.resolve();
    slow.push(asked);
    return asked;
  });
  await until(() => slow.length === 1);
  const told = feed.watch("acme");
  log.say("acme");
  await told.wait(forever);
  const second = page();
  gate.resolve();
  expect((await Promise.all([first, second])).map((events) => events.length)).toEqual([1, 1]);
  for (const watch of [settled, told]) watch.end();
});

test("readers at one cursor share a statement", async () => {
  const log = new Log();
  await using feed = new Feed(log.core);
  const readPage = sharedPages(log.core, feed);
  log.say("acme");
  const pages = await Promise.all(
    Array.from({ length: 100 }, () => readPage({ workspaceId: "acme", after: 0 }, SIZE)),
  );
  expect([log.statements, pages.every((page) => page.length === 1)]).toEqual([1, true]);
});

test("after a restore, when positions start again, everybody looks", async () => {
  const log = new Log();
  await using feed = new Feed(log.core);
  for (let i = 0; i < 5; i++) log.say("acme");
  const first = feed.watch("rival");
  await first.wait(forever);
  const second = feed.watch("rival");
  log.rows.length = 0;
  log.say("rival");
  await second.wait(forever);
  for (const watch of [first, second]) watch.end();
});

test("nobody is asked when nobody waits", async () => {
  const log = new Log();
  await using feed = new Feed(log.core);
  const watch = feed.watch("acme");
  await watch.wait(forever);
  watch.end();
  await turn();
  const before = log.statements;
  for (let i = 0; i < 10; i++) {
    log.say("acme");
    await turn();
  }
  expect(log.statements - before).toBeLessThanOrEqual(2);
  await feed[Symbol.asyncDispose]();
});
