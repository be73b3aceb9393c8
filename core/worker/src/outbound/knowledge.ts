/**
 * What the daemon of an instance announced that it knows: which actions it serves and in which form, whether it asks
 * before it says something, and whether it tells what became of it. Remembered for a second.
 */
import { CapabilitiesSchema, type ServedAction } from "@linkspan/envelopes";
import { type Announced, declarationsOf, type InstanceKey, type Turn } from "@linkspan/store";
import { isUnsigned } from "../authority.ts";
import type { Core } from "../core.ts";

export interface Knowledge {
  /** Asks `bridge/core/attempt` before it says a part. */
  readonly attempt: boolean;
  /** Reports `delivery_status`. */
  readonly deliveryStatus: boolean;
  /** Answers the intent itself. */
  readonly reply: boolean;
  /** Verifies signatures of batches, in envelopes and tickets. */
  readonly signedBatches: boolean;
  /** Undefined: all, under every name. */
  readonly served: readonly ServedAction[] | undefined;
}

const GOOD_FOR_MS = 1_000;
const MAX_KNOWN = 10_000;

/** What a daemon knows that announced nothing of it. */
const FULL: Knowledge = {
  attempt: true,
  deliveryStatus: true,
  reply: false,
  signedBatches: false,
  served: undefined,
};
/** The same of one that signs nothing, as Msgr's SDKs on a development namespace: nobody unsigned may ask. */
const UNSIGNED: Knowledge = { ...FULL, attempt: false, deliveryStatus: false };

const Members = CapabilitiesSchema.pick({ actions: true, knows: true });

interface Known {
  readonly announced: Partial<Knowledge>;
  /** Of the lease under which that was announced. */
  readonly epoch: number | undefined;
  readonly untilMs: number;
}

export class DaemonKnowledge {
  readonly #core: Core;
  readonly #known = new Map<string, Known>();

  constructor(core: Core) {
    this.#core = core;
  }

  /** One statement for those that are not remembered. */
  async load(keys: readonly InstanceKey[]): Promise<void> {
    const nowMs = performance.now();
    const unknown = keys.filter((key) => !((this.#known.get(nameOf(key))?.untilMs ?? 0) > nowMs));
    if (unknown.length === 0) return;
    const declared = await declarationsOf(this.#core.database.pool, unknown);
    const found = new Map(declared.map((one) => [nameOf(one), one]));
    if (this.#known.size > MAX_KNOWN) this.#known.clear();
    for (const key of unknown) {
      const name = nameOf(key);
      const one = found.get(name);
      this.#known.set(name, {
        announced: one === undefined ? {} : knowledgeOf(one),
        epoch: one?.epoch ?? undefined,
        untilMs: nowMs + GOOD_FOR_MS,
      });
    }
  }

  /**
   * Of the daemon that is given this turn. A holder gets intents before its announcement is stored, and until then
   * what the one before it announced. A signature that it may not be able to verify is not sent on such a guess.
   */
  of({ intent: { service }, instance, epoch, kid }: Turn): Knowledge {
    const known = this.#known.get(nameOf({ service, instance }));
    const announced = { ...known?.announced, ...(known?.epoch !== epoch && { signedBatches: false }) };
    if (isUnsigned(this.#core, kid)) return { ...UNSIGNED, ...announced, attempt: false };
    return { ...FULL, ...announced };
  }
}

/** What some other version announced, and this one cannot read, is as good as nothing. */
function knowledgeOf({ declaration: { actions, knows } }: Announced): Partial<Knowledge> {
  const { data } = Members.safeParse({
    ...(actions !== undefined && { actions }),
    ...(knows !== undefined && { knows }),
  });
  const known = data?.knows;
  return {
    ...(known !== undefined && {
      attempt: known.includes("attempt"),
      deliveryStatus: known.includes("delivery_status"),
      reply: known.includes("reply"),
      signedBatches: known.includes("signed_batches"),
    }),
    ...(data?.actions !== undefined && { served: data.actions }),
  };
}

/** An instance in one word, as claims take it. */
export function nameOf({ service, instance }: InstanceKey): string {
  return `${service} ${instance}`;
}
