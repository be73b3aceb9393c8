export { CAPABILITIES, DECLARATION } from "./capabilities.ts";
export { type AccountListener, type Activity, type Entry, EchoPlatform, PEER } from "./client.ts";
export { EchoConfigSchema } from "./config.ts";
export { type EchoOptions, echoConnector } from "./connector.ts";
export { type Order, MAX_PART_BYTES } from "./outbound.ts";
