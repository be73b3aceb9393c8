/**
 * How large everything may be that enters in an envelope, and why. Bytes are those of UTF-8. PostgreSQL keeps an
 * index row of at most 2,704 bytes (a third of a page), and its `integer` ends at 2^31 - 1.
 */
export const LIMITS = {
  /** A reference; ASCII. It stands in index rows beside a workspace (64) and an identity. */
  refBytes: 1_024,
  /** Ids of ours and of the caller: identities, accounts, users. An index row holds two of them, or one and a ref. */
  idBytes: 256,
  /** The platform's ids, of messages, channels and people. Kept in arrays, one for each part of an intent. */
  remoteIdBytes: 512,
  /** Names of steps, fields, boots, versions, formats. */
  wordBytes: 128,
  /** Names of people and rooms: XMPP allows 1,023 bytes, others more. No index has them. */
  nameBytes: 4_096,
  /** A sentence for people: reasons, details, messages of states. Rows and log lines hold one each. */
  sentenceBytes: 4_096,
  /** A ticket has 1 to 2 KiB; a conversation is the largest thing in it. */
  ticketBytes: 8_192,
  /** A link or the address of a file, also a signed one. */
  urlBytes: 8_192,
  /** A message's text, or a stanza: the envelope's own size bounds it. */
  textBytes: 1_048_576,
  /** Sealed credentials, base64url: 384 KiB of them. */
  sealedChars: 524_288,

  /** Name of a durable row: ids of the platform, joined. */
  rowNameBytes: 512,
  /** Value of a durable row. */
  rowBytes: 262_144,
  /** Durable rows in one sealed text, packed: below `sealedChars` when sealed and in base64url. */
  rowPageBytes: 384_000,
  /** Durable rows that one commit changes. */
  rowChanges: 1_024,
  /** Durable rows of one identity: each of its loads looks at all of their names. */
  rows: 16_384,
  /** Names and values of the durable rows of one identity: 5,000 encryption sessions need 11 MB. */
  rowsBytes: 16_777_216,

  /** Where a stream starts again. `resume` gives one of each identity, many in an answer. */
  cursorBytes: 16_384,
  /** Settings of an identity; `resume` gives them beside the cursor. */
  settingsBytes: 16_384,
  /** The description that a backend's client gives of itself when it links; each link request carries it. */
  contextBytes: 4_096,
  /** A login's answer as Msgr's platforms give it; it goes to the vault. */
  sessionBytes: 262_144,
  /** A connector's announcement; a row of its instance holds it. */
  capabilitiesBytes: 65_536,
  /** An open object that no column holds by itself. */
  objectBytes: 524_288,

  /** An `integer` column: attempts. */
  int4: 2_147_483_647,
  /** Parts of one intent: its row holds an id for each. */
  parts: 1_000,
  /** A timer of Node ends there; a longer one fires at once. */
  timerMs: 2_147_483_647,

  /** Formatting of one message: HTML of 64 KiB cannot hold more. */
  entities: 10_000,
  /** Files of one message; albums have ten. */
  media: 100,
  /** Contacts and rooms in one page of a roster: one statement stores them. */
  rosterEntries: 1_000,
  /** Events in one batch of history. */
  historyEvents: 1_000,
  /** Ids in one acknowledgement, about 75 bytes each. */
  acked: 1_000,
  /** Parts that one `attempt` asks for: one transaction answers them. */
  asks: 200,
  /** Reports in one `delivery_statuses`. With all of them at their bounds, the envelope's own size ends it earlier. */
  statuses: 200,
  /** Messages that one delete names. */
  targets: 1_000,
  /** Fields of a step of linking. */
  fields: 64,
  /** Keys in an answer to hello, and issuers and services of a key. */
  keys: 64,
  /** Workspaces that a key is good for; `*` is for more. */
  workspaces: 1_000,
  /** Identities in one answer to resume. The answer's own size ends it earlier. */
  identities: 4_096,
  /** Names of actions that a daemon serves. */
  actions: 256,
  /** Arguments of a command: IRC has 15. */
  arguments: 100,
  /** Lists of a foreign answer: contacts, chats, receipts, target instances. */
  listed: 10_000,
} as const;
