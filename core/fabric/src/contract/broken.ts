/** Drivers that each break one obligation; a case is proven by the drivers that fail it. */
import type { BrokenDrivers } from "./breaks.ts";
import { BROKEN_CONSUMING } from "./broken-consuming.ts";
import { BROKEN_SENDING } from "./broken-sending.ts";

export { broken } from "./breaks.ts";
export const BROKEN: BrokenDrivers = { ...BROKEN_SENDING, ...BROKEN_CONSUMING };
