/** How intents end: by one rule, whoever ends them, and never twice. */
import { FabricError } from "@linkspan/envelopes";
import { auditTrail, type Database, type Intent, setFlag, stepsOf } from "@linkspan/store";
import { cancelIntent, type Core, resolveIntent, sweepExpired } from "@linkspan/worker";
import { endUnsettled } from "@linkspan/worker/testing";
import { expect, test } from "vitest";
import { WORKSPACE } from "./daemon-envelope.ts";
import { describeSteps } from "./intent-steps.ts";

describeSteps("ends of intents", (shared) => {
  test("reports of an earlier attempt tell nothing of a later one, except that it was said", async () => {
    const late = await shared.steps.record("late failure");
    await shared.steps.claim();
    await shared.steps.again();
    expect((await shared.steps.ask(late.id, 2, 0)).decision).toBe("go");
    for (const status of ["failed", "uncertain"] as const) await shared.steps.report(late.id, 1, status);
    await shared.steps.defer(late.id, 1, new Date(Date.now() + 60_000));
    expect(await shared.steps.reload(late.id)).toMatchObject({ state: "attempting", code: null });
    await shared.steps.report(late.id, 2, "sent");
    expect(await shared.steps.reload(late.id)).toMatchObject({ state: "sent", remote_ids: ["r0"] });

    const said = await shared.steps.record("late success");
    await shared.steps.claim();
    await shared.steps.ask(said.id, 1, 0);
    await shared.steps.again();
    await shared.steps.report(said.id, 1, "sent");
    expect((await shared.steps.reload(said.id)).state).toBe("sent");

    const forged = await shared.steps.record("an attempt that never was");
    await shared.steps.claim();
    for (const status of ["sent", "failed"] as const) await shared.steps.report(forged.id, 7, status);
    await shared.steps.report(forged.id, 1, "sent", 3_000_000, 3_000_001);
    expect(await shared.steps.reload(forged.id)).toMatchObject({ state: "queued", remote_ids: [] });
  });

  test("what a daemon puts off waits as long as it asks, whatever its clock says", async () => {
    const { id } = await shared.steps.record();
    await shared.steps.claim();
    const ahead = Date.now() + 3_600_000;
    await shared.steps.defer(id, 1, new Date(ahead + 1_000), new Date(ahead));
    const { rows } = await shared.steps.database.query<{ ms: number }>(
      "SELECT extract(epoch FROM due_at - now())::float8 * 1000 AS ms FROM lanes",
    );
    expect(rows[0]?.ms).toBeLessThanOrEqual(1_000);
  });

  test.each([-1, 1])("the core's clock decides nothing: %i hours off", async (hours) => {
    const { steps } = shared;
    steps.core = { ...steps.core, now: () => new Date(Date.now() + hours * 3_600_000) };
    const soon = new Date(Date.now() + 600_000);
    const { id } = await steps.record("hello", { expiresAt: soon });
    await steps.claim();
    expect(await steps.ask(id, 1, 0)).toMatchObject({ decision: "go" });
    const standing = await steps.reload(id);
    expect(Math.abs((standing.go_until?.getTime() ?? 0) - Date.now() - 15_000)).toBeLessThan(10_000);
    await steps.defer(id, 1, new Date(Date.now() + 1_000), new Date());
    const { rows } = await steps.database.query<{ ms: number }>(
      "SELECT extract(epoch FROM due_at - now())::float8 * 1000 AS ms FROM lanes WHERE intent_id = $1",
      [id],
    );
    expect(rows[0]?.ms).toBeGreaterThan(-10_000);
    expect(rows[0]?.ms).toBeLessThanOrEqual(1_000);
  });

  test("a half-said intent ends failed, with how much was said, whatever ends it", async () => {
    const off = { workspace_id: WORKSPACE, service: "irc", enabled: false, who: "test", why: "test" };
    const ends: Record<string, (intent: Intent) => Promise<unknown>> = {
      cancel: ({ id }) => cancelIntent(shared.steps.core, WORKSPACE, id, "test"),
      expiry: async ({ id }) => {
        await shared.steps.database.query(
          "UPDATE intents SET expires_at = now() - interval '1 s', go_until = NULL, updated_at = now() - interval '1 hour' WHERE id = $1",
          [id],
        );
        await sweepExpired(shared.steps.core);
      },
      "expiry at the gate": async ({ id }) => {
        await shared.steps.database.query(
          "UPDATE intents SET expires_at = now() - interval '1 s' WHERE id = $1",
          [id],
        );
        await shared.steps.ask(id, 1, 1, 2);
      },
      "the switch": async ({ id }) => {
        await setFlag(shared.steps.database.pool, off);
        await shared.steps.ask(id, 1, 1, 2);
        await setFlag(shared.steps.database.pool, { ...off, enabled: true });
      },
      "a refusal by the platform": ({ id }) =>
        shared.steps.report(id, 1, "failed", 1, 2, "platform.forbidden"),
      unlinking: () => endUnsettled(shared.steps.core, "alice", "test"),
    };
    const codes: Record<string, string> = {};
    for (const state of ["attempting", "queued"] as const) {
      for (const [cause, end] of Object.entries(ends)) {
        const intent = await shared.steps.halfSent(state);
        await end(intent);
        const ended = await shared.steps.reload(intent.id);
        expect([cause, state, ended.state, ended.part, ended.parts]).toEqual([cause, state, "failed", 1, 2]);
        expect(ended.detail, cause).toContain("1 of 2 parts were said");
        codes[cause] = ended.code ?? "";
      }
    }
    expect(codes).toEqual({
      cancel: "send.incomplete",
      expiry: "envelope.expired",
      "expiry at the gate": "envelope.expired",
      "the switch": "flag.disabled",
      "a refusal by the platform": "platform.forbidden",
      unlinking: "policy.denied",
    });
    expect((await shared.steps.database.query("SELECT 1 FROM outbox")).rows).toEqual([]);
  });

  test("an uncertain intent is not cancelled; what turns out said in part has failed", async () => {
    const { id } = await shared.steps.record();
    await shared.steps.claim();
    await shared.steps.ask(id, 1, 0, 2);
    await endUnsettled(shared.steps.core, "alice", "test");
    expect((await cancelIntent(shared.steps.core, WORKSPACE, id, "test")).state).toBe("uncertain");
    await shared.steps.report(id, 1, "sent", 0, 2);
    expect(await shared.steps.reload(id)).toMatchObject({
      state: "failed",
      code: "send.incomplete",
      part: 1,
      remote_ids: ["r0"],
    });
    await expect(
      resolveIntent(shared.steps.core, { workspaceId: WORKSPACE, id, outcome: "sent", actor: "test" }),
    ).rejects.toMatchObject({ code: "request.invalid" });
  });

  test("an uncertain part stays uncertain when an earlier one is reported late, and ends by its own report", async () => {
    const { id } = await shared.steps.record();
    await shared.steps.claim();
    await shared.steps.ask(id, 1, 0, 3);
    await shared.steps.ask(id, 1, 1, 3);
    await endUnsettled(shared.steps.core, "alice", "test");
    const before = shared.steps.counted.length;
    for (let again = 0; again < 2; again++) {
      await shared.steps.report(id, 1, "sent", 0, 3);
      expect(await shared.steps.reload(id)).toMatchObject({
        state: "uncertain",
        code: "send.uncertain",
        part: 1,
      });
      await shared.steps.report(id, 1, "uncertain", 1, 3);
    }
    expect((await shared.steps.reload(id)).remote_ids).toEqual(["r0"]);
    expect(shared.steps.counted).toHaveLength(before);
    expect((await stepsOf(shared.steps.database.pool, id)).map(({ state }) => state)).toEqual([
      "queued",
      "attempting",
      "attempting",
      "uncertain",
      "uncertain",
    ]);
    await shared.steps.report(id, 1, "sent", 1, 3);
    expect(await shared.steps.reload(id)).toMatchObject({
      state: "failed",
      code: "send.incomplete",
      part: 2,
      remote_ids: ["r0", "r1"],
    });
  });

  test("every step has its audit entry and its metric, and wakes the next of the lane", async () => {
    const intents = [
      await shared.steps.halfSent("queued"),
      await shared.steps.halfSent("attempting"),
      await shared.steps.record(),
      await shared.steps.record(),
    ];
    const [first, second, third, fourth] = intents.map(({ id }) => id) as [string, string, string, string];
    await cancelIntent(shared.steps.core, WORKSPACE, first, "test");
    await shared.steps.report(second, 1, "sent", 1, 2);
    await shared.steps.claim();
    await shared.steps.ask(third, 1, 0);
    let woken = 0;
    shared.steps.core.wakes.on("outbox", () => (woken += 1), new AbortController().signal);
    await endUnsettled(shared.steps.core, "alice", "test");
    expect(woken).toBe(1);
    let steps = 0;
    for (const id of [first, second, third, fourth]) {
      const states = (await stepsOf(shared.steps.database.pool, id)).map(({ state }) => `intent.${state}`);
      const trail = await auditTrail(shared.steps.database.pool, {
        workspaceId: WORKSPACE,
        subject: id,
        limit: 50,
      });
      expect(trail.map(({ action }) => action).toReversed()).toEqual(["intent.recorded", ...states]);
      steps += states.length;
    }
    expect(shared.steps.counted).toHaveLength(steps);
  });

  test("a metric is told after the commit, and not when there is none", async () => {
    const { id } = await shared.steps.record();
    shared.steps.counted.length = 0;
    const broken: Core = {
      ...shared.steps.core,
      database: Object.assign(Object.create(shared.steps.database) as Database, {
        transaction: (work: Parameters<Database["transaction"]>[0]) =>
          shared.steps.database.transaction(async (client) => {
            await work(client);
            expect(shared.steps.counted).toEqual([]);
            throw new FabricError("internal", "no commit");
          }),
      }),
    };
    await expect(cancelIntent(broken, WORKSPACE, id, "test")).rejects.toThrow("no commit");
    expect(shared.steps.counted).toEqual([]);
    expect((await shared.steps.reload(id)).state).toBe("queued");
  });
});
