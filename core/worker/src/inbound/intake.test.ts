import { actionOf, FabricError, type Opened } from "@linkspan/envelopes";
import type { Delivery } from "@linkspan/fabric";
import { expect, test } from "vitest";
import { rowsOf } from "./intake.ts";

const delivery = {} as Delivery;
const of = (action: string, payload: object) => ({
  delivery,
  opened: { action: actionOf("irc", action), envelope: { payload } } as unknown as Opened,
});

test("every status of an envelope counts as a row of the transaction", () => {
  expect(rowsOf(of("delivery_statuses", { statuses: Array.from({ length: 200 }) }))).toBe(200);
  expect(rowsOf(of("history_batch", { events: Array.from({ length: 3 }) }))).toBe(4);
  expect(rowsOf(of("delivery_status", {}))).toBe(1);
  expect(rowsOf({ delivery, refused: new FabricError("envelope.schema", "unreadable") })).toBe(1);
});
