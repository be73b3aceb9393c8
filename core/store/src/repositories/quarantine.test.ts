import { expect, test } from "vitest";
import type { Queryable } from "../database.ts";
import { quarantine } from "./quarantine.ts";

/** Keeps what a statement is given, as a database that answers with one row. */
function recording() {
  const values: unknown[] = [];
  const on = {
    query(asked: { readonly values: readonly unknown[] }) {
      values.push(...asked.values);
      return Promise.resolve({ rows: [{ id: "1" }] });
    },
  } as unknown as Queryable;
  return { on, values };
}

const refused = {
  code: "envelope.schema",
  detail: "d",
  routingKey: "bridge.irc.primary.inbound_event.p00",
  issuer: undefined,
  workspaceId: undefined,
  messageId: "m1",
  kid: "k1",
  sig: undefined,
  body: Buffer.from("{}"),
};

test.each([86, 257, 513, 4_096])(
  "what a retry needs is kept whole: a signature of %i characters, as the bus carries it",
  async (length) => {
    const { on, values } = recording();
    const sig = "s".repeat(length);
    await quarantine(on, { ...refused, sig });
    expect(values).toContain(sig);
  },
);

test("words that came with a refused envelope are cut, and hold no NUL", async () => {
  const { on, values } = recording();
  await quarantine(on, { ...refused, detail: `a\0${"x".repeat(10_000)}`, messageId: "y".repeat(10_000) });
  expect(values).toContain(`a\uFFFD${"x".repeat(2_046)}`);
  expect(values).toContain("y".repeat(512));
});
