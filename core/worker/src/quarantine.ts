/**
 * Operations on refused envelopes: list, retry, drop. Also the dead-letter consumer, which stores dead
 * letters there.
 */
import { createHash } from "node:crypto";
import { blameOf, type ErrorCode, FabricError, parseRoutingKey, routingKey } from "@linkspan/envelopes";
import { ACK, asPlainText, DEAD_LETTERS, type Delivery, type Subscription } from "@linkspan/fabric";
import { audit, quarantine, quarantined, type Refused, resolveQuarantined } from "@linkspan/store";
import type { Core } from "./core.ts";

const MAX_DETAIL = 1_000;
const MAX_NAME = 256;

/**
 * Dead-letter consumer: stores dead letters as quarantine rows, so that one list shows everything that was
 * refused. If the database cannot store one, a row without its body says so; it never blocks the others.
 */
export async function startDeadLetterReader(core: Core): Promise<Subscription> {
  return core.bus.subscribe(DEAD_LETTERS, {
    handle: async (batch) => {
      const rows = batch.map(({ delivery }) => rowOf(delivery));
      try {
        await keep(core, rows);
      } catch (error) {
        if (blameOf(error) !== "message") throw error;
        for (const row of rows) await keepOne(core, row);
      }
      for (const { code } of rows) core.metrics.quarantined(code);
      return batch.map(() => ACK);
    },
    keyOf: ({ delivery }) => delivery.messageId ?? "",
  });
}

type Row = Refused & { readonly code: ErrorCode };

/** Every text is truncated and cleaned, because it comes from a sender that another program refused. */
function rowOf({ death, route, messageId, kid, sig, body }: Delivery): Row {
  return {
    code: death?.code ?? "bus.rejected",
    detail: asPlainText(death?.detail ?? "no reason came with it", MAX_DETAIL),
    routingKey: routingKey(route),
    issuer: undefined,
    workspaceId: undefined,
    messageId: messageId === undefined ? undefined : asPlainText(messageId, MAX_NAME),
    kid: kid === undefined ? undefined : asPlainText(kid, MAX_NAME),
    sig,
    body,
  };
}

async function keep(core: Core, rows: readonly Row[]): Promise<void> {
  await core.database.transaction(async (client) => {
    for (const row of rows) await quarantine(client, row);
  });
}

/** @throws errors that the row itself did not cause */
async function keepOne(core: Core, row: Row): Promise<void> {
  try {
    await keep(core, [row]);
  } catch (error) {
    if (blameOf(error) !== "message") throw error;
    const hash = createHash("sha256").update(row.body).digest("hex");
    core.log.error(
      {
        event: "dead_letter.not_kept",
        code: row.code,
        bytes: row.body.length,
        sha256: hash,
        detail: String(error),
      },
      "the database cannot hold a dead letter",
    );
    const detail = asPlainText(
      `not kept as it came (${row.body.length} bytes, SHA-256 ${hash}): ${row.detail}`,
      MAX_DETAIL,
    );
    const bare = {
      ...row,
      detail,
      messageId: undefined,
      kid: undefined,
      sig: undefined,
      body: Buffer.from(hash),
    };
    await keep(core, [bare]).catch((again: unknown) => {
      if (blameOf(again) !== "message") throw again;
    });
  }
}

/**
 * Publishes a quarantined envelope again on its route, unchanged: its signature and its id are checked as
 * before. It may be retried until it is dropped; when it is refused again, it is open again.
 *
 * @throws FabricError `request.not_found`, `request.invalid` when not all of its bytes were kept, `bus.*`
 */
export async function retryQuarantined(core: Core, id: string, actor: string): Promise<void> {
  const row = await open(core, id);
  if (!isWhole(row)) {
    throw new FabricError(
      "request.invalid",
      "only the beginning of its bytes was kept; it can only be dropped",
    );
  }
  await core.bus.publish({
    route: parseRoutingKey(row.routing_key),
    body: row.body,
    messageId: row.message_id ?? `quarantine-${id}`,
    ...(row.kid !== null && { kid: row.kid }),
    ...(row.sig !== null && { sig: row.sig }),
  });
  await settle(core, row, "retried", actor);
}

/** @throws FabricError `request.not_found` */
export async function dropQuarantined(core: Core, id: string, actor: string): Promise<void> {
  const row = await open(core, id);
  await settle(core, row, "dropped", actor);
}

function isWhole({
  body,
  body_hash,
}: {
  readonly body: Uint8Array;
  readonly body_hash: Uint8Array;
}): boolean {
  return createHash("sha256").update(body).digest().equals(body_hash);
}

async function open(core: Core, id: string) {
  const row = await quarantined(core.database.pool, id);
  if (row === undefined || row.state === "dropped") {
    throw new FabricError("request.not_found", "no such entry in quarantine, or it was dropped");
  }
  return row;
}

async function settle(
  core: Core,
  row: Awaited<ReturnType<typeof open>>,
  state: "retried" | "dropped",
  actor: string,
): Promise<void> {
  const seen = state === "retried" ? row.seen : undefined;
  await core.database.transaction(async (client) => {
    await resolveQuarantined(client, row.id, state, seen);
    await audit(client, {
      workspaceId: row.workspace_id ?? "_",
      actor,
      action: `quarantine.${state}`,
      subject: row.id,
    });
  });
}
