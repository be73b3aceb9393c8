/** Secrets with a mark go through everything that the vault does; then the mark is looked for everywhere. */
import { randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { decode, FabricError, type TicketClaims, ticketStamp } from "@linkspan/envelopes";
import { type Bus, EmbeddedBroker, type Outgoing } from "@linkspan/fabric";
import { VAULT_REQUESTS } from "@linkspan/vault";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { filesThatReveal, reveals } from "./canary.ts";
import { VaultOnBus } from "./vault-on-bus.ts";
import { REF, World } from "./world.ts";

/** A bus that keeps what goes over it. */
function recording(bus: Bus, wire: Outgoing[]): Bus {
  return new Proxy(bus, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== "function") return member;
      return (...args: unknown[]): unknown => {
        const message = name === "reply" ? args[1] : args[0];
        if (name === "reply" || name === "request" || name === "publish") wire.push(message as Outgoing);
        return Reflect.apply(member, target, args);
      };
    },
  });
}

describeWithServers(["postgres"], "a secret with a mark", () => {
  let server: PostgresServer;

  beforeAll(async () => {
    // Everything PostgreSQL can log, with parameters.
    server = await startPostgres({ settings: { log_statement: "all", log_min_messages: "debug1" } });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test("is in no log, error, envelope, table, database file, output or audit entry", async () => {
    await using world = await World.create(server);
    const printed: string[] = [];
    const print = (chunk: unknown): boolean => {
      printed.push(typeof chunk === "string" ? chunk : Buffer.from(chunk as Uint8Array).toString("latin1"));
      return true;
    };
    const spies = [
      vi.spyOn(process.stdout, "write").mockImplementation(print),
      vi.spyOn(process.stderr, "write").mockImplementation(print),
    ];
    // In all of them, and short enough to be seen where only the beginning of something is printed.
    const mark = randomBytes(6).toString("hex");
    const secrets: string[] = [];
    const marked = (name: string): Record<string, Uint8Array> => {
      const secret = `${mark} of what was ${name}`;
      secrets.push(secret);
      return { password: Buffer.from(secret), session_token: Buffer.from(secret) };
    };
    const errors: string[] = [];
    /** At once: later the secret is wiped, and nothing would be seen. */
    const shown = (thing: unknown): void => {
      const json = JSON.stringify({ thing });
      errors.push(inspect(thing, { depth: 12, showHidden: true }), json, String(thing));
    };
    const failing = async (attempt: Promise<unknown>): Promise<void> => {
      await attempt.then(() => expect.unreachable("it should have failed"), shown);
    };
    const wire: Outgoing[] = [];

    try {
      const vault = await world.vault();
      const broker = new EmbeddedBroker();
      await using coreBus = recording(broker.connect({ service: "core", bootId: "a" }), wire);
      await using daemonBus = recording(
        broker.connect({ service: "irc", instance: "libera", bootId: "b" }),
        wire,
      );
      await coreBus.declare([VAULT_REQUESTS]);
      const served = await VaultOnBus.serve(world, vault, coreBus);
      served.request = (message) => daemonBus.request(message, { timeoutMs: 20_000 });
      const irc = await served.enrol("daemon:irc:libera");

      await vault.put(REF, marked("first"));
      await vault.put(REF, marked("second"));
      await failing(vault.put(REF, marked("refused"), { expectVersion: 1 }));
      await failing(vault.put(REF, { Password: Buffer.from(secrets[0] ?? "") }));
      await vault.handOver(REF, marked("typed-in"));
      const linking: Partial<TicketClaims> = {
        ...ticketStamp(["session", "admin"], world.now()),
        capabilities: ["session", "admin"],
        actions: ["link_account"],
      };
      const linked = await irc.checkOut(linking);
      expect(Object.values(await irc.opened(linked))).toEqual([secrets[3], secrets[3]]);
      await irc.writeBack(linked, marked("refreshed"));
      await failing(irc.writeBack(linked, marked("stale"), 1));
      await failing(irc.checkOut({ aud: "daemon:irc:oftc" }));
      await vault.handOver(REF, marked("kept"));
      await vault.keepHandOver(REF);
      await vault.handOver(REF, marked("taken"));
      const taken = await vault.takeHandOver(REF);
      shown(taken);
      shown([{ taken }]);
      shown(new FabricError("internal", String(taken), { cause: taken }));
      taken?.wipe();

      world.auditFails = new Error("the audit quotes nothing");
      await failing(vault.put(REF, marked("unaudited")));
      await failing(irc.checkOut());
      world.auditFails = undefined;

      const lease = await irc.checkOut();
      await world.pool.query("UPDATE vault.secret_versions SET ciphertext = ciphertext || '\\x00'");
      await failing(irc.checkOut());
      await vault.revoke({ leaseId: lease.lease_id });
      await failing(irc.writeBack(lease, marked("too-late")));
      await vault.rotateWorkspaceKey("ws1");
      await vault.rewrap();
      await vault.drop(REF);
      await vault.put(REF, marked("last"));
      vault.seal("the end");
      await failing(vault.put(REF, marked("sealed")));

      expect(served.logged.length).toBeGreaterThan(3);
      const envelopes = wire.map(({ body }) => Buffer.from(body).toString("utf8"));
      const decoded = wire.map(({ body, kid, sig }) =>
        inspect(decode({ body, kid, sig }, { keys: served.keys, now: world.now() }).envelope, { depth: 9 }),
      );
      const sinks: Record<string, string> = {
        logs: served.logged.join("\n"),
        errors: errors.join("\n"),
        envelopes: [...envelopes, ...decoded].join("\n"),
        audit: JSON.stringify(await world.audit()),
        tables: await world.dump(),
        output: printed.join(""),
      };
      expect(secrets).toHaveLength(12);
      for (const [sink, text] of Object.entries(sinks)) {
        if (sink !== "output") expect(text.length, sink).toBeGreaterThan(100);
        expect(reveals(text, mark), `the mark in ${sink}`).toBe(false);
      }
    } finally {
      for (const spy of spies) spy.mockRestore();
    }

    await world.pool.query("CHECKPOINT");
    expect(await filesThatReveal(server.directory, mark)).toEqual([]);
    // The search would have found it: ids that are no secret are there.
    expect(await filesThatReveal(server.directory, "daemon:irc:libera")).not.toEqual([]);
  });
});
