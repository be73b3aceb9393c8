import { DaemonConfigSchema } from "@linkspan/daemon-kit";
import { z } from "zod";

/** The settings of every daemon, and the service that the fake stands in for. */
export const EchoConfigSchema = z.strictObject({
  ...DaemonConfigSchema.shape,
  service: z.enum(["echo", "telegram", "matrix", "irc", "xmpp"]).default("echo"),
});
