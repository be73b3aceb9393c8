/** As much of a pino logger as the server needs. */
export interface ServerLog {
  debug(fields: ServerEvent): void;
  info(fields: ServerEvent): void;
  warn(fields: ServerEvent): void;
  error(fields: ServerEvent): void;
}

export interface ServerEvent {
  readonly event: `store.server.${string}`;
  readonly [field: string]: unknown;
}
