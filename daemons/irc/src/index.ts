export { CAPABILITIES, DECLARATION } from "./capabilities.ts";
export { type IrcConfig, IrcConfigSchema, parseSettings, type Settings, SettingsSchema } from "./config.ts";
export { ircConnector, type IrcConnectorOptions } from "./connector.ts";
