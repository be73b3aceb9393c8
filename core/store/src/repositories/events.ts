/**
 * The event log, the heart of the hot path.
 *
 * One statement takes a whole batch: inbox keys are inserted, and only rows whose key was new become
 * events. Binary columns travel as one concatenated value each and are cut apart by the server, which
 * spares a hexadecimal copy of every body.
 */
import { type Queryable, execute } from "../database.ts";

export interface NewEvent {
  readonly workspaceId: string;
  /** 32 bytes. */
  readonly messageId: Uint8Array;
  /** SHA-256 of what makes two events of one id the same; 32 bytes. */
  readonly content: Uint8Array;
  /** RFC 6962 leaf hash of the body; 32 bytes. */
  readonly leaf: Uint8Array;
  readonly service: string;
  readonly account: string;
  readonly conversation: string | undefined;
  readonly fanOut: boolean;
  /** The linked identity whose words they are. */
  readonly senderIdentity?: string | undefined;
  readonly kid: string | undefined;
  readonly sig: string | undefined;
  readonly body: Uint8Array;
  /** Of a member of a history: message id of the batch that it came in; 32 bytes. */
  readonly batchId?: Uint8Array | undefined;
}

/** Where a stored event lies, until it is moved. Texts, because the driver's own types round them. */
export interface EventPlace {
  readonly id: string;
  readonly xid: string;
  readonly receivedAt: string;
}

const APPEND = `
WITH input AS (
  SELECT ordinality AS i, workspace_id, service, account, conversation, fan_out, kid, sig, sender_identity, batch_id,
         substring($1::bytea FROM ((ordinality - 1) * 32 + 1)::int FOR 32) AS message_id,
         substring($2::bytea FROM ((ordinality - 1) * 32 + 1)::int FOR 32) AS content,
         substring($3::bytea FROM ((ordinality - 1) * 32 + 1)::int FOR 32) AS leaf,
         substring($4::bytea FROM body_from FOR body_length) AS body
    FROM unnest($5::int[], $6::int[], $7::text[], $8::text[], $9::text[], $10::text[], $11::bool[], $12::text[], $13::text[], $14::text[], $15::bytea[])
         WITH ORDINALITY AS t (body_from, body_length, workspace_id, service, account, conversation, fan_out, kid, sig, sender_identity, batch_id, ordinality)
), fresh AS (
  INSERT INTO inbox_keys (message_id, workspace_id, content)
  SELECT message_id, workspace_id, content FROM input
  ON CONFLICT DO NOTHING
  RETURNING message_id, workspace_id
)
INSERT INTO events (received_at, workspace_id, message_id, leaf, service, account, conversation, fan_out, kid, sig, sender_identity, body, batch_id)
SELECT now(), workspace_id, message_id, leaf, service, account, conversation, fan_out, kid, sig, sender_identity, body, batch_id
  FROM input JOIN fresh USING (message_id, workspace_id)
 ORDER BY i
RETURNING encode(message_id, 'hex') AS message_id, workspace_id,
          CASE WHEN NOT fan_out THEN ARRAY[id::text, xid::text, received_at::text] END AS place`;

/**
 * Appends events whose key is new, in the given order. Keys within one call must differ.
 *
 * @returns the rows that were inserted, as `<hexadecimal message id>@<workspace>`, each with its place where it is
 *   not fanned out
 */
export async function appendEvents(
  on: Queryable,
  events: readonly NewEvent[],
): Promise<Map<string, EventPlace | undefined>> {
  if (events.length === 0) return new Map();
  const offsets: number[] = [];
  let offset = 1;
  for (const event of events) {
    offsets.push(offset);
    offset += event.body.length;
  }
  const { rows } = await execute<{ message_id: string; workspace_id: string; place: string[] | null }>(
    on,
    APPEND,
    [
      Buffer.concat(events.map((event) => event.messageId)),
      Buffer.concat(events.map((event) => event.content)),
      Buffer.concat(events.map((event) => event.leaf)),
      Buffer.concat(events.map((event) => event.body)),
      offsets,
      events.map((event) => event.body.length),
      events.map((event) => event.workspaceId),
      events.map((event) => event.service),
      events.map((event) => event.account),
      events.map((event) => event.conversation ?? null),
      events.map((event) => event.fanOut),
      events.map((event) => event.kid ?? null),
      events.map((event) => event.sig ?? null),
      events.map((event) => event.senderIdentity ?? null),
      events.map((event) => (event.batchId === undefined ? null : Buffer.from(event.batchId))),
    ],
    "events.append",
  );
  return new Map(rows.map((row) => [`${row.message_id}@${row.workspace_id}`, toPlace(row.place)]));
}

function toPlace(place: readonly string[] | null): EventPlace | undefined {
  const [id, xid, receivedAt] = place ?? [];
  if (id === undefined || xid === undefined || receivedAt === undefined) return undefined;
  return { id, xid, receivedAt };
}

export interface InboxKey {
  readonly workspaceId: string;
  readonly messageId: Uint8Array;
}

/** @returns content hashes of known keys, by hexadecimal message id joined with the workspace: `<hex>@<workspace>` */
export async function knownContents(on: Queryable, keys: readonly InboxKey[]): Promise<Map<string, Buffer>> {
  if (keys.length === 0) return new Map();
  const { rows } = await execute<{ key: string; content: Buffer }>(
    on,
    `SELECT encode(k.message_id, 'hex') || '@' || k.workspace_id AS key, k.content
       FROM unnest($1::bytea[], $2::text[]) AS t (message_id, workspace_id)
       JOIN inbox_keys k USING (message_id, workspace_id)`,
    [keys.map((key) => Buffer.from(key.messageId)), keys.map((key) => key.workspaceId)],
  );
  return new Map(rows.map((row) => [row.key, row.content]));
}

export interface KeyClaim extends InboxKey {
  /** SHA-256 of what makes two messages of one id the same; 32 bytes. */
  readonly content: Uint8Array;
}

export type Claimed = "new" | "duplicate" | "conflict";

/**
 * Records keys of messages that are not events (statuses, deferrals), so that a repeat changes nothing. A key that
 * comes twice is new the first time.
 *
 * @returns one answer for each, in their order
 */
export async function claimKeys(on: Queryable, keys: readonly KeyClaim[]): Promise<Claimed[]> {
  if (keys.length === 0) return [];
  const nameOf = ({ messageId, workspaceId }: InboxKey) =>
    `${Buffer.from(messageId).toString("hex")}@${workspaceId}`;
  const named = keys.map((key) => ({ ...key, name: nameOf(key) }));
  const first = new Map<string, (typeof named)[number]>();
  for (const key of named) if (!first.has(key.name)) first.set(key.name, key);
  // In one order for everybody, so that two processes never wait for each other's keys.
  const ordered = [...first.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const { rows } = await execute<{ name: string }>(
    on,
    `INSERT INTO inbox_keys (message_id, workspace_id, content)
     SELECT message_id, workspace_id, content
       FROM unnest($1::bytea[], $2::text[], $3::bytea[]) WITH ORDINALITY AS t (message_id, workspace_id, content, n)
      ORDER BY n
     ON CONFLICT DO NOTHING
     RETURNING encode(message_id, 'hex') || '@' || workspace_id AS name`,
    [
      ordered.map(({ messageId }) => Buffer.from(messageId)),
      ordered.map(({ workspaceId }) => workspaceId),
      ordered.map(({ content }) => Buffer.from(content)),
    ],
    "inbox.claim",
  );
  const fresh = new Set(rows.map(({ name }) => name));
  const known = await knownContents(
    on,
    ordered.filter(({ name }) => !fresh.has(name)),
  );
  return named.map((key) => {
    const isFirst = first.get(key.name) === key;
    if (isFirst && fresh.has(key.name)) return "new";
    const content = fresh.has(key.name) ? first.get(key.name)?.content : known.get(key.name);
    return content !== undefined && Buffer.compare(content, key.content) === 0 ? "duplicate" : "conflict";
  });
}

export interface StoredEvent {
  readonly position: number;
  readonly workspaceId: string;
  readonly messageId: string;
  readonly service: string;
  readonly account: string;
  readonly conversation: string | undefined;
  readonly receivedAt: Date;
  readonly fanOut: boolean;
  /** The linked identity whose words they are: the account itself, or another of the same workspace. */
  readonly senderIdentity?: string | undefined;
  readonly kid: string | undefined;
  readonly sig: string | undefined;
  /** The verified bytes, as received; of a member of a history, as it was taken out of its batch. */
  readonly body: Buffer;
  /** Of a member of a history: message id of the batch, whose signature proves it. */
  readonly batchId?: string | undefined;
}

export interface EventQuery {
  readonly workspaceId: string;
  /** Exclusive; 0 reads from the beginning. */
  readonly after: number;
  readonly limit: number;
  /** The page ends with the event that reaches so many bytes of bodies. Default: only `limit` counts. */
  readonly maxBytes?: number;
  /** Also those that only a second reader of a conversation saw. Default false. */
  readonly all?: boolean;
}

const COLUMNS = `p.position, e.workspace_id, e.message_id, e.service, e.account, e.conversation, e.received_at,
            e.fan_out, e.sender_identity, e.kid, e.sig, e.body, e.batch_id`;
/**
 * Positions in their order, each with its event. The LIMIT keeps the planner from joining the whole tables first: it
 * takes `fan_out` to be rare or common as it likes, and a page must cost what it holds, whatever the log holds.
 */
const PLACED_EVENTS = `event_positions p CROSS JOIN LATERAL (
       SELECT * FROM events
        WHERE xid = p.xid AND id = p.event_id AND received_at = p.received_at LIMIT 1) e`;

/** Cuts a page where its bodies reach $1 bytes; their sizes are known without reading them. */
function withinBytes(page: string): string {
  return `SELECT position, workspace_id, message_id, service, account, conversation, received_at, fan_out,
    sender_identity, kid, sig, body, batch_id
    FROM (SELECT page.*, sum(octet_length(body)) OVER (ORDER BY position) - octet_length(body) AS bytes_before
            FROM (${page}) page) sized
   WHERE bytes_before < $1 ORDER BY position`;
}

/** Committed events by position. */
export async function readEvents(on: Queryable, query: EventQuery): Promise<StoredEvent[]> {
  const { rows } = await execute<EventRow>(
    on,
    withinBytes(`SELECT ${COLUMNS} FROM ${PLACED_EVENTS}
      WHERE p.workspace_id = $2 AND p.position > $3 AND (e.fan_out OR $5)
      ORDER BY p.position LIMIT $4`),
    [
      query.maxBytes ?? Number.MAX_SAFE_INTEGER,
      query.workspaceId,
      query.after,
      query.limit,
      query.all ?? false,
    ],
    "events.read",
  );
  return rows.map(toStoredEvent);
}

/**
 * Committed events of all workspaces with positions in (after, upTo], those of second readers left out; a page
 * of them, bounded as {@link readEvents} is.
 */
export async function readEventsBetween(
  on: Queryable,
  range: {
    readonly after: number;
    readonly upTo: number;
    readonly limit: number;
    readonly maxBytes: number;
  },
): Promise<StoredEvent[]> {
  const { rows } = await execute<EventRow>(
    on,
    withinBytes(`SELECT ${COLUMNS} FROM ${PLACED_EVENTS}
      WHERE p.position > $2 AND p.position <= $3 AND e.fan_out ORDER BY p.position LIMIT $4`),
    [range.maxBytes, range.after, range.upTo, range.limit],
    "events.between",
  );
  return rows.map(toStoredEvent);
}

interface EventRow {
  position: string;
  workspace_id: string;
  message_id: Buffer;
  service: string;
  account: string;
  conversation: string | null;
  received_at: Date;
  fan_out: boolean;
  sender_identity: string | null;
  kid: string | null;
  sig: string | null;
  body: Buffer;
  batch_id: Buffer | null;
}

function toStoredEvent(row: EventRow): StoredEvent {
  return {
    position: Number(row.position),
    workspaceId: row.workspace_id,
    messageId: row.message_id.toString("base64url"),
    service: row.service,
    account: row.account,
    conversation: row.conversation ?? undefined,
    receivedAt: row.received_at,
    fanOut: row.fan_out,
    senderIdentity: row.sender_identity ?? undefined,
    kid: row.kid ?? undefined,
    sig: row.sig ?? undefined,
    body: row.body,
    batchId: row.batch_id?.toString("base64url"),
  };
}
