import fc from "fast-check";
import { expect, test } from "vitest";
import { LIMITS } from "../payloads/limits.ts";
import { codeOf } from "../sample.ts";
import {
  openRows,
  PACKED_ROWS_BYTES,
  packedRowBytes,
  packRows,
  type RowsContext,
  sealRows,
  unpackRows,
} from "./rows.ts";
import { generateSealKeys } from "./sealed.ts";

const CONTEXT: RowsContext = {
  direction: "commit",
  daemon: "daemon:matrix:primary",
  workspaceId: "ws1",
  identityId: "2id",
  version: 7,
  cursor: "",
};

const bytes = (size: number) => new Uint8Array(size).fill(7);

test("only the recipient opens them, and only with the same context", async () => {
  const keys = await generateSealKeys();
  const rows = new Map([["session", bytes(3)]]);
  const sealed = await sealRows(keys.publicKey, CONTEXT, rows);
  expect(await openRows(keys.privateKey, CONTEXT, sealed)).toEqual(rows);
  const others: readonly Partial<RowsContext>[] = [
    { direction: "load" },
    { daemon: "daemon:matrix:other" },
    { workspaceId: "ws12", identityId: "id" },
    { identityId: "3id" },
    { version: 8 },
    { cursor: "c" },
  ];
  for (const other of others) {
    const opening = openRows(keys.privateKey, { ...CONTEXT, ...other }, sealed);
    await expect(opening, JSON.stringify(other)).rejects.toMatchObject({ code: "vault.unavailable" });
  }
  const stranger = await generateSealKeys();
  await expect(openRows(stranger.privateKey, CONTEXT, sealed)).rejects.toMatchObject({
    code: "vault.unavailable",
  });
});

test("packed rows come back, whatever they hold, in one order of names", () => {
  const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 });
  const value = fc.option(fc.uint8Array({ maxLength: 300 }), { nil: undefined });
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 30 }), (rows) => {
      const changes = new Map(rows);
      const packed = packRows(changes);
      const back = unpackRows(packed);
      expect(new Map([...back].map(([key, kept]) => [key, kept && Buffer.from(kept)]))).toEqual(
        new Map([...changes].map(([key, given]) => [key, given && Buffer.from(given)])),
      );
      expect(Buffer.compare(packRows(new Map([...changes].toReversed())), packed)).toBe(0);
    }),
  );
});

test("what the sizes promise fits, and one byte more is refused", () => {
  const value = LIMITS.rowBytes;
  const rest = PACKED_ROWS_BYTES - packedRowBytes("a", bytes(value)) - packedRowBytes("b", bytes(0));
  expect(
    packRows(
      new Map([
        ["a", bytes(value)],
        ["b", bytes(rest)],
      ]),
    ).byteLength,
  ).toBeLessThanOrEqual(LIMITS.rowPageBytes);
  const refused: readonly (readonly [string, Uint8Array | undefined])[][] = [
    [["a", bytes(value + 1)]],
    [
      ["a", bytes(value)],
      ["b", bytes(rest + 512)],
    ],
    [["", bytes(1)]],
    [["x".repeat(LIMITS.rowNameBytes + 1), undefined]],
    [["\ud800", bytes(1)]],
    Array.from({ length: LIMITS.rowChanges + 1 }, (_, index) => [`row ${index}`, undefined] as const),
  ];
  for (const rows of refused) expect(codeOf(() => packRows(new Map(rows)))).toBe("envelope.schema");
});

test("nothing else unpacks", () => {
  const packed = packRows(
    new Map([
      ["a", bytes(3)],
      ["b", undefined],
    ]),
  );
  fc.assert(
    fc.property(fc.nat(packed.byteLength - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const broken = new Uint8Array(packed);
      broken[at] = (broken[at] ?? 0) ^ flip;
      const outcome = codeOf(() => {
        const rows = unpackRows(broken);
        // What unpacks is what these rows pack to: there is no second spelling.
        expect(Buffer.compare(packRows(rows), broken)).toBe(0);
      });
      expect(["none", "envelope.schema"]).toContain(outcome);
    }),
  );
  expect(codeOf(() => unpackRows(packed.subarray(0, 200)))).toBe("envelope.schema");
  expect(codeOf(() => unpackRows(new Uint8Array(0)))).toBe("envelope.schema");
});
