/**
 * Reads the few things of a `<message>` stanza that an event needs: attributes of the root and the text of
 * its own `<body>`. One pass, no entities but XML's five and character references; what it cannot read it
 * leaves out, since the stanza itself is kept.
 */
export interface MessageStanza {
  readonly from: string | undefined;
  readonly type: string | undefined;
  readonly id: string | undefined;
  readonly body: string | undefined;
}

const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

export function readMessageStanza(xml: string): MessageStanza {
  const [root, ...rest] = [...tagsOf(xml)];
  if (root === undefined || root.name !== "message" || root.kind !== "open") {
    return { from: undefined, type: undefined, id: undefined, body: undefined };
  }
  const attributes = attributesOf(root.inside);
  const of = (name: string): string | undefined => attributes.get(name);
  return { from: of("from"), type: of("type"), id: of("id"), body: bodyOf(xml, rest) };
}

interface Tag {
  readonly kind: "open" | "close" | "empty";
  readonly name: string;
  readonly inside: string;
  readonly start: number;
  readonly end: number;
}

/** The text of the root's first own body; none if it holds elements. */
function bodyOf(xml: string, tags: readonly Tag[]): string | undefined {
  let depth = 1;
  for (const [i, tag] of tags.entries()) {
    if (tag.kind === "open" && depth === 1 && tag.name === "body") {
      const close = tags[i + 1];
      const isClosed = close?.kind === "close" && close.name === "body";
      return isClosed ? unescape(xml.slice(tag.end, close.start)) : undefined;
    }
    if (tag.kind === "open") depth++;
    else if (tag.kind === "close" && --depth === 0) return undefined;
  }
  return undefined;
}

/** Every tag in order; a comment, CDATA, declaration or instruction ends the reading. */
function* tagsOf(xml: string): Generator<Tag> {
  for (let start = xml.indexOf("<"); start !== -1; ) {
    const end = endOfTag(xml, start + 1);
    if (end === -1 || xml[start + 1] === "!" || xml[start + 1] === "?") return;
    const isClose = xml[start + 1] === "/";
    const isEmpty = xml[end - 1] === "/";
    const inside = xml.slice(start + (isClose ? 2 : 1), isEmpty ? end - 1 : end);
    const [name = ""] = inside.split(/[ \t\r\n]/, 1);
    yield { kind: isClose ? "close" : isEmpty ? "empty" : "open", name, inside, start, end: end + 1 };
    start = xml.indexOf("<", end + 1);
  }
}

/** The `>` that ends a tag, past quoted attribute values. */
function endOfTag(xml: string, from: number): number {
  for (let i = from; i < xml.length; i++) {
    const character = xml[i];
    if (character === ">") return i;
    if (character === '"' || character === "'") {
      i = xml.indexOf(character, i + 1);
      if (i === -1) return -1;
    }
  }
  return -1;
}

function attributesOf(inside: string): ReadonlyMap<string, string> {
  const attributes = new Map<string, string>();
  for (const match of inside.matchAll(/[ \t\r\n]([A-Za-z:_][\w:.-]{0,63})=(?:"([^"]*)"|'([^']*)')/g)) {
    const [, name = "", double, single = ""] = match;
    attributes.set(name, unescape(double ?? single));
  }
  return attributes;
}

function unescape(text: string): string {
  return text.replace(
    /&(?:#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}))|([a-z]{2,4}));/g,
    (all: string, hex?: string, decimal?: string, name?: string) => {
      if (name !== undefined) return ENTITIES[name] ?? all;
      const point = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
      const isText = point > 0 && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
      return isText ? String.fromCodePoint(point) : all;
    },
  );
}
