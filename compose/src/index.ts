export { connect as connectClient, type Client, TOKEN_FILE } from "./client.ts";
export { type Running, start } from "./commands/up.ts";
export { type Config, ConfigError, envExample, parseConfig, redacted } from "./config.ts";
export { ownRecord } from "./keys.ts";
