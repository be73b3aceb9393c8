/**
 * `bridge/core/resume`: the identities that the holder of an instance serves, each with the cursor its stream
 * may start from and a ticket to connect with.
 *
 * No answer grows with the number of workspaces: pages are bounded in bytes and count, in the order of the
 * identities' ids, and the daemon asks for the next page with the cursor of the last identity. A daemon that
 * asks without a cursor does not know paging and gets as many as one envelope holds. An identity that is too
 * large for a page is left out, and its state says so; it does not block others.
 */
import {
  type Envelope,
  MAX_CURSOR_BYTES,
  MAX_SETTINGS_BYTES,
  type ResumedIdentity,
  type ResumeReply,
  ResumeReplySchema,
  type ResumeRequest,
} from "@linkspan/envelopes";
import {
  identityPage,
  type Lease,
  type PagedIdentity,
  saveInstanceHealth,
  updateIdentity,
} from "@linkspan/store";
import type { Core } from "../core.ts";
import { requireAuthority, speakerOf } from "../authority.ts";
import { sessionTicket } from "./hello.ts";

/** One page: well below an envelope's 1,048,576 bytes with the tickets, of about 1 kB each. */
const PAGE = { count: 200, bytes: 262_144, identityBytes: MAX_SETTINGS_BYTES + MAX_CURSOR_BYTES + 8_192 };
/** Limits of the answer to a daemon without paging: bytes of JSON, and identities. */
const WHOLE = { bytes: 950_000, count: 4_096 };

const TOO_LARGE = "envelope.too_large";
const ONE = ResumeReplySchema.shape.identities.element;

/** @throws FabricError `lease.lost`, `envelope.wrong_issuer` */
export async function answerResume(
  core: Core,
  envelope: Envelope,
  kid: string | undefined,
): Promise<ResumeReply> {
  const { issuer, epoch } = envelope.metadata;
  const lease = await requireAuthority(core.database.pool, speakerOf(issuer, epoch, kid));
  const { cursor } = envelope.payload as ResumeRequest;
  if (cursor === undefined) return { identities: await whole(core, lease) };
  const { identities, last } = await page(core, lease, cursor);
  return { identities, ...(last !== undefined && { cursor: last }) };
}

interface ResumedPage {
  readonly identities: readonly ResumedIdentity[];
  /** Where the next page begins; undefined when there is none. */
  readonly last: string | undefined;
}

async function page(core: Core, lease: Lease, after: string): Promise<ResumedPage> {
  const rows = await identityPage(core.database.pool, lease, { ...PAGE, after });
  const fitting: ResumedIdentity[] = [];
  for (const row of rows) {
    const identity = row.is_too_large ? undefined : resumed(core, row, lease);
    // An identity that no answer may hold would make the whole page fail.
    if (identity !== undefined && ONE.safeParse(identity).success) fitting.push(identity);
    else await leaveOut(core, row);
  }
  return { identities: fitting, last: rows.at(-1)?.id };
}

/**
 * The answer to a daemon without paging: page after page until the byte limit. Operators are told what is
 * left out.
 */
async function whole(core: Core, lease: Lease): Promise<ResumedIdentity[]> {
  const all: ResumedIdentity[] = [];
  let bytes = 0;
  for (let after: string | undefined = ""; after !== undefined; ) {
    const next: ResumedPage = await page(core, lease, after);
    for (const identity of next.identities) {
      bytes += Buffer.byteLength(JSON.stringify(identity));
      if (bytes > WHOLE.bytes || all.length === WHOLE.count) {
        await tellOverflow(core, lease, all.length);
        return all;
      }
      all.push(identity);
    }
    after = next.last;
  }
  return all;
}

async function tellOverflow(core: Core, lease: Lease, served: number): Promise<void> {
  const detail = `the daemon asks for no pages, so that only ${served} identities fit its answer; update the daemon`;
  core.log.error({ event: "resume.overflowed", service: lease.service, instance: lease.instance }, detail);
  await saveInstanceHealth(core.database.pool, lease, {
    health: "degraded",
    code: TOO_LARGE,
    detail,
  });
}

async function leaveOut(core: Core, identity: PagedIdentity): Promise<void> {
  if (identity.bridge_detail.code === TOO_LARGE) return;
  core.log.error(
    { event: "resume.left_out", identity_id: identity.id, service: identity.service },
    "an identity is too large to be handed to its daemon",
  );
  await updateIdentity(core.database.pool, identity.id, {
    bridge_state: "unknown_error",
    bridge_detail: {
      code: TOO_LARGE,
      message: "The settings of this account are too large to be served; unlink it and link it again.",
      at: core.now().toISOString(),
    },
  });
}

function resumed(core: Core, identity: PagedIdentity, lease: Lease): ResumedIdentity {
  return {
    identity_id: identity.id,
    workspace_id: identity.workspace_id,
    user_id: identity.user_id,
    home: identity.home,
    settings: identity.settings,
    ...(identity.checkpoint !== null && { checkpoint: identity.checkpoint }),
    ticket: sessionTicket(core, identity, lease, lease.kid),
    state: identity.bridge_state,
  };
}
