/** For tests of daemons: a scripted core on the embedded bus, and processes to run against it. */
export { GO, PARTITIONS, ScriptedCore, WORKSPACE } from "./scripted-core.ts";
export { eventually, type Process, World } from "./world.ts";
