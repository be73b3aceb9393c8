/** Envelopes that were refused, with the code, the route and the original bytes. */
import { createHash } from "node:crypto";
import type { ErrorCode } from "@linkspan/envelopes";
import { type Queryable, run, runFirst, sqlFor } from "../database.ts";
import type { QuarantineState } from "../tables.ts";
import { sql } from "kysely";

export interface Refused {
  readonly code: string;
  readonly detail: string;
  readonly routingKey: string;
  readonly issuer: string | undefined;
  readonly workspaceId: string | undefined;
  readonly messageId: string | undefined;
  readonly kid: string | undefined;
  readonly sig: string | undefined;
  readonly body: Uint8Array;
}

/** Characters of a text from a refused envelope that a column keeps. */
const MAX_DETAIL = 2_048;
/** The same for the transport's properties: ids, keys, routes. */
const MAX_NAME = 512;
/** A signature with its inclusion proof, as long as the bus carries one: cut, it could never be retried. */
const MAX_SIGNATURE = 4_096;
const MAX_SEEN = 2_147_483_647;
/** Codes that are final for the same bytes, so a row needs only as much of them as a person looks at. */
const FOR_GOOD: ReadonlySet<string> = new Set<ErrorCode>([
  "envelope.too_large",
  "envelope.malformed",
  "envelope.not_utf8",
  "envelope.not_canonical",
  "envelope.bad_signature",
]);
const CUT_BODY = 16_384;
/** Each has eleven values, and a statement takes 65,535. */
const ROWS_AT_ONCE = 500;
const BYTES_AT_ONCE = 4 * 1_048_576;

/**
 * The same bytes refused again for the same reason raise `seen` instead of making a row. One that was retried is
 * open again then; one that was dropped stays so.
 */
export async function quarantine(on: Queryable, refused: Refused): Promise<string> {
  const [row] = await insert(on, [rowOf(refused)]);
  if (row === undefined) throw new Error("an insert with RETURNING gave no row");
  return row.id;
}

/** As {@link quarantine}, in one statement. @returns the id of each one's row */
export async function quarantineAll(on: Queryable, refused: readonly Refused[]): Promise<string[]> {
  const rows = new Map<string, ReturnType<typeof rowOf>>();
  const keys = refused.map((one) => {
    const row = rowOf(one);
    const key = keyText(row.body_hash, row.code, row.routing_key);
    const known = rows.get(key);
    if (known === undefined) rows.set(key, row);
    else known.seen += 1;
    return key;
  });
  const ids = new Map<string, string>();
  // In one order for everybody, so that two processes never wait for each other's rows.
  const ordered = [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
  for (let from = 0; from < ordered.length; ) {
    const group = leading(ordered, from);
    from += group.length;
    for (const { id, ...key } of await insert(on, group)) {
      ids.set(keyText(key.body_hash, key.code, key.routing_key), id);
    }
  }
  return keys.map((key) => {
    const id = ids.get(key);
    if (id === undefined) throw new Error("an insert with RETURNING gave no row");
    return id;
  });
}

/** The rows of one statement, at least one. */
function leading(rows: ReturnType<typeof rowOf>[], from: number): ReturnType<typeof rowOf>[] {
  let to = from;
  for (let bytes = 0; to < rows.length && to - from < ROWS_AT_ONCE; to++) {
    bytes += rows[to]?.body.length ?? 0;
    if (to > from && bytes > BYTES_AT_ONCE) break;
  }
  return rows.slice(from, to);
}

function insert(on: Queryable, rows: ReturnType<typeof rowOf>[]) {
  return run(
    on,
    sqlFor
      .insertInto("quarantine")
      .values(rows)
      .onConflict((conflict) =>
        conflict.columns(["body_hash", "code", "routing_key"]).doUpdateSet({
          seen: sql<number>`least(quarantine.seen, ${MAX_SEEN} - excluded.seen) + excluded.seen`,
          at: sql<Date>`now()`,
          state: sql<QuarantineState>`CASE quarantine.state WHEN 'dropped' THEN 'dropped' ELSE 'open' END`,
        }),
      )
      .returning(["id", "body_hash", "code", "routing_key"]),
  );
}

function rowOf(refused: Refused) {
  const { body } = refused;
  const isCut = FOR_GOOD.has(refused.code) && body.length > CUT_BODY;
  const cut = `the first ${CUT_BODY} of its ${body.length} bytes are kept; `;
  return {
    code: refused.code,
    detail: storable(`${isCut ? cut : ""}${refused.detail}`, MAX_DETAIL),
    routing_key: storable(refused.routingKey, MAX_NAME),
    issuer: storable(refused.issuer),
    workspace_id: storable(refused.workspaceId),
    message_id: storable(refused.messageId),
    kid: storable(refused.kid),
    sig: storable(refused.sig, MAX_SIGNATURE),
    body: Buffer.from(body.buffer, body.byteOffset, isCut ? CUT_BODY : body.length),
    body_hash: createHash("sha256").update(body).digest(),
    seen: 1,
  };
}

function keyText(hash: Uint8Array, code: string, routingKey: string): string {
  return `${Buffer.from(hash).toString("hex")} ${code} ${routingKey}`;
}

export interface QuarantineFilter {
  readonly state?: QuarantineState;
  readonly workspaceId?: string;
  readonly code?: string;
  readonly limit: number;
}

export function listQuarantine(on: Queryable, filter: QuarantineFilter) {
  let query = sqlFor
    .selectFrom("quarantine")
    .select([
      "id",
      "at",
      "code",
      "detail",
      "routing_key",
      "issuer",
      "workspace_id",
      "message_id",
      "kid",
      "seen",
      "state",
    ])
    .orderBy("id", "desc")
    .limit(filter.limit);
  if (filter.state !== undefined) query = query.where("state", "=", filter.state);
  if (filter.workspaceId !== undefined) query = query.where("workspace_id", "=", filter.workspaceId);
  if (filter.code !== undefined) query = query.where("code", "=", filter.code);
  return run(on, query);
}

export function quarantined(on: Queryable, id: string) {
  return runFirst(on, sqlFor.selectFrom("quarantine").selectAll().where("id", "=", id));
}

/**
 * Settles a row that is not dropped yet.
 *
 * @param seen the count that the caller acted on: a row that was refused once more meanwhile stays as it is
 */
export async function resolveQuarantined(
  on: Queryable,
  id: string,
  state: "retried" | "dropped",
  seen?: number,
): Promise<boolean> {
  let query = sqlFor
    .updateTable("quarantine")
    .set({ state })
    .where("id", "=", id)
    .where("state", "<>", "dropped");
  if (seen !== undefined) query = query.where("seen", "=", seen);
  const rows = await run(on, query.returning("id"));
  return rows.length === 1;
}

/** A text column holds no NUL, and no more of a stranger's words than anybody needs to read. */
function storable(text: string, maxLength?: number): string;
function storable(text: string | undefined, maxLength?: number): string | null;
function storable(text: string | undefined, maxLength = MAX_NAME): string | null {
  return text?.slice(0, maxLength).replaceAll("\0", "\uFFFD") ?? null;
}
