/** The steps of sending one by one, for tests that run them in a special order. */
export { type AfterCommit, committed } from "../after-commit.ts";
export { endUnsettled } from "../identity/unlink.ts";
export { Attempts } from "../outbound/attempts.ts";
export { followReports, reportsIn } from "../outbound/follow.ts";
export { type PumpOptions, runPump } from "../outbound/pump.ts";
