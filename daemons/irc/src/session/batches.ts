/** Batches that are open: what a line within one inherits from it. */
import type { Line } from "../inbound.ts";

export interface Batch {
  readonly type: string;
  readonly params: readonly string[];
  readonly label: string | undefined;
  readonly parent: Batch | undefined;
}

/** Batches within batches: a history of a netsplit has three. */
const MAX_DEPTH = 8;

/** More are not followed; a server that never ends them must not fill our memory. */
const MAX_OPEN = 200;

export class Batches {
  readonly #open = new Map<string, Batch>();

  /** Follows a BATCH line. @returns the batch that it begins or ends */
  see({ command, params, tags }: Line): { readonly begins?: Batch; readonly ends?: Batch } {
    if (command !== "BATCH") return {};
    const [reference = "", type = "", ...rest] = params;
    const name = reference.slice(1);
    if (reference.startsWith("+")) {
      if (this.#open.size >= MAX_OPEN) return {};
      const parent = this.#open.get(tags["batch"] ?? "");
      if (depthOf(parent) >= MAX_DEPTH) return {};
      const batch: Batch = { type, params: rest, label: tags["label"] ?? parent?.label, parent };
      this.#open.set(name, batch);
      return { begins: batch };
    }
    const ends = this.#open.get(name);
    this.#open.delete(name);
    return ends === undefined ? {} : { ends };
  }

  of(line: Line): Batch | undefined {
    return this.#open.get(line.tags["batch"] ?? "");
  }

  /** The line's own label, or its batch's. */
  labelOf(line: Line): string | undefined {
    return line.tags["label"] ?? this.of(line)?.label;
  }
}

function depthOf(batch: Batch | undefined): number {
  let depth = 0;
  for (let at = batch; at !== undefined; at = at.parent) depth += 1;
  return depth;
}

/** The innermost batch of a type that encloses it, if there is one. */
export function within(batch: Batch | undefined, type: RegExp): Batch | undefined {
  for (let at = batch; at !== undefined; at = at.parent) if (type.test(at.type)) return at;
  return undefined;
}
