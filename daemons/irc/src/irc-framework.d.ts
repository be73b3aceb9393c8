/** The part of irc-framework 4 that `client.ts` uses; the library brings no types. */
declare module "irc-framework" {
  import type { EventEmitter } from "node:events";

  export interface IrcMessage {
    tags: Record<string, string>;
    prefix: string;
    nick: string;
    ident: string;
    hostname: string;
    /** Upper case; numerics as they are. */
    command: string;
    params: string[];
  }

  /** Tokens of RPL_ISUPPORT; a token without a value is `true`. */
  export interface NetworkInfo {
    options: Record<string, unknown>;
    cap: {
      enabled: string[];
      available: Map<string, string>;
      /** Asked for and not answered. */
      requested: string[];
      isEnabled(name: string): boolean;
    };
    supportsTag(name: string): boolean;
  }

  export class Client extends EventEmitter {
    constructor();
    readonly network: NetworkInfo;
    readonly connection: { end(line?: string): void };
    requestCap(caps: string | readonly string[]): void;
    connect(options: Record<string, unknown>): void;
    raw(line: string): void;
  }

  export function ircLineParser(line: string): IrcMessage | undefined;
}
