export * from "./jobs.ts";
export type { JobsEvent, JobsLog } from "./log.ts";
export { type JobsOptions, openJobs } from "./open.ts";
