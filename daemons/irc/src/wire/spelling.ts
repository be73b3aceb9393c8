/** Says in words what IRC has no code for: where a link leads, and that a line is a quotation. */
import type { Entity } from "@linkspan/envelopes";
import type { Formatted } from "./formatting.ts";

interface Insertion {
  readonly at: number;
  readonly text: string;
  /** Stays outside of an entity that begins here. */
  readonly before: boolean;
}

const QUOTE = "> ";

/** Entities keep covering the words they covered; `link` and `quote` are spelled out and gone. */
export function spelledOut(text: string, entities: readonly Entity[]): Formatted {
  const insertions = entities
    .flatMap((entity) => (entity.type === "quote" ? quoted(text, entity) : linked(text, entity)))
    .sort((a, b) => a.at - b.at || Number(b.before) - Number(a.before));
  const styled = entities.filter(({ type }) => type !== "quote" && type !== "link");
  if (insertions.length === 0) return { text, entities: styled };
  let spelled = "";
  let from = 0;
  for (const { at, text: inserted } of insertions) {
    spelled += text.slice(from, at) + inserted;
    from = at;
  }
  const shifted = styled.map((entity) => {
    const offset = entity.offset + shift(insertions, ({ at }) => at <= entity.offset);
    const end = entity.offset + entity.length;
    return { ...entity, offset, length: end + shift(insertions, ({ at }) => at < end) - offset };
  });
  return { text: spelled + text.slice(from), entities: shifted };
}

function shift(insertions: readonly Insertion[], counts: (insertion: Insertion) => boolean): number {
  return insertions.filter(counts).reduce((sum, { text }) => sum + text.length, 0);
}

function linked(text: string, { type, offset, length, url }: Entity): Insertion[] {
  if (type !== "link" || url === undefined) return [];
  const end = Math.min(offset + length, text.length);
  const said = text.slice(offset, end);
  return said === url ? [] : [{ at: end, text: ` <${url}>`, before: false }];
}

function quoted(text: string, { offset, length }: Entity): Insertion[] {
  const lines: Insertion[] = [{ at: offset, text: QUOTE, before: true }];
  const end = Math.min(offset + length, text.length);
  for (let at = text.indexOf("\n", offset); at >= 0 && at + 1 < end; at = text.indexOf("\n", at + 1)) {
    lines.push({ at: at + 1, text: QUOTE, before: true });
  }
  return lines;
}
