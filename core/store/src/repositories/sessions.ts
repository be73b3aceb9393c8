/** Link sessions: each is one person's try to link one identity. */
import { FabricError } from "@linkspan/envelopes";
import { sql } from "kysely";
import { type Queryable, run, runFirst, sqlFor } from "../database.ts";
import type { AuthSessionState } from "../tables.ts";

export interface AuthSession {
  readonly id: string;
  readonly workspace_id: string;
  readonly user_id: string;
  readonly service: string;
  readonly identity_id: string;
  readonly state: AuthSessionState;
  readonly step: Record<string, unknown>;
  /** The backend's client's description of itself. */
  readonly client_context: Record<string, unknown>;
  readonly created_at: Date;
  /** When it entered its state. */
  readonly changed_at: Date;
  readonly expires_at: Date;
}

export async function insertAuthSession(
  on: Queryable,
  session: Omit<AuthSession, "created_at" | "changed_at" | "state" | "client_context"> & {
    readonly client_context?: Readonly<Record<string, unknown>>;
  },
): Promise<AuthSession> {
  const row = await runFirst(
    on,
    sqlFor
      .insertInto("auth_sessions")
      .values({
        ...session,
        step: JSON.stringify(session.step),
        client_context: JSON.stringify(session.client_context ?? {}),
        state: "initiated",
      })
      .returningAll(),
  );
  if (row === undefined) throw new Error("an insert with RETURNING gave no row");
  return row;
}

export function lockAuthSession(on: Queryable, id: string): Promise<AuthSession | undefined> {
  return runFirst(on, sqlFor.selectFrom("auth_sessions").selectAll().where("id", "=", id).forUpdate());
}

export function authSessionById(on: Queryable, id: string): Promise<AuthSession | undefined> {
  return runFirst(on, sqlFor.selectFrom("auth_sessions").selectAll().where("id", "=", id));
}

/** From which states a link session may enter one (contract section 9). What is ended stays ended. */
const SESSION_FROM: Readonly<Record<AuthSessionState, readonly AuthSessionState[]>> = {
  initiated: [],
  awaiting_user: ["initiated", "awaiting_user", "completing"],
  completing: ["awaiting_user"],
  linked: ["completing"],
  failed: ["initiated", "awaiting_user", "completing"],
  expired: ["initiated", "awaiting_user", "completing"],
  cancelled: ["initiated", "awaiting_user", "completing"],
};

/** States that only a session within its time enters. */
const IN_TIME: readonly AuthSessionState[] = ["awaiting_user", "completing", "linked"];

/**
 * Compare and swap: the session moves only from a state that allows it, and goes on only within its time.
 *
 * @throws FabricError `request.invalid` when it was ended or ran out of time meanwhile
 */
export async function moveAuthSession(
  on: Queryable,
  id: string,
  state: AuthSessionState,
  step: Record<string, unknown>,
): Promise<void> {
  const moved = await run(
    on,
    sqlFor
      .updateTable("auth_sessions")
      .set({ state, step: JSON.stringify(step), changed_at: sql<Date>`now()` })
      .where("id", "=", id)
      .where("state", "in", [...SESSION_FROM[state]])
      .$if(IN_TIME.includes(state), (query) => query.where("expires_at", ">", sql<Date>`now()`))
      .returning("id"),
  );
  if (moved.length === 0)
    throw new FabricError("request.invalid", "the session was ended meanwhile; open a new one");
}

const OPEN_SESSIONS: AuthSessionState[] = ["initiated", "awaiting_user", "completing"];

export type EndedSession = Pick<AuthSession, "id" | "identity_id" | "workspace_id" | "service">;

/** Ends sessions that ran out of time, at most `limit`. @returns those that were ended */
export function expireAuthSessions(on: Queryable, limit = 500): Promise<EndedSession[]> {
  const due = sqlFor
    .selectFrom("auth_sessions")
    .select("id")
    .where("state", "in", OPEN_SESSIONS)
    .where("expires_at", "<=", sql<Date>`now()`)
    .orderBy("expires_at")
    .limit(limit)
    .forUpdate()
    .skipLocked();
  return run(
    on,
    sqlFor
      .updateTable("auth_sessions")
      .set({ state: "expired", changed_at: sql<Date>`now()` })
      .where("id", "in", due)
      .returning(["id", "identity_id", "workspace_id", "service"]),
  );
}

/** Cancels the open sessions of one identity. @returns those that were ended */
export function cancelAuthSessions(on: Queryable, identityId: string): Promise<EndedSession[]> {
  return run(
    on,
    sqlFor
      .updateTable("auth_sessions")
      .set({ state: "cancelled", changed_at: sql<Date>`now()` })
      .where("identity_id", "=", identityId)
      .where("state", "in", OPEN_SESSIONS)
      .returning(["id", "identity_id", "workspace_id", "service"]),
  );
}
