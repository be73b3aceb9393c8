/**
 * A batch may come from as many workspaces and instances as it has messages; the tables are not queried for
 * each one.
 */
import { actionOf, type Envelope, type Opened } from "@linkspan/envelopes";
import type { Delivery } from "@linkspan/fabric";
import type { Queryable } from "@linkspan/store";
import { expect, test } from "vitest";
import { admit } from "./admit.ts";

function received(n: number, instance: string): { delivery: Delivery; opened: Opened } {
  const action = actionOf("echo", "inbound_event");
  if (action === undefined) throw new Error("echo has events");
  const envelope: Envelope = {
    schema: "msgr.bridge.v1",
    service: "echo",
    action: "inbound_event",
    trace_id: "",
    occurred_at: "2026-01-01T00:00:00.000Z",
    metadata: {
      issuer: `daemon:echo:${instance}`,
      workspace_id: `w${n}`,
      instance,
      message_id: `m${n}`,
      epoch: 1,
    },
    payload: {
      kind: "message",
      remote_id: `r${n}`,
      revision: "0",
      account: `a${n}`,
      sender: { ref: "msgr://identity/bridges/echo/bob", name: "bob", is_self: false },
      sent_at: "2026-01-01T00:00:00.000Z",
      text: "hi",
    },
  };
  return { delivery: {} as Delivery, opened: { envelope, body: new Uint8Array(), kid: "k", action } };
}

test("a batch of many workspaces and instances costs as many statements as one of one", async () => {
  const statements: string[] = [];
  const on = {
    query: ({ text, values }: { text: string; values: unknown[] }) => {
      statements.push(text);
      const [services, instances] = values as string[][];
      const rows = !text.includes("instance_leases")
        ? []
        : (instances ?? []).map((instance, i) => ({
            service: services?.[i],
            instance,
            holder: "h",
            kid: "k",
            epoch: "1",
            live: true,
          }));
      return Promise.resolve({ rows, rowCount: rows.length });
    },
  } as unknown as Queryable;
  await admit(on, [received(0, "i0")]);
  const forOne = statements.length;
  statements.length = 0;
  await admit(
    on,
    Array.from({ length: 200 }, (_, n) => received(n, `i${n % 50}`)),
  );
  expect(statements).toHaveLength(forOne);
});
