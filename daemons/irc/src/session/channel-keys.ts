/** Keys of channels, which are credentials: read from the vault's fields, and kept there when a join has proven them. */
import type { IdentityHost } from "@linkspan/daemon-kit";
import { keyedChannel, keyFieldOf, textOf } from "../secrets.ts";
import { fold } from "../wire/casemapping.ts";

/** The vault keeps 64 fields of a credential. */
const MAX_KEPT = 50;

export class ChannelKeys {
  readonly #host: Pick<IdentityHost, "secrets" | "writeBack" | "log">;
  #last: Promise<unknown> = Promise.resolve();

  constructor(host: Pick<IdentityHost, "secrets" | "writeBack" | "log">) {
    this.#host = host;
  }

  of(channel: string): string | undefined {
    const { secrets } = this.#host;
    const field = secrets.names.find((name) => isKeyOf(name, channel));
    return field === undefined ? undefined : textOf(secrets, field);
  }

  /**
   * Keeps a key, or forgets it; one after another. Never rejects.
   *
   * @returns a sentence for a person when the vault did not take it
   */
  keep(channel: string, key: string | undefined): Promise<string | undefined> {
    const kept = this.#last.then(() => this.#keep(channel, key));
    this.#last = kept;
    return kept;
  }

  async #keep(channel: string, key: string | undefined): Promise<string | undefined> {
    if (this.of(channel) === key) return undefined;
    const { secrets, log } = this.#host;
    const fields: Record<string, Uint8Array> = {};
    for (const name of secrets.names) {
      const bytes = secrets.get(name);
      if (bytes !== undefined && !isKeyOf(name, channel)) fields[name] = bytes;
    }
    const others = Object.keys(fields).filter((name) => keyedChannel(name) !== undefined).length;
    if (key !== undefined && others >= MAX_KEPT) {
      return `the key of ${channel} is not kept, as there are ${MAX_KEPT} already`;
    }
    if (key !== undefined) fields[keyFieldOf(channel)] = new TextEncoder().encode(key);
    try {
      await this.#host.writeBack(fields);
      return undefined;
    } catch (error) {
      log.warn({ event: "irc.key_not_kept", err: error });
      return key === undefined
        ? undefined
        : `the key of ${channel} could not be kept, so it must be given again after a restart`;
    }
  }
}

/** Whatever the server's rules are: the coarsest folding. */
function isKeyOf(field: string, channel: string): boolean {
  const keyed = keyedChannel(field);
  return keyed !== undefined && fold(keyed, "rfc1459") === fold(channel, "rfc1459");
}
