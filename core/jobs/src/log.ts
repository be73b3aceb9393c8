/** The part of a pino logger that jobs need. */
export interface JobsLog {
  info(fields: JobsEvent): void;
  warn(fields: JobsEvent): void;
}

/** Never contains a payload or an error's message: both may hold text that people wrote. */
export interface JobsEvent {
  readonly event: `job.${string}` | `jobs.${string}`;
  readonly [field: string]: unknown;
}
