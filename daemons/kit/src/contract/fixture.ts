/**
 * What a daemon provides to the connector contract suite: its connector, and a platform with a second user.
 */
import type { Connector, LinkedIdentity } from "../connector.ts";

export interface ConnectorFixture extends AsyncDisposable {
  readonly connector: Connector;
  /** An identity that can log in and is in `conversation`, or joins it by itself. */
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
  /** How long a platform may take for one operation, milliseconds. Default 10,000. */
  readonly patienceMs?: number;
}

/** An independent user of the platform. */
export interface ContractPeer {
  /** Sends a text to the conversation; resolves when the platform has it. */
  say(text: string): Promise<void>;
  /** Texts that the identity sent to the conversation, as the peer received them, in order. */
  heard(): readonly string[];
  /**
   * Cuts the identity's connection, like a network failure. Absent: the platform cannot be made to do this.
   */
  drop?(): Promise<void>;
}
