/** Follows keys that operators set on channels of ours or remove: the next join needs them. */
import type { Line } from "../inbound.ts";
import { isChannelKey } from "../secrets.ts";
import type { Isupport } from "../wire/isupport.ts";
import type { Memory } from "./memory.ts";

export interface KeyChangesOptions {
  readonly memory: Memory;
  readonly isupport: Isupport;
  readonly keep: (channel: string, key: string | undefined) => Promise<unknown>;
}

export class KeyChanges {
  readonly #options: KeyChangesOptions;
  readonly #changed = new Map<string, string | undefined>();

  constructor(options: KeyChangesOptions) {
    this.#options = options;
  }

  see({ command, params }: Line): void {
    const { memory, isupport } = this.#options;
    const [channel = ""] = params;
    const key = command === "MODE" ? keySetBy(params.slice(1), isupport) : undefined;
    const wish = memory.wishes.find(({ name }) => memory.isSame(name, channel));
    if (key === undefined || wish === undefined) return;
    const changed = key === "" ? undefined : key;
    memory.wish({ ...wish, key: changed });
    this.#changed.set(wish.name, changed);
  }

  /** The connection is over: once, however often they were changed. */
  flush(): void {
    for (const [channel, key] of this.#changed) void this.#options.keep(channel, key);
    this.#changed.clear();
  }
}

/**
 * @param params modes and their parameters
 * @returns the key that is set now, `""` when it is taken off, undefined when nothing is said of it, or it is hidden
 */
export function keySetBy([modes = "", ...params]: readonly string[], isupport: Isupport): string | undefined {
  const [lists = "", always = "", whenSet = ""] = (isupport.token("CHANMODES") || "beI,k,l").split(",");
  const withParameter = new Set([...lists, ...always, ...isupport.memberModes]);
  let isSet = true;
  let key: string | undefined;
  for (const mode of modes) {
    if (mode === "+" || mode === "-") isSet = mode === "+";
    else if (withParameter.has(mode) || (isSet && whenSet.includes(mode))) {
      const parameter = params.shift() ?? "";
      if (mode === "k" && !isSet) key = "";
      else if (mode === "k" && isChannelKey(parameter) && parameter !== "*") key = parameter;
    }
  }
  return key;
}
