/** The parts of the composition, for tests that compose their own system. */
export { type Config, parseConfig } from "./config.ts";
export { ownRecord } from "./keys.ts";
export { type OpenCore, openCore, registerKey, runCore } from "./roles/core.ts";
export { runBeside } from "./roles/daemons.ts";
