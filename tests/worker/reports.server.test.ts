/** Many statuses in one envelope: each has its own key, verdict and acknowledgement, as if it came alone. */
import { randomUUID } from "node:crypto";
import { answerId, type ReportedStatus, timestamp } from "@linkspan/envelopes";
import type { Bus } from "@linkspan/fabric";
import { stepsOf } from "@linkspan/store";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { ForeignDaemon } from "./foreign-daemon.ts";
import { SignedDaemon } from "./signed-daemon.ts";
import { openWorld, type World } from "./world.ts";

/** A digest, as ids of intents are. */
const newIntent = () => Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url");

describeWithServers(["postgres"], "many statuses in one envelope", () => {
  let server: PostgresServer;
  let world: World;
  let bus: Bus;
  let daemon: SignedDaemon;
  let ears: ForeignDaemon;

  beforeAll(async () => {
    server = await startPostgres();
    world = await openWorld({ databaseUrl: await server.createDatabase("reports"), daemons: false });
    bus = world.broker.connect("tester");
    daemon = await new SignedDaemon(world.core, bus, "irc", "primary", 5).enrol();
    await daemon.hold();
    ears = await new ForeignDaemon(bus, "irc").listen();
    for (const account of ["alice", "anna"]) await daemon.serve(account);
    await new SignedDaemon(world.core, bus, "irc", "second", 6).serve("zoe");
  });
  afterAll(async () => {
    await bus?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await world.core.database.query("TRUNCATE quarantine");
    ears.heard.length = 0;
  });

  /** An intent whose first part was granted. */
  async function granted(identity: string, parts = 1): Promise<string> {
    const id = newIntent();
    await world.core.database.query(
      `INSERT INTO intents (id, workspace_id, user_id, identity_id, service, action, payload, content, idempotency_key,
                            trace_id, state, attempt, part, parts, ask_id)
       VALUES ($1, 'acme', 'u', $2, 'irc', 'outbound_message', '{}', '\\x00', $1, 't', 'attempting', 1, 0, $3, 'asked')`,
      [id, identity, parts],
    );
    return id;
  }

  function status(intent: string, identity: string, over: Partial<ReportedStatus> = {}): ReportedStatus {
    const told = {
      intent_id: intent,
      attempt: 1,
      part: 0,
      parts: 1,
      status: "sent" as const,
      remote_id: "r",
      at: timestamp(new Date()),
      ...over,
    };
    const outcome = `${told.status} ${told.part}/${told.parts} ${told.at}`;
    return { message_id: answerId("delivery_status", intent, outcome, 1), identity_id: identity, ...told };
  }

  const report = (statuses: readonly ReportedStatus[]) =>
    daemon.say(daemon.note("delivery_statuses", { statuses }));
  const stateOf = async (id: string) =>
    (await world.core.database.query<{ state: string }>("SELECT state FROM intents WHERE id = $1", [id]))
      .rows[0]?.state;
  const quarantined = async () =>
    (await world.core.database.query<{ code: string }>("SELECT code FROM quarantine")).rows.map(
      ({ code }) => code,
    );

  test("a member of an account that is not the daemon's is refused and acknowledged alone; the others have their effect", async () => {
    const [own, other, sister] = [await granted("alice"), await granted("zoe"), await granted("anna")];
    const foreign = [status(other, "zoe"), status(sister, "alice")];
    await report([
      status(own, "alice"),
      ...foreign,
      status(sister, "anna", { status: "failed", code: "platform.forbidden" }),
    ]);
    expect(await Promise.all([own, other, sister].map(stateOf))).toEqual(["sent", "attempting", "failed"]);
    expect(await quarantined()).toEqual(["envelope.wrong_issuer"]);
    const [ack] = await ears.got("ack_offset");
    expect(ack?.acked).toEqual(
      foreign.map(({ message_id }) => ({ message_id, status: "quarantined", code: "envelope.wrong_issuer" })),
    );
  });

  test("a status that comes again, alone or among others, has no second effect; other content under its key is a conflict", async () => {
    const id = await granted("alice");
    const one = status(id, "alice");
    const { message_id, identity_id, ...alone } = one;
    const single = daemon.answer("delivery_status", id, alone, { message_id, identity_id });
    await daemon.say(single);
    await report([one, one]);
    await daemon.say(single);
    expect(await stepsOf(world.core.database.pool, id)).toHaveLength(1);
    expect(await quarantined()).toEqual([]);
    await report([{ ...one, remote_id: "another" }]);
    expect(await quarantined()).toEqual(["envelope.conflict"]);
    const conflict = { message_id, status: "quarantined", code: "envelope.conflict" };
    expect((await ears.got("ack_offset"))[0]?.acked).toEqual([conflict]);
  });

  test("two members on one intent have their effect in their order, and repeated ids in one envelope only once", async () => {
    const id = await granted("alice", 2);
    const first = status(id, "alice", { parts: 2, remote_id: "r0" });
    const last = status(id, "alice", { part: 1, parts: 2, remote_id: "r1" });
    await report([first, first, last, first]);
    const { rows } = await world.core.database.query(
      "SELECT state, part, remote_ids FROM intents WHERE id = $1",
      [id],
    );
    expect(rows).toEqual([{ state: "sent", part: 2, remote_ids: ["r0", "r1"] }]);
    expect((await stepsOf(world.core.database.pool, id)).map(({ state }) => state)).toEqual([
      "attempting",
      "sent",
    ]);
  });

  test("in the wrong order, what cannot have been said yet is ignored, as it is alone", async () => {
    const [together, alone] = [await granted("alice", 2), await granted("alice", 2)];
    const both = (id: string) => [
      status(id, "alice", { part: 1, parts: 2, remote_id: "r1" }),
      status(id, "alice", { parts: 2, remote_id: "r0" }),
    ];
    await report(both(together));
    for (const one of both(alone)) await report([one]);
    const { rows } = await world.core.database.query(
      "SELECT state, part, remote_ids FROM intents WHERE id = ANY ($1)",
      [[together, alone]],
    );
    expect(rows[0]).toEqual({ state: "attempting", part: 1, remote_ids: ["r0"] });
    expect(rows[1]).toEqual(rows[0]);
  });

  test("more members than the contract allows are refused as one, and change nothing", async () => {
    const id = await granted("alice");
    await report(Array.from({ length: 201 }, () => ({ ...status(id, "alice"), detail: randomUUID() })));
    expect(await quarantined()).toEqual(["envelope.schema"]);
    expect(await stateOf(id)).toBe("attempting");
  });
});
