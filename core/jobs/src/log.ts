/** As much of a pino logger as jobs need. */
export interface JobsLog {
  info(fields: JobsEvent): void;
  warn(fields: JobsEvent): void;
}

/** Never a payload and never an error's message: both may hold what people wrote. */
export interface JobsEvent {
  readonly event: `job.${string}` | `jobs.${string}`;
  readonly [field: string]: unknown;
}
