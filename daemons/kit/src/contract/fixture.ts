/** What a daemon brings to the connector contract suite: its connector, and a platform with somebody to talk to. */
import type { Connector, LinkedIdentity } from "../connector.ts";

export interface ConnectorFixture extends AsyncDisposable {
  readonly connector: Connector;
  /** An identity that can log in and is, or gets by itself, where `conversation` is. */
  readonly identity: LinkedIdentity;
  readonly secrets?: Readonly<Record<string, Uint8Array>>;
  /** A channel ref in which identity and peer see each other. */
  readonly conversation: string;
  readonly peer: ContractPeer;
  /** The same identity with a login that the platform refuses. */
  readonly refused?: {
    readonly identity?: LinkedIdentity;
    readonly secrets?: Readonly<Record<string, Uint8Array>>;
  };
  /** How long a platform may take for one thing, milliseconds. Default 10,000. */
  readonly patienceMs?: number;
}

/** An independent user of the platform. */
export interface ContractPeer {
  /** Says something in the conversation; resolves when the platform has it. */
  say(text: string): Promise<void>;
  /** Texts that the identity said in the conversation, as the peer got them, in order. */
  heard(): readonly string[];
  /** Cuts the identity's connection, as a bad network does. Absent: the platform cannot be made to. */
  drop?(): Promise<void>;
}
