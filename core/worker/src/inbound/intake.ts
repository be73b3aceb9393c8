/**
 * The intake: deliveries become rows.
 *
 *   verify (overlapping with the batch before) → admit → one transaction → settle → acknowledge, wake readers
 *
 * Partitions that commit at the same moment share a transaction; each waits for its own batch before it
 * starts the next. When a transaction fails, the bus retries the batch with backoff and bisects it; rows that
 * were stored before are recognised then. An envelope that is refused because of its content goes to the
 * quarantine and is settled.
 */
import { randomUUID } from "node:crypto";
import {
  decodeBatch,
  type DeliveryStatuses,
  type FabricError,
  type HistoryBatch,
  isFabricError,
  type Opened,
  orderingKey,
} from "@linkspan/envelopes";
import { ACK, type Delivery, type Prepared } from "@linkspan/fabric";
import type { Core } from "../core.ts";
import { inboundQueue } from "../topology.ts";
import { Acknowledger } from "./acks.ts";
import { applyBatch, type Received } from "./apply.ts";
import { GroupCommit } from "../group-commit.ts";
import { PartitionBalance } from "./partitions.ts";
import { UnsignedInstances } from "./unsigned-instances.ts";

/** The result of verifying a delivery. */
export type Verified = Opened | FabricError;

/** Processes this worker's share of the partitions until it is drained. */
export async function startIntake(core: Core, worker: string = randomUUID()): Promise<PartitionBalance> {
  await core.bus.declare(
    Array.from({ length: core.namespace.partitions }, (_, partition) => inboundQueue(partition)),
  );
  const acks = new Acknowledger(core);
  const unsigned = new UnsignedInstances(core);
  const take = (received: readonly Received[]) => takeIn(core, acks, unsigned, received);
  const commits = new GroupCommit(take, MAX_ROWS, { weigh: rowsOf });
  // Unreadable envelopes are quarantined in separate transactions, so that no other envelopes wait for them.
  const refusals = new GroupCommit(take);
  return PartitionBalance.start(core, {
    worker,
    open: (partition, isOwned) =>
      core.bus.subscribe<Verified>(inboundQueue(partition), {
        prepare: (batch) => verify(core, batch),
        handle: async (batch) => {
          const received = batch.map(toReceived);
          const sound = received.filter(({ refused }) => refused === undefined);
          const refused = received.filter((one) => one.refused !== undefined);
          const work = [];
          work.push(inPieces(sound, (piece) => commits.commit(piece, isOwned)));
          if (refused.length > 0) work.push(refusals.commit(refused, isOwned));
          await every(work);
          return batch.map(() => ACK);
        },
        keyOf,
      }),
  });
}

/**
 * Most rows of one transaction: an envelope is one row, or a history and one row per member, or one row per status.
 */
const MAX_ROWS = 1_000;

export function rowsOf({ opened }: Received): number {
  switch (opened?.action.canonical) {
    case "history_batch":
      return 1 + (opened.envelope.payload as HistoryBatch).events.length;
    case "delivery_statuses":
      return (opened.envelope.payload as DeliveryStatuses).statuses.length;
    default:
      return 1;
  }
}

/** Runs one transaction after the other, in order. Each has at most this many rows, or holds one history. */
async function inPieces(
  received: readonly Received[],
  commit: (piece: readonly Received[]) => Promise<void>,
): Promise<void> {
  let piece: Received[] = [];
  let rows = 0;
  for (const one of received) {
    const more = rowsOf(one);
    if (piece.length > 0 && rows + more > MAX_ROWS) {
      await commit(piece);
      piece = [];
      rows = 0;
    }
    piece.push(one);
    rows += more;
  }
  if (piece.length > 0) await commit(piece);
}

/** Refused envelopes need no order; all others keep the order of their workspace's conversation. */
function keyOf({ delivery, value }: Prepared<Verified>): string {
  if (isFabricError(value)) return `refused ${delivery.messageId ?? ""}`;
  const { envelope } = value;
  return `${envelope.metadata.workspace_id} ${envelope.service} ${orderingKey(envelope) ?? ""}`;
}

export function verify(core: Core, batch: readonly Delivery[]): Promise<readonly Verified[]> {
  return decodeBatch(batch, {
    keys: core.keys,
    now: core.now(),
    partitions: core.namespace.partitions,
    signatures: core.namespace.signatures,
    ...(core.namespace.foreignWorkspace !== undefined && {
      foreignWorkspace: core.namespace.foreignWorkspace,
    }),
  });
}

async function takeIn(
  core: Core,
  acks: Acknowledger,
  unsigned: UnsignedInstances,
  received: readonly Received[],
): Promise<void> {
  const startedAt = performance.now();
  const outcome = await core.database.transaction((client) => applyBatch(core, client, received));
  core.metrics.inboundBatch((performance.now() - startedAt) / 1_000, received.length);
  for (const wake of outcome.wakes) core.wakes.local(wake);
  for (const report of outcome.reports) report();
  acks.send(outcome.acks);
  unsigned.heard(received);
}

/** Waits for all even when one fails, so that a retry does not run together with the first try. */
async function every(work: readonly Promise<void>[]): Promise<void> {
  for (const one of await Promise.allSettled(work)) if (one.status === "rejected") throw one.reason;
}

function toReceived({ delivery, value }: Prepared<Verified>): Received {
  return isFabricError(value) ? { delivery, refused: value } : { delivery, opened: value };
}
