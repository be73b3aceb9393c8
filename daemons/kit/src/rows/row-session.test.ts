import { FabricError, LIMITS, type RowChanges } from "@linkspan/envelopes";
import fc from "fast-check";
import { expect, test } from "vitest";
import { RowSession } from "./row-session.ts";

/** Rows by version, as the core keeps them; fails at the requests that a test names. */
class KeptRows {
  version = 0;
  rows = new Map<string, Uint8Array>();
  /** Rows of each request. */
  readonly requests: (readonly string[])[] = [];
  /** How the next requests end: `lost` is done, but not answered. */
  readonly ends: ("kept" | "refused" | "lost")[] = [];
  #busy = false;

  async load() {
    await this.#alone();
    return { version: this.version, rows: new Map(this.rows) };
  }

  async commit(version: number, changes: RowChanges): Promise<number> {
    await this.#alone();
    this.requests.push([...changes.keys()]);
    const end = this.ends.shift() ?? "kept";
    if (end === "refused") throw new FabricError("vault.unavailable", "refused");
    if (version !== this.version) throw new FabricError("vault.conflict", "another version");
    this.version += 1;
    for (const [name, value] of changes) {
      if (value === undefined) this.rows.delete(name);
      else this.rows.set(name, new Uint8Array(value));
    }
    if (end === "lost") throw new FabricError("bus.timeout", "no answer");
    return this.version;
  }

  /** One request at a time is the order that the rows are kept in. */
  async #alone(): Promise<void> {
    if (this.#busy) throw new Error("two requests at once");
    this.#busy = true;
    await Promise.resolve();
    this.#busy = false;
  }
}

const row = (name: string, value: string | undefined): RowChanges =>
  new Map([[name, value === undefined ? undefined : Buffer.from(value)]]);
const open = (kept: KeptRows, signal = new AbortController().signal) => new RowSession(kept, signal);
const settled = (work: Promise<unknown>) =>
  work.then(
    () => "kept",
    (error: unknown) => (error instanceof FabricError ? error.code : String(error)),
  );
const asText = (rows: ReadonlyMap<string, Uint8Array>) =>
  Object.fromEntries([...rows].map(([name, value]) => [name, Buffer.from(value).toString()]));

test("nothing is committed before rows are loaded", async () => {
  const kept = new KeptRows();
  const session = open(kept);
  expect(await settled(session.commit(row("a", "1")))).toBe("vault.conflict");
  expect(kept.requests).toEqual([]);
  await session.load();
  expect(await settled(session.commit(row("a", "1")))).toBe("kept");
});

test("commits that wait are sent together, in their order, and a caller's bytes are copied", async () => {
  const kept = new KeptRows();
  const session = open(kept);
  await session.load();
  const bytes = Buffer.from("1");
  const all = [
    session.commit(new Map([["a", bytes]])),
    session.commit(row("b", "2")),
    session.commit(new Map([["c", bytes]])),
    session.commit(row("a", "3")),
  ];
  bytes.fill(0);
  await Promise.all(all);
  expect(kept.requests).toEqual([["a", "b", "c"]]);
  expect(asText(kept.rows)).toEqual({ a: "3", b: "2", c: "1" });
});

test("what does not fit in one request is sent in several, and what never fits is refused", async () => {
  const kept = new KeptRows();
  const session = open(kept);
  await session.load();
  const big = new Uint8Array(LIMITS.rowBytes);
  const all = ["a", "b", "c"].map((name) => session.commit(new Map([[name, big]])));
  await Promise.all(all);
  expect(kept.requests).toEqual([["a"], ["b"], ["c"]]);
  const fine = session.commit(row("d", "1"));
  const tooLarge = session.commit(new Map([["e", new Uint8Array(LIMITS.rowBytes + 1)]]));
  const after = session.commit(row("f", "1"));
  expect(await Promise.all([fine, tooLarge, after].map(settled))).toEqual([
    "kept",
    "envelope.schema",
    "envelope.schema",
  ]);
  const many = new Map(Array.from({ length: LIMITS.rowChanges + 1 }, (_, at) => [`${at}`, Buffer.from("")]));
  await session.load();
  expect(await settled(session.commit(many))).toBe("envelope.schema");
});

test("a connector that never waits is refused at a bound", async () => {
  const kept = new KeptRows();
  const session = open(kept);
  await session.load();
  const big = new Uint8Array(LIMITS.rowBytes);
  const count = LIMITS.rowsBytes / LIMITS.rowBytes + 1;
  const outcomes = await Promise.all(
    Array.from({ length: count }, (_, at) => settled(session.commit(new Map([[`${at}`, big]])))),
  );
  expect(outcomes.filter((one) => one === "request.rate_limited").length).toBeGreaterThan(0);
});

test("nothing is sent any more when the connection is over", async () => {
  const kept = new KeptRows();
  const over = new AbortController();
  const session = open(kept, over.signal);
  await session.load();
  over.abort(new FabricError("platform.unavailable", "over"));
  expect(await settled(session.commit(row("a", "1")))).toBe("platform.unavailable");
  expect(await settled(session.load())).toBe("platform.unavailable");
  expect(kept.requests).toEqual([]);
});

test("in any sequence of calls and failures: what was told kept is kept, in order, and nothing follows a failure", async () => {
  const call = fc.oneof(
    { weight: 5, arbitrary: fc.record({ name: fc.constantFrom("a", "b", "c"), wait: fc.boolean() }) },
    { weight: 1, arbitrary: fc.constant("load" as const) },
  );
  const end = fc.constantFrom(
    "kept" as const,
    "kept" as const,
    "kept" as const,
    "refused" as const,
    "lost" as const,
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(call, { maxLength: 30 }),
      fc.array(end, { maxLength: 30 }),
      async (calls, ends) => {
        const kept = new KeptRows();
        kept.ends.push(...ends);
        const session = open(kept);
        // Each value says which call wrote it, so a hole or an older value shows.
        const told: { readonly at: number; readonly name: string; readonly outcome: Promise<string> }[] = [];
        const loads: { readonly at: number; readonly loaded: Promise<ReadonlyMap<string, Uint8Array>> }[] =
          [];
        for (const [at, one] of ["load" as const, ...calls].entries()) {
          if (one === "load") {
            loads.push({ at, loaded: session.load() });
            continue;
          }
          const outcome = settled(session.commit(row(one.name, String(at))));
          told.push({ at, name: one.name, outcome });
          if (one.wait) await outcome;
        }
        const outcomes = await Promise.all(
          told.map(async ({ outcome, ...rest }) => ({ ...rest, end: await outcome })),
        );
        for (const { at, loaded } of loads) {
          const rows = asText(await loaded);
          for (const name of ["a", "b", "c"]) {
            const last = outcomes.findLast((one) => one.at < at && one.name === name && one.end === "kept");
            expect(Number(rows[name] ?? -1)).toBeGreaterThanOrEqual(last?.at ?? -1);
          }
        }
        let failed = false;
        for (const [at, one] of ["load" as const, ...calls].entries()) {
          if (one === "load") failed = false;
          else {
            const outcome = outcomes.find((two) => two.at === at)?.end;
            if (failed) expect(outcome, `call ${at} follows a failure`).not.toBe("kept");
            failed ||= outcome !== "kept";
          }
        }
        const final = asText((await kept.load()).rows);
        for (const name of ["a", "b", "c"]) {
          const last = outcomes.findLast((one) => one.name === name && one.end === "kept");
          expect(Number(final[name] ?? -1)).toBeGreaterThanOrEqual(last?.at ?? -1);
        }
      },
    ),
    { numRuns: 300 },
  );
});
