/** The identities of a held instance: opened, closed and refreshed to match what `resume` says. */
import { type Ack, FabricError, type ResumedIdentity } from "@linkspan/envelopes";
import type { BridgeState, LinkedIdentity } from "../connector.ts";
import { aborted } from "../signals.ts";
import { Keeper, type KeeperContext } from "./keeper.ts";

/** Session tickets live an hour; one this old is replaced before it is used. */
const TICKET_FRESH_MS = 50 * 60_000;

interface Ticket {
  readonly compact: string;
  readonly atMs: number;
}

export class Identities {
  readonly #context: Omit<KeeperContext, "ticketFor">;
  readonly #resume: () => Promise<readonly ResumedIdentity[]>;
  readonly #keepers = new Map<string, Keeper>();
  /** Closing, but still waiting for acks; the next connection of the same identity waits for them to go. */
  readonly #leaving = new Map<string, { readonly keeper: Keeper; readonly left: Promise<void> }>();
  readonly #tickets = new Map<string, Ticket>();
  #closed = false;
  #refreshing: Promise<void> | undefined;

  constructor(context: Omit<KeeperContext, "ticketFor">, resume: () => Promise<readonly ResumedIdentity[]>) {
    this.#context = context;
    this.#resume = resume;
  }

  get all(): readonly Keeper[] {
    return [...this.#keepers.values()];
  }

  get(identityId: string): Keeper | undefined {
    return this.#keepers.get(identityId);
  }

  /** Asks the core who is to be served, and follows. Calls that come meanwhile share one further question. */
  async refresh(): Promise<void> {
    if (this.#closed) return;
    const resumed = await this.#resume();
    const atMs = this.#context.clock.monotonicMs();
    const wanted = new Map(resumed.map((identity) => [identity.identity_id, identity]));
    for (const [id, identity] of wanted) this.#tickets.set(id, { compact: identity.ticket, atMs });
    const gone = this.all.filter(({ identity }) => !wanted.has(identity.identityId));
    await Promise.all(gone.map((keeper) => this.close(keeper.identity.identityId)));
    if (this.#closed || this.#context.signal.aborted) return;
    this.#context.carried.only(wanted);
    for (const identity of wanted.values()) this.#keep(linked(identity));
  }

  /** An event's fate: the core has it. An ack that names no known account is for any of them. */
  acknowledged(account: string, acked: Ack["acked"]): void {
    const named = [this.#keepers.get(account), this.#leaving.get(account)?.keeper].filter(
      (keeper) => keeper !== undefined,
    );
    const keepers = named.length > 0 ? named : [...this.all, ...this.#leavers()];
    for (const { message_id, status, code } of acked) {
      if (status === "quarantined") this.#context.log.warn({ event: "event.quarantined", message_id, code });
      // Refused for its epoch only: it is on its way, or will be, under the present one.
      if (code === "envelope.wrong_issuer") continue;
      for (const { stream } of keepers) stream.acknowledged(message_id);
    }
  }

  #leavers(): readonly Keeper[] {
    return [...this.#leaving.values()].map(({ keeper }) => keeper);
  }

  /** Nothing is said as this identity from now on; resolves when its connection is closed. */
  async close(identityId: string, last?: BridgeState): Promise<void> {
    const keeper = this.#keepers.get(identityId);
    if (keeper === undefined) return this.#leaving.get(identityId)?.left;
    this.#keepers.delete(identityId);
    this.#tickets.delete(identityId);
    const left = keeper.close(last).finally(() => {
      if (this.#leaving.get(identityId)?.keeper === keeper) this.#leaving.delete(identityId);
    });
    this.#leaving.set(identityId, { keeper, left });
    await left;
    this.#context.onChange();
  }

  /** Closes all, politely and at once; none is opened any more. */
  async closeAll(last?: BridgeState): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#keepers.keys()].map((id) => this.close(id, last)));
  }

  #keep(identity: LinkedIdentity): void {
    const known = this.#keepers.get(identity.identityId);
    if (known !== undefined) {
      if (!sameSettings(known.identity, identity)) known.restart(identity);
      return;
    }
    const ticketFor = (id: string, signal: AbortSignal) => this.#ticketFor(id, signal);
    const keeper = new Keeper(identity, { ...this.#context, ticketFor });
    this.#keepers.set(identity.identityId, keeper);
    keeper.start(this.#leaving.get(identity.identityId)?.left);
    this.#context.onChange();
  }

  /** Does not outlast `signal`: the refresh may itself be waiting for the caller to end. */
  async #ticketFor(identityId: string, signal: AbortSignal): Promise<string> {
    const nowMs = this.#context.clock.monotonicMs();
    const known = this.#tickets.get(identityId);
    if (known !== undefined && nowMs - known.atMs < TICKET_FRESH_MS) return known.compact;
    this.#refreshing ??= this.refresh().finally(() => {
      this.#refreshing = undefined;
    });
    await Promise.race([this.#refreshing, aborted(signal)]);
    signal.throwIfAborted();
    const fresh = this.#tickets.get(identityId);
    if (fresh === undefined)
      throw new FabricError("ticket.missing", "the core no longer serves this identity here");
    return fresh.compact;
  }
}

function linked(identity: ResumedIdentity): LinkedIdentity {
  return {
    identityId: identity.identity_id,
    workspaceId: identity.workspace_id,
    userId: identity.user_id,
    home: identity.home,
    settings: identity.settings,
    checkpoint: identity.checkpoint,
  };
}

function sameSettings(a: LinkedIdentity, b: LinkedIdentity): boolean {
  return JSON.stringify(a.settings) === JSON.stringify(b.settings);
}
