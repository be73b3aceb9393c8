/** Messages that fail again and again: listed, and given up by an owner, in whichever process they are. */
import { randomUUID } from "node:crypto";
import { FabricError } from "@linkspan/envelopes";
import { ACK, type Bus, EmbeddedBroker, type QueueSpec } from "@linkspan/fabric";
import { markGivenUp, reportStuck, stuckMessages } from "@linkspan/store";
import { startWorker } from "@linkspan/worker";
import { describe, expect, test } from "vitest";
import { linkspan } from "../compose/linkspan.ts";
import { until } from "../servers/until.ts";
import { describeApi } from "./api-world.ts";

const IMPATIENT = {
  outage: { minMs: 1, maxMs: 5 },
  alone: { minMs: 1, maxMs: 20 },
  proof: { failures: 50, overMs: 600_000 },
  reportAfter: 3,
};

interface Stuck {
  readonly queue: string;
  readonly message_id: string;
  readonly code: string;
  readonly failures: number;
  readonly given_up: boolean;
}

/** `poison` fails for a reason that is never the message's; what has its key waits behind it. */
async function hold(bus: Bus, name: string) {
  const id = randomUUID();
  const poison = `poison-${id}`;
  // An instance of its own: no other queue takes what is published here.
  const route = { service: "irc", instance: `i${id.slice(0, 8)}`, action: "outbound_message", partition: 0 };
  const queue: QueueSpec = { name, kind: "shared", bindings: [{ instance: route.instance }] };
  const done: string[] = [];
  await bus.declare([queue]);
  const subscription = await bus.subscribe(queue, {
    handle: async (batch) => {
      if (batch.some(({ delivery }) => delivery.messageId === poison)) {
        throw new FabricError("store.unavailable", "as long as it takes");
      }
      done.push(...batch.map(({ delivery }) => delivery.messageId ?? ""));
      return batch.map(() => ACK);
    },
  });
  const sent = Promise.allSettled(
    [poison, "behind"].map((messageId) => bus.publish({ route, body: Buffer.from(messageId), messageId })),
  );
  return {
    poison,
    done,
    async [Symbol.asyncDispose]() {
      bus.giveUp(name, poison); // where the test did not
      await sent;
      await subscription[Symbol.asyncDispose]();
    },
  };
}

describeApi("messages that are stuck", { broker: new EmbeddedBroker({ patience: IMPATIENT }) }, (api) => {
  const list = async () =>
    (await api.world.ask<{ messages: Stuck[] }>("GET", "/v1/stuck", { as: api.world.owner })).body.messages;
  const listed = (messageId: string) =>
    until(async () => (await list()).find((one) => one.message_id === messageId), {
      what: `${messageId} to be listed`,
    });
  const giveUp = (queue: string, message_id: string, as = api.world.owner) =>
    api.world.ask<Stuck & { code: string }>("POST", "/v1/stuck/give-up", { as, body: { queue, message_id } });
  const quarantined = async (messageId: string) => {
    const { rows } = await api.world.core.database.query<{ code: string; detail: string }>(
      "SELECT code, detail FROM quarantine WHERE message_id = $1",
      [messageId],
    );
    return rows;
  };

  describe.each(["this process", "another process"])("in %s", (where) => {
    test("one that is given up goes to quarantine, audited, and what waits behind it goes on", async () => {
      await using stack = new AsyncDisposableStack();
      let bus = api.world.core.bus;
      if (where === "another process") {
        bus = stack.use(new EmbeddedBroker({ patience: IMPATIENT }).connect("core"));
        stack.use(await startWorker({ ...api.world.core, bus }));
      }
      const queue = `stuck.${randomUUID()}`;
      const held = stack.use(await hold(bus, queue));
      const found = await listed(held.poison);
      expect(found).toMatchObject({ queue, code: "store.unavailable", given_up: false });
      expect(found.failures).toBeGreaterThanOrEqual(IMPATIENT.reportAfter);
      expect(held.done).toEqual([]);

      const answer = await giveUp(queue, held.poison);
      expect([answer.status, answer.body.given_up]).toEqual([202, true]);
      await until(async () => held.done.includes("behind"), { what: "the one behind it to be handled" });
      const [row] = await until(
        async () => {
          const rows = await quarantined(held.poison);
          return rows.length > 0 ? rows : undefined;
        },
        { what: "it to be in quarantine" },
      );
      expect(row?.code).toBe("internal");
      expect(row?.detail).toContain("given up by an operator");
      await until(async () => !(await list()).some((one) => one.message_id === held.poison), {
        what: "it to leave the list",
      });
      const audit = await api.world.ask<{ entries: { action: string; actor: string; detail: object }[] }>(
        "GET",
        `/v1/audit?subject=${held.poison}`,
        { as: api.world.owner },
      );
      expect(audit.body.entries).toMatchObject([
        { action: "stuck.given_up", actor: "token:root", detail: { queue, code: "store.unavailable" } },
      ]);
      const bound = await api.world.ask<{ entries: unknown[] }>("GET", `/v1/audit?subject=${held.poison}`, {
        as: await api.world.token(`bound-${randomUUID()}`, "owner", "acme"),
      });
      expect(bound.body.entries, "what concerns all workspaces is not shown to one").toEqual([]);
    });
  });

  test("only an owner for all workspaces gives up; staff for all workspaces may look", async () => {
    const [operator, admin, bound] = await Promise.all([
      api.world.token("operator-everywhere", "operator", "*"),
      api.world.token("admin-everywhere", "admin", "*"),
      api.world.token("owner-of-one", "owner", "acme"),
    ]);
    for (const as of [operator, admin, bound]) {
      const { status, body } = await giveUp("q", "m", as);
      expect([status, body.code]).toEqual([403, "request.forbidden"]);
    }
    expect((await api.world.ask("GET", "/v1/stuck", { as: operator })).status).toBe(200);
    expect((await api.world.ask("GET", "/v1/stuck", { as: bound })).status).toBe(403);
  });

  test("what is not stuck is not found, and nothing of it is audited", async () => {
    const { status, body } = await giveUp("core.inbound.p00", "nothing-like-it");
    expect([status, body.code]).toEqual([404, "request.not_found"]);
    const audit = await api.world.ask<{ entries: unknown[] }>("GET", "/v1/audit?subject=nothing-like-it", {
      as: api.world.owner,
    });
    expect(audit.body.entries).toEqual([]);
  });

  test("a decision holds for the process that the message moves to, and for no other message", async () => {
    const { pool } = api.world.core.database;
    const one = { queue: "moving", messageId: "m1", failures: 5, forMs: 1_000, code: "store.unavailable" };
    const two = { ...one, messageId: "m2" };
    const [first, second] = [
      { namespace: "main", worker: "first" },
      { namespace: "main", worker: "second" },
    ];
    expect(await reportStuck(pool, first, [one, two])).toEqual([]);
    await markGivenUp(pool, "main", one, "token:root");
    expect(await reportStuck(pool, first, [])).toEqual([]);
    const left = (await stuckMessages(pool, "main", 500)).filter(({ queue }) => queue === "moving");
    expect(left.map(({ message_id }) => message_id)).toEqual(["m1"]);
    expect(await reportStuck(pool, second, [one, two])).toEqual([{ queue: "moving", messageId: "m1" }]);
    await pool.query("DELETE FROM stuck_messages WHERE queue = 'moving'");
  });

  test("the commands list what is stuck, give it up, and wait until it is in quarantine", async () => {
    const queue = `stuck.${randomUUID()}`;
    await using held = await hold(api.world.core.bus, queue);
    await listed(held.poison);
    const env = { LINKSPAN_CORE_URL: api.world.api.url, LINKSPAN_TOKEN: api.world.owner };
    const shown = await linkspan(["quarantine", "stuck"], { env });
    expect(shown.stdout).toContain(`${queue}  ${held.poison}  store.unavailable  ×`);
    const given = await linkspan(["quarantine", "give-up", queue, held.poison], { env });
    expect([given.code, given.stdout]).toEqual([
      0,
      `${held.poison}: in quarantine; see linkspan quarantine list\n`,
    ]);
    const again = await linkspan(["quarantine", "give-up", queue, held.poison], { env });
    expect(again.code).toBe(1);
    expect(again.stderr).toContain("request.not_found");
  });
});
