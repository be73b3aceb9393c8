/** Events over HTTP: pages, long polls and streams over one cursor, each workspace its own. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { canonical, decode, type Opened } from "@linkspan/envelopes";
import { ACK } from "@linkspan/fabric";
import { beforeEach, expect, test } from "vitest";
import { randomUUID } from "node:crypto";
import { until } from "../servers/until.ts";
import { type ApiWorld, describeApi } from "./api-world.ts";

interface Event {
  readonly position: number;
  readonly kid: string;
  readonly sig: string;
  readonly envelope: { readonly payload: { readonly text: string } };
}
interface Page {
  readonly events: Event[];
  readonly next_cursor: number;
}

async function streams(of: ApiWorld, count: number): Promise<boolean> {
  const { body } = await of.api.app.inject("/metrics");
  return body.includes(`linkspan_http_event_streams ${count}\n`);
}

const textOf = (event: Event) => event.envelope.payload.text;

describeApi("events over HTTP", {}, (api) => {
  let workspace: string;
  let backend: string;

  beforeEach(async () => {
    workspace = `ws-${randomUUID()}`;
    backend = await api.world.token("shop", "backend", workspace);
  });

  const page = (query: string) => api.world.ask<Page>("GET", `/v1/events?${query}`, { as: backend });
  const all = (count: number) =>
    until(
      async () => {
        const answer = await page("cursor=0");
        return answer.body.events.length === count ? answer.body : undefined;
      },
      { what: `${count} events` },
    );

  /** Reads a stream until it has so many events; then leaves. */
  async function listen(count: number, headers: Record<string, string> = {}, path = "/v1/events/stream") {
    const leave = new AbortController();
    const response = await fetch(`${api.world.api.url}${path}`, {
      headers: { authorization: `Bearer ${backend}`, ...headers },
      signal: leave.signal,
    });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const seen: { id: string; event: Event }[] = [];
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true });
      const blocks = text.split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks) {
        const [, id, data] = /^id: (\d+)\ndata: (.*)$/.exec(block) ?? [];
        if (id !== undefined && data !== undefined) seen.push({ id, event: JSON.parse(data) as Event });
      }
      if (seen.length >= count) break;
    }
    leave.abort();
    return seen;
  }

  test("pages follow one another without a gap, and hold the bytes that were signed", async () => {
    const bodies = [];
    for (const text of ["one", "two", "three ü \u2028"]) bodies.push(await api.world.event(text, workspace));
    await all(3);

    const first = await page("limit=2");
    const second = await page(`limit=2&cursor=${first.body.next_cursor}`);
    const third = await page(`cursor=${second.body.next_cursor}`);
    const events = [...first.body.events, ...second.body.events];
    expect(events.map(textOf)).toEqual(["one", "two", "three ü \u2028"]);
    expect(third.body).toEqual({ events: [], next_cursor: second.body.next_cursor });
    expect(events.map((event) => Buffer.from(canonical(event.envelope)))).toEqual(bodies);
  });

  test("no workspace sees another's", async () => {
    await api.world.event("mine", workspace);
    await api.world.event("theirs", `${workspace}-not`);
    const { events } = await all(1);
    expect(events.map(textOf)).toEqual(["mine"]);
    const theirs = await api.world.ask<Page>("GET", "/v1/events", {
      as: backend,
      headers: { "x-linkspan-workspace": `${workspace}-not` },
    });
    expect(theirs.status).toBe(403);
  });

  test("a long poll answers when something comes, and with nothing when nothing does", async () => {
    const { next_cursor } = (await page("cursor=latest")).body;
    const waiting = page(`cursor=${next_cursor}&wait_ms=30000`);
    await api.world.event("late", workspace);
    expect((await waiting).body.events.map(textOf)).toEqual(["late"]);

    const nothing = await page("cursor=latest&wait_ms=50");
    expect(nothing.body.events).toEqual([]);
  });

  test("a stream gives what is there and what comes, in order", async () => {
    await api.world.event("before", workspace);
    await all(1);
    const listening = listen(3);
    await api.world.event("during", workspace);
    await api.world.event("after", workspace);
    expect((await listening).map(({ event }) => textOf(event))).toEqual(["before", "during", "after"]);
  });

  test("a stream resumes after Last-Event-ID: nothing twice, nothing lost", async () => {
    for (const text of ["one", "two", "three"]) await api.world.event(text, workspace);
    await all(3);
    const [first] = await listen(1);
    expect(first && textOf(first.event)).toBe("one");

    const rest = await listen(2, { "last-event-id": first?.id ?? "" });
    expect(rest.map(({ event }) => textOf(event))).toEqual(["two", "three"]);
    const negotiated = await listen(
      1,
      { "last-event-id": rest[0]?.id ?? "", accept: "text/event-stream" },
      "/v1/events",
    );
    expect(negotiated.map(({ event }) => textOf(event))).toEqual(["three"]);
  });

  test("who does not read is not read for: the stream stops at the socket", async () => {
    const count = 40;
    for (let i = 0; i < count; i++) await api.world.event("x".repeat(400_000), workspace);
    await until(async () => (await page("limit=1&cursor=0")).body.events.length > 0, { what: "events" });

    const accepted = once(api.world.api.app.server, "connection") as Promise<[Socket]>;
    const { hostname, port } = new URL(api.world.api.url);
    const socket = connect(Number(port), hostname);
    socket.pause();
    const [served] = await accepted;
    socket.write(`GET /v1/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${backend}\r\n\r\n`);
    await until(() => served.writableNeedDrain, { what: "a full socket" });
    for (let i = 0; i < 10; i++) {
      await page("limit=40&cursor=0");
      expect(served.writableLength).toBeLessThan(4 * 400_000);
    }

    let bytes = 0;
    socket.on("data", (chunk: Buffer) => (bytes += chunk.length));
    socket.resume();
    await until(() => bytes > count * 400_000, { what: "everything, once it reads" });
    socket.destroy();
    await until(() => streams(api.world, 0), { what: "the stream's end" });
  });

  test("a stream and a long poll end when the server stops", async () => {
    const own = await api.start();
    const token = await own.token("shop", "backend");
    const headers = { authorization: `Bearer ${token}` };
    const stream = await fetch(`${own.api.url}/v1/events/stream`, { headers });
    const polled = once(own.api.app.server, "request");
    const poll = fetch(`${own.api.url}/v1/events?wait_ms=30000`, { headers });
    const reading = stream.text();
    await until(() => streams(own, 1), { what: "the stream" });
    await polled;
    const begun = performance.now();
    await own[Symbol.asyncDispose]();
    expect(await reading).toContain("retry:");
    expect((await poll).status).toBe(200);
    expect(performance.now() - begun).toBeLessThan(10_000);
  });

  test("a replay goes to its one subscriber, in order, marked, with what was stored", async () => {
    const operator = await api.world.token("night", "operator", workspace);
    const replay = (body: object) =>
      api.world.ask<{ count: number; marker: string; code?: string }>("POST", "/v1/replays", {
        as: operator,
        body,
      });
    const bodies = [];
    for (const text of ["one", "two", "three"]) bodies.push(await api.world.event(text, workspace));
    const { events } = await all(3);
    const [, second, third] = events;
    const subscriber = `s-${randomUUID()}`;
    const wanted = { subscriber, from: second?.position, to: third?.position };
    expect((await replay(wanted)).body.code).toBe("bus.unroutable");

    const received: Opened[] = [];
    const queue = {
      name: subscriber,
      kind: "transient",
      bindings: [{ service: "core", instance: subscriber, action: "fanout" }],
    } as const;
    await using subscription = await api.world.core.bus.subscribe(queue, {
      handle: async (batch) => {
        for (const { delivery } of batch)
          received.push(decode(delivery, { keys: api.world.core.keys, now: new Date() }));
        return batch.map(() => ACK);
      },
    });
    const done = await replay(wanted);
    expect(done.body).toMatchObject({ count: 2 });
    const notes = received.map(
      ({ envelope }) => envelope.payload as { event: number; marker: string; envelope: object },
    );
    expect(notes.map(({ event, marker }) => [event, marker])).toEqual([
      [second?.position, done.body.marker],
      [third?.position, done.body.marker],
    ]);
    expect(notes.map(({ envelope }) => Buffer.from(canonical(envelope)))).toEqual(bodies.slice(1));
    expect((await all(3)).events).toEqual(events);
    await subscription.drain();
  });

  test("a wrong cursor is refused", async () => {
    for (const query of ["cursor=-1", "cursor=x", "limit=0", "limit=1001", "wait_ms=30001"]) {
      expect((await page(query)).status).toBe(400);
    }
  });
});
