/**
 * What the daemon of an instance announced that it knows: which actions it serves and in which form, whether it asks
 * before it says something, and whether it tells what became of it. Remembered for a second.
 */
import { CapabilitiesSchema, type ServedAction } from "@linkspan/envelopes";
import { type Declared, declarationsOf, type InstanceKey } from "@linkspan/store";
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

const Announced = CapabilitiesSchema.pick({ actions: true, knows: true });

export class DaemonKnowledge {
  readonly #core: Core;
  readonly #known = new Map<string, { readonly announced: Partial<Knowledge>; readonly untilMs: number }>();

  constructor(core: Core) {
    this.#core = core;
  }

  /** One statement for those that are not remembered. */
  async load(keys: readonly InstanceKey[]): Promise<void> {
    const nowMs = performance.now();
    const unknown = keys.filter((key) => !((this.#known.get(nameOf(key))?.untilMs ?? 0) > nowMs));
    if (unknown.length === 0) return;
    const declared = await declarationsOf(this.#core.database.pool, unknown);
    const found = new Map(declared.map((one) => [nameOf(one), knowledgeOf(one)]));
    if (this.#known.size > MAX_KNOWN) this.#known.clear();
    for (const key of unknown) {
      const name = nameOf(key);
      this.#known.set(name, { announced: found.get(name) ?? {}, untilMs: nowMs + GOOD_FOR_MS });
    }
  }

  /** @param kid of the holder */
  of(key: InstanceKey, kid: string): Knowledge {
    const announced = this.#known.get(nameOf(key))?.announced;
    if (isUnsigned(this.#core, kid)) return { ...UNSIGNED, ...announced, attempt: false };
    return { ...FULL, ...announced };
  }
}

/** What some other version announced, and this one cannot read, is as good as nothing. */
function knowledgeOf({ declaration: { actions, knows } }: Declared): Partial<Knowledge> {
  const { data } = Announced.safeParse({
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
