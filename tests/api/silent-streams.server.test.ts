/** Streams of silent workspaces: what one tenant says costs the others' readers nothing, and reaches its own. */
import { appendEvents, lastPosition, readEvents } from "@linkspan/store";
import { expect, test } from "vitest";
import { until } from "../servers/until.ts";
import { newEvent } from "../store/events.ts";
import { describeApis } from "./api-world.ts";

const STREAMS = 400;
const EVENTS = 60;

describeApis("event streams beside one another", (start) => {
  test(`${STREAMS} silent streams read nothing while another workspace speaks`, async () => {
    await using world = await start({ limits: { connectionsPerAddress: 1_000 } });
    const { pool } = world.core.database;
    const leave = new AbortController();
    const open = async (workspace: string) => {
      const token = await world.token("reader", "backend", workspace);
      return fetch(`${world.api.url}/v1/events/stream?cursor=latest`, {
        headers: { authorization: `Bearer ${token}` },
        signal: leave.signal,
      });
    };
    // Kept: a response that nobody holds is closed when it is collected.
    const silent: Response[] = [];
    for (let i = 0; i < STREAMS; i += 50) {
      silent.push(...(await Promise.all(Array.from({ length: 50 }, (_, j) => open(`silent-${i + j}`)))));
    }
    const loud = await open("loud");
    let text = "";
    const decoder = new TextDecoder();
    const listening = (async () => {
      for await (const chunk of loud.body as unknown as AsyncIterable<Uint8Array>) {
        text += decoder.decode(chunk, { stream: true });
      }
    })().catch(() => undefined);
    await until(
      async () =>
        (await world.api.app.inject("/metrics")).body.includes(
          `linkspan_http_event_streams ${STREAMS + 1}\n`,
        ),
      { what: "every stream" },
    );

    let reads = 0;
    const query = pool.query.bind(pool) as (...args: unknown[]) => unknown;
    Object.assign(pool, {
      query: (...args: unknown[]) => {
        if ((args[0] as { name?: string }).name === "events.read") reads += 1;
        return query(...args);
      },
    });
    const cpu = process.cpuUsage();
    const begun = performance.now();
    const waits: number[] = [];
    for (let i = 0; i < EVENTS; i++) {
      const said = performance.now();
      await world.event(`m${i}`, "loud");
      await until(() => text.includes(`"text":"m${i}"`), { what: `event ${i}` });
      waits.push(performance.now() - said);
    }
    const ms = performance.now() - begun;
    const { user, system } = process.cpuUsage(cpu);
    waits.sort((a, b) => a - b);
    process.stdout.write(
      `${STREAMS} silent streams, ${EVENTS} events: ${reads} reads of the log, ${Math.round((user + system) / 1_000)} ms CPU, ` +
        `${Math.round(ms)} ms; from commit to reader p50 ${Math.round(waits[EVENTS / 2] ?? 0)} ms, ` +
        `max ${Math.round(waits.at(-1) ?? 0)} ms\n`,
    );
    expect(silent.map(({ status }) => status)).toEqual(Array.from({ length: STREAMS }, () => 200));
    leave.abort();
    await listening;
    expect(reads).toBeLessThanOrEqual(3 * EVENTS);
    expect(text.match(/^id: /gm)).toHaveLength(EVENTS);
  });

  test.each(["stream", "long poll"])(
    "a %s reads once over what is stored and not fanned out",
    async (how) => {
      await using world = await start();
      const { core } = world;
      const token = await world.token("reader", "backend", "copied");
      const leave = new AbortController();
      const path = how === "stream" ? "/v1/events/stream?cursor=0" : "/v1/events?cursor=0&wait_ms=30000";
      const reads: number[] = [];
      const query = core.database.pool.query.bind(core.database.pool) as (...args: unknown[]) => unknown;
      Object.assign(core.database.pool, {
        query: (...args: unknown[]) => {
          const { name, values } = args[0] as { name?: string; values?: unknown[] };
          if (name === "events.read") reads.push(Number(values?.[2]));
          return query(...args);
        },
      });
      const reading = fetch(`${world.api.url}${path}`, {
        headers: { authorization: `Bearer ${token}` },
        signal: leave.signal,
      }).catch(() => undefined);
      await until(() => reads.length > 0, { what: "the first read" });
      const copies = async (round: number) => {
        const over = { workspaceId: "copied", fanOut: false };
        await appendEvents(
          core.database.pool,
          Array.from({ length: 50 }, (_, i) => newEvent(`copy ${round} ${i}`, over)),
        );
        core.wakes.announce("unsequenced");
        return lastPosition(core.database);
      };
      let before = 0;
      for (let round = 0; round < 3; round++) {
        before = await lastPosition(core.database);
        const seen = reads.length;
        await copies(round);
        await until(() => reads.length > seen, { what: `a read after round ${round}` });
      }
      leave.abort();
      await reading;
      expect(before).toBeGreaterThanOrEqual(100);
      expect(reads.at(-1)).toBeGreaterThanOrEqual(before);
    },
  );

  test("a page of the log ends with the event that reaches its bytes, and one event is always read", async () => {
    await using world = await start();
    for (let i = 0; i < 4; i++) await world.event("x".repeat(10_000), "sized");
    const read = (maxBytes: number) =>
      readEvents(world.core.database.pool, { workspaceId: "sized", after: 0, limit: 50, maxBytes });
    await until(async () => (await read(1e9)).length === 4, { what: "four events" });
    expect((await read(1)).length).toBe(1);
    expect((await read(15_000)).length).toBe(2);
    expect((await read(25_000)).length).toBe(3);
  });
});
