/** Values that are wrong in generated ways: for schemas, columns, parsers, protocols and terminals. */
import type { Random } from "@linkspan/time";

export function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)] as T;
}

export function below(random: Random, limit: number): number {
  return Math.floor(random() * limit);
}

const PIECES: readonly string[] = [
  "",
  " ",
  "a",
  "\0",
  "\r\nQUIT :gone\r\n",
  "\n",
  "\u001b[2J",
  "\ud800",
  "\udfff\ud800",
  "\u202egnp.exe",
  "\ufeff",
  "é",
  "🧨",
  "__proto__",
  "constructor",
  "../../../../etc/passwd",
  "'; DROP TABLE events; --",
  "${jndi:ldap://127.0.0.1/a}",
  "%00%0d%0a",
  "#*.#",
  "bridge/#/*",
  "*",
  "_",
  "core",
  "primary",
  "3000000000",
  "1e400",
  "-0",
  "9007199254740993",
  "<script>alert(1)</script>",
  "!slow 60000 x",
  "!fail internal x",
  "!lost x",
  "!uncertain x",
  "!duplicate !reorder x",
  "!drop x",
];

const SIZES = [1, 1, 1, 2, 5, 50, 513, 5_000, 70_000] as const;

export function hostileText(random: Random): string {
  const size = pick(random, SIZES);
  const one = pick(random, PIECES);
  if (random() < 0.5) return one.repeat(Math.min(size, 100_000));
  return Array.from({ length: Math.min(size, 200) }, () => pick(random, PIECES)).join(
    pick(random, ["", " ", "/"]),
  );
}

export function hostileNumber(random: Random): number {
  return pick(random, [0, -1, 1, 0.5, 255, 65_536, 2 ** 31, 3e9, 2 ** 53, 2 ** 53 + 2, 1e308, -1e308]);
}

export function hostileValue(random: Random, depth = 0): unknown {
  const kind = below(random, depth > 4 ? 4 : 7);
  switch (kind) {
    case 0:
    case 1:
      return hostileText(random);
    case 2:
      return hostileNumber(random);
    case 3:
      return pick(random, [null, true, false]);
    case 4:
      return Array.from({ length: below(random, 20) }, () => hostileValue(random, depth + 1));
    case 5:
      return nested(pick(random, [10, 100, 2_000]));
    default:
      return Object.fromEntries(
        Array.from({ length: below(random, 8) }, () => [
          hostileText(random).slice(0, 2_000),
          hostileValue(random, depth + 1),
        ]),
      );
  }
}

function nested(depth: number): unknown {
  let value: unknown = "x";
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { a: value };
  return value;
}

/** The same object with one member replaced, removed or added. */
export function mutated(random: Random, value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const names = Object.keys(value);
  const name = random() < 0.8 && names.length > 0 ? pick(random, names) : hostileText(random).slice(0, 300);
  const changed: Record<string, unknown> = { ...value };
  if (random() < 0.15) delete changed[name];
  else changed[name] = hostileValue(random);
  return changed;
}
