/** Compares the decisions of the reader book with the events of the platform. */
import { createHash } from "node:crypto";
import type { ConversationReader, SharedEvent } from "@linkspan/store";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Copy, type Ears, ReaderBook } from "./readers.ts";

const ROOM = "acme room";
const START = Date.parse("2026-11-20T12:00:00.000Z");
const digest = (text: string) => createHash("sha256").update(text).digest();

/** The tables: rows that a batch leaves for the next one. */
class Tables {
  reader: ConversationReader = {
    workspaceId: "acme",
    ref: "room",
    reader: "a",
    shared: false,
    stableKinds: [],
  };
  readonly rows: (SharedEvent & { copy: Copy | undefined })[] = [];
  /** Every copy that was fanned out, in order. */
  readonly fannedOut: Copy[] = [];
  readonly deaf = new Set<string>();
  readonly left = new Set<string>();
  nowMs = START;
  #ids = 0;

  batch(copies: readonly Copy[]): void {
    const ears: Ears = {
      connected: (account) => !this.deaf.has(account),
      unlinked: () => false,
      present: (_, account) => !this.left.has(account),
    };
    const book = new ReaderBook({
      readers: new Map([[ROOM, this.reader]]),
      known: this.rows,
      ears,
      now: new Date(this.nowMs),
      rowKey: digest,
    });
    for (const copy of copies) book.take(copy);
    if (book.released.has(ROOM)) this.#release(book.superseded);
    this.fannedOut.push(...copies.filter((copy) => book.fansOut(copy)));
    [this.reader = this.reader] = book.changedReaders;
    for (const { event, held } of book.changedRows) {
      const at = this.rows.findIndex((row) => row.id !== undefined && row.id === event.id);
      const before = this.rows[at];
      if (before === undefined) {
        const id = `${++this.#ids}`;
        this.rows.push({ ...event, id, waiting: held !== undefined, copy: held });
      } else {
        this.rows[at] = { ...before, ...event, waiting: before.waiting && !event.fannedOut };
      }
    }
  }

  /** Releases everything that waits, as if its time was over. */
  releaseAll(): void {
    this.#release(new Set());
  }

  #release(except: ReadonlySet<string>): void {
    for (const [at, row] of this.rows.entries()) {
      if (!row.waiting || row.copy === undefined || except.has(row.id ?? "")) continue;
      this.fannedOut.push(row.copy);
      this.rows[at] = { ...row, waiting: false, fannedOut: true };
    }
  }
}

let serial = 0;

interface Happening {
  readonly text: string;
  readonly sentAtMs: number;
  /** The platform's id, if it is the same for all accounts. */
  readonly id: string | undefined;
}

function copy(account: string, { text, sentAtMs, id }: Happening, skewMs = 0): Copy {
  const key = `${++serial}`;
  return {
    key,
    conversation: ROOM,
    account,
    kind: "message",
    exact: digest(`${id ?? key} ${text}`),
    loose: digest(text),
    sentAt: new Date(sentAtMs + skewMs),
  };
}

const said = (text: string, over: Partial<Happening> = {}): Happening => ({
  text,
  sentAtMs: START,
  id: undefined,
  ...over,
});

/** Two accounts that have both delivered events before. */
function shared(): Tables {
  const tables = new Tables();
  tables.batch([copy("a", said("first"))]);
  tables.batch([copy("b", said("first"))]);
  tables.fannedOut.length = 0;
  return tables;
}

test("an account that is alone in a conversation keeps no rows", () => {
  const tables = new Tables();
  tables.batch([copy("a", said("one")), copy("a", said("two"))]);
  expect(tables.fannedOut).toHaveLength(2);
  expect(tables.rows).toEqual([]);
});

test.each([
  ["the reader's copy comes first", ["a", "b"]],
  ["the reader's copy comes last", ["b", "a"]],
])("one event seen by two accounts is fanned out once: %s", (_, order) => {
  for (const id of ["x1", undefined]) {
    const tables = shared();
    for (const account of order) tables.batch([copy(account, said("hi", { id }))]);
    tables.releaseAll();
    expect(tables.fannedOut.map((one) => one.account)).toEqual(["a"]);
  }
});

test("what the reader never delivers is fanned out from another's copy, and its late copy is not", () => {
  const tables = shared();
  tables.batch([copy("b", said("lost"))]);
  expect(tables.fannedOut).toEqual([]);
  tables.releaseAll();
  tables.batch([copy("a", said("lost"))]);
  tables.releaseAll();
  expect(tables.fannedOut.map((one) => one.account)).toEqual(["b"]);
});

test.each(["deaf", "left"] as const)("a reader that is %s is replaced, what was held goes first", (how) => {
  const tables = shared();
  tables.batch([copy("b", said("in the gap"))]);
  tables[how].add("a");
  tables.batch([copy("b", said("after it"))]);
  tables.batch([copy("a", said("in the gap")), copy("a", said("after it"))]);
  tables.releaseAll();
  expect(tables.reader.reader).toBe("b");
  expect(tables.fannedOut.map((one) => one.account)).toEqual(["b", "b"]);
  expect(tables.fannedOut.map((one) => one.loose)).toEqual([digest("in the gap"), digest("after it")]);
});

test("in one batch: held, reader gone, heard again", () => {
  const tables = shared();
  tables.deaf.add("a");
  tables.batch([copy("b", said("one")), copy("b", said("two")), copy("a", said("one"))]);
  expect(tables.fannedOut.map((one) => one.account)).toEqual(["b", "b"]);
});

test("an account that left does not become the reader by what it still says", () => {
  const tables = shared();
  tables.deaf.add("a");
  tables.left.add("b");
  tables.batch([copy("b", said("its own leaving"))]);
  expect(tables.reader.reader).toBe("a");
});

test("the same words twice are two events, each fanned out once", () => {
  const tables = shared();
  tables.batch([copy("a", said("ok")), copy("b", said("ok")), copy("b", said("ok")), copy("a", said("ok"))]);
  tables.releaseAll();
  expect(tables.fannedOut.map((one) => one.account)).toEqual(["a", "a"]);
});

test("with common ids the same words are never taken for another's", () => {
  const tables = shared();
  for (const account of ["a", "b"]) tables.batch([copy(account, said("ok", { id: "1" }))]);
  tables.batch([copy("a", said("ok", { id: "2" }))]);
  tables.batch([copy("b", said("ok", { id: "3" }))]);
  tables.releaseAll();
  expect(tables.fannedOut.map((one) => one.account)).toEqual(["a", "a", "b"]);
});

test("history that a second account reads is not released by time", () => {
  const tables = shared();
  tables.batch([copy("b", said("old", { sentAtMs: START - 3_600_000 }))]);
  tables.releaseAll();
  expect(tables.fannedOut).toEqual([]);
});

test("whatever the order, the gaps and the changes of reader: what one account heard is fanned out once", () => {
  const step = fc.record({
    // Which of the two accounts receive it, and whether the reader's daemon stops or returns before it.
    heard: fc.constantFrom(["a"], ["b"], ["a", "b"], ["b", "a"]),
    deaf: fc.constantFrom<string[][]>([], ["a"], ["b"]),
    release: fc.boolean(),
    lateBy: fc.nat({ max: 3 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.boolean(), (steps, commonIds) => {
      const tables = shared();
      if (commonIds) for (const account of ["a", "b"]) tables.batch([copy(account, said("x", { id: "x" }))]);
      tables.fannedOut.length = 0;
      const late: { at: number; copy: Copy }[] = [];
      for (const [index, { heard, deaf, release, lateBy }] of steps.entries()) {
        tables.deaf.clear();
        for (const account of deaf) tables.deaf.add(account);
        const happening = said(`event ${index}`, { id: commonIds ? `id ${index}` : undefined });
        for (const [place, account] of heard.entries()) {
          late.push({ at: index + (place === 1 ? lateBy : 0), copy: copy(account, happening, place * 700) });
        }
        tables.batch(late.filter((one) => one.at === index).map((one) => one.copy));
        if (release) tables.releaseAll();
      }
      tables.batch(late.filter((one) => one.at >= steps.length).map((one) => one.copy));
      tables.releaseAll();
      const times = new Map<string, number>();
      for (const { loose } of tables.fannedOut) {
        times.set(loose.toString("hex"), (times.get(loose.toString("hex")) ?? 0) + 1);
      }
      const expected = steps.map((_, index) => [digest(`event ${index}`).toString("hex"), 1] as const);
      expect(times).toEqual(new Map(expected));
    }),
    { numRuns: 500 },
  );
});
