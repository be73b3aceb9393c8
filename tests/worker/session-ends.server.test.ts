/** How link sessions and their identities end: once, and for good. */
import {
  auditTrail,
  authSessionById,
  cancelAuthSessions,
  identityById,
  insertAuthSession,
  insertIdentity,
  moveAuthSession,
  updateIdentity,
} from "@linkspan/store";
import { sweepSessions } from "@linkspan/worker";
import { expect, test } from "vitest";
import { WORKSPACE } from "./daemon-envelope.ts";
import { describeSteps } from "./intent-steps.ts";

describeSteps("ends of link sessions", (shared) => {
  async function session(id: string, expiresAt: Date): Promise<void> {
    const row = { id, workspace_id: WORKSPACE, user_id: "u", service: "irc" };
    await insertIdentity(shared.steps.database.pool, {
      ...row,
      id: `of ${id}`,
      instance: "primary",
      settings: {},
    });
    await insertAuthSession(shared.steps.database.pool, {
      ...row,
      identity_id: `of ${id}`,
      step: {},
      expires_at: expiresAt,
    });
  }
  const soon = () => new Date(Date.now() + 60_000);

  test("what was ended stays ended: an unlinked identity is not linked, a session ends once", async () => {
    await session("s", soon());
    await moveAuthSession(shared.steps.database.pool, "s", "awaiting_user", {});
    await moveAuthSession(shared.steps.database.pool, "s", "completing", {});
    expect(await cancelAuthSessions(shared.steps.database.pool, "of s")).toHaveLength(1);
    await updateIdentity(shared.steps.database.pool, "of s", { state: "unlinked" });
    const refused = { code: "request.invalid" };
    await expect(
      updateIdentity(shared.steps.database.pool, "of s", { state: "linked" }),
    ).rejects.toMatchObject(refused);
    for (const state of ["linked", "awaiting_user", "failed", "expired"] as const)
      await expect(moveAuthSession(shared.steps.database.pool, "s", state, {})).rejects.toMatchObject(
        refused,
      );
    expect((await authSessionById(shared.steps.database.pool, "s"))?.state).toBe("cancelled");
    expect((await identityById(shared.steps.database.pool, "of s"))?.state).toBe("unlinked");
  });

  test("a session that ran out of time does not link, and takes its pending identity with it", async () => {
    await session("old", soon());
    await session("open", soon());
    await moveAuthSession(shared.steps.database.pool, "old", "awaiting_user", {});
    await moveAuthSession(shared.steps.database.pool, "old", "completing", {});
    await shared.steps.database.query("UPDATE auth_sessions SET expires_at = now() WHERE id = 'old'");
    const refused = { code: "request.invalid" };
    await expect(moveAuthSession(shared.steps.database.pool, "old", "linked", {})).rejects.toMatchObject(
      refused,
    );
    expect(await sweepSessions(shared.steps.core)).toBe(1);
    await expect(moveAuthSession(shared.steps.database.pool, "old", "linked", {})).rejects.toMatchObject(
      refused,
    );
    expect((await identityById(shared.steps.database.pool, "of old"))?.state).toBe("unlinked");
    expect((await identityById(shared.steps.database.pool, "of open"))?.state).toBe("pending");
    const trail = await auditTrail(shared.steps.database.pool, {
      workspaceId: WORKSPACE,
      subject: "of old",
      limit: 5,
    });
    expect(trail.map(({ action }) => action)).toEqual(["identity.abandoned"]);
  });
});
