/** Our address as the network shows it, `nick!user@host`: servers put it before each line of ours, so it takes part of the 512 bytes. */
import type { Line } from "../inbound.ts";
import { MAX_LINE_BYTES, SOURCE_BYTES } from "../wire/line-bytes.ts";

export class Source {
  #mask: string | undefined;

  /** Learns from what the server says of us. */
  see({ command, params, prefix, nick, user, host }: Line, isOurs: boolean): void {
    if (isOurs && user !== "" && host !== "") this.#mask = prefix;
    if (isOurs && command === "CHGHOST") this.#mask = `${nick}!${params[0] ?? user}@${params[1] ?? host}`;
    if (command === "396" && this.#mask !== undefined) {
      this.#mask = `${this.#mask.split("@")[0]}@${params[1] ?? ""}`;
    }
  }

  /** Whether a line of ours is relayed whole. Before the server has shown it, the address is as long as it can be. */
  carries(line: string): boolean {
    const bytes = this.#mask === undefined ? SOURCE_BYTES : Buffer.byteLength(`:${this.#mask}`);
    return bytes + Buffer.byteLength(` ${line}\r\n`) <= MAX_LINE_BYTES;
  }
}
