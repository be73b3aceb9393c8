/** The identities of a held instance: opened, closed and refreshed to match the answer of `resume`. */
import { type Ack, FabricError, type ResumedIdentity } from "@linkspan/envelopes";
import { aborted } from "@linkspan/time";
import type { BridgeState, LinkedIdentity } from "../connector.ts";
import { ConnectionSupervisor, type SupervisorContext } from "./connection-supervisor.ts";

/** Session tickets are valid for an hour; one of this age is replaced before it is used. */
const TICKET_FRESH_MS = 50 * 60_000;

interface Ticket {
  readonly compact: string;
  readonly atMs: number;
}

export class Identities {
  readonly #context: Omit<SupervisorContext, "ticketFor">;
  readonly #resume: () => Promise<readonly ResumedIdentity[]>;
  readonly #supervisors = new Map<string, ConnectionSupervisor>();
  /**
   * Identities that are closing but still wait for acks; the next connection of the same identity starts
   * after them.
   */
  readonly #leaving = new Map<
    string,
    { readonly supervisor: ConnectionSupervisor; readonly left: Promise<void> }
  >();
  readonly #tickets = new Map<string, Ticket>();
  #closed = false;
  #refreshing: Promise<void> | undefined;

  constructor(
    context: Omit<SupervisorContext, "ticketFor">,
    resume: () => Promise<readonly ResumedIdentity[]>,
  ) {
    this.#context = context;
    this.#resume = resume;
  }

  get all(): readonly ConnectionSupervisor[] {
    return [...this.#supervisors.values()];
  }

  get(identityId: string): ConnectionSupervisor | undefined {
    return this.#supervisors.get(identityId);
  }

  /**
   * Asks the core which identities to serve, and applies the answer. Calls during a request share one further
   * request.
   */
  async refresh(): Promise<void> {
    if (this.#closed) return;
    const resumed = await this.#resume();
    const atMs = this.#context.clock.monotonicMs();
    const wanted = new Map(resumed.map((identity) => [identity.identity_id, identity]));
    for (const [id, identity] of wanted) this.#tickets.set(id, { compact: identity.ticket, atMs });
    const gone = this.all.filter(({ identity }) => !wanted.has(identity.identityId));
    await Promise.all(gone.map((supervisor) => this.close(supervisor.identity.identityId)));
    if (this.#closed || this.#context.signal.aborted) return;
    this.#context.carried.only(wanted);
    for (const identity of wanted.values()) this.#keep(linked(identity));
  }

  /**
   * The core has these events, stored or in quarantine. Whatever the code, a refused event is not sent again: the
   * core keeps its bytes, only an operator can retry it, and waiting for it would hold the checkpoint back for ever.
   * An ack that names no known account may belong to any of them.
   */
  acknowledged(account: string, acked: Ack["acked"]): void {
    const named = [this.#supervisors.get(account), this.#leaving.get(account)?.supervisor].filter(
      (supervisor) => supervisor !== undefined,
    );
    const supervisors = named.length > 0 ? named : [...this.all, ...this.#leavers()];
    for (const { message_id, status, code } of acked) {
      if (status === "quarantined") this.#context.log.warn({ event: "event.quarantined", message_id, code });
      for (const { stream } of supervisors) stream.acknowledged(message_id);
    }
  }

  #leavers(): readonly ConnectionSupervisor[] {
    return [...this.#leaving.values()].map(({ supervisor }) => supervisor);
  }

  /** Stops sending for this identity now; resolves when its connection is closed. */
  async close(identityId: string, last?: BridgeState): Promise<void> {
    const supervisor = this.#supervisors.get(identityId);
    if (supervisor === undefined) return this.#leaving.get(identityId)?.left;
    this.#supervisors.delete(identityId);
    this.#tickets.delete(identityId);
    const left = supervisor.close(last).finally(() => {
      if (this.#leaving.get(identityId)?.supervisor === supervisor) this.#leaving.delete(identityId);
    });
    this.#leaving.set(identityId, { supervisor, left });
    await left;
    this.#context.onChange();
  }

  /** Closes all identities cleanly and concurrently; none is opened after this. */
  async closeAll(last?: BridgeState): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#supervisors.keys()].map((id) => this.close(id, last)));
  }

  #keep(identity: LinkedIdentity): void {
    const known = this.#supervisors.get(identity.identityId);
    if (known !== undefined) {
      if (!sameSettings(known.identity, identity)) known.restart(identity);
      return;
    }
    const ticketFor = (id: string, signal: AbortSignal) => this.#ticketFor(id, signal);
    const supervisor = new ConnectionSupervisor(identity, { ...this.#context, ticketFor });
    this.#supervisors.set(identity.identityId, supervisor);
    supervisor.start(this.#leaving.get(identity.identityId)?.left);
    this.#context.onChange();
  }

  /** Ends at the latest with `signal`: the refresh may itself be waiting for the caller to end. */
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
