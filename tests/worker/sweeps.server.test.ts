/** Intents that nobody ends in time are ended by the sweeps. */
import { updateIdentity } from "@linkspan/store";
import { sweepExpired } from "@linkspan/worker";
import { expect, test } from "vitest";
import { describeSteps } from "./intent-steps.ts";

describeSteps("sweeps", (shared) => {
  test("a sweep goes on behind what it cannot settle, and ends what it can", async () => {
    await shared.steps.database.query(
      `INSERT INTO intents (id, workspace_id, user_id, identity_id, service, action, payload, content, idempotency_key, trace_id, state, part, parts, expires_at)
       SELECT CASE WHEN i <= 510 THEN 'stuck' ELSE 'm' END || i, 'acme', 'u', 'alice', 'irc', 'outbound_message', '{}', '\\x00', 'k', 't', 'queued',
              CASE WHEN i <= 520 THEN 1 ELSE 0 END, 2, now() - interval '2 h' + i * interval '1 ms' FROM generate_series(1, 600) i`,
    );
    await shared.steps.database.query(
      `CREATE FUNCTION refuse_stuck() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'stuck'; END $$;
       CREATE TRIGGER refuse_stuck BEFORE UPDATE ON intents FOR EACH ROW WHEN (OLD.id LIKE 'stuck%') EXECUTE FUNCTION refuse_stuck()`,
    );
    expect(await sweepExpired(shared.steps.core)).toBe(90);
    await shared.steps.database.query("DROP TRIGGER refuse_stuck ON intents; DROP FUNCTION refuse_stuck");
    const { rows } = await shared.steps.database.query(
      "SELECT state, count(*)::int AS n FROM intents GROUP BY 1 ORDER BY 1",
    );
    expect(rows).toEqual([
      { state: "expired", n: 80 },
      { state: "failed", n: 10 },
      { state: "queued", n: 510 },
    ]);
    expect(await sweepExpired(shared.steps.core)).toBe(510);
  });

  test("what is being attempted by a daemon that never returns ends uncertain when its time is over", async () => {
    const { id } = await shared.steps.record();
    await shared.steps.claim();
    await shared.steps.ask(id, 1, 0);
    await shared.steps.database.query("UPDATE intents SET expires_at = now() - interval '1 s'");
    expect(await sweepExpired(shared.steps.core)).toBe(0);
    await shared.steps.database.query("UPDATE intents SET go_until = now() - interval '1 hour'");
    expect(await sweepExpired(shared.steps.core)).toBe(1);
    expect(await shared.steps.reload(id)).toMatchObject({ state: "uncertain", code: "send.uncertain" });
  });

  test("an unlinking that was interrupted is finished by the sweep", async () => {
    const { id } = await shared.steps.record();
    await updateIdentity(shared.steps.database.pool, "alice", { state: "unlinked" });
    await sweepExpired(shared.steps.core);
    expect(await shared.steps.reload(id)).toMatchObject({ state: "denied", code: "policy.denied" });
  });

  test("an intent that is being recorded while its identity is unlinked is ended with the others", async () => {
    const holding = await shared.steps.database.pool.connect();
    await holding.query("BEGIN");
    await holding.query("SELECT 1 FROM identities WHERE id = 'alice' FOR UPDATE");
    const recording = shared.steps.record();
    await holding.query("UPDATE identities SET state = 'unlinked' WHERE id = 'alice'");
    await holding.query("COMMIT");
    holding.release();
    await expect(recording).rejects.toMatchObject({ code: "request.not_found" });
  });
});
