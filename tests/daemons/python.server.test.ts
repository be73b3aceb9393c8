/**
 * A daemon in another language, through its whole life on a real RabbitMQ, a real PostgreSQL and the real core. It was
 * written from envelopes/CONTRACT.md and envelopes/DAEMONS.md and shares no code with this repository's daemons.
 */
import { randomUUID } from "node:crypto";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { channelRef } from "@linkspan/envelopes";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type CoreWorker, startCoreWorker } from "../chaos/fabric.ts";
import { CoreForger } from "../peers/python/forger.ts";
import { type PeerPlace, peerPlace, PythonPeer } from "../peers/python/peer.ts";
import { describeWithServers } from "../servers/available.ts";
import { startPostgres } from "../servers/postgres.ts";
import { startRabbitmq } from "../servers/rabbitmq.ts";
import { until } from "../servers/until.ts";

const WORKSPACE = "default";
const USER = "user-1";

interface IntentView {
  readonly id: string;
  readonly state: string;
  readonly code?: string;
  readonly attempt: number;
  readonly remote_ids: readonly string[];
}

interface Session {
  readonly data: { readonly id: string; readonly state: string; readonly metadata: unknown };
}

interface Stored {
  readonly events: readonly {
    readonly envelope: { readonly payload: { readonly text?: string; readonly reply_to?: string } };
  }[];
}

describeWithServers(["rabbitmq", "postgres", "python"], "a daemon in Python", () => {
  let stack: AsyncDisposableStack;
  let worker: CoreWorker;
  let amqpUrl: string;
  let place: PeerPlace;
  let peer: PythonPeer;
  let identity: string;

  beforeAll(async () => {
    stack = new AsyncDisposableStack();
    const postgres = stack.use(await startPostgres());
    const rabbitmq = stack.use(await startRabbitmq());
    amqpUrl = await rabbitmq.vhost("main");
    worker = stack.use(await startCoreWorker(amqpUrl, await postgres.createDatabase("python")));
    place = await peerPlace(worker.client, amqpUrl, worker.data);
  });
  afterAll(() => stack?.disposeAsync());

  const start = (...more: string[]) => stack.use(PythonPeer.start(place, more));

  async function link(credentials: Record<string, string>): Promise<Session["data"]> {
    const { client } = worker;
    const opened = await client.send<Session>("POST", "/api/bridges/echo/sessions", { user_id: USER });
    const { id } = opened.data;
    await client.send("POST", `/api/bridges/echo/sessions/${id}/credentials`, { credentials });
    return until(
      async () => {
        const { data } = await client.get<Session>(`/api/bridges/sessions/${id}`);
        return ["linked", "failed"].includes(data.state) ? data : undefined;
      },
      { what: "the link to end" },
    );
  }

  const say = (text: string, action = "outbound_message", payload: object = { text }) =>
    worker.client.send<IntentView>(
      "POST",
      "/v1/intents",
      {
        identity_id: identity,
        user_id: USER,
        action,
        conversation: channelRef(WORKSPACE, "echo", ["room"]),
        payload,
      },
      { "idempotency-key": randomUUID() },
    );

  const settled = (id: string) =>
    until(
      async () => {
        const intent = await worker.client.get<IntentView>(`/v1/intents/${id}`);
        return ["recorded", "queued", "attempting"].includes(intent.state) ? undefined : intent;
      },
      { what: `intent ${id} to be settled`, timeoutMs: 60_000 },
    );

  const lines = (name: string): Record<string, string>[] => {
    const path = join(place.platform, `${identity}.${name}.jsonl`);
    if (!existsSync(path)) return [];
    const text = readFileSync(path, "utf8");
    return text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, string>);
  };
  const said = () => lines("said").map(({ text }) => text);

  /** Somebody says something on the platform. */
  const happens = (id: string, text: string) => {
    const entry = { id, from: "bob", channel: "room", text, at: Date.now() / 1_000 };
    appendFileSync(join(place.platform, `${identity}.log.jsonl`), `${JSON.stringify(entry)}\n`);
  };

  const texts = async () => {
    const { events } = await worker.client.get<Stored>("/v1/events?cursor=0&limit=1000");
    return events.map(({ envelope }) => envelope.payload.text);
  };
  const comesIn = (text: string) =>
    until(async () => (await texts()).includes(text), { what: `"${text}" to come in` });

  /** Everything that was seen on the platform has come in, once and in order. */
  const nothingLost = async () => {
    const seen = lines("log").map(({ text }) => text);
    await until(async () => (await texts()).length >= seen.length, { what: "every event to come in" });
    expect(await texts()).toEqual(seen);
  };

  test("it enrols, holds its instance and announces itself", async () => {
    peer = start();
    await peer.tells("daemon.enrolled");
    expect(await peer.tells("lease.held")).toMatchObject({ epoch: 1 });
    await peer.tells("term.begun");
    await until(
      async () => {
        const { data } = await worker.client.get<{ data: { id: string }[] }>("/api/bridges/catalog");
        return data.some(({ id }) => id === "echo");
      },
      { what: "its link form to be in the catalog" },
    );
  });

  test("it links with a secret that only it can unseal, and refuses a wrong one", async () => {
    expect(await link({ nick: "ada", password: "wrong" })).toMatchObject({ state: "failed" });
    expect((await link({ nick: "ada", password: "right" })).state).toBe("linked");
    const connected = await peer.tells("identity.connected");
    expect(connected).toMatchObject({ place: 0 });
    expect(await peer.tells("credential.opened")).toMatchObject({ version: 1, fields: ["password"] });
    expect(await peer.tells("credential.kept")).toMatchObject({ version: 2 });
    const { identities } = await worker.client.get<{ identities: { id: string; state: string }[] }>(
      "/v1/identities",
    );
    identity = identities.find(({ state }) => state === "linked")?.id ?? "";
    expect(identity).not.toBe("");
  });

  test("what happens on its platform comes in and is acknowledged", async () => {
    happens("m1", "hello");
    await comesIn("hello");
    expect(await peer.tells("events.acknowledged")).toMatchObject({ place: 1 });
  });

  test("what is said goes out part by part, once, and its echo comes in", async () => {
    const text = "a".repeat(100) + "b".repeat(100) + "c".repeat(50);
    const intent = await settled((await say(text)).id);
    expect(intent).toMatchObject({ state: "sent", attempt: 1 });
    expect(intent.remote_ids).toEqual(["s1", "s2", "s3"]);
    expect(said()).toEqual(["a".repeat(100), "b".repeat(100), "c".repeat(50)]);
    await nothingLost();
  });

  test("what it does not serve ends with its code", async () => {
    const { id } = await say("", "outbound_reaction", { target: "s1", key: "+1" });
    expect(await settled(id)).toMatchObject({ state: "failed", code: "action.unsupported" });
  });

  test("forged envelopes and tickets are refused, each with its code, and nothing is said", async () => {
    const before = said();
    await using forger = await CoreForger.open(worker.data, place, identity);
    for (const { name, code, publish } of forger.attempts()) {
      const count = peer.log.length;
      await publish();
      const refusal = await until(
        () =>
          peer.log
            .slice(count)
            .find(({ event }) => event === "delivery.refused" || event === "ticket.refused"),
        { what: `${name} to be refused` },
      );
      expect(refusal.code, name).toBe(code);
    }
    const quarantined = async () =>
      (await worker.client.get<{ entries: { code: string }[] }>("/v1/quarantine?state=all&limit=100"))
        .entries;
    const dead = forger.attempts().filter(({ dies }) => dies);
    await until(async () => (await quarantined()).length >= dead.length, { what: "the dead letters" });
    const codes = (await quarantined()).map(({ code }) => code).toSorted();
    expect(codes).toEqual(dead.map(({ code }) => code).toSorted());
    expect(said()).toEqual(before);
  });

  test("stopped and started again, it goes on where it was", async () => {
    const { length } = lines("log");
    await until(() => peer.logged("events.acknowledged").at(-1)?.place === length, {
      what: "everything to be acknowledged",
    });
    expect(await peer.stop()).toBe(0);
    expect(peer.trouble).toBe("");
    happens("m2", "meanwhile");
    peer = start();
    expect(await peer.tells("identity.connected")).toMatchObject({ place: length });
    expect(await peer.tells("credential.opened")).toMatchObject({
      version: 2,
      fields: ["password", "token"],
    });
    expect(peer.logged("daemon.enrolled")).toEqual([]);
    await comesIn("meanwhile");
    await nothingLost();
  });

  test("a second process waits, takes over after a crash, and finds out what was said", async () => {
    expect(await peer.stop()).toBe(0);
    const first = start("--die-after-saying", "last words");
    await first.tells("term.begun");
    const second = start();
    await second.tells("lease.waiting");
    const { id } = await say("last words");
    expect(await first.ended()).toBe(9);
    const { epoch } = await second.tells("lease.held");
    expect(epoch).toBe(Number(first.logged("lease.held")[0]?.epoch) + 1);
    expect(await settled(id)).toMatchObject({ state: "sent" });
    const decisions = second.logged("attempt.answered").map(({ decision }) => decision);
    expect(decisions).toContain("uncertain");
    expect(decisions).not.toContain("go");
    expect(said().filter((text) => text === "last words")).toHaveLength(1);
    await nothingLost();
    peer = second;
  });

  test("a process that was suspended past its lease gives way instead of going on", async () => {
    const suspended = peer;
    suspended.signal("SIGSTOP");
    peer = start();
    await peer.tells("lease.held");
    suspended.signal("SIGCONT");
    // It waits as it did before it was the holder.
    await until(() => suspended.logged("lease.waiting").length === 2, { what: "the suspended one to wait" });
    expect(await settled((await say("still here")).id)).toMatchObject({ state: "sent" });
    await nothingLost();
    expect(await suspended.stop()).toBe(0);
    expect(suspended.trouble).toBe("");
    expect(await peer.stop()).toBe(0);
    expect(peer.trouble).toBe("");
  });
});
