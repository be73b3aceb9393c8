/** Draws a tree of calls as a flame graph in SVG: callers below, what they called above them. */

export interface CallNode {
  readonly name: string;
  /** Time in the function itself, in any unit. */
  readonly ownTime: number;
  readonly calls: readonly CallNode[];
}

const WIDTH = 1_200;
const ROW = 16;
/** Boxes narrower than this are left out. */
const MIN_WIDTH = 6;
const CHARACTER = 6.2;

interface Box {
  readonly name: string;
  readonly x: number;
  readonly width: number;
  readonly depth: number;
}

export function flameGraph(root: CallNode): string {
  const total = timeOf(root);
  const boxes: Box[] = [];
  const place = (calls: readonly CallNode[], x: number, depth: number): void => {
    let left = x;
    for (const [name, group] of Map.groupBy(calls, (call) => call.name)) {
      const width = (group.reduce((sum, call) => sum + timeOf(call), 0) / total) * WIDTH;
      if (width >= MIN_WIDTH) {
        boxes.push({ name, x: left, width, depth });
        const next = group.flatMap((call) => call.calls);
        place(next, left, depth + 1);
      }
      left += width;
    }
  };
  place(root.calls, 0, 0);
  const height = (Math.max(0, ...boxes.map(({ depth }) => depth)) + 1) * ROW;
  const drawn = boxes.map((box) => drawnBox(box, height)).join("\n");
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="monospace" font-size="10">
${drawn}
</svg>
`;
}

function drawnBox({ name, x, width, depth }: Box, height: number): string {
  const y = height - (depth + 1) * ROW;
  const letters = Math.floor((width - 4) / CHARACTER);
  const label = letters < 3 ? "" : name.slice(0, letters);
  const share = ((width / WIDTH) * 100).toFixed(1);
  return (
    `<g><title>${escaped(name)} ${share} %</title>` +
    `<rect x="${x.toFixed(1)}" y="${y}" width="${(width - 0.5).toFixed(1)}" height="${ROW - 1}" fill="${colourOf(name)}"/>` +
    `<text x="${(x + 2).toFixed(1)}" y="${y + 11}">${escaped(label)}</text></g>`
  );
}

const times = new WeakMap<CallNode, number>();

function timeOf(node: CallNode): number {
  const known = times.get(node);
  if (known !== undefined) return known;
  const time = node.ownTime + node.calls.reduce((sum, call) => sum + timeOf(call), 0);
  times.set(node, time);
  return time;
}

/** The same for all functions of one file. */
function colourOf(name: string): string {
  let hash = 0;
  for (const letter of name.split(" ").at(-1) ?? "") hash = (hash * 31 + letter.charCodeAt(0)) % 40;
  return `hsl(${20 + hash},80%,${65 + (hash % 10)}%)`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
