import { FabricError, type Metadata, type TicketClaims, ticketStamp, toBase64url } from "@linkspan/envelopes";
import { type EnvelopeVault, LEASE_TERMS } from "@linkspan/vault";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { type Daemon, type Lease, VaultOnBus } from "./vault-on-bus.ts";
import { codeOf, fields, REF, World } from "./world.ts";

const IRC = "daemon:irc:libera";

describeWithServers(["postgres"], "the vault on the fabric", () => {
  let server: PostgresServer;
  let world: World;
  let vault: EnvelopeVault;
  let served: VaultOnBus;
  let irc: Daemon;

  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server[Symbol.asyncDispose]());
  beforeEach(async () => {
    world = await World.create(server);
    vault = await world.vault();
    served = await VaultOnBus.serve(world, vault);
    irc = await served.enrol(IRC);
    await vault.put(REF, fields("correct horse"));
  });
  afterEach(() => world[Symbol.asyncDispose]());

  async function leaseRows(): Promise<number> {
    return (await world.pool.query("SELECT 1 FROM vault.leases")).rows.length;
  }

  async function newestVersion(): Promise<number> {
    const { rows } = await world.pool.query<{ version: string }>("SELECT version FROM vault.secrets");
    return Number(rows[0]?.version);
  }

  test("check out, renew, write back, check out again, release", async () => {
    const lease = await irc.checkOut();
    expect(lease).toMatchObject({ version: 1, ttl_ms: LEASE_TERMS.session.ttlMs });
    expect(await irc.opened(lease)).toEqual({ password: "correct horse" });

    world.nowMs += 60_000;
    expect(await irc.renew(lease)).toEqual({ ttl_ms: LEASE_TERMS.session.ttlMs });
    expect(await irc.writeBack(lease, fields("refreshed"))).toEqual({ version: 2 });
    expect(await irc.opened(await irc.checkOut())).toEqual({ password: "refreshed" });

    expect(await irc.release(lease)).toEqual({});
    expect(await irc.release(lease)).toEqual({});
    expect(await codeOf(irc.renew(lease))).toBe("vault.lease_expired");
    expect((await world.audit()).map(({ action }) => action)).toEqual([
      "vault.put",
      "vault.checkout",
      "vault.write_back",
      "vault.checkout",
      "vault.release",
      "vault.refused",
    ]);
  });

  test("an identity without a credential gets version 0 and nothing sealed, and may write its first", async () => {
    const lease = await irc.checkOut({ identity_id: "id-2" });
    expect(lease.version).toBe(0);
    expect(lease).not.toHaveProperty("sealed");
    const sealed = await irc.sealed(lease, fields("first"), "id-2");
    const request = irc.request("write_back", { lease_id: lease.lease_id, version: 0, sealed });
    expect(await irc.ask(request)).toEqual({ version: 1 });
    const again = await irc.checkOut({ identity_id: "id-2" });
    expect(await irc.opened(again, "id-2")).toEqual({ password: "first" });
  });

  test("what a person handed over comes once, with a ticket to link, over what is stored", async () => {
    await vault.handOver(REF, { code: Buffer.from("123456"), password: Buffer.from("new") });
    expect(await irc.opened(await irc.checkOut())).toEqual({ password: "correct horse" });
    const linking: Partial<TicketClaims> = {
      ...ticketStamp(["session", "admin"], world.now()),
      capabilities: ["session", "admin"],
      actions: ["link_account"],
    };
    const ticket = irc.ticket(linking);
    const request = irc.request("checkout", { ticket, scope: "session" });
    const handed = { ...((await irc.ask(request)) as unknown as Lease), ticket };
    expect(await irc.opened(handed)).toEqual({ code: "123456", password: "new" });
    expect(await irc.opened(await irc.checkOut(linking))).toEqual({ password: "correct horse" });
    // The very same request, redelivered, gets the very same again.
    const again = { ...((await irc.ask(request)) as unknown as Lease), ticket };
    expect(await irc.opened(again)).toEqual({ code: "123456", password: "new" });
    expect(await vault.takeHandOver(REF)).toBeUndefined();
  });

  test("what a daemon took and found good becomes the credential, while its time lasts", async () => {
    const linking: Partial<TicketClaims> = { actions: ["link_account"] };
    await vault.handOver(REF, fields("tried"));
    await irc.checkOut(linking);
    expect(await vault.keepHandOver(REF)).toBe(2);
    expect(await vault.keepHandOver(REF)).toBeUndefined();
    expect(await irc.opened(await irc.checkOut())).toEqual({ password: "tried" });

    await vault.handOver(REF, fields("too late"));
    await irc.checkOut(linking);
    world.nowMs += 300_000;
    expect(await vault.keepHandOver(REF)).toBeUndefined();
    expect(await irc.opened(await irc.checkOut())).toEqual({ password: "tried" });
  });

  test("what a daemon writes back while linking is not undone by what was typed in", async () => {
    await vault.handOver(REF, fields("typed in"));
    const lease = await irc.checkOut({ actions: ["link_account"] });
    await irc.writeBack(lease, fields("session"));
    expect(await vault.keepHandOver(REF)).toBeUndefined();
    const next = await irc.checkOut();
    expect(await irc.opened(next)).toEqual({ password: "session" });

    await vault.handOver(REF, fields("not taken yet"));
    await irc.writeBack(next, fields("refreshed meanwhile"));
    expect(await vault.keepHandOver(REF)).toBe(4);
  });

  test("only the daemon's own key opens it, and only as this lease of this identity", async () => {
    const lease = await irc.checkOut();
    const other = await served.enrol(IRC);
    expect(await codeOf(other.opened(lease))).toBe("vault.unavailable");
    expect(await codeOf(irc.opened({ ...lease, lease_id: "another" }))).toBe("vault.unavailable");
    expect(await codeOf(irc.opened({ ...lease, ticket: irc.ticket() }))).toBe("vault.unavailable");
    expect(await codeOf(irc.opened(lease, "id-2"))).toBe("vault.unavailable");
    expect(await codeOf(irc.opened(lease, "id-1", "ws2"))).toBe("vault.unavailable");
  });

  describe("a checkout is refused, changes nothing and leaves an entry, with", () => {
    const send = (now: Date): Partial<TicketClaims> => ({
      ...ticketStamp(["send"], now),
      capabilities: ["send"],
      intent_hash: toBase64url(new Uint8Array(32)),
      attempt: 1,
    });
    const cases: [string, string, (now: Date) => [Partial<TicketClaims>, Partial<Metadata>?, string?]][] = [
      ["another daemon's ticket", "ticket.wrong_audience", () => [{ aud: "daemon:irc:oftc" }]],
      ["a ticket for another key", "ticket.wrong_audience", () => [{ cnf: toBase64url(new Uint8Array(32)) }]],
      ["another workspace's ticket", "ticket.wrong_destination", () => [{}, { workspace_id: "ws10" }]],
      ["another identity's ticket", "ticket.wrong_destination", () => [{}, { identity_id: "id-10" }]],
      ["another service's ticket", "ticket.wrong_destination", () => [{ service: "xmpp" }]],
      ["a session asked with a ticket to send", "ticket.wrong_destination", (now) => [send(now)]],
      ["a send asked with a session's ticket", "ticket.wrong_destination", () => [{}, {}, "send"]],
      [
        "a ticket that ran out",
        "ticket.expired",
        (now) => [ticketStamp(["session"], new Date(now.getTime() - 3_631_000))],
      ],
    ];

    test.each(cases)("%s", async (_what, code, build) => {
      const before = await world.audit();
      const [claims, metadata, scope] = build(world.now());
      expect(await codeOf(irc.checkOut(claims, metadata, scope))).toBe(code);
      expect(await leaseRows()).toBe(0);
      const [entry, ...more] = (await world.audit()).slice(before.length);
      expect(more).toEqual([]);
      expect(entry).toMatchObject({
        actor: IRC,
        action: "vault.refused",
        detail: { request: "checkout", code },
      });
    });

    test("a ticket that the daemon signed itself", async () => {
      const ticket = irc.ticket({}, irc.signer);
      expect(await codeOf(irc.ask(irc.request("checkout", { ticket, scope: "session" })))).toBe(
        "ticket.invalid",
      );
    });

    test("a ticket of which one bit was flipped, or an envelope in its place", async () => {
      const [kid, body, sig] = irc.ticket().split(".") as [string, string, string];
      const flipped = `${kid}.${body}.${sig.startsWith("A") ? "B" : "A"}${sig.slice(1)}`;
      const envelope = irc.request("renew", { lease_id: "x" });
      const disguised = `${envelope.kid}.${toBase64url(envelope.body)}.${envelope.sig}`;
      for (const ticket of [flipped, disguised, "x", "a.b.c"]) {
        const request = irc.request("checkout", { ticket, scope: "session" });
        expect(await codeOf(irc.ask(request))).toBe("ticket.invalid");
      }
      expect(await leaseRows()).toBe(0);
    });

    test("no seal key registered, or one that cannot be sealed to", async () => {
      const bare = await served.enrol(IRC, { seal_b64u: "" });
      const weak = await served.enrol(IRC, { seal_b64u: toBase64url(new Uint8Array(32)) });
      expect(await codeOf(bare.checkOut())).toBe("envelope.unknown_key");
      expect(await codeOf(weak.checkOut())).toBe("envelope.unknown_key");
      expect(await leaseRows()).toBe(0);
    });

    test("a caller that lost its instance", async () => {
      served.authority = async ({ epoch }) => {
        if (epoch !== 2) throw new FabricError("lease.lost", "another epoch holds the instance");
      };
      expect(await codeOf(irc.checkOut())).toBe("lease.lost");
      irc.epoch = 2;
      const lease = await irc.checkOut();
      irc.epoch = 1;
      expect(await codeOf(irc.renew(lease))).toBe("lease.lost");
      expect(await codeOf(irc.writeBack(lease, fields("x")))).toBe("lease.lost");
      expect(await newestVersion()).toBe(1);
    });

    test("an audit that cannot be kept", async () => {
      world.auditFails = new Error("disk full");
      expect(await codeOf(irc.checkOut())).toBe("vault.unavailable");
      world.auditFails = undefined;
      expect(await leaseRows()).toBe(0);
      expect(served.logged.join()).toContain("vault.unaudited");
    });

    test("a sealed vault", async () => {
      vault.seal("maintenance");
      expect(await codeOf(irc.checkOut())).toBe("vault.sealed");
    });
  });

  test("what is not proven to come from a daemon gets no answer", async () => {
    const good = irc.request("checkout", { ticket: irc.ticket(), scope: "session" });
    const backend = await served.enrol("backend:shop");
    const { sig: _sig, kid: _kid, ...unsigned } = good;
    const body = Buffer.from(good.body);
    body[body.length - 3] = (body[body.length - 3] as number) ^ 1;
    const attempts = [
      [unsigned, "envelope.unsigned"],
      [{ ...good, body }, "envelope.bad_signature"],
      [{ ...good, route: { ...good.route, action: "renew" } }, "envelope.misrouted"],
      [{ ...good, kid: served.core.kid }, "envelope.bad_signature"],
      [backend.request("checkout", { ticket: irc.ticket(), scope: "session" }), "envelope.wrong_issuer"],
      [irc.request("checkout", { ticket: irc.ticket(), scope: "admin" }), "envelope.schema"],
      [irc.request("open", {}), "action.unsupported"],
    ] as const;
    for (const [message, code] of attempts) {
      const { verdict, reply } = await irc.deliver(message);
      expect(verdict).toMatchObject({ do: "dead", code });
      expect(reply).toBeUndefined();
    }
    expect(await leaseRows()).toBe(0);
  });

  test("the same request again gets the same lease, and no second one", async () => {
    const ticket = irc.ticket();
    const request = irc.request("checkout", { ticket, scope: "session" });
    const [first, second] = await Promise.all([irc.ask(request), irc.ask(request)]);
    const third = await irc.ask(request);
    expect(new Set([first, second, third].map(({ lease_id }) => lease_id)).size).toBe(1);
    expect(await leaseRows()).toBe(1);
  });

  test("a request id used for another checkout is a conflict", async () => {
    const request = irc.request("checkout", { ticket: irc.ticket(), scope: "session" });
    await irc.ask(request);
    const other = irc.request(
      "checkout",
      { ticket: irc.ticket(), scope: "session" },
      { message_id: request.messageId },
    );
    const { reply } = await irc.deliver(other);
    expect(reply).toBeDefined();
    const answers = served.direct.replies.map(({ body }) => Buffer.from(body).toString());
    expect(answers.at(-1)).toContain("envelope.conflict");
    expect(await leaseRows()).toBe(1);
  });

  test("another daemon, or the same from another workspace, cannot use a lease", async () => {
    const lease = await irc.checkOut();
    const oftc = await served.enrol("daemon:irc:oftc");
    const rotated = await served.enrol(IRC);
    for (const other of [oftc, rotated]) {
      expect(await codeOf(other.renew(lease))).toBe("envelope.wrong_issuer");
      expect(await codeOf(other.release(lease))).toBe("envelope.wrong_issuer");
      expect(await codeOf(other.writeBack(lease, fields("theirs")))).toBe("envelope.wrong_issuer");
    }
    expect(await codeOf(irc.renew(lease, { workspace_id: "ws10" }))).toBe("envelope.wrong_issuer");
    expect(await codeOf(irc.renew(lease, { identity_id: "id-2" }))).toBe("envelope.wrong_issuer");
    expect(await codeOf(irc.renew({ lease_id: "'; DROP SCHEMA vault; --" }))).toBe("envelope.wrong_issuer");
    expect(await irc.renew(lease)).toBeDefined();
    expect(await newestVersion()).toBe(1);
  });

  test("a lease that ran out renews no more, and no lease outlives its longest life", async () => {
    const lease = await irc.checkOut();
    world.nowMs += LEASE_TERMS.session.ttlMs;
    expect(await codeOf(irc.renew(lease))).toBe("vault.lease_expired");
    expect(await codeOf(irc.writeBack(lease, fields("late")))).toBe("vault.lease_expired");

    const long = await irc.checkOut();
    const endMs = world.nowMs + LEASE_TERMS.session.maxMs;
    for (;;) {
      world.nowMs += Math.min(LEASE_TERMS.session.ttlMs - 1, endMs - world.nowMs);
      if (world.nowMs >= endMs) break;
      const { ttl_ms } = (await irc.renew(long)) as { ttl_ms: number };
      expect(world.nowMs + ttl_ms).toBeLessThanOrEqual(endMs);
    }
    expect(await codeOf(irc.renew(long))).toBe("vault.lease_expired");
  });

  test("revoking ends leases by lease, identity, daemon and workspace, and no others", async () => {
    const other = await irc.checkOut({ identity_id: "id-2" });
    for (const build of [
      (id: string) => ({ leaseId: id }),
      () => ({ workspaceId: "ws1", identityId: "id-1" }),
    ]) {
      const lease = await irc.checkOut();
      expect(await vault.revoke(build(lease.lease_id))).toBe(1);
      expect(await codeOf(irc.renew(lease))).toBe("vault.revoked");
      expect(await codeOf(irc.writeBack(lease, fields("x")))).toBe("vault.revoked");
      expect(await irc.renew(other)).toBeDefined();
    }
    expect(await vault.revoke({ daemon: "daemon:irc:oftc" })).toBe(0);
    expect(await vault.revoke({ workspaceId: "ws10" })).toBe(0);
    expect(await vault.revoke({ daemon: IRC })).toBe(1);
    expect(await codeOf(irc.renew(other))).toBe("vault.revoked");
    const last = await irc.checkOut();
    expect(await vault.revoke({ workspaceId: "ws1" })).toBe(1);
    expect(await codeOf(irc.renew(last))).toBe("vault.revoked");
    expect(await vault.revoke({ leaseId: "not a lease" })).toBe(0);
  });

  test("dropping a credential revokes its leases", async () => {
    const lease = await irc.checkOut();
    await vault.drop(REF);
    expect(await codeOf(irc.renew(lease))).toBe("vault.revoked");
    expect(await codeOf(irc.writeBack(lease, fields("back")))).toBe("vault.revoked");
    expect(await vault.has(REF)).toBe(false);
  });

  test("renewing and revoking at once: once revoked, never renewed", async () => {
    const lease = await irc.checkOut();
    const renewals = Array.from({ length: 30 }, async (_, i) => {
      if (i === 15) await vault.revoke({ leaseId: lease.lease_id });
      return codeOf(irc.renew(lease));
    });
    const codes = new Set(await Promise.all(renewals));
    expect([...codes].every((code) => code === "done" || code === "vault.revoked")).toBe(true);
    expect(await codeOf(irc.renew(lease))).toBe("vault.revoked");
    const { rows } = await world.pool.query("SELECT ended_why FROM vault.leases");
    expect(rows).toEqual([{ ended_why: "revoked" }]);
  });

  test("writing back and revoking at once: either it was written before, or not at all", async () => {
    for (let round = 0; round < 8; round += 1) {
      const lease = await irc.checkOut();
      const [written] = await Promise.all([
        codeOf(irc.writeBack(lease, fields(`round ${round}`))),
        vault.revoke({ leaseId: lease.lease_id }),
      ]);
      expect(["done", "vault.revoked"]).toContain(written);
      expect(await newestVersion()).toBe(written === "done" ? lease.version + 1 : lease.version);
    }
  });

  test("write back is a compare-and-swap: one of two wins, the other must check out again", async () => {
    const [a, b] = [await irc.checkOut(), await irc.checkOut()];
    const codes = await Promise.all([
      codeOf(irc.writeBack(a, fields("from a"))),
      codeOf(irc.writeBack(b, fields("from b"))),
    ]);
    expect(codes.sort()).toEqual(["done", "vault.conflict"]);
    expect(await newestVersion()).toBe(2);
  });

  test("once a newer lease has written, an older one may not, whatever version it names", async () => {
    const [older, newer] = [await irc.checkOut(), await irc.checkOut()];
    expect(await irc.writeBack(newer, fields("newer"))).toEqual({ version: 2 });
    expect(await codeOf(irc.writeBack(older, fields("older"), 2))).toBe("vault.conflict");
    expect(await irc.opened(await irc.checkOut())).toEqual({ password: "newer" });
  });

  test("the same write back again is answered the same and writes nothing", async () => {
    const lease = await irc.checkOut();
    const sealed = await irc.sealed(lease, fields("once"));
    const request = irc.request("write_back", { lease_id: lease.lease_id, version: 1, sealed });
    expect(await irc.ask(request)).toEqual({ version: 2 });
    expect(await irc.ask(request)).toEqual({ version: 2 });
    expect(await newestVersion()).toBe(2);
  });

  test("fields sealed under another lease, or to another key, are not taken", async () => {
    const [a, b] = [await irc.checkOut(), await irc.checkOut()];
    const sealed = await irc.sealed(a, fields("moved"));
    const request = irc.request("write_back", { lease_id: b.lease_id, version: 1, sealed });
    expect(await codeOf(irc.ask(request))).toBe("vault.unavailable");
    expect(await newestVersion()).toBe(1);
  });

  test("a newer epoch, or the daemon an identity moved to, ends the leases before it", async () => {
    const lease = await irc.checkOut();
    irc.epoch = 2;
    const next = await irc.checkOut();
    expect(await codeOf(irc.renew(lease))).toBe("vault.lease_expired");
    expect(await codeOf(irc.writeBack(lease, fields("late")))).toBe("vault.lease_expired");
    const oftc = await served.enrol("daemon:irc:oftc");
    const moved = await oftc.checkOut();
    expect(await codeOf(irc.renew(next))).toBe("vault.lease_expired");
    expect(await oftc.renew(moved)).toBeDefined();
  });

  test("an answer that cannot be given is tried again, but neither for ever nor to no address", async () => {
    const request = irc.request("checkout", { ticket: irc.ticket(), scope: "session" });
    served.direct.fails = new FabricError("bus.unavailable", "reconnecting");
    expect((await served.direct.deliver(request)).verdict).toEqual({ do: "retry", afterMs: 1_000 });
    expect((await served.direct.deliver(request, 10)).verdict).toEqual({ do: "ack" });
    served.direct.fails = new FabricError("topic.malformed", "no such address");
    expect((await served.direct.deliver(request)).verdict).toEqual({ do: "ack" });
    served.direct.fails = undefined;
    expect((await irc.ask(request)).version).toBe(1);
    expect(await leaseRows()).toBe(1);
  });

  test("an answer is not a question", async () => {
    const { reply } = await irc.deliver(irc.request("renew", { lease_id: "x" }));
    if (reply === undefined) throw new Error("there was no answer");
    const { verdict } = await irc.deliver(reply);
    expect(verdict).toMatchObject({ do: "dead", code: "envelope.misrouted" });
  });
});
