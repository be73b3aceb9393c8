/** The kind: an installation that says it is ready while the daemon of an instance can serve nobody. */
import { randomUUID } from "node:crypto";
import { claimLease, releaseLease, saveInstanceHealth } from "@linkspan/store";
import { expect, test } from "vitest";
import { describeApi } from "./api-world.ts";

interface Ready {
  readonly status: string;
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[];
}

describeApi("readiness and instances", {}, (api) => {
  test("an instance that is held and cannot be served degrades readiness, by name, until it can or is given up", async () => {
    const { pool } = api.world.core.database;
    const irc = { service: "irc", instance: "primary" };
    const ready = async () => {
      const open = await api.world.ask<Ready>("GET", "/health/ready");
      expect(JSON.stringify(open.body), "what was seen is not for everybody").not.toContain("irc/primary");
      const { body } = await api.world.ask<Ready>("GET", "/v1/health", { as: api.world.owner });
      expect(body.status).toBe(open.body.status);
      const found = body.checks.find(({ name }) => name === "instances");
      return [open.status, open.body.status, found?.detail] as const;
    };
    const detail = "the answer is too large";
    const stuck = { health: "down", code: "envelope.too_large", detail } as const;
    await saveInstanceHealth(pool, irc, stuck);
    expect((await ready()).slice(0, 2)).toEqual([200, "ready"]);

    const lease = { ...irc, holder: randomUUID(), kid: "k", ttlMs: 60_000 };
    await claimLease(pool, lease);
    expect(await ready()).toEqual([
      200,
      "degraded",
      `irc/primary cannot be served (envelope.too_large): ${detail}`,
    ]);
    await saveInstanceHealth(pool, irc, { health: "ok", code: undefined, detail: undefined });
    expect((await ready()).slice(0, 2)).toEqual([200, "ready"]);

    await saveInstanceHealth(pool, irc, stuck);
    await releaseLease(pool, lease);
    expect((await ready()).slice(0, 2)).toEqual([200, "ready"]);
  });
});
