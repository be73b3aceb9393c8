/** What every program does about its own process: when to stop, how to handle faults, where to log. */
export { type FaultKind, type FaultOptions, watchFaults } from "./faults.ts";
export { logDestination } from "./log-destination.ts";
export { LOG_OPTIONS } from "./log-options.ts";
export { type StopOptions, type StopRequest, stopOnSignals } from "./stop-request.ts";
