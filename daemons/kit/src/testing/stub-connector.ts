/** A connector that does what a test tells it, and remembers what it was told. */
import type {
  Capabilities,
  Connection,
  Connector,
  IdentityHost,
  LinkedIdentity,
  LinkOutcome,
  OutboundAction,
  Part,
  PlatformEvent,
  Said,
  Window,
} from "../connector.ts";
import { channelRef, identityRef } from "@linkspan/envelopes";

export interface Performed {
  readonly identityId: string;
  readonly text: string;
  readonly key: string;
  readonly window: Window;
}

export class StubConnector implements Connector {
  readonly service = "echo";
  capabilities: Capabilities = {
    send: ["text"],
    edit: false,
    delete: false,
    reaction: false,
    typing: false,
    read: false,
    history: true,
    roster: true,
    maxPartBytes: undefined,
    pace: { perSecond: 1_000, burst: 1_000 },
    entities: [],
  };
  readonly hosts = new Map<string, IdentityHost>();
  readonly opened: LinkedIdentity[] = [];
  readonly closed: string[] = [];
  readonly performed: Performed[] = [];
  onOpen: (identity: LinkedIdentity, host: IdentityHost) => Promise<void> = async (_identity, host) => {
    host.state({ state: "connected", message: "It is up." });
  };
  onPerform: (performed: Performed) => Promise<Said> = async ({ key }) => ({
    remoteId: `r-${key}`,
    at: new Date(),
  });
  onPlan: (action: OutboundAction) => readonly Part[] = ({ payload }) =>
    String(payload.text)
      .split("|")
      .map((text, index) => ({ index, data: text, cost: 1 }));
  find: Connection["find"];
  link?: (identity: LinkedIdentity, host: IdentityHost) => Promise<LinkOutcome>;

  async open(identity: LinkedIdentity, host: IdentityHost): Promise<Connection> {
    this.opened.push(identity);
    await this.onOpen(identity, host);
    const { identityId } = identity;
    this.hosts.set(identityId, host);
    const find = this.find;
    return {
      self: { remote: `${identityId}!remote`, name: identityId },
      plan: (action) => this.onPlan(action),
      perform: (part, key, window) => {
        const performed = { identityId, text: String(part.data), key, window };
        this.performed.push(performed);
        return this.onPerform(performed);
      },
      ...(find !== undefined && { find }),
      history: async ({ conversation }) => {
        await host.event(eventOf(identity, "from-history", { conversation, seq: 999 }));
      },
      roster: async () => [{ ref: lobby(), name: "lobby", kind: "channel" }],
      [Symbol.asyncDispose]: async () => {
        this.closed.push(identityId);
      },
    };
  }

  host(identityId: string): IdentityHost {
    const host = this.hosts.get(identityId);
    if (host === undefined) throw new Error(`${identityId} is not open`);
    return host;
  }
}

export function lobby(name = "lobby"): string {
  return channelRef("acme", "echo", [name]);
}

/** A message as a platform would report it, with a cursor. */
export function eventOf(
  { identityId }: Pick<LinkedIdentity, "identityId">,
  remoteId: string,
  options: { readonly seq: number; readonly conversation?: string; readonly text?: string },
): PlatformEvent {
  const { seq, conversation = lobby(), text = remoteId } = options;
  return {
    conversation,
    occurredAt: new Date(),
    payload: {
      kind: "message",
      remote_id: remoteId,
      revision: "0",
      account: identityId,
      sender: { ref: identityRef("echo", ["peer"]), name: "peer", is_self: false },
      sent_at: new Date().toISOString(),
      text,
      cursor: { seq },
    },
  };
}
